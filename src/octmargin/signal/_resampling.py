"""Four-tap cubic interpolation: the weights that take spectra to linear wavenumber."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TAPS = 4


def lagrange_weights(
    positions: NDArray[np.float64], samples: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """First tap (n,) and weights (n, 4) of the cubic through the four samples around each position.

    `positions` are fractional pixels in a spectrum of `samples` >= 4 pixels. The stencil is moved inwards
    at both ends, so the interpolation stays exact for cubics there and never reads outside the spectrum.
    """
    first = np.clip(np.floor(positions).astype(np.intp) - 1, 0, samples - TAPS)
    x = positions - first
    weights = np.stack(
        [
            -(x - 1) * (x - 2) * (x - 3) / 6,
            x * (x - 2) * (x - 3) / 2,
            -x * (x - 1) * (x - 3) / 2,
            x * (x - 1) * (x - 2) / 6,
        ],
        axis=1,
    )
    return first, weights


def resample(
    spectra: NDArray[np.float64], first: NDArray[np.intp], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Apply `lagrange_weights` to float64 spectra (..., samples), in calibration, not in frames."""
    taps = spectra[..., first[:, None] + np.arange(TAPS)]
    return np.asarray(np.einsum("...jt,jt->...j", taps, weights))
