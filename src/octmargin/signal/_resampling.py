"""Interpolation of spectra at fractional pixels: which taps, with which weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError

TAPS = 4
INTERPOLATIONS = ("linear", "cubic", "lanczos")
_LANCZOS_REACH = 4


def interpolation_weights(
    kind: str, positions: NDArray[np.float64], samples: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """First tap (n,) and weights (n, taps) for each of the `positions` in a spectrum of `samples` pixels.

    "linear" has two taps, "cubic" is `lagrange_weights`, "lanczos" has eight taps, a sinc under a sinc over
    four pixels either side, its weights scaled to a sum of 1 (Duchon 1979, doi
    10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2). Near the ends every stencil is moved inwards. InputError
    for another kind or too few samples.
    """
    if kind not in INTERPOLATIONS:
        raise InputError(f"interpolation is {kind!r}; use one of {', '.join(INTERPOLATIONS)}")
    if kind == "cubic":
        return lagrange_weights(positions, samples)
    reach = 1 if kind == "linear" else _LANCZOS_REACH
    if samples < 2 * reach:
        raise InputError(f"{kind} interpolation needs at least {2 * reach} samples, there are {samples}")
    first = np.clip(np.floor(positions).astype(np.intp) - reach + 1, 0, samples - 2 * reach)
    if kind == "linear":
        x = positions - first
        return first, np.stack([1 - x, x], axis=1)
    away = positions[:, None] - (first[:, None] + np.arange(2 * reach))
    weights = np.where(np.abs(away) < reach, np.sinc(away) * np.sinc(away / reach), 0.0)
    return first, weights / weights.sum(axis=1, keepdims=True)


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
    """Apply weights (n, taps) to float64 spectra (..., samples), in calibration, not in frames."""
    taps = spectra[..., first[:, None] + np.arange(weights.shape[1])]
    return np.asarray(np.einsum("...jt,jt->...j", taps, weights))
