"""Latency histograms keep quantiles within a bin's width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.latency import LatencyHistogram


def test_an_empty_histogram_has_no_quantiles() -> None:
    assert math.isnan(LatencyHistogram().quantile_ms(0.5))


@given(st.lists(st.floats(0.01, 5000), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_are_those_of_the_data_within_a_bin(durations_ms: list[float], q: float) -> None:
    histogram = LatencyHistogram()
    for duration_ms in durations_ms:
        histogram.add(duration_ms)
    exact = float(np.quantile(durations_ms, q, method="inverted_cdf"))
    assert histogram.count == len(durations_ms)
    assert histogram.quantile_ms(q) == pytest.approx(exact, rel=0.05)


@given(st.lists(st.floats(0.01, 5000), max_size=300), st.floats(0.02, 4000))
def test_how_many_were_no_longer_is_right_within_a_bin(durations_ms: list[float], limit_ms: float) -> None:
    histogram = LatencyHistogram()
    for duration_ms in durations_ms:
        histogram.add(duration_ms)
    fewest = sum(duration_ms <= limit_ms / 1.05 for duration_ms in durations_ms)
    most = sum(duration_ms <= limit_ms * 1.05 for duration_ms in durations_ms)
    assert fewest <= histogram.at_most(limit_ms) <= most
    assert histogram.at_most(math.inf) == len(durations_ms)
    assert histogram.total_ms == pytest.approx(sum(durations_ms))


@pytest.mark.parametrize("extreme_ms", [-5.0, 0.0, 1e9])
def test_what_is_out_of_range_is_counted_all_the_same(extreme_ms: float) -> None:
    histogram = LatencyHistogram()
    histogram.add(extreme_ms)
    assert histogram.count == 1
