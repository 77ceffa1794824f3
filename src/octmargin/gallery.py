"""Pictures of a running acquisition, written beside it: never in its way, what cannot keep up is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image

from octmargin.engine import Judged
from octmargin.levels import from_levels
from octmargin.margin import Verdict
from octmargin.own_thread import OwnThread
from octmargin.pictures import Caption, bscan_image, face_sheet, save_png
from octmargin.sweeps import SweepBook
from octmargin.words import percent

_MAX_WAITING = 64
_FINISH_S = 5.0
"""So long the end waits for pictures, while they go on."""
_STANDSTILL_S = 1.0
"""So long it waits for one."""

log = structlog.get_logger()


class Gallery:
    """The B-scan of every n-th frame, and a sheet for each face."""

    def __init__(self, folder: str, *, every: int, axial_um: float, synthetic: bool) -> None:
        self._folder = Path(folder)
        self._every = every
        self._axial_um = axial_um
        self._synthetic = synthetic
        self._thread = OwnThread("pictures")
        self._writing: set[asyncio.Future[None]] = set()
        self._enface: NDArray[np.float32] | None = None
        self._book: SweepBook | None = None
        self._key: Judged | None = None
        self.skipped = 0

    def take(self, book: SweepBook, judged: Judged) -> None:
        """Remember a frame's line of the en-face picture; write its B-scan if it is its turn."""
        if book is not self._book:
            self._book, self._key = book, None
            self._enface = np.full((book.plan.frames, book.plan.alines), np.nan, np.float32)
        assert self._enface is not None  # noqa: S101 - set together with the book
        self._enface[judged.header.index] = judged.flags.enface_db
        if judged.bscan is None or judged.header.index % self._every:
            return
        if self._key is None or judged.flags.suspicious.sum() > self._key.flags.suspicious.sum():
            self._key = judged
        path = self._folder / book.plan.face / f"bscan-sweep{book.number}-frame{judged.header.index:04d}.png"
        self._write(lambda: save_png(self._bscan(book, judged), path))

    def face_done(self, book: SweepBook, verdict: Verdict) -> None:
        """Write the face's sheet."""
        enface, key = self._enface, self._key
        if enface is None or book is not self._book:
            return
        depth_mm = verdict.visualised_depth_mm
        parts = (
            f"{book.plan.face}: {verdict.outcome.value.replace('_', ' ')}",
            f"coverage {percent(verdict.coverage)}",
            f"visualised depth {depth_mm:.2f} mm" if np.isfinite(depth_mm) else "nothing visualised",
        )
        caption = Caption("  |  ".join(parts), self._synthetic)
        state = book.state

        def write() -> None:
            sheet = face_sheet(
                caption,
                enface_db=enface,
                state=state,
                width_mm=book.plan.width_mm,
                height_mm=book.plan.height_mm,
                bscan=self._bscan(book, key) if key is not None else None,
            )
            save_png(sheet, self._folder / f"face-{book.plan.face}-sweep{book.number}.png")

        self._write(write)

    async def finish(self) -> None:
        """Wait for what is being written, as long as it goes on and not for long; the rest is skipped."""
        until_s = time.monotonic() + _FINISH_S
        while self._writing:
            patience_s = min(_STANDSTILL_S, until_s - time.monotonic())
            done, _ = await asyncio.wait(
                self._writing, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
        self.skipped += len(self._writing)
        for left in self._writing:
            left.cancel()
        self._thread.end()
        if self.skipped:
            log.warning("pictures skipped, the disk or processor was too slow", count=self.skipped)

    def _bscan(self, book: SweepBook, judged: Judged) -> Image.Image:
        assert judged.bscan is not None  # noqa: S101 - only kept frames come here
        return bscan_image(
            from_levels(judged.bscan),
            axial_um=self._axial_um,
            width_mm=book.plan.width_mm,
            surface_px=judged.flags.surface_px,
            suspicious=judged.flags.suspicious,
        )

    def _write(self, work: Callable[[], None]) -> None:
        if len(self._writing) >= _MAX_WAITING:
            self.skipped += 1
            return
        writing = asyncio.wrap_future(self._thread.submit(work))
        self._writing.add(writing)
        writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing.discard(writing)
        if not writing.cancelled() and (error := writing.exception()) is not None:
            self.skipped += 1
            log.warning("picture not written", reason=str(error), remedy="check pictures.folder and the disk")
