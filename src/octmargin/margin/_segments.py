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
    sums = np.zeros((3, n + 1))
    per_m, per_cube = np.zeros(n + 1), np.zeros(n + 1)
    for k in range(n):
        sums[0, k + 1] = sums[0, k] + values[k]
        sums[1, k + 1] = sums[1, k] + values[k] * k
        sums[2, k + 1] = sums[2, k] + values[k] * values[k]
    # From the longest segment to the shortest, as the tops of one stop come.
    for m in range(MIN_SEGMENT_BINS, n + 1):
        per_m[n - m] = 1.0 / m
        per_cube[n - m] = 12.0 / (m * (m * m - 1.0))
    best = np.full(n + 1, np.inf)
    origin = np.zeros(n + 1, dtype=np.int64)
    cost = np.empty(n + 1)
    best[0] = 0.0
    for stop in range(MIN_SEGMENT_BINS, n + 1):
        tops = stop - MIN_SEGMENT_BINS + 1
        _costs(best, sums, per_m[n - stop :], per_cube[n - stop :], stop, tops, 1.0 / variance, cost)
        for top in range(tops):
            if cost[top] < best[stop]:
                best[stop], origin[stop] = cost[top], top
        best[stop] += penalty
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
    mean = (sums[0, stop] - sums[0, top]) / m
    centre = 0.5 * (top + stop - 1)
    slope = ((sums[1, stop] - sums[1, top]) - centre * mean * m) * 12.0 / (m * (m * m - 1.0))
    return slope, mean


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False)
def _costs(
    best: NDArray[np.float64],
    sums: NDArray[np.float64],
    per_m: NDArray[np.float64],
    per_cube: NDArray[np.float64],
    stop: int,
    tops: int,
    per_variance: float,
    cost: NDArray[np.float64],
) -> None:
    """Best cost up to each top plus the squared residuals of the least-squares line through the bins [top, stop).

    All tops of a stop at once and without a branch: the loop vectorises.
    """
    total, moment, squares = sums[0, stop], sums[1, stop], sums[2, stop]
    totals, moments, all_squares = sums[0], sums[1], sums[2]
    for top in range(tops):
        s = total - totals[top]
        c = moment - moments[top] - 0.5 * (top + stop - 1) * s
        misfit = squares - all_squares[top] - s * s * per_m[top] - c * c * per_cube[top]
        cost[top] = best[top] + max(misfit, 0.0) * per_variance
