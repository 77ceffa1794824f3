"""How suspicious the layers of a block are."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.margin._segments import JUMP, MIN_SEGMENT_BINS, SLOPE, STOP, TOP, split_into_layers
from octmargin.margin.rule import RuleParameters

SUSPICION, ATTENUATION, MEAN_ATTENUATION, TOP_MM = range(4)
"""Columns of a table of blocks; 1/mm and mm."""
COLUMNS = 4

_DB_PER_NEPER = 10.0 / np.log(10.0)


def pack(parameters: RuleParameters) -> NDArray[np.float64]:
    """Give what `judge_layers` needs as one array: numba takes no dataclass."""
    return np.array(
        [
            parameters.segment_penalty,
            np.log(parameters.suspicious_attenuation_per_mm),
            parameters.attenuation_spread,
            parameters.brighter_by_db,
            parameters.brightness_spread_db,
            parameters.long_run_um / 1000.0,
            parameters.long_run_spread_um / 1000.0,
            parameters.min_run_um / 1000.0,
            parameters.surface_run_um / 1000.0,
            parameters.confidence_sigmas,
            parameters.edge_attenuation_per_mm,
        ]
    )


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def judge_layers(
    log_bins: NDArray[np.float64],
    bins_seen: NDArray[np.int64],
    variance: float,
    rule: NDArray[np.float64],
    bin_mm: float,
    first_mm: float,
    scratch: NDArray[np.float64],
    segments: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Split each block's profile into layers and keep its most suspicious one in `found` (blocks, COLUMNS).

    All NaN where a profile is too short for a single layer.
    """
    for b in range(log_bins.shape[0]):
        found[b, :] = np.nan
        count = split_into_layers(log_bins[b, : bins_seen[b]], variance, rule[0], scratch, segments)
        total_mm = fall = 0.0
        for s in range(count):
            length_mm = (segments[s, STOP] - segments[s, TOP]) * bin_mm
            # A layer whose lower face is slanted ends in a fall of its own: its upper part must be steep as
            # well.
            slope = max(
                segments[s, SLOPE], _upper_slope(log_bins[b], int(segments[s, TOP]), int(segments[s, STOP]))
            )
            attenuation_per_mm = -slope / (2.0 * bin_mm)
            total_mm += length_mm
            fall += attenuation_per_mm * length_mm
            bins = segments[s, STOP] - segments[s, TOP]
            error_per_mm = np.sqrt(12.0 * variance / (bins * (bins * bins - 1.0))) / (2.0 * bin_mm)
            suspicion = _layer(
                attenuation_per_mm,
                error_per_mm,
                length_mm,
                segments[s, JUMP] * _DB_PER_NEPER,
                segments[s, TOP] == 0.0,
                rule,
            )
            if s == 0 or suspicion > found[b, SUSPICION]:
                found[b, SUSPICION] = suspicion
                found[b, ATTENUATION] = attenuation_per_mm
                # What lies between the surface and the first bin is not fitted and belongs to the first
                # layer.
                found[b, TOP_MM] = first_mm + segments[s, TOP] * bin_mm if segments[s, TOP] > 0.0 else 0.0
        if count:
            found[b, MEAN_ATTENUATION] = fall / total_mm


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _layer(
    attenuation_per_mm: float,
    error_per_mm: float,
    length_mm: float,
    jump_db: float,
    at_surface: bool,
    rule: NDArray[np.float64],
) -> float:
    # A run of whole bins must not fail by rounding.
    rounding_mm = 1e-6
    needed_mm = max(rule[7], rule[8]) if at_surface else rule[7]
    surely_per_mm = attenuation_per_mm - rule[9] * error_per_mm
    if surely_per_mm <= 0.0 or length_mm + rounding_mm < needed_mm:
        return 0.0
    high = _logistic((np.log(surely_per_mm) - rule[1]) / rule[2])
    if at_surface:
        return high
    brighter = _logistic((jump_db - rule[3]) / rule[4]) if attenuation_per_mm < rule[10] else 0.0
    long_run = _logistic((length_mm - rule[5]) / rule[6])
    return high * (1.0 - (1.0 - brighter) * (1.0 - long_run))


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _upper_slope(values: NDArray[np.float64], top: int, stop: int) -> float:
    """Slope of the least-squares line through the upper two thirds of the bins [top, stop)."""
    m = max(MIN_SEGMENT_BINS, (2 * (stop - top)) // 3)
    total = 0.0
    for k in range(m):
        total += (k - 0.5 * (m - 1)) * values[top + k]
    return float(total * 12.0 / (m * (m * m - 1.0)))


@njit(cache=True, nogil=True, error_model="numpy")
def _logistic(x: float) -> float:
    return float(1.0 / (1.0 + np.exp(-x)))
