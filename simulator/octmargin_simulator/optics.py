"""The simulated console's optics: scatterers along depth become spectra as its line camera reads them.

Conventions, those of the reconstruction chain: sample `j` of a spectrum that is linear in wavenumber was
read at the fractional camera pixel `k_map[j]`; a reflector at depth `d` (in depth pixels) is the fringe
`cos(2 pi d j / samples + dispersion_rad[j])` there. Resampling at `k_map`, multiplying by
`exp(-1j * dispersion_rad)` and a forward FFT therefore put it at bin `d`, its mirror image in the upper half.

Camera pixel `p` sees the fringe at the fractional linear index `inverse(k_map)(p)`. The sum over all depths
at those uneven positions is a non-uniform Fourier transform of type 2, computed with an FFT and a short
Kaiser-Bessel kernel (Fessler & Sutton 2003, doi:10.1109/TSP.2002.807005; Barnett, Magland & af Klinteberg
2019, doi:10.1137/18M120885X). Tissue fills less than a third of the depth range, so that the FFT of the
spectrum's own length already oversamples it more than threefold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
import scipy.fft
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from octmargin.errors import InputError

DEPTH_FRACTION = 0.32
"""Deepest simulated depth pixel as a fraction of `samples`; keeps the kernel's error below -100 dB."""

KERNEL_TAPS = 6
ALINES_PER_BATCH = 32
"""A-lines computed together; small enough that a batch stays in the processor's second-level cache."""


