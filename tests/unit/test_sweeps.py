"""The book of a sweep: every frame that the console numbered is processed or lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from octmargin.device import SweepStarted
from octmargin.engine import Judged
from octmargin.frames import BlockState, FrameHeader, LostFrames, PixelFormat, ScanPlan
from octmargin.margin import BlockFlags, Outcome, Policy
from octmargin.sweeps import SweepBook

FRAMES, ALINES = 8, 32
PLAN = ScanPlan("medial", 512, ALINES, FRAMES, 4.0, 4.0, 10_000)
FIRST = 100


def flags(*, suspicious: bool = False) -> BlockFlags:
    blocks = PLAN.blocks
    values = np.full(blocks, 0.9 if suspicious else 0.1, np.float32)
    return BlockFlags(
        suspicion=values,
        probabilities=np.zeros((blocks, 3), np.float32),
        suspicious=np.full(blocks, suspicious),
        distance_mm=np.full(blocks, 0.1 if suspicious else np.nan, np.float32),
        visualised_depth_mm=np.full(blocks, 1.0, np.float32),
        quality=np.zeros(blocks, np.uint8),
        surface_mm=np.zeros(blocks, np.float32),
        attenuation_per_mm=values.copy(),
        brightness_db=values.copy(),
        surface_px=np.zeros(ALINES, np.float32),
        enface_db=np.zeros(ALINES, np.float32),
    )


def judged(index: int, *, suspicious: bool = False) -> Judged:
    header = FrameHeader(FIRST + index, 3, index, 0, ALINES, 512, PixelFormat.MONO12)
    return Judged(header, flags(suspicious=suspicious), 0, 0)


def book() -> SweepBook:
    new = SweepBook(PLAN, Policy())
    new.started = SweepStarted(3, FIRST)
    return new


@given(lost=st.sets(st.integers(0, FRAMES - 1)), numbered=st.integers(0, FRAMES))
def test_processed_and_lost_add_up_to_what_was_numbered(lost: set[int], numbered: int) -> None:
    kept = book()
    for index in range(numbered):
        assert not kept.is_complete
        if index in lost:
            kept.lose(LostFrames(FIRST + index, 1, "never arrived"))
        else:
            kept.take(judged(index))
    kept.close(numbered)
    assert kept.is_complete
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
    assert kept.is_complete
    assert kept.verdict().outcome is Outcome.INDETERMINATE


def test_a_sweep_that_lost_frames_is_never_nothing_suspicious() -> None:
    kept = book()
    for index in range(1, FRAMES):
        kept.take(judged(index))
    kept.lose(LostFrames(FIRST, 1, "engine too slow"))
    kept.close(FRAMES)
    assert kept.verdict().outcome is Outcome.INDETERMINATE
    assert kept.lost_by_reason == {"engine too slow": 1}


def test_a_cluster_is_suspicious_while_the_sweep_still_runs() -> None:
    kept = book()
    kept.take(judged(0, suspicious=True))
    kept.take(judged(1, suspicious=True))
    assert kept.verdict().outcome is Outcome.SUSPICIOUS


def test_a_loss_that_reaches_over_the_end_of_the_sweep_marks_only_this_sweep() -> None:
    kept = book()
    kept.lose(LostFrames(FIRST - 2, FRAMES + 10, "never arrived"))
    assert (kept.map.state == BlockState.LOST).all()
