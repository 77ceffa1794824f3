"""Frames over all sweeps since the start: numbered, processed, lost, and how fast."""

from __future__ import annotations

import time
from collections import Counter

from octmargin.bus import FrameCounts
from octmargin.frames import LossCause
from octmargin.sweeps import SweepBook


class Totals:
    """Counts over all sweeps since the start."""

    def __init__(self) -> None:
        self.started_s = time.monotonic()
        self._sent = 0
        self._processed = 0
        self._lost: Counter[LossCause] = Counter()
        self._streaming_s = 0.0
        self._face_began_s: float | None = None

    def face_begins(self) -> None:
        """A sweep begins."""
        self._face_began_s = time.monotonic()

    def stood_still(self, seconds: float) -> None:
        """So long a sweep was paused: no time of scanning."""
        if self._face_began_s is not None:
            self._face_began_s += seconds

    def face_ends(self, book: SweepBook) -> None:
        """A sweep has ended and its book is complete."""
        self._sent += book.numbered or 0
        self._processed += book.processed
        self._lost.update(book.lost_by_cause)
        if self._face_began_s is not None:
            self._streaming_s += time.monotonic() - self._face_began_s
            self._face_began_s = None

    def frames(self, book: SweepBook | None) -> FrameCounts:
        """Finished sweeps, and what is known of the running one."""
        sent, processed, lost = self._sent, self._processed, Counter(self._lost)
        if book is not None and self._face_began_s is not None:
            processed += book.processed
            lost.update(book.lost_by_cause)
            sent += book.numbered if book.numbered is not None else book.processed + book.lost
        return FrameCounts(
            sent=sent,
            received=processed + sum(count for cause, count in lost.items() if cause.arrived),
            processed=processed,
            lost=lost.total(),
            lost_by_reason={cause.value: count for cause, count in lost.items()},
        )

    def rate_alines_per_s(self, alines: int) -> float:
        """A-lines judged per second of scanning, pauses between faces included."""
        seconds = self._streaming_s
        if self._face_began_s is not None:
            seconds += time.monotonic() - self._face_began_s
        return alines / seconds if seconds > 0 else 0.0
