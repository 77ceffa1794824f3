"""What a table of timings says follows from the rounds, and noise that hits a whole round cancels."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from octmargin.bench.statistics import summarise, time_rounds


def test_times_are_per_aline() -> None:
    timing = summarise([4_000_000, 2_000_000, 3_000_000], [1_000_000] * 3, alines=100)
    assert timing.minimum_us == 20.0
    assert timing.median_us == 30.0
    assert timing.alines_per_s == pytest.approx(1e6 / 30.0)


def test_a_machine_that_slows_down_between_rounds_does_not_change_the_ratio() -> None:
    slowdown = [1, 3, 1, 7, 2]
    timing = summarise([250 * s for s in slowdown], [100 * s for s in slowdown], alines=1)
    assert timing.ratio == 2.5


def test_one_disturbed_round_does_not_change_the_ratio() -> None:
    assert summarise([200, 200, 90_000], [100, 100, 100], alines=1).ratio == 2.0


def test_durations_of_different_rounds_are_never_divided() -> None:
    with pytest.raises(ValueError, match="shorter"):
        summarise([100, 100], [100], alines=1)


def test_every_row_is_timed_once_a_round_after_two_calls_to_warm_up() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    durations_ns = time_rounds(calls, rounds=4)
    assert {name: len(values) for name, values in durations_ns.items()} == {"a": 4, "b": 4, "c": 4}
    assert order[:6] == list("abcabc")
    assert order[6:] == [*"abc", *"bca", *"cab", *"abc"], "each round begins with another row"


def test_durations_are_those_of_the_clock() -> None:
    ticks: Iterator[int] = iter([100, 130, 200, 205, 300, 307, 400, 440])
    durations_ns = time_rounds({"a": int, "b": int}, rounds=2, clock_ns=lambda: next(ticks))
    assert durations_ns == {"a": [30, 40], "b": [5, 7]}


def test_no_garbage_is_collected_while_timing() -> None:
    seen: list[bool] = []
    time_rounds({"a": lambda: seen.append(gc.isenabled())}, rounds=2)
    assert seen[2:] == [False, False]
    assert gc.isenabled()


def test_garbage_collection_comes_back_when_a_call_fails() -> None:
    count = iter(range(10))

    def fail_when_timed() -> None:
        if next(count) == 2:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        time_rounds({"a": fail_when_timed}, rounds=1)
    assert gc.isenabled()
