"""Raw spectra to depth profiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from octmargin.errors import InputError
from octmargin.signal import _spectrum_kernels as kernels
from octmargin.signal._resampling import lagrange_weights
from octmargin.signal.calibration import Calibration

RAW_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_CHUNK_ALINES = 32
"""A-lines between FFT calls: few enough that their spectra stay in the second-level cache."""


class Reconstructor:
    """The chain from spectra to a B-scan for one calibration and one shape of spectrum.

    Background subtraction, resampling to linear wavenumber (four-tap Lagrange cubic), window x dispersion
    phasor, FFT, crop to `depth`, squared magnitude, dB. The background is the calibration's, else the mean
    spectrum over the frame's A-lines: that also removes what lies at one depth over the whole frame, and all
    of a frame of a single A-line.

    0 dB is a fringe with an amplitude of 1 count: the transform is divided by half of the window's sum.
    Intensity is the square of that amplitude, in counts^2. An intensity of 0 is -100 dB, and nothing is
    lower. A float A-line that holds a NaN or an infinity becomes NaN and leaves the others alone.

    Holds work buffers, so one object serves one thread at a time; `threads` spreads the FFT only.
    Raises InputError or CalibrationError for a shape that does not fit.
    """

    def __init__(self, calibration: Calibration, *, samples: int, depth: int, threads: int = 1) -> None:
        calibration.check_fits(samples)
        if not 1 <= depth <= samples // 2:
            raise InputError(f"depth is {depth}; {samples} samples give depths from 1 to {samples // 2}")
        if threads < 1:
            raise InputError(f"threads is {threads}; give a number of at least 1")
        self.calibration = calibration
        self.samples = samples
        self.depth = depth
        self.threads = threads

        positions = np.arange(samples, dtype=np.float64) if calibration.k_map is None else calibration.k_map
        first_tap, weights = lagrange_weights(positions, samples)
        self._first_tap = first_tap.astype(np.uint64)
        self._weights = np.ascontiguousarray(weights.T, dtype=np.float32)
        window = calibration.window_over(samples)
        if not window.sum() > 0:
            raise InputError(
                f"the window's values sum to {window.sum():g}; give a window that lets light through"
            )
        phase = np.zeros(samples) if calibration.dispersion_rad is None else calibration.dispersion_rad
        # Scaling the window rather than the result keeps the intensities of 16-bit spectra well inside
        # float32.
        self._phasor = (window * (2.0 / window.sum()) * np.exp(-1j * phase)).astype(np.complex64)
        self._background = np.zeros(samples, dtype=np.float32)
        if calibration.background is not None:
            self._background[:] = calibration.background
        self._line = np.empty(samples, dtype=np.float32)
        self._chunk = np.empty((_CHUNK_ALINES * threads, samples), dtype=np.complex64)
        self._intensity = np.empty((0, depth), dtype=np.float32)

    def process(
        self,
        raw: NDArray[Any],
        out: NDArray[np.float32] | None = None,
        intensity: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Reconstruct one frame.

        `raw` (alines, samples), uint8, uint16 or float32, in counts. `out` and `intensity`, if given, are
        C-contiguous float32 (alines, depth) and receive dB and linear intensity. Returns the B-scan in dB,
        (alines, depth) float32: `out`, or a new array.
        """
        raw = self._checked_raw(raw)
        alines = len(raw)
        if out is None:
            out = np.empty((alines, self.depth), dtype=np.float32)
        else:
            self._check_target("out", out, alines)
        if intensity is None:
            intensity = self._intensity_scratch(alines)
        else:
            self._check_target("intensity", intensity, alines)
        if self.calibration.background is None:
            kernels.mean_spectrum(raw, self._background)
        for start in range(0, alines, len(self._chunk)):
            rows = slice(start, min(start + len(self._chunk), alines))
            self._process_chunk(raw[rows], out[rows], intensity[rows])
        return out

    def _process_chunk(
        self, raw: NDArray[Any], out: NDArray[np.float32], intensity: NDArray[np.float32]
    ) -> None:
        chunk = self._chunk[: len(raw)]
        kernels.load_spectra(
            raw, self._background, self._first_tap, self._weights, self._phasor, self._line, chunk
        )
        transformed = fft.fft(chunk, axis=1, overwrite_x=True, workers=self.threads)
        kernels.store_intensity(transformed, intensity)
        kernels.store_db(intensity, intensity.view(np.int32), out)

    def _checked_raw(self, raw: object) -> NDArray[Any]:
        if not isinstance(raw, np.ndarray) or raw.dtype not in RAW_DTYPES:
            found = getattr(raw, "dtype", type(raw).__name__)
            raise InputError(f"raw spectra are {found}; give a uint8, uint16 or float32 array")
        if raw.ndim != 2 or raw.shape[1] != self.samples or not len(raw):
            raise InputError(f"raw spectra: expected shape (alines, {self.samples}), got {raw.shape}")
        # numba compiles anew for a writable, a read-only or a strided array; one kind is what warm_up has
        # compiled.
        raw = np.ascontiguousarray(raw).view()
        raw.flags.writeable = False
        return raw

    def _check_target(self, name: str, target: NDArray[np.float32], alines: int) -> None:
        expected = (alines, self.depth)
        if target.shape != expected or target.dtype != np.float32 or not target.flags.c_contiguous:
            raise InputError(
                f"{name}: expected a C-contiguous float32 array {expected}, got {target.dtype} {target.shape}"
            )
        if not target.flags.writeable:
            raise InputError(f"{name} is read-only; give an array that can be written")

    def _intensity_scratch(self, alines: int) -> NDArray[np.float32]:
        if len(self._intensity) < alines:
            self._intensity = np.empty((alines, self.depth), dtype=np.float32)
        return self._intensity[:alines]
