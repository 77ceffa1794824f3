"""The engine: takes frames from the ring, has them judged, hands each result on once.

Each engine thread has kernels and buffers of its own and holds no Python lock while they run. What happens
to a result (map, messages, log) happens elsewhere: `deliver` is called once per frame or loss.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from octmargin.frame_judge import EngineSettings, FrameJudge, Judged, Outcome
from octmargin.frames import Frame, FrameHeader, PixelFormat
from octmargin.ring import Cursor, RingClosedError

__all__ = ["Engine", "EngineSettings", "Judged", "Outcome"]


class Engine:
    """`threads` workers on one cursor of the ring; `deliver` is called from their threads."""

    def __init__(
        self, cursor: Cursor, settings: EngineSettings, deliver: Callable[[Outcome], None], *, threads: int
    ) -> None:
        self._cursor = cursor
        self._deliver = deliver
        self._samples = settings.samples
        self._workers = [FrameJudge(settings) for _ in range(threads)]
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

    def _work(self, worker: FrameJudge) -> None:
        while True:
            try:
                entry = self._cursor.take()
            except RingClosedError:
                return
            if isinstance(entry, Frame):
                outcome = worker.judge(entry)
                self._cursor.release(entry)
            elif entry is None:
                continue
            else:
                outcome = entry
            self._deliver(outcome)
