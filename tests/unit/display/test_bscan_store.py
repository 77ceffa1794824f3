"""B-scans are kept as far back as there is memory: what had to go is counted, and nothing is shown in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octmargin.display.bscan_store import MOST_SWEEPS, BscanStore, KeptFrame, KeptSweep, SweepAbout, ranges

ALINES, DEPTH = 32, 20


def about(face: str = "superior") -> SweepAbout:
    return SweepAbout(face, "session-1", "case-7", "s-1", True, ALINES, DEPTH, 4.0, 20.0)


def frame(level: int = 7) -> KeptFrame:
    blocks = np.full(2, 0.5, np.float32)
    return KeptFrame(
        levels=np.full((ALINES, DEPTH), level, np.uint8),
        surface_px=np.full(ALINES, 3.0, np.float32),
        state=np.full(2, 3, np.uint8),
        suspicion=blocks,
        distance_mm=blocks,
        visualised_depth_mm=blocks,
    )


FRAME_BYTES = frame().n_bytes


def filled(store: BscanStore, *counts: int) -> list[KeptSweep]:
    sweeps = []
    for number, count in enumerate(counts, 1):
        sweeps.append(store.begin(number, about()))
        for index in range(count):
            store.keep(sweeps[-1], index, frame())
    return sweeps


def test_the_oldest_sweep_goes_first_and_whole() -> None:
    store = BscanStore(10 * FRAME_BYTES)
    oldest, older, newest = filled(store, 4, 4, 4)
    assert [len(sweep.frames) for sweep in (oldest, older, newest)] == [0, 4, 4]
    assert (oldest.thrown_out, store.thrown_out) == (4, 4)
    assert store.n_bytes == 8 * FRAME_BYTES


def test_a_sweep_that_alone_is_too_large_loses_its_oldest_frames() -> None:
    store = BscanStore(10 * FRAME_BYTES)
    (sweep,) = filled(store, 25)
    assert ranges(sweep.frames) == [(15, 24)]
    assert sweep.thrown_out == store.thrown_out == 15


def test_a_place_that_is_scanned_again_shows_what_came_last_and_takes_no_more_memory() -> None:
    store = BscanStore(10 * FRAME_BYTES)
    (sweep,) = filled(store, 3)
    newest = frame(99)
    store.keep(sweep, 1, newest)
    assert store.find(1, 1) == (sweep, newest)
    assert store.n_bytes == 3 * FRAME_BYTES


@pytest.mark.parametrize(
    ("sweep", "index", "session", "reason"),
    [
        (3, 0, None, "no sweep 3"),
        (2, 9, None, "was lost, or has not been scanned"),
        (1, 0, None, "make room"),
        (2, 0, "session-0", "another one"),
    ],
)
def test_where_there_is_none_the_reason_is_told(
    sweep: int, index: int, session: str | None, reason: str
) -> None:
    store = BscanStore(5 * FRAME_BYTES)
    filled(store, 4, 4)
    found = store.find(sweep, index, session)
    assert isinstance(found, str)
    assert reason in found


def test_sweeps_without_end_are_forgotten_in_the_end() -> None:
    store = BscanStore(10 * FRAME_BYTES)
    filled(store, *[1] * (MOST_SWEEPS + 20))
    assert len(list(store.sweeps)) == MOST_SWEEPS
    assert store.thrown_out == MOST_SWEEPS + 20 - 10


def test_ranges_name_every_place_once() -> None:
    assert ranges([]) == []
    assert ranges([5, 1, 2, 3, 7, 8]) == [(1, 3), (5, 5), (7, 8)]


class AnyCourse(RuleBasedStateMachine):
    """Sweeps of any length, places in any order and again."""

    def __init__(self) -> None:
        super().__init__()
        self.store = BscanStore(7 * FRAME_BYTES)
        self.sweep: KeptSweep | None = None
        self.came: list[tuple[int, int, KeptFrame]] = []
        self.replaced = 0

    @rule()
    def begin(self) -> None:
        number = 1 if self.sweep is None else self.sweep.number + 1
        self.sweep = self.store.begin(number, about())

    @precondition(lambda self: self.sweep is not None)
    @rule(index=st.integers(0, 12))
    def keep(self, index: int) -> None:
        assert self.sweep is not None
        self.replaced += index in self.sweep.frames
        self.came.append((self.sweep.number, index, frame()))
        self.store.keep(self.sweep, index, self.came[-1][2])

    @invariant()
    def it_is_bounded_and_every_frame_is_kept_or_counted(self) -> None:
        kept = sum(len(sweep.frames) for sweep in self.store.sweeps)
        assert self.store.n_bytes == kept * FRAME_BYTES <= self.store.max_bytes
        assert kept + self.store.thrown_out + self.replaced == len(self.came)

    @invariant()
    def the_newest_frame_is_always_there_and_none_is_another_s(self) -> None:
        if self.came:
            number, index, newest = self.came[-1]
            found = self.store.find(number, index)
            assert not isinstance(found, str)
            assert found[1] is newest
        last_came = {(number, index): kept for number, index, kept in self.came}
        for sweep in self.store.sweeps:
            for index, kept in sweep.frames.items():
                assert last_came[sweep.number, index] is kept


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
