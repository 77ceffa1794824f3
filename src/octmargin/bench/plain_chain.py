"""The same chain as one writes it with NumPy and SciPy: what the kernels are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from octmargin.signal import Calibration


class PlainChain:
    """Spectra to dB in array operations on whole frames, single precision, one thread.

    Mean background, four-tap cubic resampling to linear wavenumber, window x dispersion phasor, FFT, crop,
    squared magnitude, 10 log10: the steps and the scale of `octmargin.signal.Reconstructor`.
    """

    def __init__(self, calibration: Calibration, *, samples: int, depth: int) -> None:
        positions = np.arange(samples, dtype=float) if calibration.k_map is None else calibration.k_map
        self._first = np.clip(np.floor(positions).astype(int) - 1, 0, samples - 4)
        x = positions - self._first
        self._taps = [
            tap.astype(np.float32)
            for tap in (
                -(x - 1) * (x - 2) * (x - 3) / 6,
                x * (x - 2) * (x - 3) / 2,
                -x * (x - 1) * (x - 3) / 2,
                x * (x - 1) * (x - 2) / 6,
            )
        ]
        window = calibration.window_over(samples)
        phase = np.zeros(samples) if calibration.dispersion_rad is None else calibration.dispersion_rad
        self._phasor = (2.0 / window.sum() * window * np.exp(-1j * phase)).astype(np.complex64)
        self._depth = depth

    def process(self, raw: NDArray[np.uint16]) -> NDArray[np.float32]:
        """B-scan in dB, (alines, depth) float32, of spectra (alines, samples)."""
        spectra = raw.astype(np.float32)
        spectra -= spectra.mean(axis=0)
        resampled = self._taps[0] * spectra[:, self._first]
        for number in (1, 2, 3):
            resampled += self._taps[number] * spectra[:, self._first + number]
        lines = fft.fft(resampled * self._phasor, axis=1, workers=1)[:, : self._depth]
        intensity = lines.real**2 + lines.imag**2
        return np.asarray(10.0 * np.log10(np.maximum(intensity, np.float32(1e-10))))
