"""The book of one sweep: which frame became what, and when every numbered frame is accounted for."""

from __future__ import annotations

import time
from collections import Counter

from octmargin.device import SweepStarted
from octmargin.engine import Judged
from octmargin.frames import LostFrames, ScanPlan
from octmargin.margin import Policy, SweepMap, Verdict, judge


class SweepBook:
    """Collects the outcomes of one sweep into its map; pure, lives on the event loop.

    `counted` frames are processed or lost. The console says at the end how many it numbered; then
    processed + lost = numbered, exactly.
    """

    def __init__(self, plan: ScanPlan, policy: Policy) -> None:
        self.plan = plan
        self.started: SweepStarted | None = None
        self.map = SweepMap(plan.frames, plan.blocks)
        self.processed = 0
        self.lost_by_reason: Counter[str] = Counter()
        self.numbered: int | None = None
        self.newest_received_at_ns = time.time_ns()
        """Host clock at the newest frame behind map and verdict: said again later, they are no younger."""
        self._policy = policy

    @property
    def lost(self) -> int:
        """Frames of this sweep that will never be processed."""
        return self.lost_by_reason.total()

    @property
    def is_complete(self) -> bool:
        """Whether every frame that the console numbered is accounted for."""
        return self.numbered is not None and self.processed + self.lost >= self.numbered

    def take(self, judged: Judged) -> None:
        """A frame was judged; InputError where it is none of the plan's."""
        self.map.place(judged.header.index, judged.flags)
        self.processed += 1
        self.newest_received_at_ns = max(self.newest_received_at_ns, judged.header.received_at_ns)

    def lose(self, lost: LostFrames) -> None:
        """Frames were lost; their places in the map become holes."""
        self.lost_by_reason[lost.reason] += lost.count
        if self.started is None:
            return
        first_index = lost.first_sequence - self.started.first_sequence
        for index in range(max(0, first_index), min(self.plan.frames, first_index + lost.count)):
            self.map.mark_lost(index)

    def close(self, numbered: int) -> None:
        """The console scans no more and numbered so many frames."""
        self.numbered = numbered

    @property
    def was_scanned_whole(self) -> bool:
        """Whether the console numbered every planned frame."""
        return self.numbered is not None and self.numbered >= self.plan.frames

    def verdict(self) -> Verdict:
        """The verdict as it stands; provisional until the book is complete."""
        return judge(self.map, self._policy, complete=self.is_complete and self.was_scanned_whole)
