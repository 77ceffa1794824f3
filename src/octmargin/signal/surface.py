"""Where the tissue begins in a B-scan."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal._spectrum_kernels import FLOOR_DB

_NOISE_BANDS = 16
_NOISE_VALUES_PER_BAND = 4096
_MEDIAN_OF_NOISE_DB = float(10.0 * np.log10(np.log(2.0)))
"""Noise intensity is exponential: its median lies this far (-1.6 dB) from its mean."""


def noise_floor_db(bscan_db: NDArray[Any], *, axial_um: float, ignore_um: float = 30.0) -> float:
    """Mean noise intensity of a B-scan in dB; NaN where nothing in it can be taken for noise.

    `bscan_db` (alines, depth) float. The depths below `ignore_um` are cut into 16 bands; the noise is what
    the darkest of them holds, be that before the surface or deep in the tissue: its median over all A-lines,
    corrected to the mean of an exponential distribution. Pixels at the floor of -100 dB or not finite do not
    count.
    """
    bscan_db = _checked(bscan_db, axial_um)
    depth = bscan_db.shape[1]
    edges = np.linspace(min(_pixels(ignore_um, axial_um), depth), depth, _NOISE_BANDS + 1).astype(int)
    darkest = np.inf
    for start, stop in pairwise(edges):
        every = max(1, len(bscan_db) * int(stop - start) // _NOISE_VALUES_PER_BAND)
        values = bscan_db[::every, start:stop]
        values = values[np.isfinite(values) & (values > FLOOR_DB)]
        if values.size:
            darkest = min(darkest, float(np.median(values)))
    return darkest - _MEDIAN_OF_NOISE_DB if np.isfinite(darkest) else float("nan")


def find_surface(
    bscan_db: NDArray[Any],
    *,
    axial_um: float,
    noise_db: float | None = None,
    threshold_db: float = 6.0,
    sustained_um: float = 48.0,
    sustained_share: float = 0.6,
    ignore_um: float = 30.0,
    lateral_alines: int = 11,
    max_jump_um: float = 80.0,
) -> NDArray[np.float32]:
    """Depth of the tissue surface per A-line, (alines,) float32, in pixels; NaN where there is none.

    `bscan_db` (alines, depth) float; `axial_um` the depth pixel. `noise_db` is `noise_floor_db` unless given.

    The surface is the first pixel more than `threshold_db` above the noise from where at least
    `sustained_share` of the next `sustained_um` are so too: a single bright line of fixed pattern never is.
    The first `ignore_um` are left out (source spectrum, fixed pattern). Among `lateral_alines` neighbours, an
    A-line whose surface lies more than `max_jump_um` from the neighbours' median, or most of whose neighbours
    have none, gets NaN; the others get a running median. Nothing is interpolated into an A-line without a
    surface.
    """
    bscan_db = _checked(bscan_db, axial_um)
    if lateral_alines < 1:
        raise InputError(f"lateral_alines is {lateral_alines}; give a number of at least 1")
    if noise_db is None:
        noise_db = noise_floor_db(bscan_db, axial_um=axial_um, ignore_um=ignore_um)
    edge_px = np.empty(len(bscan_db), dtype=np.float32)
    if not np.isfinite(noise_db):
        edge_px[:] = np.nan
        return edge_px
    window_px = max(1, _pixels(sustained_um, axial_um))
    _sustained_edges(
        bscan_db,
        np.float32(noise_db + threshold_db),
        _pixels(ignore_um, axial_um),
        window_px,
        max(1, int(np.ceil(sustained_share * window_px))),
        edge_px,
    )
    surface_px = np.empty_like(edge_px)
    _agree_with_neighbours(edge_px, lateral_alines // 2, np.float32(max_jump_um / axial_um), surface_px)
    return surface_px


def _checked(bscan_db: NDArray[Any], axial_um: float) -> NDArray[np.float32]:
    bscan_db = np.asarray(bscan_db)
    if bscan_db.ndim != 2 or not bscan_db.size or bscan_db.dtype.kind != "f":
        raise InputError(f"B-scan: expected float (alines, depth), got {bscan_db.dtype} {bscan_db.shape}")
    if not (np.isfinite(axial_um) and axial_um > 0):
        raise InputError(f"axial_um is {axial_um}; give the depth pixel in µm, above 0")
    # One kind of array for the kernels, so that none is compiled while frames arrive.
    bscan_db = np.ascontiguousarray(bscan_db, dtype=np.float32).view()
    bscan_db.flags.writeable = False
    return bscan_db


def _pixels(length_um: float, axial_um: float) -> int:
    return max(0, round(length_um / axial_um))


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _sustained_edges(
    bscan_db: NDArray[np.float32],
    level_db: np.float32,
    first_px: int,
    window_px: int,
    needed_px: int,
    edge_px: NDArray[np.float32],
) -> None:
    alines, depth = bscan_db.shape
    for i in range(alines):
        edge_px[i] = np.float32(np.nan)
        # `above` counts the pixels over the level in [z, z + window_px), by adding one end and removing the
        # other.
        above = 0
        for z in range(first_px, min(first_px + window_px, depth)):
            if bscan_db[i, z] > level_db:
                above += 1
        for z in range(first_px, depth - window_px + 1):
            here = bscan_db[i, z] > level_db
            if here and above >= needed_px:
                edge_px[i] = np.float32(z)
                break
            if here:
                above -= 1
            if z + window_px < depth and bscan_db[i, z + window_px] > level_db:
                above += 1


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _agree_with_neighbours(
    edge_px: NDArray[np.float32], radius: int, max_jump_px: np.float32, surface_px: NDArray[np.float32]
) -> None:
    alines = edge_px.shape[0]
    near = np.empty(2 * radius + 1, dtype=np.float32)
    for i in range(alines):
        surface_px[i] = np.float32(np.nan)
        start, stop = max(0, i - radius), min(alines, i + radius + 1)
        found = _gather_finite(edge_px, start, stop, near)
        if np.isnan(edge_px[i]) or 2 * found < stop - start:
            continue
        if abs(edge_px[i] - np.median(near[:found])) > max_jump_px:
            continue
        # At the ends of the frame a one-sided median would bend a tilted surface: the window shrinks instead.
        inner = min(radius, i, alines - 1 - i)
        found = _gather_finite(edge_px, i - inner, i + inner + 1, near)
        surface_px[i] = np.float32(np.median(near[:found]))


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _gather_finite(values: NDArray[np.float32], start: int, stop: int, into: NDArray[np.float32]) -> int:
    found = 0
    for i in range(start, stop):
        if not np.isnan(values[i]):
            into[found] = values[i]
            found += 1
    return found
