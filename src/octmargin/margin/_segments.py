"""A profile as a stack of layers: the piecewise exponential that fits best.

Optimal partitioning (Jackson et al. 2005, doi 10.1109/LSP.2001.838216) of the logarithm of a profile into
straight lines that may jump where they meet: the slope is a layer's attenuation, the jump its backscatter
relative to the layer above.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

MIN_SEGMENT_BINS = 3
TOP, STOP, SLOPE, AT_TOP, JUMP = range(5)
"""Columns of a table of segments: first bin, bin after the last, slope per bin, value and jump at its top."""
COLUMNS = 5


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def residual_variance(log_bins: NDArray[np.float64], bins_seen: NDArray[np.int64], floor: float) -> float:
    """Variance of a bin around its layer, from second differences: blind to slopes and to few jumps."""
    blocks, bins = log_bins.shape
    bends = np.empty(blocks * bins)
    count = 0
    for b in range(blocks):
        for k in range(1, bins_seen[b] - 1):
            bends[count] = abs(log_bins[b, k - 1] - 2.0 * log_bins[b, k] + log_bins[b, k + 1])
            count += 1
    if count == 0:
        return floor
    # The second difference of independent bins has six times their variance; 0.6745: median to standard
    # deviation.
    return max(floor, float((np.median(bends[:count]) / 0.6745) ** 2 / 6.0))


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def split_into_layers(
    values: NDArray[np.float64], variance: float, penalty: float, segments: NDArray[np.float64]
) -> int:
    """Best straight segments of `values` (bins,) into `segments` (bins, COLUMNS); returns their number."""
    n = len(values)
    if n < MIN_SEGMENT_BINS:
        return 0
    sums = np.zeros((n + 1, 3))
    for k in range(n):
        sums[k + 1, 0] = sums[k, 0] + values[k]
        sums[k + 1, 1] = sums[k, 1] + values[k] * k
        sums[k + 1, 2] = sums[k, 2] + values[k] * values[k]
    best = np.full(n + 1, np.inf)
    origin = np.zeros(n + 1, dtype=np.int64)
    best[0] = 0.0
    for stop in range(MIN_SEGMENT_BINS, n + 1):
        for top in range(stop - MIN_SEGMENT_BINS + 1):
            if best[top] < np.inf:
                cost = best[top] + _misfit(sums, top, stop) / variance + penalty
                if cost < best[stop]:
                    best[stop], origin[stop] = cost, top
    count = 0
    stop = n
    while stop > 0:
        segments[count, TOP], segments[count, STOP] = origin[stop], stop
        stop = origin[stop]
        count += 1
    segments[:count] = segments[:count][::-1].copy()
    bottom_above = np.nan
    for s in range(count):
        top, stop = int(segments[s, TOP]), int(segments[s, STOP])
        slope, mean = _line(sums, top, stop)
        segments[s, SLOPE] = slope
        segments[s, AT_TOP] = mean - slope * 0.5 * (stop - top)
        segments[s, JUMP] = segments[s, AT_TOP] - bottom_above
        bottom_above = mean + slope * 0.5 * (stop - top)
    return count


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _line(sums: NDArray[np.float64], top: int, stop: int) -> tuple[float, float]:
    """Slope and mean of the least-squares line through the bins [top, stop)."""
    m = stop - top
    mean = (sums[stop, 0] - sums[top, 0]) / m
    centre = 0.5 * (top + stop - 1)
    slope = ((sums[stop, 1] - sums[top, 1]) - centre * mean * m) * 12.0 / (m * (m * m - 1.0))
    return slope, mean


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _misfit(sums: NDArray[np.float64], top: int, stop: int) -> float:
    """Sum of squared residuals of the least-squares line through the bins [top, stop)."""
    m = stop - top
    slope, mean = _line(sums, top, stop)
    total = sums[stop, 2] - sums[top, 2] - m * mean * mean - slope * slope * m * (m * m - 1.0) / 12.0
    return max(0.0, float(total))
