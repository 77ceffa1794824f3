"""A float64 reference reconstruction, written apart from the product's kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline


def amplitudes(
    raw: NDArray[Any],
    background: NDArray[np.float64],
    calibration: Mapping[str, Any] | None,
    pad: int = 1,
) -> NDArray[np.float64]:
    """|FFT| of spectra (alines, samples) with a Hann window; without a calibration, of the raw samples."""
    samples = raw.shape[-1]
    fringes = raw.astype(np.float64) - background
    phasor: Any = 1.0
    if calibration is not None:
        x = np.arange(samples) / (samples - 1)
        k_map = polynomial.polyval(x, calibration["k_map"])
        fringes = CubicSpline(np.arange(samples), fringes, axis=-1)(k_map)
        phasor = np.exp(-1j * polynomial.polyval(x, calibration["dispersion_rad"]))
    return np.abs(np.fft.fft(fringes * np.hanning(samples) * phasor, n=pad * samples, axis=-1))


def half_width_px(profile: NDArray[np.float64], pad: int) -> float:
    """Full width at half of the peak amplitude, in unpadded depth pixels, outermost crossings."""
    above = np.flatnonzero(profile >= profile.max() / 2)
    return float(above[-1] - above[0] + 1) / pad
