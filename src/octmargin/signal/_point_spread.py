"""What a mirror's peak tells: its place, width and height, and the noise it stands on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal._resampling import lagrange_weights, resample

DC_PX = 8
"""Depths that no mirror may lie in: what is left of the source's spectrum after background removal."""
_BESIDE_PEAK_PX = 20
"""Depths on either side of a peak that are its own side lobes, not noise."""
_MEDIAN_OVER_MEAN = float(np.log(2.0))
"""Of the intensity of complex Gaussian noise, which is exponentially distributed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSpread:
    """A mirror's peak in the depth profile.

    `depth_px`: where it lies. `width_px`: its full width at half of the amplitude. `peak_db` and `noise_db`:
    intensity of the peak, and mean intensity of the noise away from it, both on the scale of the spectrum's
    own units.
    """

    depth_px: float
    width_px: float
    peak_db: float
    noise_db: float

    @property
    def dynamic_range_db(self) -> float:
        """Peak over noise floor."""
        return self.peak_db - self.noise_db


def to_linear_wavenumber(
    spectra: NDArray[np.float64], k_map: NDArray[np.float64] | None, window: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Resample spectra (..., samples) to linear wavenumber and apply the window, in float64."""
    if k_map is None:
        return spectra * window
    first, weights = lagrange_weights(k_map, spectra.shape[-1])
    return resample(spectra, first, weights) * window


def amplitude_profile(
    spectrum: NDArray[np.float64],
    k_map: NDArray[np.float64] | None,
    dispersion_rad: NDArray[np.float64],
    window: NDArray[np.float64],
    zero_padding: int,
) -> NDArray[np.float64]:
    """Amplitude over depth (zero_padding * samples // 2,), `zero_padding` values per depth pixel."""
    padded = zero_padding * len(spectrum)
    linear = to_linear_wavenumber(spectrum - spectrum.mean(), k_map, window)
    return np.abs(np.fft.fft(linear * np.exp(-1j * dispersion_rad), padded))[: padded // 2]


def point_spread(amplitude: NDArray[np.float64], zero_padding: int) -> PointSpread:
    """Measure the highest peak of a profile of `amplitude_profile`."""
    beyond_dc = zero_padding * DC_PX
    peak = beyond_dc + int(np.argmax(amplitude[beyond_dc:]))
    half = amplitude[peak] / 2
    left = _last_below(amplitude[: peak + 1][::-1], half)
    right = _last_below(amplitude[peak:], half)
    return PointSpread(
        depth_px=peak / zero_padding,
        width_px=float(left + right) / zero_padding,
        peak_db=_decibels(amplitude[peak] ** 2),
        noise_db=_decibels(_noise_intensity(amplitude, peak, zero_padding)),
    )


def _noise_intensity(amplitude: NDArray[np.float64], peak: int, zero_padding: int) -> float:
    """Mean noise intensity by way of the median, which ghosts and harmonics of the peak hardly move."""
    depth = np.arange(len(amplitude))
    away = (depth >= zero_padding * DC_PX) & (np.abs(depth - peak) > zero_padding * _BESIDE_PEAK_PX)
    if not away.any():
        raise CalibrationError(
            f"point spread: {len(amplitude) // zero_padding} depth pixels leave none to measure the noise in; "
            f"give at least {4 * _BESIDE_PEAK_PX}"
        )
    return float(np.median(amplitude[away] ** 2)) / _MEDIAN_OVER_MEAN


def _decibels(intensity: float) -> float:
    return 10 * float(np.log10(max(intensity, np.finfo(np.float64).tiny)))


def _last_below(falling: NDArray[np.float64], level: float) -> float:
    """Fractional index where a profile that starts above `level` first crosses it."""
    below = np.flatnonzero(falling < level)
    if not below.size:
        raise CalibrationError(
            "point spread: the peak never falls to half of its amplitude; record a clear mirror"
        )
    after = int(below[0])
    return float(after - (level - falling[after]) / (falling[after - 1] - falling[after]))
