"""Where the tissue begins in a B-scan."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal._decibels import FLOOR_DB

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
    contrast_db: float = 6.0,
    window_um: float = 48.0,
    sustained_share: float = 0.6,
    ignore_um: float = 30.0,
    max_above_db: float = 20.0,
    average_alines: int = 5,
    lateral_alines: int = 11,
    max_jump_um: float = 80.0,
) -> NDArray[np.float32]:
    """Depth of the tissue surface per A-line, (alines,) float32, in pixels; NaN where there is none.

    `bscan_db` (alines, depth) float; `axial_um` the depth pixel. `noise_db` is `noise_floor_db` unless given.

    The surface is an edge, not a level: near zero delay the noise of a real system lies well above its noise
    at depth. On dB averaged over `average_alines` neighbours, it is the first place where the mean of the next
    `window_um` exceeds the mean of the `window_um` before by `contrast_db` and the noise by `threshold_db`,
    moved to where that contrast is greatest. At least `sustained_share` of the pixels behind it must be clearly
    brighter than what lies before: a line of fixed pattern never is a surface. The first `ignore_um` are left
    out (source spectrum, fixed pattern). An A-line that is NaN has no surface. Where what lies above the edge
    is itself `max_above_db` above the noise, tissue reaches up to zero delay and the edge is inside it: NaN,
    not a guess.

    Among `lateral_alines` neighbours, an A-line whose surface lies more than `max_jump_um` from the neighbours'
    median, or most of whose neighbours have none, gets NaN; the others get a running median. Nothing is
    interpolated into an A-line without a surface.
    """
    bscan_db = _checked(bscan_db, axial_um)
    for name, value in (("lateral_alines", lateral_alines), ("average_alines", average_alines)):
        if value < 1:
            raise InputError(f"{name} is {value}; give a number of at least 1")
    if noise_db is None:
        noise_db = noise_floor_db(bscan_db, axial_um=axial_um, ignore_um=ignore_um)
    edge_px = np.empty(len(bscan_db), dtype=np.float32)
    if not np.isfinite(noise_db):
        edge_px[:] = np.nan
        return edge_px
    _edges(
        bscan_db,
        _pixels(ignore_um, axial_um),
        max(3, _pixels(window_um, axial_um)),
        average_alines // 2,
        np.float32(noise_db + threshold_db),
        np.float32(noise_db + max_above_db),
        np.float32(contrast_db),
        np.float32(sustained_share),
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
def _edges(
    bscan_db: NDArray[np.float32],
    first_px: int,
    window_px: int,
    radius: int,
    level_db: np.float32,
    above_level_db: np.float32,
    contrast_db: np.float32,
    sustained_share: np.float32,
    edge_px: NDArray[np.float32],
) -> None:
    """First sufficient edge of each A-line, on the mean of its neighbours within `radius`."""
    alines, depth = bscan_db.shape
    line = np.empty(depth, dtype=np.float32)
    total = np.empty(depth + 1, dtype=np.float32)
    least_before = max(2, window_px // 3)
    for i in range(alines):
        edge_px[i] = np.float32(np.nan)
        if np.isnan(bscan_db[i, 0]):
            continue
        line[:] = np.float32(0.0)
        lines = np.float32(0.0)
        for j in range(max(0, i - radius), min(alines, i + radius + 1)):
            if np.isnan(bscan_db[j, 0]):
                continue
            lines += np.float32(1.0)
            for z in range(depth):
                line[z] += bscan_db[j, z]
        total[0] = np.float32(0.0)
        for z in range(depth):
            line[z] /= lines
            total[z + 1] = total[z] + line[z]
        best_px, best_contrast = -1, contrast_db
        for z in range(first_px + least_before, depth - window_px + 1):
            if best_px >= 0 and z > best_px + window_px:
                break
            before_from = max(first_px, z - window_px)
            before = (total[z] - total[before_from]) / np.float32(z - before_from)
            behind = (total[z + window_px] - total[z]) / np.float32(window_px)
            if behind > level_db and behind - before >= best_contrast:
                clear = before + np.float32(0.5) * contrast_db
                brighter = 0
                for y in range(z, z + window_px):
                    if line[y] > clear:
                        brighter += 1
                if np.float32(brighter) >= sustained_share * np.float32(window_px):
                    best_px, best_contrast = z, behind - before
        if best_px < 0:
            continue
        above = (total[best_px] - total[first_px]) / np.float32(best_px - first_px)
        # Beside a hole the neighbours have an edge where this A-line has nothing.
        own = np.float32(0.0)
        for z in range(best_px, best_px + window_px):
            own += bscan_db[i, z]
        if above <= above_level_db and own / np.float32(window_px) > level_db:
            edge_px[i] = np.float32(best_px)


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
