"""The two jitted passes beside the FFT: spectra into its buffer, and its output into intensity and dB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FLOOR_DB = -100.0
"""What an intensity of 0 is in dB; nothing is lower."""
FLOOR_INTENSITY = 1e-10

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}
# Unsigned indices spare numba the test for negative ones, which keeps the gather from vectorising.
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)
_DB_PER_OCTAVE = np.float32(10.0 * np.log10(2.0))

# log2(m) on 1 <= m < 2 as (m - 1) * p(m - 1): exact at both ends, so that octaves join; least squares in
# between at Chebyshev nodes. Largest error 2.4e-5 octave, 7e-5 dB.
_nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
_basis = _nodes[:, None] * (_nodes[:, None] ** np.arange(6) - 1.0)[:, 1:]
_fit = np.linalg.lstsq(_basis, np.log2(1.0 + _nodes) - _nodes, rcond=None)[0]
_C0, _C1, _C2, _C3, _C4, _C5 = (np.float32(c) for c in (1.0 - _fit.sum(), *_fit))


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy")
def mean_spectrum(raw: NDArray[Any], background: NDArray[np.float32]) -> None:
    """Mean over the finite A-lines of `raw` (alines, samples) into `background` (samples,); 0 without any."""
    alines, samples = raw.shape
    background[:] = np.float32(0.0)
    finite = 0
    for i in range(alines):
        if np.isfinite(line_sum(raw[i])):
            finite += 1
            # Sums of up to 2^8 lines of 16 bits are exact in float32; beyond that the error is below 1e-6.
            for j in range(samples):
                background[j] += np.float32(raw[i, j])
    if finite:
        scale = np.float32(1.0) / np.float32(finite)
        for j in range(samples):
            background[j] *= scale


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy")
def line_sum(line: NDArray[Any]) -> np.float32:
    """Sum of one spectrum: not finite exactly when one of its values is not (or it is beyond float32)."""
    total = np.float32(0.0)
    for j in range(line.shape[0]):
        total += np.float32(line[j])
    return total


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def load_spectra(
    raw: NDArray[Any],
    background: NDArray[np.float32],
    first_tap: NDArray[np.uint64],
    weights: NDArray[np.float32],
    phasor: NDArray[np.complex64],
    line: NDArray[np.float32],
    out: NDArray[np.complex64],
) -> None:
    """Subtract the background, resample to linear wavenumber and multiply by window and dispersion phasor.

    `raw` (alines, samples), `weights` (4, samples), `line` (samples,) scratch, `out` (alines, samples).
    """
    alines, samples = raw.shape
    for i in range(alines):
        for j in range(samples):
            line[j] = np.float32(raw[i, j]) - background[j]
        for j in range(samples):
            k = first_tap[j]
            value = (
                weights[0, j] * line[k]
                + weights[1, j] * line[k + _ONE]
                + weights[2, j] * line[k + _TWO]
                + weights[3, j] * line[k + _THREE]
            )
            out[i, j] = value * phasor[j]


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def store_intensity(depth_lines: NDArray[np.complex64], intensity: NDArray[np.float32]) -> None:
    """Crop `depth_lines` (alines, samples) to the depth of `intensity` (alines, depth) and store |.|^2."""
    alines, depth = intensity.shape
    for i in range(alines):
        for z in range(depth):
            value = depth_lines[i, z]
            intensity[i, z] = value.real * value.real + value.imag * value.imag


# No reassociation here: it would take value - value for 0.
@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False)
def store_db(
    intensity: NDArray[np.float32], intensity_bits: NDArray[np.int32], out_db: NDArray[np.float32]
) -> None:
    """10 log10 of `intensity` (alines, depth) into `out_db`; NaN stays NaN, all below the floor is the floor.

    `intensity_bits` is the same memory as int32: the exponent gives the octave and a polynomial the rest,
    which vectorises where a library's logarithm does not.
    """
    alines, depth = intensity.shape
    for i in range(alines):
        for z in range(depth):
            bits = intensity_bits[i, z]
            octave = np.float32((bits >> 23) - 127)
            m = np.float32(bits & 0x007FFFFF) * np.float32(1.0 / 8388608.0)
            rest = m * (_C0 + m * (_C1 + m * (_C2 + m * (_C3 + m * (_C4 + m * _C5)))))
            db = _DB_PER_OCTAVE * (octave + rest)
            value = intensity[i, z]
            if value < np.float32(FLOOR_INTENSITY):
                db = np.float32(FLOOR_DB)
            # Infinity and NaN come out of the bits as 2^128; the sum makes both NaN without a branch.
            out_db[i, z] = db + (value - value)
