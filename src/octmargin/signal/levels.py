"""B-scans in 8 bits, to be looked at: a level for every half decibel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.errors import InputError

LEVEL_STEP_DB = 0.5
"""A tenth of what speckle varies by."""
LEVEL_FLOOR_DB = -10.0
"""Of level 1, the lowest that is a number; level 0 is all below, and NaN."""
HIGHEST_LEVEL = 255

_FLOOR, _PER_DB = np.float32(LEVEL_FLOOR_DB), np.float32(1.0 / LEVEL_STEP_DB)
_HALF, _ONE, _TOP = np.float32(0.5), np.float32(1.0), np.float32(HIGHEST_LEVEL)


@njit("void(f4[::1], u1[::1])", nogil=True, cache=True, error_model="numpy")
def _to_levels(db: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
    for i in range(db.size):
        level = (db[i] - _FLOOR) * _PER_DB + _ONE + _HALF
        # Written so that NaN, which is below and above nothing, ends as 0.
        levels[i] = np.uint8(min(level, _TOP)) if level >= _ONE else np.uint8(0)


def to_levels(bscan_db: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Levels of a B-scan, of its shape; `bscan_db` C-contiguous float32, dB."""
    if bscan_db.dtype != np.float32 or not bscan_db.flags.c_contiguous:
        raise InputError("a B-scan is to be contiguous float32; make it so with np.ascontiguousarray")
    levels = np.empty(bscan_db.shape, np.uint8)
    _to_levels(bscan_db.reshape(-1), levels.reshape(-1))
    return levels


def from_levels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The dB of levels, float32 of their shape; NaN for level 0."""
    return _DB_OF_LEVEL[levels]


_DB_OF_LEVEL = (LEVEL_FLOOR_DB + LEVEL_STEP_DB * (np.arange(HIGHEST_LEVEL + 1, dtype=np.float32) - 1)).astype(
    np.float32
)
_DB_OF_LEVEL[0] = np.nan
