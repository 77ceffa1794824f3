"""The engine's figures account for every frame that was fed."""

from __future__ import annotations

import pytest

from octmargin.bench.engine import EnginePlan, measure_engine


def test_a_producer_that_waits_loses_nothing() -> None:
    plan = EnginePlan(samples=512, alines=32, depth=256, frames=25, ring_frames=5)
    report = measure_engine(plan)
    assert [run.threads for run in report.runs] == [1, 2]
    for run in report.runs:
        assert (run.fed, run.judged, run.lost) == (25, 25, 0)
        assert run.lost_by_cause == {}
        assert 0 < run.latency_p50_ms <= run.latency_p99_ms
        assert run.alines_per_s == pytest.approx(25 * 32 / run.seconds)


def test_a_producer_that_never_waits_loses_what_is_too_much_and_counts_it() -> None:
    plan = EnginePlan(samples=512, alines=32, depth=256, frames=60, ring_frames=4, line_rate_hz=1e9)
    (run,) = measure_engine(plan, threads=(1,)).runs
    assert run.judged + run.lost == run.fed == 60
    assert run.lost == run.lost_by_cause["arrived, but judging was too slow"] > 0


def test_a_slow_line_rate_is_kept() -> None:
    plan = EnginePlan(samples=256, alines=16, depth=64, frames=5, line_rate_hz=1_600.0)
    (run,) = measure_engine(plan, threads=(1,)).runs
    assert run.lost == 0
    assert run.seconds >= 5 * 16 / 1_600.0
