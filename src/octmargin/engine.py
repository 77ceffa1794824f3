"""The engine: takes frames from the ring, reconstructs and judges them, hands each result on once.

Each engine thread has kernels and buffers of its own and holds no Python lock while they run. What happens
to a result (map, messages, log) happens elsewhere: `deliver` is called once per frame or loss.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.buffers import aligned_zeros
from octmargin.frames import Frame, FrameFlags, FrameHeader, LossCause, LostFrames, PixelFormat
from octmargin.margin import Assessor, BlockFlags
from octmargin.ring import Cursor, RingClosedError
from octmargin.signal import Calibration, Reconstructor

_DISTRUSTED = FrameFlags.LASER_OFF | FrameFlags.SHUTTER_CLOSED | FrameFlags.TRIGGER_TOO_FAST
"""A frame with one of these shows something else than the tissue."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How frames are reconstructed and judged; `picture_every` keeps the B-scan of each n-th frame (0: none)."""

    calibration: Calibration
    axial_um: float
    samples: int
    depth: int
    make_assessor: Callable[[], Assessor]
    picture_every: int = 0
    interpolation: str = "cubic"
    running_mean_frames: int | None = None
    remove_fixed_pattern: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """One frame's result; `bscan_db` (alines, depth) only for frames whose picture is wanted."""

    header: FrameHeader
    flags: BlockFlags
    reconstruct_ns: int
    assess_ns: int
    bscan_db: NDArray[np.float32] | None = None


Outcome = Judged | LostFrames


class _Worker:
    """Kernels and buffers of one engine thread."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._assessor = settings.make_assessor()
        self._reconstructor = Reconstructor(
            settings.calibration,
            samples=settings.samples,
            depth=settings.depth,
            interpolation=settings.interpolation,
            running_mean_frames=settings.running_mean_frames,
            remove_fixed_pattern=settings.remove_fixed_pattern,
        )
        self._bscan_db = np.empty((0, settings.depth), np.float32)
        self._intensity = np.empty((0, settings.depth), np.float32)

    def warm_up(self, frame: Frame) -> None:
        self.judge(frame)
        self._reconstructor.forget_background()

    def judge(self, frame: Frame) -> Outcome:
        header, spectra = frame.header, frame.spectra
        if header.flags & _DISTRUSTED:
            return LostFrames(header.sequence, 1, LossCause.UNUSABLE, _names(header.flags & _DISTRUSTED))
        if self._bscan_db.shape[0] != header.alines:
            shape = (header.alines, self._settings.depth)
            self._bscan_db, self._intensity = (
                aligned_zeros(shape, np.float32),
                aligned_zeros(shape, np.float32),
            )
        started = time.perf_counter_ns()
        self._reconstructor.process(spectra, out=self._bscan_db, intensity=self._intensity)
        reconstructed = time.perf_counter_ns()
        flags = self._assessor.assess(
            self._bscan_db,
            axial_um=self._settings.axial_um,
            intensity=self._intensity,
            saturated=spectra.max(axis=1) >= header.pixel_format.full_scale,
        )
        assessed = time.perf_counter_ns()
        every = self._settings.picture_every
        picture = self._bscan_db.copy() if every and header.index % every == 0 else None
        return Judged(header, flags, reconstructed - started, assessed - reconstructed, picture)


class Engine:
    """`threads` workers on one cursor of the ring; `deliver` is called from their threads."""

    def __init__(
        self, cursor: Cursor, settings: EngineSettings, deliver: Callable[[Outcome], None], *, threads: int
    ) -> None:
        self._cursor = cursor
        self._deliver = deliver
        self._samples = settings.samples
        self._workers = [_Worker(settings) for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"engine-{number}", daemon=True)
            for number, worker in enumerate(self._workers)
        ]

    def warm_up(self, alines: int, pixel_format: PixelFormat) -> None:
        """Run every kernel once on the frame shape that will come, so that the first frame is not late."""
        rng = np.random.default_rng(0)
        spectra = rng.integers(0, pixel_format.full_scale, (alines, self._samples)).astype(pixel_format.dtype)
        header = FrameHeader(0, 0, 0, 0, alines, self._samples, pixel_format)
        for worker in self._workers:
            worker.warm_up(Frame(header, spectra))

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether every thread still works."""
        return all(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait until the closed ring has been emptied."""
        for thread in self._threads:
            thread.join()

    def _work(self, worker: _Worker) -> None:
        while True:
            try:
                entry = self._cursor.take()
            except RingClosedError:
                return
            if isinstance(entry, Frame):
                outcome = self._judge(worker, entry)
                self._cursor.release(entry)
            elif entry is None:
                continue
            else:
                outcome = entry
            self._deliver(outcome)

    def _judge(self, worker: _Worker, frame: Frame) -> Outcome:
        try:
            return worker.judge(frame)
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the engine: it counts as lost
            return LostFrames(
                frame.header.sequence, 1, LossCause.NOT_JUDGED, f"{type(error).__name__}: {error}"
            )


def _names(flags: FrameFlags) -> str:
    return ", ".join((flag.name or "").lower().replace("_", " ") for flag in flags)
