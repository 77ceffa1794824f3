"""Decibels of sixteen intensities at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.signal._fft_passes import inlined, kernel
from octmargin.signal._lanes import LANES, load, octave, store, where_below, within_octave

FLOOR_DB = -100.0
"""What an intensity of 0 is in dB; nothing is lower."""
FLOOR_INTENSITY = 1e-10

_FLOOR_DB_32, _FLOOR_INTENSITY_32 = np.float32(FLOOR_DB), np.float32(FLOOR_INTENSITY)
_ONE = np.float32(1.0)
_DB_PER_OCTAVE = np.float32(10.0 * np.log10(2.0))

# log2(1 + x) on 0 <= x < 1 as x * p(x): exact at both ends, so that octaves join; least squares in between at
# Chebyshev nodes. Largest error 2.4e-5 octave, 7e-5 dB.
_nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
_basis = _nodes[:, None] * (_nodes[:, None] ** np.arange(6) - 1.0)[:, 1:]
_fit = np.linalg.lstsq(_basis, np.log2(1.0 + _nodes) - _nodes, rcond=None)[0]
_C0, _C1, _C2, _C3, _C4, _C5 = (np.float32(c) for c in (1.0 - _fit.sum(), *_fit))


@inlined
def octaves(value: Any) -> Any:
    """log2 of sixteen normal numbers above 0."""
    x = within_octave(value) - _ONE
    return octave(value) + x * (x * (x * (x * (x * (x * _C5 + _C4) + _C3) + _C2) + _C1) + _C0)


@inlined
def decibels(intensity: Any) -> Any:
    """10 log10 of sixteen intensities; NaN and infinity become NaN, all below the floor is the floor."""
    db = octaves(intensity) * _DB_PER_OCTAVE
    # Infinity and NaN come out of the bits as 2^128; the difference makes both NaN without a branch.
    return where_below(intensity, _FLOOR_INTENSITY_32, _FLOOR_DB_32, db) + (intensity - intensity)


@kernel
def store_db(intensity: NDArray[np.float32], tile: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Decibels of all of `intensity` (any shape, C-contiguous) into `out`; `tile` is scratch of 16."""
    flat, flat_out = intensity.reshape(-1), out.reshape(-1)
    size = flat.shape[0]
    whole = size - size % LANES
    for i in range(0, whole, LANES):
        store(flat_out, i, decibels(load(flat, i)))
    for i in range(whole, size):
        tile[i - whole] = flat[i]
    store(tile, 0, decibels(load(tile, 0)))
    for i in range(whole, size):
        flat_out[i] = tile[i - whole]
