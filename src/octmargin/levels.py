"""B-scans in 8 bits, to be looked at: a level for every half decibel."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError

STEP_DB = 0.5
"""A tenth of what speckle varies by."""
FLOOR_DB = -36.0
"""Of level 1. Level 255 is then 91 dB, which is what spectra of 16 bits give at most; level 0 is all below, and NaN."""
HIGHEST = 255

_FLOOR, _PER_DB = np.float32(FLOOR_DB), np.float32(1.0 / STEP_DB)
_HALF, _ONE, _TOP = np.float32(0.5), np.float32(1.0), np.float32(HIGHEST)
_DB_OF_LEVEL = (FLOOR_DB + STEP_DB * (np.arange(HIGHEST + 1) - 1)).astype(np.float32)
_DB_OF_LEVEL[0] = np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _to_levels(db: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
    for i in range(db.size):
        # To the nearest; written so that NaN, which is above nothing, ends as 0.
        level = (db[i] - _FLOOR) * _PER_DB + _ONE + _HALF
        levels[i] = np.uint8(min(level, _TOP)) if level >= _ONE else np.uint8(0)


def to_levels(bscan_db: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Levels of a B-scan, uint8 of its shape. InputError where it is not C-contiguous float32."""
    if bscan_db.dtype != np.float32 or not bscan_db.flags.c_contiguous:
        raise InputError("a B-scan is to be contiguous float32; make it so with np.ascontiguousarray")
    levels = np.empty(bscan_db.shape, np.uint8)
    _to_levels(bscan_db.reshape(-1), levels.reshape(-1))
    return levels


def from_levels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The dB of levels, float32 of their shape; NaN for level 0."""
    return _DB_OF_LEVEL[levels]
