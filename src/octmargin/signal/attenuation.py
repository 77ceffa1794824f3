"""Depth-resolved attenuation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from octmargin.buffers import aligned_zeros
from octmargin.errors import InputError
from octmargin.signal._attenuation_kernels import depth_resolved, padded

_MIN_TAIL_PX = 4


def attenuation(
    intensity: ArrayLike,
    axial_mm: float,
    *,
    noise: float = 0.0,
    snr_cut_db: float = 6.0,
    tail_mm: float = 0.2,
    rolloff_db_per_mm: float = 0.0,
    focus_mm: float | None = None,
    rayleigh_mm: float | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Attenuation per depth pixel in 1/mm, float32, of the shape of `intensity`.

    `intensity` (..., depth) linear (not dB), along depth; `axial_mm` the depth pixel in mm; `noise` the mean
    noise in units of `intensity`. Convention: I ~ exp(-2 mu z), the light passes twice.

    The noise is taken off first. The profile ends at the cut: the last pixel from where the mean of up to 8
    pixels lies `snr_cut_db` above the noise (signal over noise). What is left is divided by the roll-off,
    10^(-rolloff_db_per_mm z / 10), and, with `focus_mm` and `rayleigh_mm`, by the confocal function
    h(z) = 1 / (1 + ((z - focus_mm) / rayleigh_mm)^2). z is pixel index times `axial_mm`: pixel 0 is zero
    delay, not the surface, so crop a B-scan at its deep end only; `focus_mm` is in the same tissue
    millimetres, and `rayleigh_mm` is what the sample arm's h(z) has, fitted on a phantom.

    mu[i] = ln(1 + I[i] / (sum_{j>i} I[j] + C)) / (2 d). C is the light below the cut, I_last / (exp(2 mu_E
    d) - 1), with mu_E and I_last of the exponential that has the sums of the two halves of the last `tail_mm`
    before the cut (at most half of the profile).

    NaN below the cut, in a profile that nowhere reaches it, in one that holds a value that is not finite (or
    whose sum is beyond float32), and where no light is left below a pixel: what was not visualised has no
    attenuation, least of all 0. Without noise (`noise=0`) the cut is the last pixel above 0. A profile that
    does not fall reads as near 0.

    The method takes the backscattered share for constant: a bright layer over a dark one comes out too high
    next to the interface. Average speckle before, over A-lines that follow the surface: the logarithm of a
    single A-line is as noisy as its speckle.

    `out`, C-contiguous float32 of the same shape, receives the result and is returned. Raises InputError for
    shapes and numbers that make no sense.

    Sources: Vermeer et al. 2014, doi 10.1364/BOE.5.000322 (the sum); Liu et al. 2019 (the tail term C); Li et
    al. 2020 (noise and cut first). docs/kernels.md has the pitfalls and the measured errors.
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
    if np.isnan(snr_cut_db):
        raise InputError("snr_cut_db is nan; give how far above the noise a profile ends, in dB")
    if not (np.isfinite(tail_mm) and tail_mm > 0):
        raise InputError(f"tail_mm is {tail_mm}; give the length of the tail in mm, above 0")
    if out is None:
        out = np.empty_like(profiles)
    else:
        _check_target(out, profiles)
    depth = profiles.shape[-1]
    depth_resolved(
        profiles.reshape(-1, depth),
        _correction(depth, float(axial_mm), rolloff_db_per_mm, focus_mm, rayleigh_mm),
        float(axial_mm),
        float(noise),
        float(noise * 10.0 ** (snr_cut_db / 10.0)),
        max(_MIN_TAIL_PX, round(tail_mm / axial_mm)) // 2,
        aligned_zeros(padded(depth), np.float32),
        out.reshape(-1, depth),
    )
    return out


@lru_cache(maxsize=16)
def _correction(
    depth: int, axial_mm: float, rolloff_db_per_mm: float, focus_mm: float | None, rayleigh_mm: float | None
) -> NDArray[np.float32]:
    """What the signal is multiplied by at each depth pixel; the same for every frame of a sweep."""
    if not (np.isfinite(rolloff_db_per_mm) and rolloff_db_per_mm >= 0):
        raise InputError(
            f"rolloff_db_per_mm is {rolloff_db_per_mm}; give the fall of sensitivity in dB per mm, at least 0"
        )
    depth_mm = np.arange(depth) * axial_mm
    correction = 10.0 ** (rolloff_db_per_mm * depth_mm / 10.0)
    if (focus_mm is None) != (rayleigh_mm is None):
        raise InputError("focus_mm and rayleigh_mm belong together; give both or neither")
    if focus_mm is not None and rayleigh_mm is not None:
        if not np.isfinite(focus_mm):
            raise InputError(f"focus_mm is {focus_mm}; give the depth of the focus in mm from zero delay")
        if not (np.isfinite(rayleigh_mm) and rayleigh_mm > 0):
            raise InputError(f"rayleigh_mm is {rayleigh_mm}; give the Rayleigh length in mm, above 0")
        correction *= 1.0 + ((depth_mm - focus_mm) / rayleigh_mm) ** 2
    whole = aligned_zeros(padded(depth), np.float32)
    whole[:depth] = correction
    return whole


def _check_target(out: NDArray[np.float32], profiles: NDArray[np.float32]) -> None:
    if out.shape != profiles.shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise InputError(
            f"out: expected a C-contiguous float32 array {profiles.shape}, got {out.dtype} {out.shape}"
        )
    if not out.flags.writeable:
        raise InputError("out is read-only; give an array that can be written")
    if np.shares_memory(out, profiles):
        raise InputError("out shares memory with intensity; give an array of its own")
