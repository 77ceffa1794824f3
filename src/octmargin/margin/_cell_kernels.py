"""Jitted reduction of a B-scan to cells below its surface, and the features of each: what the trained model sees."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._decibels import store_db

ROW_UM = 16.0
ROWS_ABOVE = 4
ROWS = 104
"""16 µm of depth each, from 64 µm above the surface to 1.6 mm below."""
ALINES_PER_COLUMN = 2
FEATURES = 6
LEVEL, SPREAD, ATTENUATION, RELATIVE, SEEN, DEPTH = range(FEATURES)
BORDER = 1

_ALINES_PER_GROUP = 8
"""A-lines that are averaged before attenuation is read: that of a single one is as noisy as its speckle."""
_COLUMNS_PER_GROUP = _ALINES_PER_GROUP // ALINES_PER_COLUMN
_FLOOR = np.float32(0.02)
"""Signal, in units of the noise, below which none is told from none."""
_DARKEST_DB = np.float32(-20.0)
_TAIL = np.float32(0.3)
"""Light that is taken to come back from below the last row, in units of the noise."""
_SEEN_DB = np.float32(6.0)
_SURFACE_ROWS = (ROWS_ABOVE + 2, ROWS_ABOVE + 10)
"""Rows whose mean is the surface's brightness: 32 to 160 µm below it."""

_kernel = njit(
    cache=True, nogil=True, fastmath={"contract", "reassoc"}, error_model="numpy", boundscheck=False
)


@_kernel
def nearest_usable(usable: NDArray[np.bool_], source: NDArray[np.int64]) -> None:
    """For every A-line the nearest that can be used, itself if it can; -1 in all where none can.

    `source` may be longer than `usable`: what lies beyond the frame's end takes its last.
    """
    last = -1
    for a in range(source.shape[0]):
        if a < usable.shape[0] and usable[a]:
            last = a
        source[a] = last
    following = -1
    for a in range(source.shape[0] - 1, -1, -1):
        if a < usable.shape[0] and usable[a]:
            following = a
        if following >= 0 and (source[a] < 0 or following - a < a - source[a]):
            source[a] = following


@_kernel
def average_cells(
    intensity: NDArray[np.float32],
    surface_px: NDArray[np.float32],
    source: NDArray[np.int64],
    edges_px: NDArray[np.int64],
    noise: np.float32,
    cells: NDArray[np.float32],
) -> None:
    """Mean intensity over the noise from `edges_px[r]` to `edges_px[r + 1]` below each A-line's surface.

    `intensity` (alines, depth) -> `cells` (columns of A-lines, ROWS). An A-line takes its values from A-line
    `source` of it; 1, nothing but noise, from -1 and outside the frame.
    """
    depth = intensity.shape[1]
    per_noise = np.float32(1.0) / noise
    for a in range(cells.shape[0]):
        s = source[a]
        if s < 0:
            cells[a, :] = np.float32(1.0)
            continue
        line = intensity[s]
        top = int(surface_px[s] + np.float32(0.5))
        for r in range(cells.shape[1]):
            first, stop = top + edges_px[r], top + edges_px[r + 1]
            if first < 0 or stop > depth:
                cells[a, r] = np.float32(1.0)
                continue
            part = line[first:stop]
            total = np.float32(0.0)
            for z in range(part.shape[0]):
                total += part[z]
            cells[a, r] = total * per_noise / np.float32(stop - first)


@_kernel
def cell_features(
    cells: NDArray[np.float32],
    scratch: NDArray[np.float32],
    tile: NDArray[np.float32],
    features: NDArray[np.float32],
) -> None:
    """Features of every column of two A-lines, row by row, into the inside of `features`.

    `cells` (alines, ROWS) in units of the noise, alines a multiple of 16; `scratch` of the same shape; `tile` of 16;
    `features` (columns + 2, ROWS + 2, FEATURES) with a border that stays as it is. Level: log10 over the noise.
    Spread: difference of the two A-lines. Attenuation: depth-resolved, of eight A-lines' mean (Vermeer 2014,
    doi 10.1364/BOE.5.000322, with a constant tail). Relative: level of the eight against the brightness below the
    surface. Seen: whether the eight rise above the noise. Each is shifted and scaled to about -1 to 1.
    """
    alines, rows = cells.shape
    half, one = np.float32(0.5), np.float32(1.0)
    store_db(cells, tile, scratch)
    group = np.empty(rows, np.float32)
    for first in range(0, alines, _ALINES_PER_GROUP):
        for r in range(rows):
            total = np.float32(0.0)
            for a in range(first, first + _ALINES_PER_GROUP):
                total += cells[a, r]
            group[r] = total * np.float32(1.0 / _ALINES_PER_GROUP)
        bright = np.float32(0.0)
        for r in range(_SURFACE_ROWS[0], _SURFACE_ROWS[1]):
            bright += group[r]
        bright = max(bright / np.float32(_SURFACE_ROWS[1] - _SURFACE_ROWS[0]) - one, _FLOOR)
        below = _TAIL
        for r in range(rows - 1, -1, -1):
            signal = max(group[r] - one, _FLOOR)
            above = r < ROWS_ABOVE
            in_tissue = _FLOOR if above else signal
            mu = np.log(one + in_tissue / below) * np.float32(1000.0 / (2.0 * ROW_UM))
            below += in_tissue
            attenuation = half * np.log(max(mu, np.float32(0.1)))
            relative = np.float32(0.5 / np.log(10.0)) * np.log(signal / bright)
            seen = one if group[r] > np.float32(10.0 ** (_SEEN_DB / 10.0)) else np.float32(0.0)
            depth = np.float32(2.0) * np.float32(r) / np.float32(rows - 1) - one
            for c in range(first // ALINES_PER_COLUMN, first // ALINES_PER_COLUMN + _COLUMNS_PER_GROUP):
                db0 = max(scratch[2 * c, r], _DARKEST_DB)
                db1 = max(scratch[2 * c + 1, r], _DARKEST_DB)
                mean = half * (cells[2 * c, r] + cells[2 * c + 1, r])
                at = features[c + BORDER, r + BORDER]
                at[LEVEL] = mean
                at[SPREAD] = np.float32(0.1) * abs(db0 - db1) - half
                at[ATTENUATION] = attenuation
                at[RELATIVE] = relative
                at[SEEN] = seen
                at[DEPTH] = depth
    for c in range(alines // ALINES_PER_COLUMN):
        for r in range(rows):
            at = features[c + BORDER, r + BORDER]
            at[LEVEL] = np.float32(1.0 / np.log(10.0)) * np.log(at[LEVEL] + np.float32(1e-3)) - np.float32(
                1.3
            )
