"""Calibration from two mirrors, one on either side of zero delay.

Attendu et al., "Simple and robust calibration procedure for k-linearization and dispersion compensation in
optical coherence tomography", J. Biomed. Opt. 24(5), 056001 (2019), doi 10.1117/1.JBO.24.5.056001.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import CalibrationError
from octmargin.signal._point_spread import DC_PX

_PHASE_DEGREE = 5
"""Enough for spectrometers and sweeps, which are smooth; a higher one follows noise at the dark ends."""
_PEAK_OVER_MEDIAN = 10.0


def interference(
    mirror: ArrayLike, dark_sample: ArrayLike, dark_ref: ArrayLike, dark_not: ArrayLike
) -> NDArray[np.float64]:
    """Interference part of a mirror's spectrum (samples,), float64.

    `dark_sample`, `dark_ref`, `dark_not`: spectra with the reference arm, the sample arm and both arms
    blocked. The detector's offset is in each of them, hence mirror - dark_sample - dark_ref + dark_not.
    """
    spectra = [
        np.asarray(spectrum, dtype=np.float64) for spectrum in (mirror, dark_sample, dark_ref, dark_not)
    ]
    if len({spectrum.shape for spectrum in spectra}) > 1 or spectra[0].ndim != 1:
        shapes = ", ".join(str(spectrum.shape) for spectrum in spectra)
        raise CalibrationError(f"interference: expected four spectra of one length, got {shapes}")
    return spectra[0] - spectra[1] - spectra[2] + spectra[3]


def calibrate(
    mirror1: NDArray[np.float64], mirror2: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """K-map and dispersion (samples,) from two interference spectra; see `Calibration.from_mirrors`."""
    samples = len(mirror1)
    pixels = np.arange(samples, dtype=np.float64)
    phase1, weight1 = fringe_phase(mirror1, "mirror1")
    phase2, weight2 = fringe_phase(mirror2, "mirror2")
    weight = np.sqrt(weight1 * weight2)

    # Past zero delay the measured phase runs backwards: the sum is free of dispersion, the difference of
    # delay.
    delay = _smooth(pixels, phase1 + phase2, weight)(pixels)
    if not (np.diff(delay) > 0).all():
        raise CalibrationError(
            "mirrors: the fringe phase does not grow steadily; record mirrors with clear fringes"
        )
    k_map = np.interp(np.linspace(delay[0], delay[-1], samples), delay, pixels)

    dispersion = _smooth(pixels, (phase1 - phase2) / 2, weight)(k_map)
    weight_in_k = np.interp(k_map, pixels, weight)
    return k_map, dispersion - Polynomial.fit(pixels, dispersion, 1, w=weight_in_k)(pixels)


def fringe_phase(spectrum: NDArray[np.float64], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unwrapped phase in rad, growing with the pixel, and envelope of a mirror's fringes, both (samples,)."""
    samples = len(spectrum)
    # Zeros behind the spectrum, so that the filter does not carry its last fringes into the first ones.
    padded = np.concatenate([spectrum - spectrum.mean(), np.zeros(samples)])
    lines = np.fft.fft(padded)
    amplitude = np.abs(np.fft.rfft((spectrum - spectrum.mean()) * np.hanning(samples)))
    if len(amplitude) <= 4 * DC_PX:
        raise CalibrationError(f"mirrors: {name} has {samples} samples; give at least {8 * DC_PX}")
    peak = DC_PX + int(np.argmax(amplitude[DC_PX:]))
    if not amplitude[peak] > _PEAK_OVER_MEDIAN * np.median(amplitude[DC_PX:]):
        raise CalibrationError(f"mirrors: {name} holds no clear fringe; align the mirror and record it again")
    depth_px = np.abs(np.fft.fftfreq(len(padded))) * samples
    band = _band_pass(depth_px, low=0.4 * peak, high=1.9 * peak)
    positive = np.fft.fftfreq(len(padded)) > 0
    analytic = np.fft.ifft(2 * lines * band * positive)[:samples]
    return np.unwrap(np.angle(analytic)), np.abs(analytic)


def _band_pass(depth_px: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    rise = np.clip((depth_px - low / 2) / (low / 2), 0, 1)
    fall = np.clip((1.2 * high - depth_px) / (0.2 * high), 0, 1)
    return np.asarray(np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2)


def _smooth(x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]) -> Polynomial:
    # Where the source is dark the phase is noise; the weights leave those ends to the polynomial.
    return Polynomial.fit(x, y, _PHASE_DEGREE, w=weight)
