"""The jitted pass behind `texture`: one block and band at a time, from a copy of its dB along the surface."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._decibels import store_db

CONTRAST, SPREAD_DB, LATERAL, AXIAL, FRACTAL = range(5)
"""Features, the last index of the result."""
FEATURES = 5
LAGS_PX = (1, 2, 4, 8)
AXIAL_LAG_PX = 2
_LEAST_VARIANCE_DB2 = np.float32(1e-6)

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}
_kernel = njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)


@_kernel
def texture_of_blocks(
    intensity: NDArray[np.float32],
    surface_px: NDArray[np.float32],
    alines_per_block: int,
    band_px: int,
    found: NDArray[np.float32],
) -> None:
    """Features of every block and band of `intensity` (alines, depth) into `found` (blocks, bands, FEATURES)."""
    alines, depth = intensity.shape
    blocks, bands = found.shape[0], found.shape[1]
    length = bands * band_px
    linear = np.empty((alines_per_block, length), dtype=np.float32)
    db = np.empty((alines_per_block, length), dtype=np.float32)
    tile = np.empty(16, dtype=np.float32)
    inside = np.empty(alines_per_block, dtype=np.int64)
    for b in range(blocks):
        start, stop = b * alines_per_block, min((b + 1) * alines_per_block, alines)
        for i in range(start, stop):
            inside[i - start] = 0
            # Written so that NaN has no surface.
            if surface_px[i] >= np.float32(0.0) and surface_px[i] < np.float32(depth):
                top = int(surface_px[i] + np.float32(0.5))
                inside[i - start] = min(length, depth - top) // band_px * band_px
                _copy(intensity[i, top : top + inside[i - start]], linear[i - start])
                if not _is_finite(linear[i - start, : inside[i - start]]):
                    inside[i - start] = 0
        store_db(linear, tile, db)
        for k in range(bands):
            used = 0
            for i in range(stop - start):
                used += int(inside[i] >= (k + 1) * band_px)
            if 2 * used < stop - start:
                found[b, k, :] = np.float32(np.nan)
            else:
                _features(linear, db, inside[: stop - start], k * band_px, band_px, used, found[b, k])


@_kernel
def _features(
    linear: NDArray[np.float32],
    db: NDArray[np.float32],
    inside: NDArray[np.int64],
    first: int,
    band_px: int,
    used: int,
    found: NDArray[np.float32],
) -> None:
    """Features of one band: of the lines that are `inside` as deep as its end."""
    stop = first + band_px
    pixels = np.float32(used * band_px)
    total = squares = total_db = np.float32(0.0)
    for i in range(inside.shape[0]):
        if inside[i] >= stop:
            line = linear[i, first:stop]
            total += _sum(line)
            squares += _dot(line, line)
            total_db += _sum(db[i, first:stop])
    mean_db = total_db / pixels
    power = lateral = axial = np.float32(0.0)
    pairs = 0
    steps = np.zeros(4, dtype=np.float64)
    for i in range(inside.shape[0]):
        if inside[i] >= stop:
            line = db[i, first:stop]
            _subtract(line, mean_db)
            power += _dot(line, line)
            axial += _dot(line[AXIAL_LAG_PX:], line[: band_px - AXIAL_LAG_PX])
            for s in range(4):
                lag = 1 << s
                steps[s] += _squared_steps(line[lag:], line[: band_px - lag]) / (band_px - lag)
            if i > 0 and inside[i - 1] >= stop:
                lateral += _dot(line, db[i - 1, first:stop])
                pairs += 1
    mean = total / pixels
    variance = power / pixels
    nothing = np.float32(np.nan)
    # What is constant differs from its rounded mean a little.
    varies = variance > _LEAST_VARIANCE_DB2
    found[CONTRAST] = (
        np.sqrt(max(squares / pixels - mean * mean, np.float32(0.0))) / mean
        if mean > np.float32(0.0)
        else nothing
    )
    found[SPREAD_DB] = np.sqrt(variance)
    found[LATERAL] = lateral / np.float32(pairs * band_px) / variance if varies and pairs > 0 else nothing
    found[AXIAL] = axial / np.float32(used * (band_px - AXIAL_LAG_PX)) / variance if varies else nothing
    found[FRACTAL] = _fractal_dimension(steps) if varies else nothing


@_kernel
def _fractal_dimension(steps: NDArray[np.float64]) -> np.float32:
    """2 - H, H half of the slope of the logarithm of mean squared steps at lags 1, 2, 4, 8 over that of the lag."""
    slope = 0.0
    for s in range(4):
        if not steps[s] > 0.0:
            return np.float32(np.nan)
        # Least squares over log2(lag) = 0, 1, 2, 3: their deviations from the mean, and the sum of its squares.
        slope += (s - 1.5) * np.log2(steps[s]) / 5.0
    return np.float32(min(2.0, max(1.0, 2.0 - 0.5 * slope)))


# Slices and loops from 0: numba tests other indices for negative ones, which keeps loops from vectorising.
@_kernel
def _copy(values: NDArray[Any], into: NDArray[np.float32]) -> None:
    for z in range(values.shape[0]):
        into[z] = values[z]


@_kernel
def _is_finite(values: NDArray[np.float32]) -> bool:
    total = np.float32(0.0)
    for z in range(values.shape[0]):
        total += values[z] * np.float32(0.0)
    return bool(total == np.float32(0.0))


@_kernel
def _sum(values: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for z in range(values.shape[0]):
        total += values[z]
    return np.float32(total)


@_kernel
def _dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for z in range(right.shape[0]):
        total += left[z] * right[z]
    return np.float32(total)


@_kernel
def _squared_steps(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for z in range(right.shape[0]):
        step = left[z] - right[z]
        total += step * step
    return np.float32(total)


@_kernel
def _subtract(values: NDArray[np.float32], offset: np.float32) -> None:
    for z in range(values.shape[0]):
        values[z] -= offset
