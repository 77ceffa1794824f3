"""What the simulated console is made of: source, interferometer, line camera and converter.

Conventions, those of the reconstruction chain: sample `j` of a spectrum that is linear in wavenumber was
read at the fractional camera pixel `k_map[j]`; a reflector at depth `d` (in depth pixels) is the fringe
`cos(2 pi d j / samples + dispersion_rad[j])` there. Resampling at `k_map`, multiplying by
`exp(-1j * dispersion_rad)` and a forward FFT therefore put it at bin `d`, its mirror image in the upper half.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from octmargin.errors import InputError

DEPTH_FRACTION = 0.32
"""Deepest simulated depth pixel as a fraction of `samples`; keeps the kernel's error below -100 dB."""


@dataclass(frozen=True)
class ConsoleOptics:
    """Source, beam, interferometer, spectrometer and converter of the simulated console; every number is ours.

    `k_map_shape` are polynomial coefficients (lowest power first) over x = j / (samples - 1) of the camera
    pixel as a fraction of the last pixel; they rise from 0 to 1. The dispersion phase is
    `dispersion_2_rad * u**2 + dispersion_3_rad * u**3` with u = 2 x - 1.
    """

    samples: int = 2048
    axial_um: float = 4.0
    """Depth pixel in tissue."""
    bits: int = 12
    dark_counts: float = 60.0
    reference_counts: float = 2300.0
    """Reference light at the source's strongest wavenumber, above the dark level."""
    electrons_per_count: float = 45.0
    read_noise_counts: float = 1.5
    rolloff_6db_mm: float = 3.0
    """Depth in tissue at which the sensitivity has fallen by 6 dB (Gaussian in depth)."""
    k_map_shape: tuple[float, ...] = (0.0, 1.09, -0.06, -0.03)
    dispersion_2_rad: float = 24.0
    dispersion_3_rad: float = 6.0
    autocorrelation: bool = True
    """Whether the sample's reflections interfere with each other; that light lies near zero delay."""
    excess_noise: float = 0.0
    """Relative intensity noise of the source: standard deviation of one sample over its light."""
    power_fluctuation: float = 0.0
    """Standard deviation of the source's power from spectrum to spectrum, relative."""
    pixel_gain_spread: float = 0.0
    """Standard deviation of the gain from camera pixel to camera pixel, relative; always the same pattern."""
    etalons: tuple[tuple[float, float], ...] = ()
    """Fixed-pattern lines, of reflections inside the console: (depth in pixels, fringe amplitude in counts)."""
    beam_radius_um: float | None = None
    """Radius at 1/e^2 of the intensity in focus; None: every A-line sees scatterers of its own, at any depth alike."""
    focus_mm: float = 0.6
    """Depth of the focus below zero delay, in tissue."""
    source_width: float = 1.0
    """Width of the source spectrum over its usual one: a narrower one resolves less in depth."""
    wavelength_um: float = 1.3
    refractive_index: float = 1.38

    def __post_init__(self) -> None:
        if self.samples < 64:
            raise InputError(f"console optics: samples is {self.samples}; give at least 64")
        if self.beam_radius_um is not None and not self.beam_radius_um > 0:
            raise InputError(
                f"console optics: beam radius is {self.beam_radius_um} µm; give one above 0, or None"
            )
        if not self.source_width > 0:
            raise InputError(f"console optics: source width is {self.source_width}; give one above 0")

    @property
    def full_scale(self) -> int:
        """Largest count; a sample that reaches it is saturated."""
        return (1 << self.bits) - 1

    @property
    def depth_px(self) -> int:
        """Depth pixels in which scatterers may lie."""
        return int(self.samples * DEPTH_FRACTION)

    @property
    def k_map_coefficients(self) -> NDArray[np.float64]:
        """Polynomial over x = j / (samples - 1), lowest power first; camera pixels."""
        return np.asarray(self.k_map_shape) * (self.samples - 1)

    @property
    def dispersion_coefficients(self) -> NDArray[np.float64]:
        """Polynomial over x = j / (samples - 1), lowest power first; radians."""
        u = np.array([-1.0, 2.0])
        second = self.dispersion_2_rad * polynomial.polypow(u, 2)
        third = self.dispersion_3_rad * polynomial.polypow(u, 3)
        return np.asarray(polynomial.polyadd(second, third), np.float64)

    @cached_property
    def linear_index(self) -> NDArray[np.float64]:
        """Fractional linear-wavenumber index at each camera pixel, (samples,): the inverse of the k-map."""
        x = pixel = np.linspace(0.0, 1.0, self.samples)
        slope = polynomial.polyder(np.asarray(self.k_map_shape))
        for _ in range(20):
            x = x - (polynomial.polyval(x, self.k_map_shape) - pixel) / polynomial.polyval(x, slope)
        return x * (self.samples - 1)

    @cached_property
    def dispersion_at_pixels(self) -> NDArray[np.float64]:
        """Dispersion phase at each camera pixel, (samples,), radians."""
        x = self.linear_index / (self.samples - 1)
        return np.asarray(polynomial.polyval(x, self.dispersion_coefficients), np.float64)

    def source_shape(self, linear_index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Source spectrum at fractional linear-wavenumber indices, peak 1: two overlapping emitters."""
        x = 0.5 + (linear_index / (self.samples - 1) - 0.5) / self.source_width
        humps = 0.95 * np.exp(-0.5 * ((x - 0.34) / 0.15) ** 2) + np.exp(-0.5 * ((x - 0.67) / 0.15) ** 2)
        return np.asarray(humps / 1.1124)

    @cached_property
    def source_at_pixels(self) -> NDArray[np.float64]:
        """Source spectrum at each camera pixel, (samples,), peak 1."""
        return self.source_shape(self.linear_index)

    @cached_property
    def pixel_gain(self) -> NDArray[np.float64]:
        """Gain of each camera pixel relative to the mean, (samples,); the camera's own, whatever the specimen."""
        pattern = np.random.default_rng(self.samples).standard_normal(self.samples)
        return 1 + self.pixel_gain_spread * pattern

    @cached_property
    def reference_light_counts(self) -> NDArray[np.float64]:
        """Light that is there without a sample, at each camera pixel, (samples,): reference arm and etalons."""
        fringes = np.zeros(self.samples)
        for depth_px, counts in self.etalons:
            fringes += counts * np.cos(2 * np.pi * depth_px * self.linear_index / self.samples)
        return self.source_at_pixels * (self.reference_counts + fringes) * self.pixel_gain

    @cached_property
    def level_counts(self) -> NDArray[np.float64]:
        """What the camera reads on average without a sample, (samples,), counts."""
        return self.dark_counts + self.reference_light_counts

    @cached_property
    def noise_counts(self) -> NDArray[np.float64]:
        """Standard deviation of the noise of one sample, (samples,), counts: shot, excess and read noise."""
        light = self.reference_light_counts
        shot = np.maximum(light, 0) / self.electrons_per_count
        return np.sqrt(shot + (self.excess_noise * light) ** 2 + self.read_noise_counts**2)

    def sensitivity(self, depth_px: Any) -> Any:
        """Amplitude roll-off at depth(s) in pixels, 1 at zero delay."""
        depth_mm = np.abs(depth_px) * self.axial_um / 1000
        return np.exp(-np.log(2.0) * (depth_mm / self.rolloff_6db_mm) ** 2)

    @property
    def rayleigh_mm(self) -> float:
        """Rayleigh range of the beam in tissue; infinite without a beam radius."""
        if self.beam_radius_um is None:
            return float("inf")
        return self.refractive_index * np.pi * self.beam_radius_um**2 / self.wavelength_um / 1000

    def confocal(self, depth_px: Any) -> Any:
        """Intensity that the fibre takes back from scatterers at depth(s) in pixels, 1 in focus.

        h(z) = 1 / (1 + ((z - z_focus) / (2 z_R))^2) for diffuse reflection (van Leeuwen 2003,
        doi:10.1109/JSTQE.2003.813299).
        """
        off_focus_mm = np.asarray(depth_px) * self.axial_um / 1000 - self.focus_mm
        return 1 / (1 + (off_focus_mm / (2 * self.rayleigh_mm)) ** 2)

    def beam_radius_at_um(self, depth_px: Any) -> Any:
        """Radius of the beam at 1/e^2 of its intensity at depth(s) in pixels; 0 without a beam radius."""
        if self.beam_radius_um is None:
            return 0.0 * np.asarray(depth_px)
        off_focus_mm = np.asarray(depth_px) * self.axial_um / 1000 - self.focus_mm
        return self.beam_radius_um * np.sqrt(1 + (off_focus_mm / self.rayleigh_mm) ** 2)

    def amplitude_for_snr(self, snr_db: float) -> float:
        """Root-mean-square fringe amplitude per depth pixel, in counts, of homogeneous tissue at `snr_db`.

        The signal-to-noise ratio is that of mean intensities in the A-line, with a Hann window: white noise
        of variance s^2 gives sum(s^2 w^2); independent scatterers of mean square amplitude A^2 give
        A^2/4 * samples * sum((w source)^2), by Parseval over the point spread. Roll-off and focus are left out.
        """
        window = np.hanning(self.samples)
        noise = float(np.sum((window * self.noise_counts) ** 2))
        signal = (
            self.samples
            * float(np.sum((window * self.source_shape(np.arange(float(self.samples)))) ** 2))
            / 4
        )
        return float(np.sqrt(10 ** (snr_db / 10) * noise / signal))
