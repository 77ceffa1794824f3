"""Calibration from what a maker states: polynomials over the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import Polynomial, polynomial
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal._resampling import TAPS

_NEWTON_STEPS = 3
_UM_PER_NM = 1e-3


def evaluated(coefficients: Sequence[float], samples: int) -> NDArray[np.float64]:
    """Evaluate a polynomial, lowest power first, over `samples` places from 0 to 1."""
    _check_samples(samples)
    if len(coefficients) == 0:
        raise CalibrationError("calibration: a polynomial without coefficients; give at least one")
    return np.asarray(polynomial.polyval(np.linspace(0.0, 1.0, samples), coefficients), dtype=np.float64)


def k_map_and_step(coefficients_nm: Sequence[float], samples: int) -> tuple[NDArray[np.float64], float]:
    """K-map (samples,) and step of the wavenumber in rad/µm, by inverting k = 2 pi / lambda(pixel).

    The k-map runs in the direction of the pixels, so that wavenumber may fall along it.
    """
    _check_samples(samples)
    coefficients = np.asarray(coefficients_nm, dtype=np.float64)
    if coefficients.ndim != 1 or not coefficients.size or not np.isfinite(coefficients).all():
        raise CalibrationError("wavelengths: give the polynomial's coefficients, finite, lowest power first")
    wavelength_nm = Polynomial(coefficients)
    pixels = np.arange(samples, dtype=np.float64)
    at_pixels = wavelength_nm(pixels)
    steps = np.diff(at_pixels)
    if not (at_pixels > 0).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise CalibrationError(
            f"wavelengths: {at_pixels[0]:g} nm at the first pixel to {at_pixels[-1]:g} nm at the last are not "
            "above 0 and strictly monotonic; check the coefficients and their order, lowest power first"
        )
    first, last = 2 * np.pi / (at_pixels[[0, -1]] * _UM_PER_NM)
    wavenumbers = np.linspace(first, last, samples)
    wanted_nm = 2 * np.pi / wavenumbers / _UM_PER_NM
    rising = slice(None, None, 1 if steps[0] > 0 else -1)
    k_map = np.interp(wanted_nm, at_pixels[rising], pixels[rising])
    slope = wavelength_nm.deriv()
    if not np.all(slope(pixels)):
        raise CalibrationError(
            "wavelengths: at some pixel the wavelength stands still, where none is told from the next; "
            "check the coefficients and their order, lowest power first"
        )
    for _ in range(_NEWTON_STEPS):
        k_map = k_map - (wavelength_nm(k_map) - wanted_nm) / slope(k_map)
    return k_map, float(abs(wavenumbers[1] - wavenumbers[0]))


def depth_pixel_um(k_step: float, samples: int, refractive_index: float) -> float:
    """Depth pixel in µm in a medium: `samples` steps of `k_step` rad/µm, unpadded FFT."""
    if not (np.isfinite(refractive_index) and refractive_index >= 1):
        raise CalibrationError(
            f"wavelengths: refractive_index is {refractive_index}; give 1 for air or more for tissue"
        )
    return float(np.pi / (refractive_index * samples * k_step))


def _check_samples(samples: int) -> None:
    if samples < TAPS:
        raise CalibrationError(f"calibration: samples is {samples}; give at least {TAPS}")