@dataclass(frozen=True)
class ConsoleOptics:
    """Source, interferometer, spectrometer and converter of the simulated console; every number is ours.

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

    def __post_init__(self) -> None:
        if self.samples < 64:
            raise InputError(f"console optics: samples is {self.samples}; give at least 64")

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
        x = linear_index / (self.samples - 1)
        humps = 0.95 * np.exp(-0.5 * ((x - 0.34) / 0.15) ** 2) + np.exp(-0.5 * ((x - 0.67) / 0.15) ** 2)
        return np.asarray(humps / 1.1124)

    @cached_property
    def source_at_pixels(self) -> NDArray[np.float64]:
        """Source spectrum at each camera pixel, (samples,), peak 1."""
        return self.source_shape(self.linear_index)

    @cached_property
    def level_counts(self) -> NDArray[np.float64]:
        """Dark level and reference light at each camera pixel, (samples,), counts."""
        return self.dark_counts + self.reference_counts * self.source_at_pixels

    @cached_property
    def noise_counts(self) -> NDArray[np.float64]:
        """Standard deviation of shot noise of the reference and read noise, (samples,), counts."""
        shot = self.reference_counts * self.source_at_pixels / self.electrons_per_count
        return np.sqrt(shot + self.read_noise_counts**2)

    def sensitivity(self, depth_px: Any) -> Any:
        """Amplitude roll-off at depth(s) in pixels, 1 at zero delay."""
        depth_mm = np.abs(depth_px) * self.axial_um / 1000
        return np.exp(-np.log(2.0) * (depth_mm / self.rolloff_6db_mm) ** 2)

    def amplitude_for_snr(self, snr_db: float) -> float:
        """Root-mean-square fringe amplitude per depth pixel, in counts, of homogeneous tissue at `snr_db`.

        The signal-to-noise ratio is that of mean intensities in the A-line, with a Hann window: white noise
        of variance s^2 gives sum(s^2 w^2); independent scatterers of mean square amplitude A^2 give
        A^2/4 * samples * sum((w source)^2), by Parseval over the point spread. Roll-off is left out.
        """
        window = np.hanning(self.samples)
        noise = float(np.sum((window * self.noise_counts) ** 2))
        signal = (
            self.samples
            * float(np.sum((window * self.source_shape(np.arange(float(self.samples)))) ** 2))
            / 4
        )
        return float(np.sqrt(10 ** (snr_db / 10) * noise / signal))


class Interferometer:
    """Turns scatterers into camera counts; tables are computed once, every method may run in many threads."""

    def __init__(self, optics: ConsoleOptics) -> None:
        self.optics = optics
        n = optics.samples
        depth = np.arange(optics.depth_px)
        self._centre = optics.depth_px // 2
        # Demodulating to the middle of the depths halves the highest frequency that the kernel must carry.
        offset = (depth - self._centre) / n
        beta = np.pi * KERNEL_TAPS * (1 - DEPTH_FRACTION / 2)
        root = np.sqrt(beta**2 - (np.pi * KERNEL_TAPS * offset) ** 2)
        kernel_spectrum = KERNEL_TAPS * np.sinh(root) / root
        self._depth_gain = (optics.sensitivity(depth) / kernel_spectrum).astype(np.float32)

        first = np.floor(optics.linear_index).astype(np.int64) - (KERNEL_TAPS // 2 - 1)
        taps = first[:, None] + np.arange(KERNEL_TAPS)
        distance = (optics.linear_index[:, None] - taps) * (2 / KERNEL_TAPS)
        self._tap_weight = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - distance**2))).astype(np.float32)
        self._tap_index = (taps % n).astype(np.int32)

        phase = optics.dispersion_at_pixels + 2 * np.pi * self._centre * optics.linear_index / n
        self._phasor = (optics.source_at_pixels * np.exp(1j * phase)).astype(np.complex64)
        self._detector = np.stack([optics.level_counts, optics.noise_counts]).astype(np.float32)
        self._noiseless_detector = self._detector * np.array([[1], [0]], np.float32)

    def fringes(self, scatterers: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Noise-free fringes without the reference level, float32 (alines, samples), counts.

        `scatterers`: complex64 (alines, depth), depth up to `optics.depth_px`; the fringe amplitude of each
        depth pixel, in counts. Raises InputError where they lie deeper.
        """
        if scatterers.shape[1] > self.optics.depth_px:
            raise InputError(
                f"scatterers: {scatterers.shape[1]} depth pixels, but the optics see {self.optics.depth_px}; "
                "crop them"
            )
        grid = np.empty((scatterers.shape[0], self.optics.samples), np.complex64)
        return self._interfere(scatterers, grid, np.empty(grid.shape, np.float32))

    def _interfere(
        self, scatterers: NDArray[np.complex64], grid: NDArray[np.complex64], out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        _place(scatterers, self._depth_gain, self._centre, grid)
        field = scipy.fft.ifft(grid, axis=1, norm="forward", overwrite_x=True)
        _sample(field, self._tap_index, self._tap_weight, self._phasor, out)
        return out

    def detect(
        self, fringes: NDArray[np.float32], rng: np.random.Generator | None, out: NDArray[np.uint16]
    ) -> None:
        """Add reference and noise to fringes (alines, samples), convert to counts and clip, into `out`.

        Without `rng` the camera is free of noise, but still converts to whole counts.
        """
        if rng is None:
            detector, words = self._noiseless_detector, np.zeros(fringes.shape, np.uint32)
        else:
            detector = self._detector
            words = rng.integers(0, 2**32 - 1, fringes.shape, np.uint32, endpoint=True)
        _convert(fringes, detector, words, np.float32(self.optics.full_scale), out)

    def expose(
        self, amplitude: NDArray[np.float32], rng: np.random.Generator, out: NDArray[np.uint16]
    ) -> None:
        """Spectra of tissue with fully developed speckle into `out`, uint16 (alines, samples).

        `amplitude`: root-mean-square fringe amplitude, float32 (alines, depth), counts. Each depth pixel
        scatters with a circular complex Gaussian amplitude (Goodman 2007, Speckle Phenomena in Optics).
        """
        alines, depth = amplitude.shape
        batch = min(ALINES_PER_BATCH, alines)
        # One set of buffers for the whole frame: fresh pages for every batch would cost as much as an FFT.
        gaussian = np.empty((batch, 2 * depth), np.float32)
        grid = np.empty((batch, self.optics.samples), np.complex64)
        fringes = np.empty(grid.shape, np.float32)
        for start in range(0, alines, batch):
            n = min(batch, alines - start)
            rng.standard_normal(dtype=np.float32, out=gaussian[:n])
            scatterers = gaussian[:n].view(np.complex64)
            scatterers *= amplitude[start : start + n] * np.float32(np.sqrt(0.5))
            self.detect(self._interfere(scatterers, grid[:n], fringes[:n]), rng, out[start : start + n])

    def mirror(
        self,
        depth_px: float,
        *,
        alines: int = 1,
        amplitude_counts: float = 600.0,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.uint16]:
        """Spectra of a mirror, uint16 (alines, samples).

        `depth_px` may be fractional, and negative on the far side of zero delay.
        """
        optics = self.optics
        phase = 2 * np.pi * depth_px * optics.linear_index / optics.samples + optics.dispersion_at_pixels
        fringe = amplitude_counts * optics.sensitivity(depth_px) * optics.source_at_pixels * np.cos(phase)
        out = np.empty((alines, optics.samples), np.uint16)
        self.detect(np.tile(fringe.astype(np.float32), (alines, 1)), rng, out)
        return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _place(
    scatterers: NDArray[np.complex64], gain: NDArray[np.float32], centre: int, grid: NDArray[np.complex64]
) -> None:
    n = grid.shape[1]
    alines, depth = scatterers.shape
    below = min(centre, depth)
    for a in range(alines):
        grid[a, :] = 0
        for d in range(below):
            grid[a, n - centre + d] = scatterers[a, d] * gain[d]
        for d in range(below, depth):
            grid[a, d - centre] = scatterers[a, d] * gain[d]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sample(
    field: NDArray[np.complex64],
    tap_index: NDArray[np.int32],
    tap_weight: NDArray[np.float32],
    phasor: NDArray[np.complex64],
    out: NDArray[np.float32],
) -> None:
    for a in range(out.shape[0]):
        line = field[a]
        for p in range(out.shape[1]):
            re = np.float32(0)
            im = np.float32(0)
            for t in range(KERNEL_TAPS):
                value = line[tap_index[p, t]]
                re += tap_weight[p, t] * value.real
                im += tap_weight[p, t] * value.imag
            out[a, p] = phasor[p].real * re - phasor[p].imag * im


@numba.njit(cache=True, nogil=True, fastmath=True)
def _convert(
    fringes: NDArray[np.float32],
    detector: NDArray[np.float32],
    words: NDArray[np.uint32],
    full_scale: np.float32,
    out: NDArray[np.uint16],
) -> None:
    # The four bytes of a random word are uniform; their sum is close to Gaussian (Irwin-Hall, at most 3.45
    # sigma, in steps of sigma/148), and every depth pixel sums thousands of them. Exact deviates cost thrice.
    level, sigma = detector[0], detector[1]
    byte = np.uint32(0xFF)
    mean = np.float32(2 * 255)
    scale = np.float32(np.sqrt(3.0 / (256**2 - 1)))
    for a in range(out.shape[0]):
        for p in range(out.shape[1]):
            word = words[a, p]
            total = (
                (word & byte)
                + ((word >> np.uint32(8)) & byte)
                + ((word >> np.uint32(16)) & byte)
                + (word >> np.uint32(24))
            )
            noise = sigma[p] * scale * (np.float32(np.int32(total)) - mean)
            counts = level[p] + fringes[a, p] + noise + np.float32(0.5)
            out[a, p] = np.uint16(min(max(counts, np.float32(0)), full_scale))
