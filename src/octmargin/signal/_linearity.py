"""Whether spectra are linear in wavenumber already, so that they need no k-map."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy import fft

from octmargin.signal import _sharpness
from octmargin.signal._point_spread import to_linear_wavenumber

STRAIGHT_WITHIN_PX = 1 / 7
"""RMS departure of a k-map from a straight line that no depth pixel suffers from.

A departure of d pixels is a phase error of pi d at the deepest pixel, and Maréchal's criterion (a peak of 80 %)
allows an RMS error of 2 pi / 14.
"""
_CLEARLY = 1.05
"""Ratio of sharpnesses below which noise may have decided."""
_FINER = 4


class LinearInK(Enum):
    """Whether spectra are linear in wavenumber."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"


def departure_px(k_map: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """RMS distance of a k-map from a straight line, in pixels, weighted by what the window lets through."""
    j = np.arange(len(k_map), dtype=np.float64)
    line = Polynomial.fit(j, k_map, 1, w=window)
    return float(np.sqrt(np.sum((window * (k_map - line(j))) ** 2) / np.sum(window**2)))


def sharper_of(
    spectra: NDArray[np.float64],
    k_map: NDArray[np.float64],
    dispersion_rad: NDArray[np.float64],
    window: NDArray[np.float64],
) -> LinearInK:
    """Judge spectra (alines, samples), their background removed, by whether the k-map sharpens them.

    The dispersion is not refined: a wrong k-map blurs a thin sample much as a wrong dispersion does, and would
    hide behind it. Its sign is, because the sample may lie on either side of zero delay.
    """
    # Cubic interpolation damps the deep half of the noise, which would count as sharpness; between samples
    # four times as close it damps next to nothing.
    finer = fft.irfft(fft.rfft(spectra, axis=1), _FINER * spectra.shape[1], axis=1)
    last = finer.shape[1] - 1
    resampled = _FINER * to_linear_wavenumber(finer, np.clip(_FINER * k_map, 0, last), window)
    without, with_map = (
        max(_sharpness.sharpness(linear, sign * dispersion_rad) for sign in (1, -1))
        for linear in (spectra * window, resampled)
    )
    if without > _CLEARLY * with_map:
        return LinearInK.YES
    return LinearInK.NO if with_map > _CLEARLY * without else LinearInK.UNDECIDED
