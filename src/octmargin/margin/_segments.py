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
_SUM, _MOMENT, _SQUARE, _BEST, _ORIGIN, _COST, _PER_BIN, _PER_LEVER = range(8)
"""Rows of the scratch."""
_ROWS = 8
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


def layer_scratch(bins: int) -> NDArray[np.float64]:
    """Scratch of `split_into_layers` for profiles of up to `bins` bins."""
    scratch = np.zeros((_ROWS, bins + 1 + _TOPS_AT_ONCE))
    # By falling length, so that they are read upwards together with the tops; lengths below 1 are not used.
    for m in range(MIN_SEGMENT_BINS, bins + 1):
        scratch[_PER_BIN, bins - m], scratch[_PER_LEVER, bins - m] = 1.0 / m, 12.0 / (m * (m * m - 1.0))
    return scratch


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def split_into_layers(
    values: NDArray[np.float64],
    variance: float,
    penalty: float,
    scratch: NDArray[np.float64],
    segments: NDArray[np.float64],
) -> int:
    """Best straight segments of `values` (bins,) into `segments` (bins, COLUMNS); returns their number."""
    n = len(values)
    if n < MIN_SEGMENT_BINS:
        return 0
    _sum_up(values, scratch)
    _find_origins(scratch, n, variance, penalty)
    count = 0
    stop = n
    while stop > 0:
        top = int(scratch[_ORIGIN, stop])
        segments[count, TOP], segments[count, STOP] = top, stop
        stop = top
        count += 1
    for s in range(count // 2):
        for column in (TOP, STOP):
            upper, lower = segments[s, column], segments[count - 1 - s, column]
            segments[s, column], segments[count - 1 - s, column] = lower, upper
    bottom_above = np.nan
    for s in range(count):
        top, stop = int(segments[s, TOP]), int(segments[s, STOP])
        slope, mean = _line(scratch, top, stop)
        segments[s, SLOPE] = slope
        segments[s, AT_TOP] = mean - slope * 0.5 * (stop - top)
        segments[s, JUMP] = segments[s, AT_TOP] - bottom_above
        bottom_above = mean + slope * 0.5 * (stop - top)
    return count


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _sum_up(values: NDArray[np.float64], scratch: NDArray[np.float64]) -> None:
    """Sums of the values, of value x bin and of the squares before each bin."""
    total = moment = square = 0.0
    for k in range(len(values)):
        total += values[k]
        moment += values[k] * k
        square += values[k] * values[k]
        scratch[_SUM, k + 1], scratch[_MOMENT, k + 1], scratch[_SQUARE, k + 1] = total, moment, square


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _find_origins(scratch: NDArray[np.float64], n: int, variance: float, penalty: float) -> None:
    """Where the last segment of the cheapest split begins that ends before each bin."""
    best, origin, costs = scratch[_BEST], scratch[_ORIGIN], scratch[_COST]
    bins = scratch.shape[1] - 1 - _TOPS_AT_ONCE
    for k in range(best.shape[0]):
        best[k] = np.inf
    best[0] = 0.0
    for stop in range(MIN_SEGMENT_BINS, n + 1):
        tops = stop - MIN_SEGMENT_BINS + 1
        whole = -(-tops // _TOPS_AT_ONCE) * _TOPS_AT_ONCE
        _cost_from_tops(scratch, bins - stop, stop, 1.0 / variance, costs[:whole])
        least = np.inf
        for top in range(tops):
            if costs[top] < least:
                least, origin[stop] = costs[top], top
        best[stop] = least + penalty


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy", boundscheck=False)
def _cost_from_tops(
    scratch: NDArray[np.float64], first: int, stop: int, per_variance: float, costs: NDArray[np.float64]
) -> None:
    """Cost of the split that ends with the bins [top, stop) in one line, for every top from 0 on."""
    sum_before, moment_before, square_before = scratch[_SUM], scratch[_MOMENT], scratch[_SQUARE]
    sum_to, moment_to, square_to = sum_before[stop], moment_before[stop], square_before[stop]
    best, per_bin, per_lever = scratch[_BEST], scratch[_PER_BIN, first:], scratch[_PER_LEVER, first:]
    for top in range(costs.shape[0]):
        total = sum_to - sum_before[top]
        # Value x bin about the middle of the segment.
        lever = (moment_to - moment_before[top]) - 0.5 * np.float64(top + stop - 1) * total
        misfit = (
            square_to - square_before[top] - total * total * per_bin[top] - lever * lever * per_lever[top]
        )
        costs[top] = best[top] + max(0.0, misfit) * per_variance


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _line(scratch: NDArray[np.float64], top: int, stop: int) -> tuple[float, float]:
    """Slope and mean of the least-squares line through the bins [top, stop)."""
    m = stop - top
    mean = (scratch[_SUM, stop] - scratch[_SUM, top]) / m
    centre = 0.5 * (top + stop - 1)
    slope = (
        ((scratch[_MOMENT, stop] - scratch[_MOMENT, top]) - centre * mean * m) * 12.0 / (m * (m * m - 1.0))
    )
    return slope, mean
