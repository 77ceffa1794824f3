"""The book of one sweep: which frame became what, and when every numbered frame is accounted for."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from octmargin.device import SweepStarted
from octmargin.engine import Judged
from octmargin.errors import InputError, LocalProtocolError
from octmargin.frames import BlockState, LossCause, LostFrames, ScanPlan
from octmargin.margin import MarginModel, Policy, SweepMap, Verdict, judge


class SweepBook:
    """Collects the outcomes of one sweep into its map; pure, lives on the event loop.

    Outcomes come until the engine is through; then `close` says how many frames the console numbered, and
    processed + lost = numbered, exactly. `model` gathers the evidence, as in `SweepMap`. `number` is the daemon's own,
    by which the bus knows the sweep: the parts of one that was interrupted have numbers of their own on the link.
    """

    def __init__(
        self, plan: ScanPlan, policy: Policy, model: MarginModel | None = None, *, number: int = 0
    ) -> None:
        self.plan = plan
        self.number = number
        self._started: SweepStarted | None = None
        self._first_index = 0
        """Place of the first frame of the sweep that the console numbered last."""
        self.map = SweepMap(plan.frames, plan.blocks, model, frame_um=plan.frame_um)
        self.processed = 0
        self.lost_by_cause: Counter[LossCause] = Counter()
        self._early_losses: list[LostFrames] = []
        self._is_waiting = True
        """For the console to begin, or to go on: where what is lost meanwhile belongs is not known yet."""
        self._goes_on_at = 0
        self.numbered: int | None = None
        self.newest_received_at_ns = time.time_ns()
        """Host clock at the newest frame behind map and verdict: said again later, they are no younger."""
        self._policy = policy

    @property
    def lost(self) -> int:
        """Frames of this sweep that will never be processed."""
        return self.lost_by_cause.total()

    @property
    def started(self) -> SweepStarted | None:
        """The sweep that the console numbered last, once it has begun."""
        return self._started

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self.numbered is not None

    @property
    def remaining(self) -> ScanPlan | None:
        """The plan from behind the last frame that came or was lost; None where all places have been scanned."""
        scanned = np.flatnonzero((self.map.state != BlockState.NOT_SCANNED).any(axis=1))
        first = int(scanned[-1]) + 1 if scanned.size else 0
        return replace(self.plan, first_frame=first) if first < self.plan.frames else None

    def wait(self) -> None:
        """The console is about to go on: losses from now on belong to the part that `begin` announces."""
        self._is_waiting = True
        remaining = self.remaining
        self._goes_on_at = remaining.first_frame if remaining is not None else self.plan.frames

    def begin(self, started: SweepStarted, first_index: int = 0) -> None:
        """The console has begun, or goes on from `first_index`; what was lost meanwhile gets its place in the map.

        Everything of an earlier part must have been taken or lost.
        """
        self._started, self._first_index = started, first_index
        self._is_waiting = False
        for lost in self._early_losses:
            self._mark(started, lost)
        self._early_losses.clear()

    def take(self, judged: Judged) -> None:
        """A frame was judged; InputError where it is none of the plan's, or not where its number says it is."""
        header, started = judged.header, self._started
        if started is not None and not self._is_waiting:
            expected = self._first_index + header.sequence - started.first_sequence
            if header.index != expected:
                raise InputError(
                    f"frame {header.sequence} says it is at place {header.index} of the sweep, by its number it is at "
                    f"{expected}"
                )
        elif header.index < self._goes_on_at:
            # A console that counts from zero again would put other tissue over what was seen.
            raise InputError(
                f"frame {header.sequence} says it is at place {header.index}; the sweep goes on at {self._goes_on_at}"
            )
        self.map.place(judged.header.index, judged.flags)
        self.processed += 1
        self.newest_received_at_ns = max(self.newest_received_at_ns, judged.header.received_at_ns)

    def lose(self, lost: LostFrames) -> None:
        """Frames were lost; their places in the map become holes."""
        self.lost_by_cause[lost.cause] += lost.count
        if self._started is None or self._is_waiting:
            self._early_losses.append(lost)
        else:
            self._mark(self._started, lost)

    def place_of(self, sequence: int) -> int | None:
        """Index within the sweep of a frame by its number; None where that is not known, or it is of no place."""
        if self._started is None or self._is_waiting:
            return None
        index = self._first_index + sequence - self._started.first_sequence
        return index if self._first_index <= index < self.plan.frames else None

    def _mark(self, started: SweepStarted, lost: LostFrames) -> None:
        # What was numbered before this part has its place in an earlier one, or none.
        first_index = self._first_index + lost.first_sequence - started.first_sequence
        for index in range(
            max(self._first_index, first_index), min(self.plan.frames, first_index + lost.count)
        ):
            self.map.mark_lost(index)

    def close(self, numbered: int | None) -> None:
        """Everything has come; `numbered` is the console's count, None where it could not be asked.

        LocalProtocolError where that is not what came: the books must never be made to fit.
        """
        accounted = self.processed + self.lost
        self.numbered = accounted if numbered is None else numbered
        if self.numbered != accounted:
            raise LocalProtocolError(
                f"sweep over {self.plan.face}: {self.numbered} frames numbered, but {self.processed} processed and "
                f"{self.lost} lost"
            )

    @property
    def was_scanned_whole(self) -> bool:
        """Whether every planned place was scanned, be it lost since.

        The console's count does not tell: it may include frames from before this sweep.
        """
        return self.is_closed and not bool((self.map.state == BlockState.NOT_SCANNED).any())

    @property
    def state(self) -> NDArray[np.uint8]:
        """`BlockState` of the map as the evidence gives it, (frames, blocks): what the verdict counts."""
        point = self._policy.operating_point(self.map.operating_point)
        return self.map.state_by_evidence(point.suspicious_at)

    def verdict(self) -> Verdict:
        """The verdict as it stands; provisional until the book is closed."""
        return judge(self.map, self._policy, complete=self.was_scanned_whole)
