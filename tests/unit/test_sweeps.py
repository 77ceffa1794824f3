"""The book of a sweep: every frame that the console numbered is processed or lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.device import SweepStarted
from octmargin.engine import Judged
from octmargin.errors import InputError, LocalProtocolError
from octmargin.frames import BlockState, FrameHeader, LossCause, LostFrames, PixelFormat, ScanPlan
from octmargin.margin import BlockFlags, Outcome, Policy
from octmargin.sweeps import SweepBook

FRAMES, ALINES = 8, 32
PLAN = ScanPlan("medial", 512, ALINES, FRAMES, 4.0, 2.0, 10_000)
FIRST = 100


def flags(*, suspicious: bool = False) -> BlockFlags:
    blocks = PLAN.blocks
    values = np.full(blocks, 0.9 if suspicious else 0.1, np.float32)
    return BlockFlags(
        suspicion=values,
        probabilities=np.zeros((blocks, 3), np.float32),
        suspicious=np.full(blocks, suspicious),
        distance_mm=np.full(blocks, 0.1 if suspicious else np.nan, np.float32),
        feature_mm=np.full(blocks, 0.1, np.float32),
        visualised_depth_mm=np.full(blocks, 1.0, np.float32),
        quality=np.zeros(blocks, np.uint8),
        surface_mm=np.zeros(blocks, np.float32),
        attenuation_per_mm=values.copy(),
        brightness_db=values.copy(),
        surface_px=np.zeros(ALINES, np.float32),
        enface_db=np.zeros(ALINES, np.float32),
        context=np.empty((blocks, 0), np.float32),
    )


def judged(index: int, *, suspicious: bool = False, sequence: int | None = None) -> Judged:
    header = FrameHeader(
        FIRST + index if sequence is None else sequence, 3, index, 0, ALINES, 512, PixelFormat.MONO12
    )
    return Judged(header, flags(suspicious=suspicious), 0, 0)


def book() -> SweepBook:
    new = SweepBook(PLAN, Policy())
    new.begin(SweepStarted(3, FIRST))
    return new


@given(lost=st.sets(st.integers(0, FRAMES - 1)), numbered=st.integers(0, FRAMES))
def test_processed_and_lost_add_up_to_what_was_numbered(lost: set[int], numbered: int) -> None:
    kept = book()
    for index in range(numbered):
        assert not kept.is_closed
        if index in lost:
            kept.lose(LostFrames(FIRST + index, 1, LossCause.WIRE))
        else:
            kept.take(judged(index))
    kept.close(numbered)
    assert kept.is_closed
    assert kept.processed + kept.lost == numbered
    for index in range(FRAMES):
        expected = (
            BlockState.NOT_SCANNED
            if index >= numbered
            else BlockState.LOST
            if index in lost
            else BlockState.NOTHING_SUSPICIOUS
        )
        assert (kept.map.state[index] == expected).all()


def test_a_sweep_in_two_parts_is_whole_and_its_losses_lie_where_they_happened() -> None:
    kept = book()
    for index in (0, 1, 3):
        kept.take(judged(index))
    kept.lose(LostFrames(FIRST + 2, 1, LossCause.WIRE))
    assert kept.remaining == replace(PLAN, first_frame=4)
    # The console numbered two more while nobody was connected; their places are scanned again. That is told, and
    # so may be the loss of a frame of the new part, before the host has heard where that begins.
    kept.wait()
    kept.lose(LostFrames(FIRST + 4, 2, LossCause.UNREAD))
    kept.lose(LostFrames(FIRST + 7, 1, LossCause.DAMAGED))
    assert kept.remaining == replace(PLAN, first_frame=4)
    kept.begin(SweepStarted(4, FIRST + 6), first_index=4)
    for index in (4, 6, 7):
        kept.take(judged(index, sequence=FIRST + 6 + index - 4))
    kept.close(10)
    assert kept.was_scanned_whole
    assert kept.remaining is None
    states = kept.map.state[:, 0].tolist()
    assert [index for index, state in enumerate(states) if state == BlockState.LOST] == [2, 5]


def test_a_frame_of_a_resumed_sweep_never_replaces_what_was_seen_before() -> None:
    kept = book()
    kept.take(judged(0, suspicious=True))
    kept.wait()
    # It may come before the host has heard where the new part begins.
    with pytest.raises(InputError, match="at place 0; the sweep goes on at 1"):
        kept.take(judged(0, sequence=FIRST + 1))
    assert kept.map.state[0, 0] == BlockState.SUSPICIOUS


def test_a_frame_that_is_not_where_its_number_says_is_refused() -> None:
    kept = book()
    with pytest.raises(InputError, match="at place 0 of the sweep, by its number it is at 3"):
        kept.take(judged(0, sequence=FIRST + 3))
    assert kept.processed == 0


def test_a_whole_clean_sweep_is_nothing_suspicious() -> None:
    kept = book()
    for index in range(FRAMES):
        kept.take(judged(index))
        assert kept.verdict().outcome is Outcome.INDETERMINATE, "not before the sweep is complete"
    kept.close(FRAMES)
    assert kept.verdict().outcome is Outcome.NOTHING_SUSPICIOUS


def test_a_sweep_that_was_stopped_is_never_nothing_suspicious() -> None:
    kept = book()
    for index in range(FRAMES - 1):
        kept.take(judged(index))
    kept.close(FRAMES - 1)
    assert kept.verdict().outcome is Outcome.INDETERMINATE


def test_frames_from_before_the_sweep_never_make_up_for_places_that_were_not_scanned() -> None:
    """A sweep stopped short, and as many frames numbered before it while nobody was connected."""
    kept = SweepBook(PLAN, Policy(min_coverage=0.5))
    kept.begin(SweepStarted(3, FIRST))
    kept.lose(LostFrames(FIRST - 2, 2, LossCause.UNREAD))
    for index in range(FRAMES - 2):
        kept.take(judged(index))
    kept.close(FRAMES)
    assert not kept.was_scanned_whole
    assert kept.verdict().outcome is Outcome.INDETERMINATE


def test_a_sweep_that_lost_frames_is_never_nothing_suspicious() -> None:
    kept = book()
    for index in range(1, FRAMES):
        kept.take(judged(index))
    kept.lose(LostFrames(FIRST, 1, LossCause.CONSUMER_SLOW))
    kept.close(FRAMES)
    assert kept.verdict().outcome is Outcome.INDETERMINATE
    assert kept.lost_by_cause == {LossCause.CONSUMER_SLOW: 1}


def test_a_cluster_is_suspicious_while_the_sweep_still_runs() -> None:
    kept = book()
    kept.take(judged(0, suspicious=True))
    kept.take(judged(1, suspicious=True))
    assert kept.verdict().outcome is Outcome.SUSPICIOUS


def test_books_that_do_not_balance_are_an_error_and_never_made_to_fit() -> None:
    for claimed in (3, 5):
        kept = book()
        for index in range(4):
            kept.take(judged(index))
        with pytest.raises(
            LocalProtocolError, match=f"{claimed} frames numbered, but 4 processed and 0 lost"
        ):
            kept.close(claimed)


def test_what_is_lost_before_the_console_has_said_that_it_began_gets_its_place() -> None:
    early = SweepBook(PLAN, Policy())
    early.lose(LostFrames(FIRST + 1, 2, LossCause.DAMAGED))
    early.begin(SweepStarted(3, FIRST))
    assert (early.map.state[1:3] == BlockState.LOST).all()
    assert early.lost == 2


def test_a_frame_outside_the_plan_is_not_counted_as_processed() -> None:
    kept = book()
    with pytest.raises(InputError):
        kept.take(judged(FRAMES))
    assert kept.processed == 0


def test_a_loss_that_reaches_over_the_end_of_the_sweep_marks_only_this_sweep() -> None:
    kept = book()
    kept.lose(LostFrames(FIRST - 2, FRAMES + 10, LossCause.WIRE))
    assert (kept.map.state == BlockState.LOST).all()
