"""Texture of tissue in bands below its surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import InputError
from octmargin.signal import _texture_kernels as kernels

_MIN_BAND_PX = 2 * max(kernels.LAGS_PX)


@dataclass(frozen=True, slots=True)
class Texture:
    """Features per block of A-lines and depth band below the surface, float32 (blocks, bands); NaN: not known."""

    speckle_contrast: NDArray[np.float32]
    """Standard deviation over mean of the linear intensity: 1 for fully developed speckle."""
    spread_db: NDArray[np.float32]
    """Standard deviation of the intensity in dB: 5.57 for fully developed speckle."""
    lateral_similarity: NDArray[np.float32]
    """Correlation of the dB with those of the next A-line at the same depth below its surface."""
    axial_similarity: NDArray[np.float32]
    """Autocorrelation of the dB two pixels deeper."""
    fractal_dimension: NDArray[np.float32]
    """Of the dB along depth, from 1 (smooth) to 2 (no two pixels alike)."""


def texture(
    intensity: ArrayLike,
    surface_px: ArrayLike,
    *,
    axial_um: float,
    alines_per_block: int = 16,
    band_um: float = 200.0,
    bands: int = 5,
) -> Texture:
    """Texture of `intensity` (alines, depth), linear, below `surface_px` (alines,), NaN where there is none.

    A-lines are aligned at their surface. A block's band is NaN where fewer than half of its A-lines reach to the
    band's end with a surface and finite values. `axial_um` is the depth pixel. Raises InputError for
    shapes and numbers that do not fit; a band has at least 16 pixels.

    The fractal dimension is 2 - H with the Hurst exponent H from the mean squared differences at 1, 2, 4 and 8
    pixels (structure function). Speckle alone gives nearly 2: the figure tells tissues apart only where averaging
    or cells leave structure larger than a speckle. Bands that hold noise look like fully developed speckle: ask for
    the visualised depth first. Attenuation within a band adds to contrast and similarity.

    Sources: J. W. Goodman, Speckle Phenomena in Optics, 2007 (contrast and spread); Sullivan et al. 2011 (fractal
    dimension of breast tissue in OCT).
    """
    lines = np.ascontiguousarray(intensity, dtype=np.float32).view()
    tops = np.ascontiguousarray(surface_px, dtype=np.float32).view()
    if lines.ndim != 2 or not lines.size:
        raise InputError(f"intensity: expected (alines, depth), got shape {lines.shape}")
    if tops.shape != (len(lines),):
        raise InputError(f"surface_px: expected shape ({len(lines)},), one per A-line, got {tops.shape}")
    if not (np.isfinite(axial_um) and axial_um > 0):
        raise InputError(f"axial_um is {axial_um}; give the depth pixel in µm, above 0")
    for name, value in (("alines_per_block", alines_per_block), ("bands", bands)):
        if value < 1:
            raise InputError(f"{name} is {value}; give a number of at least 1")
    if not np.isfinite(band_um):
        raise InputError(f"band_um is {band_um}; give the depth of a band in µm")
    band_px = round(band_um / axial_um)
    if band_px < _MIN_BAND_PX:
        raise InputError(
            f"band_um is {band_um:g}, {band_px} pixels of {axial_um:g} µm; give at least {_MIN_BAND_PX} pixels"
        )
    # One kind of array for the kernel, so that it is compiled once.
    lines.flags.writeable = False
    tops.flags.writeable = False
    found = np.empty((-(-len(lines) // alines_per_block), bands, kernels.FEATURES), dtype=np.float32)
    kernels.texture_of_blocks(lines, tops, alines_per_block, band_px, found)
    return Texture(
        speckle_contrast=found[..., kernels.CONTRAST],
        spread_db=found[..., kernels.SPREAD_DB],
        lateral_similarity=found[..., kernels.LATERAL],
        axial_similarity=found[..., kernels.AXIAL],
        fractal_dimension=found[..., kernels.FRACTAL],
    )
