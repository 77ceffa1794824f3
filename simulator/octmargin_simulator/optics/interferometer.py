"""Scatterers along depth become spectra as the simulated console's line camera reads them.

Camera pixel `p` sees the fringe at the fractional linear index `inverse(k_map)(p)`. The sum over all depths
at those uneven positions is a non-uniform Fourier transform of type 2, computed with an FFT and a short
Kaiser-Bessel kernel (Fessler & Sutton 2003, doi:10.1109/TSP.2002.807005; Barnett, Magland & af Klinteberg
2019, doi:10.1137/18M120885X). Tissue fills less than a third of the depth range, so that the FFT of the
spectrum's own length already oversamples it more than threefold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin_simulator.optics.beam import lateral_weights, sum_neighbours
from octmargin_simulator.optics.console import DEPTH_FRACTION, ConsoleOptics

KERNEL_TAPS = 6
ALINES_PER_BATCH = 32
"""A-lines computed together; small enough that a batch stays in the processor's second-level cache."""


@dataclass(frozen=True)
class Reflections:
    """Surfaces that mirror light back, float32 (surfaces, alines) each; NaN in depth where there is none.

    `depth_px` below zero delay; `counts` the fringe amplitude, before roll-off.
    """

    depth_px: NDArray[np.float32]
    counts: NDArray[np.float32]


class Interferometer:
    """Turns scatterers into camera counts; tables are computed once, every method may run in many threads.

    `aline_spacing_um` is the distance of neighbouring A-lines, of which the scatterers that they share depend;
    without it each A-line has its own. Frames never share any: they must lie further apart than the beam is wide.
    """

    def __init__(self, optics: ConsoleOptics, aline_spacing_um: float | None = None) -> None:
        self.optics = optics
        n = optics.samples
        depth = np.arange(optics.depth_px)
        self._centre = optics.depth_px // 2
        # Demodulating to the middle of the depths halves the highest frequency that the kernel must carry.
        offset = (depth - self._centre) / n
        beta = np.pi * KERNEL_TAPS * (1 - DEPTH_FRACTION / 2)
        root = np.sqrt(beta**2 - (np.pi * KERNEL_TAPS * offset) ** 2)
        kernel_spectrum = KERNEL_TAPS * np.sinh(root) / root
        gain = optics.sensitivity(depth) * np.sqrt(optics.confocal(depth))
        self._depth_gain = (gain / kernel_spectrum).astype(np.float32)
        self._weights = lateral_weights(optics, aline_spacing_um)

        first = np.floor(optics.linear_index).astype(np.int64) - (KERNEL_TAPS // 2 - 1)
        taps = first[:, None] + np.arange(KERNEL_TAPS)
        distance = (optics.linear_index[:, None] - taps) * (2 / KERNEL_TAPS)
        self._tap_weight = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - distance**2))).astype(np.float32)
        self._tap_index = (taps % n).astype(np.int32)

        phase = optics.dispersion_at_pixels + 2 * np.pi * self._centre * optics.linear_index / n
        light = optics.source_at_pixels * optics.pixel_gain
        self._phasor = (light * np.exp(1j * phase)).astype(np.complex64)
        # |Er + Es|^2 = |Er|^2 + F + |Es|^2 with the fringe F = 2 Re(Er* Es): |Es|^2 follows from F's envelope.
        among_themselves = light / (4 * optics.reference_counts) * optics.autocorrelation
        self._among_themselves = among_themselves.astype(np.float32)
        self._detector = np.stack([optics.reference_light_counts, optics.noise_counts]).astype(np.float32)
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
        _sample(field, self._tap_index, self._tap_weight, self._phasor, self._among_themselves, out)
        return out

    def detect(
        self, fringes: NDArray[np.float32], rng: np.random.Generator | None, out: NDArray[np.uint16]
    ) -> None:
        """Add reference and noise to fringes (alines, samples), convert to counts and clip, into `out`.

        Without `rng` the camera is free of noise, but still converts to whole counts.
        """
        power = np.ones(len(fringes), np.float32)
        if rng is None:
            detector, words = self._noiseless_detector, np.zeros(fringes.shape, np.uint32)
        else:
            detector = self._detector
            words = rng.integers(0, 2**32 - 1, fringes.shape, np.uint32, endpoint=True)
            if self.optics.power_fluctuation:
                power += np.float32(self.optics.power_fluctuation) * rng.standard_normal(
                    len(power), np.float32
                )
        dark, full_scale = np.float32(self.optics.dark_counts), np.float32(self.optics.full_scale)
        _convert(fringes, detector, power, words, (dark, full_scale), out)

    def expose(
        self,
        amplitude: NDArray[np.float32],
        rng: np.random.Generator,
        out: NDArray[np.uint16],
        reflections: Reflections | None = None,
    ) -> None:
        """Spectra of tissue with fully developed speckle into `out`, uint16 (alines, samples).

        `amplitude`: root-mean-square fringe amplitude, float32 (alines, depth), counts. Each depth pixel
        scatters with a circular complex Gaussian amplitude (Goodman 2007, Speckle Phenomena in Optics), seen by
        as many A-lines as the beam is wide. `reflections` add to it, with the phase of their optical path.
        """
        alines, depth = amplitude.shape
        weights = np.ascontiguousarray(self._weights[:, :depth])
        halo = len(weights) // 2
        batch = min(ALINES_PER_BATCH, alines)
        # One set of buffers for the whole frame: fresh pages for every batch would cost as much as an FFT.
        gaussian = np.empty((batch + 2 * halo, 2 * depth), np.float32)
        summed = np.empty((batch, 2 * depth), np.float32)
        grid = np.empty((batch, self.optics.samples), np.complex64)
        fringes = np.empty(grid.shape, np.float32)
        self._draw(amplitude, -halo, rng, gaussian[: 2 * halo])
        for start in range(0, alines, batch):
            n = min(batch, alines - start)
            self._draw(amplitude, start + halo, rng, gaussian[2 * halo : 2 * halo + n])
            sum_neighbours(gaussian, weights, summed[:n])
            scatterers = summed[:n].view(np.complex64)
            if reflections is not None:
                self._reflect(reflections, start, scatterers)
            self.detect(self._interfere(scatterers, grid[:n], fringes[:n]), rng, out[start : start + n])
            # What the next batch shares with this one.
            gaussian[: 2 * halo] = gaussian[n : n + 2 * halo].copy()

    @staticmethod
    def _draw(
        amplitude: NDArray[np.float32], first: int, rng: np.random.Generator, out: NDArray[np.float32]
    ) -> None:
        """Scatterers of the A-lines from `first` on; beyond the frame's ends the tissue goes on as it is there."""
        words = rng.integers(0, 2**32 - 1, out.shape, np.uint32, endpoint=True)
        _scatter(words, amplitude, first, out)

    def _reflect(self, reflections: Reflections, start: int, scatterers: NDArray[np.complex64]) -> None:
        optics = self.optics
        turns_per_px = 2 * optics.refractive_index * optics.axial_um / optics.wavelength_um
        for surface_px, counts in zip(reflections.depth_px, reflections.counts, strict=True):
            depth_px = surface_px[start : start + len(scatterers)]
            with np.errstate(invalid="ignore"):
                lines = np.flatnonzero((depth_px >= 0) & (depth_px < scatterers.shape[1] - 1))
            phase = np.exp(2j * np.pi * turns_per_px * depth_px[lines])
            np.add.at(
                scatterers, (lines, np.rint(depth_px[lines]).astype(int)), counts[start + lines] * phase
            )

    def mirror(
        self,
        depth_px: float,
        *,
        alines: int = 1,
        amplitude_counts: float = 600.0,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.uint16]:
        """Spectra of a mirror, uint16 (alines, samples).

        `depth_px` may be fractional, and negative on the far side of zero delay. A mirror is moved along with the
        focus: the confocal function is left out.
        """
        optics = self.optics
        phase = 2 * np.pi * depth_px * optics.linear_index / optics.samples + optics.dispersion_at_pixels
        counts = amplitude_counts * optics.sensitivity(depth_px)
        fringe = optics.source_at_pixels * optics.pixel_gain * counts * np.cos(phase)
        fringe += self._among_themselves * counts**2
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
    among_themselves: NDArray[np.float32],
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
            out[a, p] = phasor[p].real * re - phasor[p].imag * im + among_themselves[p] * (re * re + im * im)


