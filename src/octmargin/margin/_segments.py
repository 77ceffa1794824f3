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
_TOPS_AT_ONCE = 32


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
    sums = _running_sums(values)
    origin = _cheapest_origins(sums, n, variance, penalty)
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
def _running_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the values, of value x bin and of the squares before each bin; 0 beyond the last."""
    n = len(values)
    sums = np.zeros((3, n + 1 + _TOPS_AT_ONCE))
    for k in range(n):
        sums[0, k + 1] = sums[0, k] + values[k]
        sums[1, k + 1] = sums[1, k] + values[k] * k
        sums[2, k + 1] = sums[2, k] + values[k] * values[k]
    return sums


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _cheapest_origins(
    sums: NDArray[np.float64], n: int, variance: float, penalty: float
) -> NDArray[np.int64]:
    """Where the last segment of the cheapest split begins that ends before each bin."""
    best = np.full(n + 1 + _TOPS_AT_ONCE, np.inf)
    origin = np.zeros(n + 1, dtype=np.int64)
    costs = np.empty(n + 1 + _TOPS_AT_ONCE)
    # By falling length, so that they are read upwards together with the tops; lengths below 1 are not used.
    per_bin, per_lever = np.zeros(n + 1 + _TOPS_AT_ONCE), np.zeros(n + 1 + _TOPS_AT_ONCE)
    for m in range(MIN_SEGMENT_BINS, n + 1):
        per_bin[n - m], per_lever[n - m] = 1.0 / m, 12.0 / (m * (m * m - 1.0))
    best[0] = 0.0
    for stop in range(MIN_SEGMENT_BINS, n + 1):
        tops = stop - MIN_SEGMENT_BINS + 1
        whole = -(-tops // _TOPS_AT_ONCE) * _TOPS_AT_ONCE
        _cost_from_tops(
            sums, best, per_bin[n - stop :], per_lever[n - stop :], stop, 1.0 / variance, costs[:whole]
        )
        least = np.inf
        for top in range(tops):
            if costs[top] < least:
                least, origin[stop] = costs[top], top
        best[stop] = least + penalty
    return origin


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy", boundscheck=False)
def _cost_from_tops(
    sums: NDArray[np.float64],
    best: NDArray[np.float64],
    per_bin: NDArray[np.float64],
    per_lever: NDArray[np.float64],
    stop: int,
    per_variance: float,
    costs: NDArray[np.float64],
) -> None:
    """Cost of the split that ends with the bins [top, stop) in one line, for every top from 0 on."""
    sum_to, moment_to, square_to = sums[0, stop], sums[1, stop], sums[2, stop]
    sum_before, moment_before, square_before = sums[0], sums[1], sums[2]
    for top in range(costs.shape[0]):
        total = sum_to - sum_before[top]
        # Value x bin about the middle of the segment.
        lever = (moment_to - moment_before[top]) - 0.5 * np.float64(top + stop - 1) * total
        misfit = (
            square_to - square_before[top] - total * total * per_bin[top] - lever * lever * per_lever[top]
        )
        costs[top] = best[top] + max(0.0, misfit) * per_variance


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _line(sums: NDArray[np.float64], top: int, stop: int) -> tuple[float, float]:
    """Slope and mean of the least-squares line through the bins [top, stop)."""
    m = stop - top
    mean = (sums[0, stop] - sums[0, top]) / m
    centre = 0.5 * (top + stop - 1)
    slope = ((sums[1, stop] - sums[1, top]) - centre * mean * m) * 12.0 / (m * (m * m - 1.0))
    return slope, mean
