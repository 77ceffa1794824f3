"""Depth-resolved attenuation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from octmargin.errors import InputError

_SMOOTH_PX = 8
"""Pixels over which a profile must stay above the cut: speckle alone crosses it either way."""
_MIN_TAIL_PX = 4
_MIN_TAIL_PER_MM = 0.05
"""Lowest attenuation of the tail: a tail that does not fall would hold infinite light below it."""


def attenuation(
    intensity: ArrayLike,
    axial_mm: float,
    *,
    noise: float = 0.0,
    snr_cut_db: float = 6.0,
    tail_mm: float = 0.2,
) -> NDArray[np.float32]:
    """Attenuation per depth pixel in 1/mm, float32, of the shape of `intensity`.

    `intensity` (..., depth) linear (not dB), along depth; `axial_mm` the depth pixel in mm; `noise` the mean
    noise in units of `intensity`. Convention: I ~ exp(-2 mu z), the light passes twice.

    mu[i] = ln(1 + I[i] / (sum_{j>i} I[j] + C)) / (2 d) with the noise subtracted first. The profile ends at
    the cut: the last pixel from where the mean of up to 8 pixels lies `snr_cut_db` above the noise (signal
    over noise). C is the light below the cut, I_last / (exp(2 mu_E d) - 1), with mu_E and I_last of the
    exponential that has the sums of the two halves of the last `tail_mm` before the cut (at most half of the
    profile).

    NaN below the cut and in a profile that nowhere reaches it or holds a value that is not finite: what was
    not visualised has no attenuation, least of all 0. Without noise (`noise=0`) the cut is the last pixel
    above 0.

    The method takes the backscattered share for constant: a bright layer over a dark one comes out too high
    next to the interface.

    Sources: Vermeer et al. 2014, doi 10.1364/BOE.5.000322 (the sum); Liu et al. 2019 (the tail term C); Li et
    al. 2020 (noise and cut first).
    """
    profiles = np.ascontiguousarray(intensity, dtype=np.float32).view()
    # One kind of array for the kernel, so that it is compiled once.
    profiles.flags.writeable = False
    if np.ndim(intensity) < 1 or not profiles.size:
        raise InputError(f"intensity: expected (..., depth), got shape {np.shape(intensity)}")
    if not (np.isfinite(axial_mm) and axial_mm > 0):
        raise InputError(f"axial_mm is {axial_mm}; give the depth pixel in mm, above 0")
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(f"noise is {noise}; give the mean noise intensity, at least 0")
    lines = profiles.reshape(-1, profiles.shape[-1])
    mu_per_mm = np.empty_like(lines)
    needed = noise * 10.0 ** (snr_cut_db / 10.0)
    tail_half_px = max(_MIN_TAIL_PX, round(tail_mm / axial_mm)) // 2
    _depth_resolved(lines, float(axial_mm), float(noise), float(needed), tail_half_px, mu_per_mm)
    return mu_per_mm.reshape(profiles.shape)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _depth_resolved(
    lines: NDArray[Any],
    axial_mm: float,
    noise: float,
    needed: float,
    tail_half_px: int,
    mu_per_mm: NDArray[Any],
) -> None:
    for i in range(lines.shape[0]):
        line, mu = lines[i], mu_per_mm[i]
        end = _cut(line, noise, needed)
        mu[end:] = np.nan
        if end == 0:
            continue
        below = _light_below(line, end, noise, min(tail_half_px, end // 4), axial_mm)
        for z in range(end - 1, -1, -1):
            signal = line[z] - noise
            # Above the surface the noise leaves values below 0; an attenuation below 0 means nothing.
            mu[z] = np.log1p(max(signal, 0.0) / below) / (2.0 * axial_mm) if below > 0.0 else np.nan
            below += signal


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _cut(line: NDArray[np.float32], noise: float, needed: float) -> int:
    """Pixels of the profile that count: up to and with the last window whose mean signal reaches `needed`."""
    depth = len(line)
    for z in range(depth):
        if not np.isfinite(line[z]):
            return 0
    window_px = min(_SMOOTH_PX, depth)
    total = 0.0
    for z in range(depth - 1, -1, -1):
        total += line[z] - noise
        if z + window_px < depth:
            total -= line[z + window_px] - noise
        if z + window_px <= depth and total > 0.0 and total >= needed * window_px:
            # The window ends in noise; its centre is where the profile crosses the cut.
            return z + window_px if z + window_px == depth else z + window_px // 2 + 1
    return 0


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _light_below(line: NDArray[np.float32], end: int, noise: float, half_px: int, axial_mm: float) -> float:
    """Sum of the signal below `end`, extrapolated from the fall between the halves of the tail."""
    if half_px == 0:
        return 0.0
    upper = lower = 0.0
    for z in range(end - 2 * half_px, end - half_px):
        upper += line[z] - noise
        lower += line[z + half_px] - noise
    slowest = np.exp(-2.0 * _MIN_TAIL_PER_MM * axial_mm * half_px)
    fall = min(max(lower, 0.0) / upper, slowest) if upper > 0.0 else slowest
    # With I[z] = I_last exp(2 mu_E d (end - 1 - z)), I_last / (exp(2 mu_E d) - 1) equals lower * fall / (1 -
    # fall).
    return float(max(lower, 0.0) * fall / (1.0 - fall))
