"""The rules that keep a verdict safe, over every map that hypothesis can think of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from octmargin.errors import ConfigError, InputError
from octmargin.frames import BlockQuality, BlockState
from octmargin.margin import (
    BlockFlags,
    Outcome,
    Policy,
    RuleModel,
    SweepMap,
    Verdict,
    face_score,
    judge,
    load_model,
)
from octmargin.margin.grid import KnownGrid
from octmargin.margin.model import OperatingPoint


def flags(
    suspicious: list[bool], quality: list[int] | None = None, depth_mm: float = 1.0, distance_mm: float = 0.2
) -> BlockFlags:
    count = len(suspicious)
    is_suspicious = np.array(suspicious)
    return BlockFlags(
        suspicion=np.where(is_suspicious, 0.9, 0.1).astype(np.float32),
        probabilities=np.full((count, 3), 1 / 3, dtype=np.float32),
        suspicious=is_suspicious,
        distance_mm=np.where(is_suspicious, distance_mm, np.nan).astype(np.float32),
        feature_mm=np.full(count, distance_mm, dtype=np.float32),
        visualised_depth_mm=np.full(count, depth_mm, dtype=np.float32),
        quality=np.array(quality or [0] * count, dtype=np.uint8),
        surface_mm=np.full(count, 0.2, dtype=np.float32),
        attenuation_per_mm=np.full(count, 3.0, dtype=np.float32),
        brightness_db=np.full(count, 20.0, dtype=np.float32),
        surface_px=np.full(16 * count, 50.0, dtype=np.float32),
        enface_db=np.full(16 * count, 20.0, dtype=np.float32),
        context=np.empty((count, 0), dtype=np.float32),
    )


def sweep(state: np.ndarray, depth_mm: float = 1.0) -> SweepMap:  # type: ignore[type-arg]
    sweep_map = SweepMap(*state.shape)
    sweep_map.state[:] = state
    usable = state >= BlockState.NOTHING_SUSPICIOUS
    sweep_map.visualised_depth_mm[usable] = depth_mm
    sweep_map.suspicion[usable] = np.where(state[usable] == BlockState.SUSPICIOUS, 0.9, 0.1)
    sweep_map.feature_mm[usable] = 0.2
    return sweep_map


def clear(frames: int = 10, blocks: int = 10) -> np.ndarray:  # type: ignore[type-arg]
    return np.full((frames, blocks), BlockState.NOTHING_SUSPICIOUS, dtype=np.uint8)


states = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4))
mostly_clear = arrays(np.uint8, (10, 10), elements=st.sampled_from([3]), fill=st.just(3)).flatmap(
    lambda grid: st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)), max_size=8).map(
        lambda dots: with_dots(grid, dots)
    )
)


def with_dots(grid: np.ndarray, dots: list[tuple[int, int, int]]) -> np.ndarray:  # type: ignore[type-arg]
    dotted = grid.copy()
    for frame, block, state in dots:
        dotted[frame, block] = state
    return dotted


@settings(max_examples=300, deadline=None)
@given(st.one_of(states, mostly_clear), st.floats(0.0, 2.0), st.booleans())
def test_nothing_suspicious_needs_a_complete_sweep_coverage_depth_and_not_one_suspicious_block(
    state: np.ndarray,  # type: ignore[type-arg]
    depth_mm: float,
    complete: bool,
) -> None:
    policy = Policy()
    verdict = judge(sweep(state, depth_mm), policy, complete=complete)
    share_clear = float((state == BlockState.NOTHING_SUSPICIOUS).mean())
    deep_enough = np.float32(depth_mm) >= policy.min_visualised_depth_mm
    may_be_clear = complete and share_clear >= 0.95 and deep_enough and not (state == 4).any()
    assert (verdict.outcome is Outcome.NOTHING_SUSPICIOUS) == may_be_clear
    assert verdict.coverage == pytest.approx(float((state >= 3).mean()))
    assert sum(verdict.counts.values()) == state.size
    if verdict.outcome is not Outcome.NOTHING_SUSPICIOUS:
        assert verdict.reasons


@settings(max_examples=200, deadline=None)
@given(states, st.integers(0, 9), st.integers(0, 9), st.booleans(), st.floats(0.0, 1.0))
def test_a_cluster_is_suspicious_whatever_the_rest_is(
    rest: np.ndarray,  # type: ignore[type-arg]
    frame: int,
    block: int,
    complete: bool,
    depth_mm: float,
) -> None:
    state = np.zeros((12, 12), dtype=np.uint8)
    state[: rest.shape[0], : rest.shape[1]] = rest
    state[[frame, frame + 1, frame + 2], [block, block + 1, block + 2]] = BlockState.SUSPICIOUS
    verdict = judge(sweep(state, depth_mm), Policy(), complete=complete)
    assert verdict.outcome is Outcome.SUSPICIOUS
    assert verdict.clusters[0].blocks >= 3


@settings(max_examples=200, deadline=None)
@given(mostly_clear, st.integers(0, 9), st.integers(0, 9), st.sampled_from([0, 1, 2]))
def test_losing_a_block_never_turns_a_verdict_into_nothing_suspicious(
    state: np.ndarray,  # type: ignore[type-arg]
    frame: int,
    block: int,
    unseen: int,
) -> None:
    before = judge(sweep(state), Policy(), complete=True).outcome
    if state[frame, block] == BlockState.SUSPICIOUS:
        return
    state[frame, block] = unseen
    after = judge(sweep(state), Policy(), complete=True).outcome
    assert after is before or (before, after) == (Outcome.NOTHING_SUSPICIOUS, Outcome.INDETERMINATE)


@pytest.mark.parametrize("blocks", [[(3, 3)], [(3, 3), (4, 4)], [(0, 0), (5, 5), (9, 9)]])
def test_isolated_suspicious_blocks_are_indeterminate(blocks: list[tuple[int, int]]) -> None:
    state = clear()
    for place in blocks:
        state[place] = BlockState.SUSPICIOUS
    verdict = judge(sweep(state), Policy(), complete=True)
    assert verdict.outcome is Outcome.INDETERMINATE
    assert f"clusters of {verdict.clusters[0].blocks} at most, below 3" in verdict.reasons[0]


def test_a_clear_face_says_which_margin_it_cannot_certify() -> None:
    verdict = judge(sweep(clear(), depth_mm=1.1), Policy(), complete=True)
    assert verdict.outcome is Outcome.NOTHING_SUSPICIOUS
    assert verdict.reasons == ("DCIS margin of 2 mm cannot be certified: visualised depth 1.1 mm",)
    assert verdict.visualised_depth_mm == pytest.approx(1.1)
    assert np.isnan(verdict.nearest_distance_mm)


def test_the_reasons_for_an_indeterminate_face_are_in_plain_words() -> None:
    state = clear()
    state[:4] = BlockState.LOST
    verdict = judge(sweep(state, depth_mm=0.25), Policy(), complete=False)
    assert verdict.outcome is Outcome.INDETERMINATE
    assert verdict.reasons[:3] == (
        "the sweep is not complete",
        "coverage 60% is below 95% (40 lost)",
        "visualised depth 0.25 mm is below 0.3 mm",
    )
    empty = judge(SweepMap(3, 3), Policy(), complete=True)
    assert "no block is usable" in empty.reasons
    assert np.isnan(empty.visualised_depth_mm)


class ForDenseFrames(RuleModel):
    """Knows frames 240 µm apart at most."""

    known_grid = KnownGrid((3.8, 4.2), (12.0, 20.0), 240.0)

    def gather(self, suspicion: Any, *_: Any) -> Any:
        return suspicion


def sparse(
    frame_um: float | None, policy: Policy, *, model: RuleModel | None = None, suspicion: float = 0.0
) -> Verdict:
    """On a face that was seen whole, but for what lies between its frames."""
    sweep_map = SweepMap(6, 6, model, frame_um=frame_um)
    nowhere = np.empty((6, 6, 0), np.float32)
    sweep_map.enter(np.full((6, 6), suspicion, np.float32), nowhere, np.ones((6, 6), np.bool_))
    sweep_map.visualised_depth_mm[:] = 1.0
    return judge(sweep_map, policy, complete=True)


@pytest.mark.parametrize(
    ("frame_um", "policy", "limit"),
    [
        (240.0, Policy(), ""),
        (240.04, Policy(), ""),
        (None, Policy(), ""),
        (250.0, Policy(), "frames 250 µm apart, and rule-1 knows 240 at most"),
        (250.0, Policy(max_frame_um=1000), "frames 250 µm apart, and rule-1 knows 240 at most"),
        (1000.0, Policy(max_frame_um=200), "frames 1000 µm apart, and policy.max_frame_um is 200"),
        (200.3, Policy(max_frame_um=200), "frames 200.3 µm apart, and policy.max_frame_um is 200"),
    ],
)
@pytest.mark.parametrize("suspicion", [0.0, 1.0])
def test_frames_too_far_apart_clear_nothing_and_hide_nothing(
    frame_um: float | None, policy: Policy, limit: str, suspicion: float
) -> None:
    verdict = sparse(frame_um, policy, model=ForDenseFrames(), suspicion=suspicion)
    if suspicion:
        assert verdict.outcome is Outcome.SUSPICIOUS
    else:
        assert verdict.outcome is (Outcome.INDETERMINATE if limit else Outcome.NOTHING_SUSPICIOUS)
    told = [reason for reason in verdict.reasons if "apart" in reason]
    assert told == ([f"{limit}: what lies between them was not seen"] if limit else [])


@pytest.mark.parametrize(("max_frame_um", "clears"), [(250.0, False), (300.0, True), (None, True)])
def test_for_a_model_that_knows_no_distance_the_policy_holds(
    max_frame_um: float | None, clears: bool
) -> None:
    policy = Policy() if max_frame_um == Policy().max_frame_um else Policy(max_frame_um=max_frame_um)
    assert sparse(250.0, policy).outcome is Outcome.NOTHING_SUSPICIOUS
    assert (sparse(300.0, policy).outcome is Outcome.NOTHING_SUSPICIOUS) == clears
    assert sparse(300.0, policy, suspicion=1.0).outcome is Outcome.SUSPICIOUS


def test_the_visualised_depth_is_what_nine_in_ten_blocks_reach() -> None:
    sweep_map = sweep(clear())
    sweep_map.visualised_depth_mm[0] = 0.2
    assert judge(sweep_map, Policy(), complete=True).visualised_depth_mm == pytest.approx(0.2)
    sweep_map.visualised_depth_mm[0, 1:] = 1.0
    assert judge(sweep_map, Policy(), complete=True).visualised_depth_mm == pytest.approx(1.0)


def test_a_suspicious_face_says_how_near_and_within_which_margin() -> None:
    state = clear()
    state[2:4, 5:8] = BlockState.SUSPICIOUS
    state[9, 0] = BlockState.SUSPICIOUS
    verdict = judge(sweep(state), Policy(), complete=True)
    assert verdict.reasons[0] == (
        "6 suspicious blocks in 1 cluster, nearest 0.20 mm below the surface: "
        "beyond the invasive margin of 0 mm, within the DCIS margin of 2 mm"
    )
    assert [cluster.blocks for cluster in verdict.clusters] == [6, 1]
    largest = verdict.clusters[0]
    assert (largest.first_frame, largest.last_frame, largest.first_block, largest.last_block) == (2, 3, 5, 7)
    assert verdict.nearest_distance_mm == pytest.approx(0.2)


def test_a_map_starts_as_not_scanned_and_takes_frames_in_any_order() -> None:
    sweep_map = SweepMap(3, 4)
    sweep_map.place(2, flags([False, True, False, False], [0, 0, BlockQuality.SATURATED, 0]))
    assert sweep_map.state.tolist() == [[0] * 4, [0] * 4, [3, 4, 2, 3]]
    assert sweep_map.feature_mm[2, 1] == pytest.approx(0.2)


def test_lost_never_overwrites_a_placed_frame_and_a_late_frame_overwrites_lost() -> None:
    sweep_map = SweepMap(2, 2)
    sweep_map.place(0, flags([False, False]))
    sweep_map.mark_lost(0)
    sweep_map.mark_lost(1)
    assert sweep_map.state.tolist() == [[3, 3], [1, 1]]
    sweep_map.mark_lost(1)
    sweep_map.place(1, flags([False, True]))
    sweep_map.place(1, flags([False, True]))
    assert sweep_map.state.tolist() == [[3, 3], [3, 4]]


def test_a_poor_block_is_poor_even_where_it_is_called_suspicious_and_unknown_is_poor() -> None:
    sweep_map = SweepMap(1, 2)
    unknown = flags([True, False], [BlockQuality.LOW_SIGNAL, 0])
    suspicion = np.array([0.9, np.nan], dtype=np.float32)
    object.__setattr__(unknown, "suspicion", suspicion)
    sweep_map.place(0, unknown)
    assert sweep_map.state.tolist() == [[BlockState.POOR, BlockState.POOR]]


def test_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"frame 3 is outside the planned 0\.\.2"):
        SweepMap(3, 2).mark_lost(3)
    with pytest.raises(InputError, match="frame has 3 blocks, planned were 2"):
        SweepMap(3, 2).place(0, flags([False] * 3))
    with pytest.raises(InputError, match="0 frames x 2 blocks"):
        SweepMap(0, 2)
    with pytest.raises(ConfigError, match="min_coverage is 0"):
        Policy(min_coverage=0)
    with pytest.raises(ConfigError, match="min_cluster_blocks is 0"):
        Policy(min_cluster_blocks=0)
    with pytest.raises(ConfigError, match="min_visualised_depth_mm is 0"):
        Policy(min_visualised_depth_mm=0)
    for useless_um in (0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"max_frame_um is {useless_um}"):
            Policy(max_frame_um=useless_um)
    with pytest.raises(ConfigError, match="dcis_margin_mm is -1"):
        Policy(dcis_margin_mm=-1)


class DeafToFrames(RuleModel):
    """Its evidence is none, whatever the frames say."""

    def gather(self, suspicion: Any, context: Any, sound: Any) -> Any:
        del suspicion, context
        return np.where(sound, np.float32(0.01), np.float32(np.nan))


class TestEvidence:
    """Blocks of a sweep speak together: what stands at which evidence."""

    @staticmethod
    def map_of(evidence: np.ndarray) -> SweepMap:  # type: ignore[type-arg]
        sweep_map = SweepMap(*evidence.shape)
        sweep_map.enter(
            np.nan_to_num(evidence).astype(np.float32), np.empty((*evidence.shape, 0), np.float32),
            np.isfinite(evidence),
        )  # fmt: skip
        sweep_map.visualised_depth_mm[:] = 1.0
        return sweep_map

    @given(
        evidence=arrays(
            np.float32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.floats(0, 1, width=16)
        ),
        least=st.integers(1, 4),
    )
    def test_a_face_scores_the_highest_evidence_at_which_a_cluster_stands(
        self,
        evidence: np.ndarray,
        least: int,  # type: ignore[type-arg]
    ) -> None:
        def stands(level: float) -> bool:
            labels, count = ndimage.label(evidence >= level, structure=np.ones((3, 3)))
            return any((labels == number).sum() >= least for number in range(1, count + 1))

        standing = [level for level in np.unique(evidence).tolist() if stands(level)]
        assert face_score(self.map_of(evidence), least) == max(standing, default=0.0)

    def test_what_a_model_says_of_what_it_could_not_judge_does_not_count(self) -> None:
        class Careless(RuleModel):
            def gather(self, *_: Any) -> Any:
                return np.array([[0.9, np.nan, 0.1]], np.float32)

        sweep_map = SweepMap(1, 3, Careless())
        sweep_map.place(0, flags([False] * 3, [BlockQuality.SHALLOW, 0, 0]))
        assert sweep_map.state_by_evidence(0.5).tolist() == [
            [BlockState.POOR, BlockState.POOR, BlockState.NOTHING_SUSPICIOUS]
        ]
        verdict = judge(sweep_map, Policy(), complete=True)
        assert verdict.coverage == pytest.approx(1 / 3)
        assert verdict.outcome is Outcome.INDETERMINATE

    def test_one_model_judges_a_whole_sweep(self) -> None:
        sweep_map = SweepMap(2, 3)
        sweep_map.place(0, flags([False] * 3))
        other = replace(flags([False] * 3), context=np.zeros((3, 4), np.float32))
        with pytest.raises(InputError, match="one model must judge a whole sweep"):
            sweep_map.place(1, other)
        assert (sweep_map.state[1] == BlockState.NOT_SCANNED).all()

    def test_doubt_is_neither_suspicious_nor_nothing(self) -> None:
        evidence = np.full((6, 6), 0.01)
        evidence[2:4, 2] = 0.4
        policy = Policy(suspicious_at=0.6, doubtful_at=0.3, min_cluster_blocks=2)
        verdict = judge(self.map_of(evidence), policy, complete=True)
        assert verdict.outcome is Outcome.INDETERMINATE
        assert (
            verdict.reasons[0] == "2 neighbouring blocks with evidence of 0.40, below 0.6, but not below 0.3"
        )
        evidence[3, 2] = 0.2
        assert judge(self.map_of(evidence), policy, complete=True).outcome is Outcome.NOTHING_SUSPICIOUS

    @settings(max_examples=200, deadline=None)
    @given(
        alone=arrays(np.float32, (6, 6), elements=st.floats(0, 1, width=16)),
        lost=arrays(np.bool_, (6, 6)),
        limit=st.floats(0.25, 0.75, width=16),
    )
    def test_one_block_that_its_frame_alone_finds_suspicious_leaves_a_face_open(
        self,
        alone: np.ndarray,  # type: ignore[type-arg]
        lost: np.ndarray,  # type: ignore[type-arg]
        limit: float,
    ) -> None:
        sweep_map = SweepMap(6, 6, DeafToFrames())
        sweep_map.enter(alone, np.empty((6, 6, 0), np.float32), ~lost)
        sweep_map.visualised_depth_mm[:] = 1.0
        policy = Policy(min_coverage=1e-9, doubtful_alone_at=limit)
        verdict = judge(sweep_map, policy, complete=True)
        # What could not be judged says nothing, however suspicious it looked.
        is_open = lost.all() or bool((alone[~lost] >= limit).any())
        assert (verdict.outcome is Outcome.INDETERMINATE) == is_open
        assert (verdict.outcome is Outcome.NOTHING_SUSPICIOUS) != is_open
        cleared = judge(sweep_map, replace(policy, doubtful_alone_at=None), complete=True).outcome
        assert (cleared is Outcome.NOTHING_SUSPICIOUS) == (not lost.all()), (
            "only where the model or the site asks"
        )

    def test_a_frame_alone_makes_no_face_suspicious_and_says_why_it_is_open(self) -> None:
        alone = np.full((6, 6), 0.01, np.float32)
        alone[2, 3:5] = 0.62, 0.97
        sweep_map = SweepMap(6, 6, DeafToFrames())
        sweep_map.enter(alone, np.empty((6, 6, 0), np.float32), np.ones((6, 6), np.bool_))
        sweep_map.visualised_depth_mm[:] = 1.0
        verdict = judge(sweep_map, Policy(doubtful_alone_at=0.5), complete=True)
        assert verdict.outcome is Outcome.INDETERMINATE
        assert verdict.clusters == ()
        assert verdict.reasons[0] == (
            "2 blocks with a suspicion of up to 0.97 in the frame alone, not below 0.5; neighbours speak against it"
        )

    def test_margin_1_leaves_open_what_a_frame_finds_four_to_one_malignant(self) -> None:
        assert load_model("margin-1").operating_point.doubtful_alone_at == 0.8
        # Its suspicion is an order, not a probability.
        assert load_model("rule-1").operating_point.doubtful_alone_at is None

    def test_a_block_that_is_not_sound_has_no_evidence_and_is_said_with_its_reason(self) -> None:
        sweep_map = SweepMap(4, 4)
        for frame in range(3):
            sweep_map.place(frame, flags([False] * 4, [BlockQuality.SATURATED if frame else 0] * 4))
        sweep_map.mark_lost(3)
        assert np.isnan(sweep_map.evidence[1:]).all()
        verdict = judge(sweep_map, Policy(), complete=True)
        assert verdict.outcome is Outcome.INDETERMINATE
        assert verdict.reasons[0] == "coverage 25% is below 95% (8 saturated, 4 lost)"

    def test_the_site_may_move_the_operating_point_of_the_model(self) -> None:
        of_model = OperatingPoint(0.7, 0.4, 2)
        assert Policy().operating_point(of_model) == of_model
        assert Policy(suspicious_at=0.3).operating_point(of_model) == OperatingPoint(0.3, 0.3, 2)
        assert Policy(doubtful_at=0.1, min_cluster_blocks=5).operating_point(of_model) == OperatingPoint(
            0.7, 0.1, 5
        )
        with pytest.raises(ConfigError, match=r"doubtful_at is 0\.8, above suspicious_at, 0\.7"):
            Policy(doubtful_at=0.8).operating_point(of_model)
        with pytest.raises(ConfigError, match=r"suspicious_at is 1"):
            Policy(suspicious_at=1)
        alone = OperatingPoint(0.7, 0.4, 2, 0.5)
        assert Policy(doubtful_alone_at=0.9).operating_point(alone) == OperatingPoint(0.7, 0.4, 2, 0.9)
        assert Policy().operating_point(alone) == alone
        with pytest.raises(ConfigError, match=r"doubtful_alone_at is 0; give a suspicion between 0 and 1"):
            Policy(doubtful_alone_at=0)

    def test_a_cluster_knows_its_highest_evidence_and_where_it_lies(self) -> None:
        evidence = np.full((5, 6), 0.01)
        evidence[1, 2:5], evidence[2, 4] = (0.7, 0.8, 0.9), 0.95
        (cluster,) = judge(self.map_of(evidence), Policy(), complete=True).clusters
        assert (cluster.first_frame, cluster.last_frame, cluster.first_block, cluster.last_block) == (
            1,
            2,
            2,
            4,
        )
        assert cluster.evidence == pytest.approx(0.95)
        assert (cluster.peak_frame, cluster.peak_block) == (2, 4)
        assert cluster.blocks == 4

    def test_the_peak_of_a_cluster_is_its_own_also_where_another_lies_within_its_extent(self) -> None:
        evidence = np.full((5, 5), 0.01)
        evidence[0, :], evidence[:, 0], evidence[2:4, 2:4] = 0.8, 0.8, 0.99
        frame = next(
            c for c in judge(self.map_of(evidence), Policy(), complete=True).clusters if c.blocks == 9
        )
        assert (frame.peak_frame, frame.peak_block) == (0, 0)
        assert frame.evidence == pytest.approx(0.8)
