"""Interleaved rounds of timings, and what may be said of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """What rounds say of one row; times are per A-line.

    `ratio` is the median, over the rounds, of this row's time over the unit's in the same round: what slows
    the whole machine for a while slows both, and cancels.
    """

    minimum_us: float
    median_us: float
    alines_per_s: float
    """From the median."""
    ratio: float


def time_rounds(
    calls: Mapping[str, Callable[[], object]], rounds: int, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> dict[str, list[int]]:
    """Call everything once per round and return the durations in ns, one a round.

    Each round begins with another call, so that none always follows the same neighbour. Every call is made
    twice beforehand, unmeasured.
    """
    names = list(calls)
    for name in names * 2:
        calls[name]()
    durations_ns: dict[str, list[int]] = {name: [] for name in names}
    with _no_garbage_collection():
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                call = calls[name]
                began_ns = clock_ns()
                call()
                durations_ns[name].append(clock_ns() - began_ns)
    return durations_ns


def summarise(durations_ns: Sequence[float], unit_ns: Sequence[float], alines: int) -> Timing:
    """Timing of one row from its durations and the unit's, both one a round, for `alines` A-lines a call."""
    median_us = statistics.median(durations_ns) / 1e3 / alines
    return Timing(
        minimum_us=min(durations_ns) / 1e3 / alines,
        median_us=median_us,
        alines_per_s=1e6 / median_us,
        ratio=statistics.median(d / u for d, u in zip(durations_ns, unit_ns, strict=True)),
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
