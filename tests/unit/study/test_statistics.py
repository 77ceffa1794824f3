"""The study's statistics, against scipy, against counting by hand, and by what must hold for any data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from octmargin.errors import InputError
from octmargin_simulator.study import statistics as s

RNG = np.random.default_rng(5)
CASES = st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=2, max_size=60).filter(
    lambda cases: len({positive for _, positive in cases}) == 2
)


def scored(cases: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores, positive = zip(*cases, strict=True)
    return np.array(scores, float), np.array(positive)


class TestAuroc:
    @given(CASES)
    def test_it_is_the_share_of_pairs_in_order(self, cases: list[tuple[int, bool]]) -> None:
        scores, positive = scored(cases)
        pairs = np.sign(scores[positive][:, None] - scores[~positive][None])
        assert s.auroc(scores, positive) == pytest.approx((pairs + 1).mean() / 2)

    @given(CASES)
    def test_it_is_the_statistic_of_mann_and_whitney(self, cases: list[tuple[int, bool]]) -> None:
        scores, positive = scored(cases)
        u = stats.mannwhitneyu(scores[positive], scores[~positive], method="asymptotic").statistic
        assert s.auroc(scores, positive) == pytest.approx(u / (positive.sum() * (~positive).sum()))

    @given(CASES)
    def test_it_knows_order_only(self, cases: list[tuple[int, bool]]) -> None:
        scores, positive = scored(cases)
        area = s.auroc(scores, positive)
        assert s.auroc(np.exp(scores / 20) + 3, positive) == pytest.approx(area)
        assert s.auroc(-scores, positive) == pytest.approx(1 - area)
        assert s.auroc(scores, ~positive) == pytest.approx(1 - area)
        assert s.auroc(np.tile(scores, 3), np.tile(positive, 3)) == pytest.approx(area)

    @given(CASES)
    def test_it_is_the_area_under_the_curve(self, cases: list[tuple[int, bool]]) -> None:
        scores, positive = scored(cases)
        false, true = s.roc(scores, positive)
        assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
        assert np.trapezoid(true, false) == pytest.approx(s.auroc(scores, positive))

    def test_a_point_of_the_curve_is_what_a_threshold_calls(self) -> None:
        scores, positive = RNG.integers(0, 8, 200).astype(float), RNG.random(200) < 0.3
        false, true = s.roc(scores, positive)
        for threshold, x, y in zip(np.unique(scores)[::-1], false[1:], true[1:], strict=True):
            assert x == pytest.approx((scores[~positive] >= threshold).mean())
            assert y == pytest.approx((scores[positive] >= threshold).mean())

    @given(CASES)
    def test_counts_per_specimen_give_the_same_area(self, cases: list[tuple[int, bool]]) -> None:
        scores, positive = scored(cases)
        counts = s.score_counts(scores, positive, np.arange(len(scores)) % 3, 3)
        assert counts.sum() == len(scores)
        assert s.auroc_of_counts(counts.sum(axis=0)) == pytest.approx(s.auroc(scores, positive))

    def test_more_scores_than_bins_move_it_by_less_than_a_bin(self) -> None:
        positive = RNG.random(20_000) < 0.1
        scores = RNG.normal(positive * 1.5, 1)
        counts = s.score_counts(scores, positive, np.zeros(20_000, int), 1, bins=256)
        assert counts.shape == (1, 2, 256)
        assert s.auroc_of_counts(counts[0]) == pytest.approx(s.auroc(scores, positive), abs=1 / 256)

    @pytest.mark.parametrize(
        ("scores", "positive", "said"),
        [
            ([1.0, 2.0], [True, True], "all cases are alike"),
            ([1.0, np.nan], [True, False], "not finite"),
            ([1.0], [True, False], "one of each per case"),
            ([], [], "all cases are alike"),
        ],
    )
    def test_what_has_no_area_is_refused(self, scores: list[float], positive: list[bool], said: str) -> None:
        for function in (s.auroc, s.roc):
            with pytest.raises(InputError, match=said):
                function(scores, positive)


class TestCalibration:
    @pytest.mark.parametrize("equal_mass", [True, False])
    def test_the_error_is_that_of_counting_bin_by_bin(self, equal_mass: bool) -> None:
        probability, specimen = RNG.random(3001) ** 2, RNG.integers(0, 7, 3001)
        positive = RNG.random(3001) < probability**1.5
        sums = s.calibration_sums(probability, positive, specimen, 7, equal_mass=equal_mass)
        order = np.argsort(probability)
        if equal_mass:
            bins = np.array_split(order, 15)
        else:
            bins = [np.flatnonzero((probability >= k / 15) & (probability < (k + 1) / 15)) for k in range(15)]
        by_hand = sum(len(b) / 3001 * abs(probability[b].mean() - positive[b].mean()) for b in bins if len(b))
        assert s.expected_calibration_error(sums.sum(axis=0)) == pytest.approx(by_hand, abs=2e-3)
        assert sums[:, 0].sum(axis=1).tolist() == np.bincount(specimen).tolist()

    def test_probabilities_that_hold_have_no_error(self) -> None:
        probability = np.repeat(np.arange(1, 10) / 10, 100)
        positive = np.concatenate([np.arange(100) < 10 * k for k in range(1, 10)])
        sums = s.calibration_sums(probability, positive, np.zeros(900, int), 1)
        assert s.expected_calibration_error(sums[0]) == pytest.approx(0, abs=1e-9)

    def test_certainty_and_probability_one_have_a_bin(self) -> None:
        for equal_mass in (True, False):
            sums = s.calibration_sums(
                np.array([0.0, 1.0]), np.array([False, True]), np.zeros(2, int), 1, equal_mass=equal_mass
            )
            assert sums[0, 0].sum() == 2
            assert s.expected_calibration_error(sums[0]) == 0

    def test_brier_is_the_mean_squared_error(self) -> None:
        probability, positive = RNG.random(500), RNG.random(500) < 0.5
        sums = s.squared_error_sums(probability, positive, RNG.integers(0, 4, 500), 4)
        assert s.ratio(sums.sum(axis=0)) == pytest.approx(np.mean((probability - positive) ** 2))


class TestBootstrap:
    def test_it_is_scipys_percentile_bootstrap_of_clusters(self) -> None:
        of = RNG.integers(1, 7, 60)
        found = RNG.binomial(of, 0.7)
        theirs = stats.bootstrap(
            (found, of),
            lambda f, n, axis: f.sum(axis=axis) / n.sum(axis=axis),
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=20_000,
            rng=np.random.default_rng(1),
        ).confidence_interval
        ours = s.bootstrap(np.stack([found, of], axis=1).astype(float), s.ratio, resamples=20_000)
        assert ours == pytest.approx((theirs.low, theirs.high), abs=0.005)

    def test_it_is_the_same_each_time_and_another_with_another_seed(self) -> None:
        sums = RNG.random((30, 2)) + np.array([0, 1])
        assert s.bootstrap(sums, s.ratio) == s.bootstrap(sums, s.ratio)
        assert s.bootstrap(sums, s.ratio) != s.bootstrap(sums, s.ratio, seed=1)

    def test_blocks_that_are_alike_within_a_specimen_do_not_narrow_it(self) -> None:
        found = np.repeat(np.arange(20) % 3 == 0, 50)
        by_specimen = s.share(found, np.repeat(np.arange(20), 50))
        as_if_independent = s.share(found, np.arange(1000))
        assert by_specimen.value == as_if_independent.value
        assert None not in (by_specimen.low, by_specimen.high)
        width, narrow = (e.high - e.low for e in (by_specimen, as_if_independent))  # type: ignore[operator]
        assert width > 5 * narrow

    def test_nineteen_in_twenty_intervals_hold_the_truth(self) -> None:
        rng, held = np.random.default_rng(3), 0
        for _ in range(200):
            chance = rng.beta(6, 2, 60)  # specimens differ
            sums = np.stack([rng.binomial(6, chance), np.full(60, 6)], axis=1).astype(float)
            low, high = s.bootstrap(sums, s.ratio, resamples=400)
            held += low <= 0.75 <= high
        assert 180 <= held <= 198

    def test_resamples_without_a_value_are_left_out(self) -> None:
        sums = np.zeros((5, 2))
        sums[0] = 1.0, 2.0
        assert s.bootstrap(sums, s.ratio) == (0.5, 0.5)
        assert np.isnan(s.bootstrap(np.zeros((5, 2)), s.ratio)).all()

    def test_no_specimens_are_refused(self) -> None:
        with pytest.raises(InputError, match="no specimens"):
            s.bootstrap(np.zeros((0, 2)), s.ratio)


class TestShares:
    @given(st.integers(0, 300), st.integers(1, 300))
    def test_wilson_is_scipys(self, count: int, of: int) -> None:
        count = min(count, of)
        expected = stats.binomtest(count, of).proportion_ci(method="wilson")
        assert s.wilson(count, of) == pytest.approx((expected.low, expected.high), abs=1e-12)

    @settings(max_examples=20)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
    def test_an_interval_has_a_width_within_bounds(self, cases: list[tuple[bool, int]]) -> None:
        found, specimen = zip(*cases, strict=True)
        e = s.share(found, specimen)
        assert (e.count, e.of) == (sum(found), len(found))
        assert e.low is not None
        assert e.high is not None
        assert 0 <= e.low < e.high <= 1

    def test_all_found_takes_wilsons_interval(self) -> None:
        assert s.share([True] * 12, range(12)) == s.Estimate(1.0, *s.wilson(12, 12), 12, 12)

    def test_of_nothing_nothing_is_known(self) -> None:
        assert s.share([], []) == s.Estimate(None, None, None, 0, 0)
        assert np.isnan(s.wilson(0, 0)).all()
