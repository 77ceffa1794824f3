"""Which scatterers neighbouring A-lines share: the lateral point spread of the beam."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from octmargin_simulator.optics.console import ConsoleOptics

_LEAST_CORRELATION = 0.01
_MOST_NEIGHBOURS = 16
_CIRCLE = 128


def lateral_weights(optics: ConsoleOptics, spacing_um: float | None) -> NDArray[np.float32]:
    """Weights with which an A-line sums the scatterers of its neighbours, float32 (2 n + 1, depth).

    Illuminated and collected by the same Gaussian beam of 1/e^2 radius w, the fields of two A-lines that are x
    apart correlate with exp(-(x / w)^2), their intensities with the square of that (Goodman 2007, Speckle
    Phenomena in Optics). The weights are the symmetric square root of this correlation, for each depth with the
    radius there; their squares sum to 1, so that the mean intensity stays what it was. Without a radius or a
    spacing every A-line sums its own alone.
    """
    if spacing_um is None or optics.beam_radius_um is None:
        return np.ones((1, optics.depth_px), np.float32)
    radius_um = np.asarray(optics.beam_radius_at_um(np.arange(optics.depth_px)))
    apart_um = spacing_um * np.minimum(np.arange(_CIRCLE), _CIRCLE - np.arange(_CIRCLE))
    correlation = np.exp(-((apart_um[:, None] / radius_um) ** 2))
    root = np.fft.ifft(np.sqrt(np.maximum(np.fft.fft(correlation, axis=0).real, 0)), axis=0).real
    reach = np.flatnonzero((correlation[: _CIRCLE // 2] > _LEAST_CORRELATION).any(axis=1)).max()
    n = min(int(reach), _MOST_NEIGHBOURS)
    weights = np.concatenate([root[-n:], root[: n + 1]]) if n else root[:1]
    return np.ascontiguousarray(weights / np.sqrt((weights**2).sum(axis=0)), np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def sum_neighbours(
    scatterers: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Sum `scatterers` (alines + 2 n, 2 depth), re and im beside each other, by `weights` into `out` (alines, ...)."""
    depth = weights.shape[1]
    for a in range(out.shape[0]):
        total = out[a]
        total[:] = 0
        for k in range(weights.shape[0]):
            line, weight = scatterers[a + k], weights[k]
            for d in range(depth):
                total[2 * d] += weight[d] * line[2 * d]
                total[2 * d + 1] += weight[d] * line[2 * d + 1]
