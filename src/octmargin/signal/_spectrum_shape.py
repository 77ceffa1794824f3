"""From a calibration over the console's samples to tables over the transform's points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal._chain_kernels import ChainTables
from octmargin.signal._fft_plan import is_supported, make_plan, next_supported
from octmargin.signal._resampling import interpolation_weights, lagrange_weights, resample
from octmargin.signal.calibration import Calibration


def make_tables(calibration: Calibration, samples: int, interpolation: str) -> ChainTables:
    """Interpolation, phasor and FFT plan for spectra of `samples` samples that `calibration` fits.

    A number of samples with other factors than 2, 3 and 5 is resampled to the next number without, over the same
    span of wavenumber: the depth pixel stays what it was.
    """
    plan = make_plan(next_supported(samples))
    first_tap, weights = _taps(calibration.k_map, samples, plan.length, interpolation)
    window = _stretched(calibration.window_over(samples), plan.length)
    if not window.sum() > 0:
        raise InputError(
            f"the window's values sum to {window.sum():g}; give a window that lets light through"
        )
    phase = np.zeros(samples) if calibration.dispersion_rad is None else calibration.dispersion_rad
    # Scaling the window rather than the result keeps the intensities of 16-bit spectra well inside float32.
    phasor = window * (2.0 / window.sum()) * np.exp(-1j * _stretched(phase, plan.length))
    return ChainTables(
        first_tap.astype(np.int64),
        np.ascontiguousarray(weights, dtype=np.float32),
        np.stack([phasor.real, phasor.imag], axis=1).astype(np.float32),
        plan.radices,
        plan.firsts,
        plan.lengths,
        plan.strides,
        plan.twiddles,
    )


def _taps(
    k_map: NDArray[np.float64] | None, samples: int, length: int, interpolation: str
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    positions = np.arange(samples, dtype=np.float64) if k_map is None else k_map
    weighted = interpolation_weights(interpolation, _stretched(positions, length), samples)
    if k_map is None and is_supported(samples):
        return np.arange(samples), np.ones((samples, 1))
    return weighted


def _stretched(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """`values` over as many points of the same span; the last ones lie up to one sample beyond its end."""
    samples = len(values)
    if length == samples:
        return values
    return resample(
        values, *lagrange_weights(np.arange(length, dtype=np.float64) * (samples / length), samples)
    )
