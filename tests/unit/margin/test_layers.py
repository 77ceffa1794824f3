"""Splitting a profile into layers, against an exhaustive search with NumPy's own least squares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.margin import _segments


def best_by_trying_all(values: NDArray[np.float64], variance: float, penalty: float) -> tuple[int, ...]:
    """Tops of the segments of the best split, by trying every split."""

    def cost(top: int, stop: int) -> float:
        k = np.arange(top, stop)
        residuals = values[top:stop] - np.polyval(np.polyfit(k, values[top:stop], 1), k)
        return float((residuals**2).sum()) / variance + penalty

    n, least = len(values), _segments.MIN_SEGMENT_BINS
    splits = [
        (0, *inner)
        for count in range(n // least)
        for inner in itertools.combinations(range(least, n - least + 1), count)
        if all(b - a >= least for a, b in itertools.pairwise((0, *inner, n)))
    ]
    return min(splits, key=lambda tops: sum(cost(a, b) for a, b in itertools.pairwise((*tops, n))))


@pytest.mark.parametrize("seed", range(6))
def test_finds_the_best_of_all_splits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = -0.3 * np.arange(14.0) + np.where(np.arange(14) >= rng.integers(3, 11), rng.normal(0, 2), 0.0)
    values += rng.normal(0, 0.15, 14)
    segments = np.empty((14, _segments.COLUMNS))
    count = _segments.split_into_layers(values, 0.0225, 12.0, _segments.layer_scratch(14), segments)
    assert tuple(segments[:count, _segments.TOP].astype(int)) == best_by_trying_all(values, 0.0225, 12.0)


def best_by_partitioning(values: NDArray[np.float64], variance: float, penalty: float) -> list[int]:
    """Tops of the best split, by optimal partitioning with NumPy's least squares for every segment."""
    least, best, origin = _segments.MIN_SEGMENT_BINS, {0: 0.0}, {}
    for stop in range(least, len(values) + 1):
        costs = {}
        for top, before in best.items():
            if top <= stop - least:
                k = np.arange(top, stop)
                residuals = values[top:stop] - np.polyval(np.polyfit(k, values[top:stop], 1), k)
                costs[top] = before + float((residuals**2).sum()) / variance + penalty
        origin[stop] = min(costs, key=lambda top: costs[top])
        best[stop] = costs[origin[stop]]
    tops, stop = [], len(values)
    while stop:
        stop = origin[stop]
        tops.insert(0, stop)
    return tops


@pytest.mark.parametrize("bins", [3, 31, 32, 33, 34, 35, 64, 66, 78])
def test_finds_the_best_split_of_profiles_of_any_length(bins: int) -> None:
    rng = np.random.default_rng(bins)
    values = 9 - np.cumsum(rng.choice([0.06, 0.12, 0.26], bins // 8 + 1).repeat(8)[:bins])
    values += rng.normal(0, 0.8, bins // 16 + 1).repeat(16)[:bins] + rng.normal(0, 0.07, bins)
    segments = np.empty((bins, _segments.COLUMNS))
    count = _segments.split_into_layers(values, 0.005, 25.0, _segments.layer_scratch(80), segments)
    assert segments[:count, _segments.TOP].tolist() == best_by_partitioning(values, 0.005, 25.0)


def test_a_layer_is_its_slope_and_its_jump() -> None:
    k = np.arange(20.0)
    values = np.where(k < 8, 5 - 0.2 * k, 5 - 0.2 * 7.5 + 1.5 - 0.5 * (k - 7.5))
    segments = np.empty((20, _segments.COLUMNS))
    assert _segments.split_into_layers(values, 0.01, 25.0, _segments.layer_scratch(20), segments) == 2
    np.testing.assert_allclose(segments[:2, _segments.SLOPE], [-0.2, -0.5], atol=1e-9)
    assert segments[1, _segments.TOP] == 8
    assert segments[1, _segments.JUMP] == pytest.approx(1.5)
    assert np.isnan(segments[0, _segments.JUMP])


def test_a_profile_shorter_than_a_layer_has_none() -> None:
    segments = np.empty((2, _segments.COLUMNS))
    assert _segments.split_into_layers(np.zeros(2), 0.01, 25.0, _segments.layer_scratch(2), segments) == 0


def test_the_residual_variance_is_that_of_the_bins_around_their_layers() -> None:
    rng = np.random.default_rng(0)
    k = np.arange(60)
    layers = np.where(k < 25, -0.1 * k, 2 - 0.3 * k)
    log_bins = layers + rng.normal(0, 0.2, (32, 60))
    found = _segments.residual_variance(log_bins, np.full(32, 60), 1e-6)
    assert found == pytest.approx(0.04, rel=0.15)
    assert _segments.residual_variance(log_bins, np.zeros(32, dtype=np.int64), 0.005) == 0.005
