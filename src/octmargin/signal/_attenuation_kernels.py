"""The jitted pass behind `attenuation`: where a profile ends, the light below each pixel, the logarithm.

A sum from the deep end upwards is serial, and a library's log1p stays scalar. Here the sum is made of windows
of 64 pixels, built from shifted copies of the profile, of which only every 64th is chained; the logarithm is
a short polynomial. Both run in full vectors along the depth, without a transpose.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

SMOOTH_PX = 8
"""Pixels over which a profile must stay above the cut: speckle alone crosses it either way."""
_MIN_TAIL_PER_MM = 0.05
"""Lowest attenuation of the tail: a tail that does not fall would hold infinite light below it."""
_WINDOW_PX = 64

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}

# ln(1 + s / b) = 2 atanh(y) with y = s / (s + 2 b): no cancellation where the ratio is small. Up to y = 1/2
# (a ratio of 2) atanh(y) / y is a polynomial in y^2, least squares at Chebyshev nodes, error below 1e-6.
_nodes = 0.125 * (1.0 + np.cos(np.pi * (np.arange(200) + 0.5) / 200))
_fit = np.polynomial.polynomial.polyfit(_nodes, np.arctanh(np.sqrt(_nodes)) / np.sqrt(_nodes), 4)
_C0, _C1, _C2, _C3, _C4 = (np.float32(c) for c in _fit)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def depth_resolved(
    lines: NDArray[np.float32],
    correction: NDArray[np.float32],
    axial_mm: float,
    noise: float,
    needed: float,
    tail_half_px: int,
    mu_per_mm: NDArray[np.float32],
) -> None:
    """Attenuation of each of `lines` (n, depth) into `mu_per_mm`; see `octmargin.signal.attenuation`.

    `correction` (depth,) multiplies the signal once the noise is off; `needed` is the least signal that counts.
    """
    depth = lines.shape[1]
    signal = np.empty(depth + 2 * _WINDOW_PX, dtype=np.float32)
    below = np.empty(depth + 2 * _WINDOW_PX, dtype=np.float32)
    result = np.empty(depth + _WINDOW_PX, dtype=np.float32)
    for i in range(lines.shape[0]):
        mu = mu_per_mm[i]
        end = _visualised_px(lines[i], np.float32(noise), np.float32(needed))
        if end == 0:
            _fill(mu, np.float32(np.nan))
        else:
            # A tail of up to 63 scalar steps would cost as much as the rest: what follows runs to whole
            # windows.
            whole = -(-end // _WINDOW_PX) * _WINDOW_PX
            _correct(lines[i, :end], np.float32(noise), correction, signal)
            _fill(signal[end : whole + 4], np.float32(0.0))
            light = _light_below(signal, end, min(tail_half_px, end // 4), axial_mm)
            _sum_from_below(signal, whole, light, below)
            per_mm = np.float32(1.0 / axial_mm)
            if whole <= depth:
                _logarithm(signal[:whole], below[1:], per_mm, mu)
            else:
                _logarithm(signal[:whole], below[1:], per_mm, result)
                _copy(result, mu[:end])
            _fill(mu[end:], np.float32(np.nan))


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _visualised_px(line: NDArray[np.float32], noise: np.float32, needed: np.float32) -> int:
    """Pixels of the profile that count: up to and with the last window whose mean signal reaches `needed`."""
    depth: int = line.shape[0]
    total = np.float32(0.0)
    for z in range(depth):
        total += line[z]
    # The sum of a line is finite exactly when all of its values are (and it is within float32).
    if not np.isfinite(total):
        return 0
    if depth <= SMOOTH_PX:
        mean = total / np.float32(depth) - noise
        return depth if mean > np.float32(0.0) and mean >= needed else 0
    least, dark = np.float32(SMOOTH_PX) * (noise + needed), np.float32(SMOOTH_PX) * noise
    stop = depth - SMOOTH_PX + 1
    while stop > 0:
        start = max(0, stop - _WINDOW_PX)
        # A slice, so that its indices count from 0: numba would test others for negative ones at each step.
        last: int = _last_bright_window(line[start : stop + SMOOTH_PX - 1], least, dark)
        if last >= 0:
            last += start
            # The window ends in noise; its centre is where the profile crosses the cut.
            return depth if last + SMOOTH_PX == depth else last + SMOOTH_PX // 2 + 1
        stop = start
    return 0


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _last_bright_window(line: NDArray[np.float32], least: np.float32, dark: np.float32) -> int:
    """Last place from which the sum of eight pixels reaches `least` and exceeds `dark`; -1 without any."""
    windows = line.shape[0] - SMOOTH_PX + 1
    bright = np.float32(0.0)
    for z in range(windows):
        total = _window_sum(line, z)
        bright += np.float32(1.0) if (total >= least) & (total > dark) else np.float32(0.0)
    if bright > np.float32(0.0):
        for z in range(windows - 1, -1, -1):
            total = _window_sum(line, z)
            if total >= least and total > dark:
                return z
    return -1


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False, inline="always")
def _window_sum(line: NDArray[np.float32], z: int) -> np.float32:
    left: np.float32 = (line[z] + line[z + 1]) + (line[z + 2] + line[z + 3])
    right: np.float32 = (line[z + 4] + line[z + 5]) + (line[z + 6] + line[z + 7])
    return left + right


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _correct(
    line: NDArray[np.float32],
    noise: np.float32,
    correction: NDArray[np.float32],
    signal: NDArray[np.float32],
) -> None:
    for z in range(line.shape[0]):
        signal[z] = (line[z] - noise) * correction[z]


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _light_below(signal: NDArray[np.float32], end: int, half_px: int, axial_mm: float) -> np.float32:
    """Sum of the signal below `end`, extrapolated from the fall between the halves of the tail."""
    if half_px == 0:
        return np.float32(0.0)
    upper = lower = np.float32(0.0)
    for z in range(end - 2 * half_px, end - half_px):
        upper += signal[z]
    for z in range(end - half_px, end):
        lower += signal[z]
    slowest = np.exp(-2.0 * _MIN_TAIL_PER_MM * axial_mm * half_px)
    positive = max(lower, np.float32(0.0))
    fall = min(positive / upper, slowest) if upper > np.float32(0.0) else slowest
    # With I[z] = I_last exp(2 mu_E d (end - 1 - z)), I_last / (exp(2 mu_E d) - 1) equals lower * fall / (1 -
    # fall).
    return np.float32(positive * fall / (1.0 - fall))


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _sum_from_below(
    signal: NDArray[np.float32], whole: int, light_below: np.float32, below: NDArray[np.float32]
) -> None:
    """Sum of `signal` from each pixel down to `whole`, and `light_below`, into `below`."""
    for z in range(whole):
        below[z] = (signal[z] + signal[z + 1]) + (signal[z + 2] + signal[z + 3])
    _fill(below[whole : whole + _WINDOW_PX], np.float32(0.0))
    for z in range(whole):
        below[z] = (below[z] + below[z + 4]) + (below[z + 8] + below[z + 12])
    for z in range(whole):
        below[z] = (below[z] + below[z + 16]) + (below[z + 32] + below[z + 48])
    _fill(below[whole : whole + _WINDOW_PX], light_below)
    for start in range(whole - _WINDOW_PX, -1, -_WINDOW_PX):
        window = below[start:]
        for k in range(_WINDOW_PX):
            window[k] += window[k + _WINDOW_PX]


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _logarithm(
    signal: NDArray[np.float32],
    below: NDArray[np.float32],
    per_mm: np.float32,
    mu_per_mm: NDArray[np.float32],
) -> None:
    """ln(1 + signal / what lies below it) times `per_mm` / 2; NaN where nothing lies below."""
    c0, c1, c2, c3, c4 = per_mm * _C0, per_mm * _C1, per_mm * _C2, per_mm * _C3, per_mm * _C4
    steep = np.float32(0.0)
    for z in range(signal.shape[0]):
        # Above the surface the noise leaves values below 0; an attenuation below 0 means nothing.
        s = max(np.float32(0.0), signal[z])
        twice = below[z] + below[z]
        y = s / (s + twice)
        y2 = y * y
        steep += np.float32(1.0) if s > twice else np.float32(0.0)
        mu_per_mm[z] = y * (c0 + y2 * (c1 + y2 * (c2 + y2 * (c3 + y2 * c4))))
    # Beyond the polynomial, or nothing below: rare enough to be taken one by one.
    if steep > np.float32(0.0):
        for z in range(signal.shape[0]):
            if not below[z] > np.float32(0.0):
                mu_per_mm[z] = np.float32(np.nan)
            elif signal[z] > np.float32(2.0) * below[z]:
                mu_per_mm[z] = np.float32(0.5) * per_mm * np.float32(np.log1p(signal[z] / below[z]))


# numba's own assignments to slices go element by element.
@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _fill(values: NDArray[np.float32], value: np.float32) -> None:
    for z in range(values.shape[0]):
        values[z] = value


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _copy(values: NDArray[np.float32], into: NDArray[np.float32]) -> None:
    for z in range(into.shape[0]):
        into[z] = values[z]