# The four bytes of a random word are uniform; their sum is close to Gaussian (Irwin-Hall, at most 3.45 sigma, in
# steps of sigma/148), and every depth pixel sums thousands of them. Exact deviates cost thrice.
_BYTES_MEAN = np.float32(2 * 255)
_BYTES_SCALE = np.float32(np.sqrt(3.0 / (256**2 - 1)))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _deviate(word: np.uint32) -> np.float32:
    byte = np.uint32(0xFF)
    total = (
        (word & byte)
        + ((word >> np.uint32(8)) & byte)
        + ((word >> np.uint32(16)) & byte)
        + (word >> np.uint32(24))
    )
    return np.float32(_BYTES_SCALE * (np.float32(np.int32(total)) - _BYTES_MEAN))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _scatter(
    words: NDArray[np.uint32], amplitude: NDArray[np.float32], first: int, out: NDArray[np.float32]
) -> None:
    half = np.float32(np.sqrt(0.5))
    for a in range(out.shape[0]):
        mean = amplitude[min(max(first + a, 0), amplitude.shape[0] - 1)]
        for d in range(mean.shape[0]):
            out[a, 2 * d] = half * mean[d] * _deviate(words[a, 2 * d])
            out[a, 2 * d + 1] = half * mean[d] * _deviate(words[a, 2 * d + 1])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _convert(
    fringes: NDArray[np.float32],
    detector: NDArray[np.float32],
    power: NDArray[np.float32],
    words: NDArray[np.uint32],
    dark_and_full_scale: tuple[np.float32, np.float32],
    out: NDArray[np.uint16],
) -> None:
    light, sigma = detector[0], detector[1]
    dark, full_scale = dark_and_full_scale
    for a in range(out.shape[0]):
        for p in range(out.shape[1]):
            noise = sigma[p] * _deviate(words[a, p])
            counts = dark + power[a] * (light[p] + fringes[a, p]) + noise + np.float32(0.5)
            out[a, p] = np.uint16(min(max(counts, np.float32(0)), full_scale))
