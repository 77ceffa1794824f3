"""Latency histograms: fixed logarithmic bins, so that a day of frames takes no more memory than one."""

from __future__ import annotations

import math

import numpy as np

_BINS_PER_DECADE = 50
_DECADES = 7
_SMALLEST_MS = 1e-3


class LatencyHistogram:
    """Counts durations from 1 µs to 10 s in bins 4.7 % wide."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS_PER_DECADE * _DECADES, np.int64)
        self.total_ms = 0.0
        """Sum of the durations."""

    def add(self, duration_ms: float) -> None:
        """Count one duration; what lies outside the range goes to the nearest bin."""
        place = math.log10(max(duration_ms, _SMALLEST_MS) / _SMALLEST_MS) * _BINS_PER_DECADE
        self._counts[min(int(place), self._counts.size - 1)] += 1
        self.total_ms += max(duration_ms, 0.0)

    @property
    def count(self) -> int:
        """Durations counted."""
        return int(self._counts.sum())

    def at_most(self, duration_ms: float) -> int:
        """How many were no longer than about `duration_ms`, to the nearest bin."""
        if duration_ms == math.inf:
            return self.count
        place = math.log10(max(duration_ms, _SMALLEST_MS) / _SMALLEST_MS) * _BINS_PER_DECADE
        return int(self._counts[: round(place)].sum())

    def quantile_ms(self, q: float) -> float:
        """The upper edge of the bin in which the `q` quantile lies; NaN when nothing was counted."""
        total = self.count
        if total == 0:
            return math.nan
        place = int(np.searchsorted(np.cumsum(self._counts), q * total))
        return float(_SMALLEST_MS * 10 ** ((place + 1) / _BINS_PER_DECADE))
