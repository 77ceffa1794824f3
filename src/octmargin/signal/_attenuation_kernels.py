"""The jitted pass behind `attenuation`: where a profile ends, the light below each pixel, the logarithm.

A sum from the deep end upwards is serial, and a library's log1p stays scalar. Here sixteen pixels are one value: the
sums within it take four shifted additions, so that only every sixteenth pixel waits for the one below, and the
logarithm is a short polynomial. A profile is read twice and its attenuation written once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._decibels import octaves
from octmargin.signal._fft_passes import inlined, kernel
from octmargin.signal._lanes import (
    LANES,
    first_in_all,
    in_all,
    last_above,
    load,
    moved_down,
    store,
    where_above,
    where_below,
)

SMOOTH_PX = 8
"""Pixels over which a profile must stay above the cut: speckle alone crosses it either way."""
_MIN_TAIL_PER_MM = 0.05
"""Lowest attenuation of the tail: a tail that does not fall would hold infinite light below it."""

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}

# ln(1 + s / b) = 2 atanh(y) with y = s / (s + 2 b): no cancellation where the ratio is small. Up to y = 1/2
# (a ratio of 2) atanh(y) / y is a polynomial in y^2, least squares at Chebyshev nodes, error below 1e-6.
_nodes = 0.125 * (1.0 + np.cos(np.pi * (np.arange(200) + 0.5) / 200))
_fit = np.polynomial.polynomial.polyfit(_nodes, np.arctanh(np.sqrt(_nodes)) / np.sqrt(_nodes), 4)
_C0, _C1, _C2, _C3, _C4 = (np.float32(c) for c in _fit)
_LN_2 = np.float32(np.log(2.0))
_ZERO, _NAN, _LEAST_NORMAL = np.float32(0.0), np.float32(np.nan), np.finfo(np.float32).tiny

Lanes = Any
Floats = NDArray[np.float32]


@kernel
def depth_resolved(
    lines: Floats,
    correction: Floats,
    axial_mm: float,
    noise: float,
    needed: float,
    tail_half_px: int,
    signal: Floats,
    mu_per_mm: Floats,
) -> None:
    """Attenuation of each of `lines` (n, depth) into `mu_per_mm`; see `octmargin.signal.attenuation`.

    `correction` multiplies the signal once the noise is off; `needed` is the least signal that counts. `signal` is
    scratch. Both are as long as `padded` says.
    """
    depth = lines.shape[1]
    per_mm = np.float32(1.0 / axial_mm)
    for i in range(lines.shape[0]):
        line, mu = lines[i], mu_per_mm[i]
        end = 0
        if _take_off(line, np.float32(noise), signal):
            end = _visualised_px(signal, depth, np.float32(needed))
        half_px = min(tail_half_px, end // 4)
        light = in_all(_light_below(signal, correction, end, half_px, axial_mm))
        stop = -(-end // LANES) * LANES
        for z in range(end, stop):
            signal[z] = _ZERO
        # Beyond the end of the frame nothing may be written: the last sixteen go through the scratch.
        if stop > depth:
            stop -= LANES
            light = _sixteen(signal, correction, stop, light, per_mm, signal, stop)
            for z in range(stop, end):
                mu[z] = signal[z]
        for z in range(stop - LANES, -1, -LANES):
            light = _sixteen(signal, correction, z, light, per_mm, mu, z)
        _fill(mu[end:], _NAN)


def padded(depth: int) -> int:
    """Length of scratch and correction for profiles of `depth` pixels: whole vectors, and one more to look ahead."""
    return -(-depth // LANES) * LANES + LANES


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _take_off(line: Floats, noise: np.float32, signal: Floats) -> bool:
    """`line` less `noise` into `signal`, 0 beyond its end; whether all of it is finite."""
    total = _ZERO
    for z in range(line.shape[0]):
        total += line[z]
        signal[z] = line[z] - noise
    for z in range(line.shape[0], signal.shape[0]):
        signal[z] = _ZERO
    # The sum of a line is finite exactly when all of its values are (and it is within float32).
    return bool(np.isfinite(total))


@kernel
def _visualised_px(signal: Floats, depth: int, needed: np.float32) -> int:
    """Pixels of the profile that count: up to and with the last window whose mean reaches `needed`, above 0."""
    if depth <= SMOOTH_PX:
        mean = signal[:depth].sum() / np.float32(depth)
        return depth if mean > _ZERO and mean >= needed else 0
    least = np.float32(SMOOTH_PX) * needed
    # Just below what is enough, so that one comparison says "at least that, and above 0".
    below = in_all(max(_ZERO, least - np.spacing(least)))
    after = pairs_after = fours_after = in_all(_ZERO)
    for z in range(signal.shape[0] - 2 * LANES, -1, -LANES):
        here = load(signal, z)
        pairs = here + moved_down(here, after, 1)
        fours = pairs + moved_down(pairs, pairs_after, 2)
        last = last_above(fours + moved_down(fours, fours_after, 4), below)
        if last >= 0:
            window = min(z + last, depth - SMOOTH_PX)
            # The window ends in noise; its centre is where the profile crosses the cut.
            return depth if window == depth - SMOOTH_PX else window + SMOOTH_PX // 2 + 1
        after, pairs_after, fours_after = here, pairs, fours
    return 0


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _light_below(signal: Floats, correction: Floats, end: int, half_px: int, axial_mm: float) -> np.float32:
    """Corrected signal below `end`, extrapolated from the fall between the halves of the tail."""
    if half_px == 0:
        return _ZERO
    middle = end - half_px
    upper = _sum_of_products(signal[middle - half_px : middle], correction[middle - half_px : middle])
    lower = max(_sum_of_products(signal[middle:end], correction[middle:end]), _ZERO)
    slowest = np.exp(-2.0 * _MIN_TAIL_PER_MM * axial_mm * half_px)
    fall = min(lower / upper, slowest) if upper > _ZERO else slowest
    # With I[z] = I_last exp(2 mu_E d (end - 1 - z)), I_last / (exp(2 mu_E d) - 1) equals lower * fall / (1 -
    # fall).
    return np.float32(lower * fall / (1.0 - fall))


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _sum_of_products(x: Floats, y: Floats) -> np.float32:
    total = _ZERO
    for z in range(x.shape[0]):
        total += x[z] * y[z]
    return total


@inlined
def _sixteen(
    signal: Floats, correction: Floats, z: int, light: Lanes, per_mm: np.float32, mu: Floats, to: int
) -> Lanes:
    """Attenuation of the pixels from `z` on into `mu` from `to` on; returns the light below the next sixteen above.

    ln(1 + signal / what lies below it) times `per_mm` / 2; NaN where nothing lies below.
    """
    corrected = load(signal, z) * load(correction, z)
    nothing = in_all(_ZERO)
    sums = corrected + moved_down(corrected, nothing, 1)
    sums = sums + moved_down(sums, nothing, 2)
    sums = sums + moved_down(sums, nothing, 4)
    sums = sums + moved_down(sums, nothing, 8)
    below = light + moved_down(sums, nothing, 1)
    twice = below + below
    # Above the surface the noise leaves values below 0; an attenuation below 0 means nothing.
    s = where_below(corrected, _ZERO, _ZERO, corrected)
    y = s / (s + twice)
    y2 = y * y
    value = y * (y2 * (y2 * (y2 * (y2 * _C4 + _C3) + _C2) + _C1) + _C0)
    if last_above(s, twice) >= 0:
        # Beyond the polynomial, or nothing below. The octaves of a number that is not above 0 say nothing.
        steep = (octaves(s + below) - octaves(below)) * (np.float32(0.5) * _LN_2)
        value = where_above(s, twice, where_below(below, _LEAST_NORMAL, _NAN, steep), value)
    store(mu, to, value * per_mm)
    return light + first_in_all(sums)


# numba's own assignments to slices go element by element.
@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _fill(values: Floats, value: np.float32) -> None:
    for z in range(values.shape[0]):
        values[z] = value
