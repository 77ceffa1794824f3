"""Where the tissue begins in a B-scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal import _surface_kernels as kernels

_NOISE_BANDS = 16
_NOISE_VALUES_PER_BAND = 2048
_MEDIAN_OF_NOISE_DB = float(10.0 * np.log10(np.log(2.0)))
"""Noise intensity is exponential: its median lies this far (-1.6 dB) from its mean."""


def noise_floor_db(bscan_db: NDArray[Any], *, axial_um: float, ignore_um: float = 30.0) -> float:
    """Mean noise intensity of a B-scan in dB; NaN where nothing in it can be taken for noise.

    `bscan_db` (alines, depth) float. The depths below `ignore_um` are cut into 16 bands; the noise is what
    the darkest of them holds, be that before the surface or deep in the tissue: its median over A-lines that
    are evenly apart, corrected to the mean of an exponential distribution. Pixels at the floor of -100 dB or not
    finite do not count.
    """
    bscan_db = _checked(bscan_db, axial_um)
    first_px = min(_pixels(ignore_um, axial_um), bscan_db.shape[1])
    median_db = kernels.darkest_median_db(bscan_db, first_px, _NOISE_BANDS, _NOISE_VALUES_PER_BAND)
    return median_db - _MEDIAN_OF_NOISE_DB


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
    max_below_brightest_db: float = 16.0,
    average_alines: int = 5,
    lateral_alines: int = 21,
    max_jump_um: float = 80.0,
) -> NDArray[np.float32]:
    """Depth of the tissue surface per A-line, (alines,) float32, in pixels; NaN where there is none.

    `bscan_db` (alines, depth) float; `axial_um` the depth pixel. `noise_db` is `noise_floor_db` unless given.

    The surface is an edge, not a level: near zero delay the noise of a real system lies well above its noise
    at depth. On dB averaged over `average_alines` neighbours, it is the first place where the mean of the next
    `window_um` exceeds the mean of the `window_um` before by `contrast_db` and the noise by `threshold_db`,
    moved to where that contrast is greatest. At least `sustained_share` of the pixels behind it must be clearly
    brighter than what lies before: a line of fixed pattern never is a surface. The first `ignore_um` are left
    out (source spectrum, fixed pattern). An A-line that is NaN has no surface.

    Light that is more than `max_below_brightest_db` darker than the brightest place of its A-line is no tissue
    surface: layers that interfere with one another (autocorrelation) leave such light near zero delay, and so
    does the skirt of the window function just above a bright surface. Where what lies above the edge is itself
    `max_above_db` above the noise, and not by `max_below_brightest_db` darker than what lies behind it, tissue
    reaches up to zero delay and the edge is inside it: NaN, not a guess.

    Among `lateral_alines` neighbours, an A-line whose surface lies more than `max_jump_um` from the neighbours'
    median, or most of whose neighbours have none, gets NaN; the others get a running median. Nothing is
    interpolated into an A-line without a surface. Both numbers of neighbours count the A-line itself; an even one
    takes one more.
    """
    bscan_db = _checked(bscan_db, axial_um)
    for name, value in (("lateral_alines", lateral_alines), ("average_alines", average_alines)):
        if value < 1:
            raise InputError(f"{name} is {value}; give a number of at least 1")
    for name, length_um in (("window_um", window_um), ("ignore_um", ignore_um)):
        if not (np.isfinite(length_um) and length_um >= 0):
            raise InputError(f"{name} is {length_um}; give a length in µm, at least 0")
    if noise_db is None:
        noise_db = noise_floor_db(bscan_db, axial_um=axial_um, ignore_um=ignore_um)
    edge_px = np.empty(len(bscan_db), dtype=np.float32)
    if not np.isfinite(noise_db):
        edge_px[:] = np.nan
        return edge_px
    kernels.find_edges(
        bscan_db,
        _pixels(ignore_um, axial_um),
        max(3, _pixels(window_um, axial_um)),
        average_alines // 2,
        np.float32(noise_db + threshold_db),
        np.float32(noise_db + max_above_db),
        np.float32(max_below_brightest_db),
        np.float32(contrast_db),
        np.float32(sustained_share),
        edge_px,
    )
    surface_px = np.empty_like(edge_px)
    kernels.agree_with_neighbours(
        edge_px, lateral_alines // 2, np.float32(max_jump_um / axial_um), surface_px
    )
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
