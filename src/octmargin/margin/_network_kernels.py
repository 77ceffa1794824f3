"""Jitted layers of the trained model's network, sixteen channels side by side.

An activation is a flat float32 buffer [column][row][channel] with a border of zeros around the columns and rows, so
that no kernel asks whether a tap lies outside. Channels come in multiples of sixteen, but for those of the first
layer's input. Weights are flat [tap along][tap down][channel in][channel out].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._lanes import LANES, load, load_in_all, store, where_below

_kernel = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False)
_inlined = njit(
    cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False, forceinline=True
)
_ZERO = np.float32(0.0)
Flat = NDArray[np.float32]


@_inlined
def _rectified(value: Any) -> Any:
    return where_below(value, _ZERO, _ZERO, value)


@_kernel
def convolve(
    source: Flat,
    shape: tuple[int, int, int],
    taps: tuple[int, int],
    stride: tuple[int, int],
    weights: Flat,
    bias: Flat,
    out: Flat,
    out_shape: tuple[int, int, int],
    border: int,
    rectify: bool,
) -> None:
    """Convolve `source` of `shape` (padded columns, padded rows, channels) into the inside of `out`.

    `out_shape` (columns, rows, channels) is without its border of `border` zeros.
    """
    _, rows_in, cin = shape
    taps_along, taps_down = taps
    step_along, step_down = stride
    columns, rows, cout = out_shape
    rows_padded = rows + 2 * border
    step = step_down * cin
    for x in range(columns):
        for g in range(0, cout, LANES):
            first = ((x + border) * rows_padded + border) * cout + g
            y = 0
            while y < rows and rows >= 13:
                # The last thirteen may begin among the ones before: thirteen at once take about as long as two alone.
                y = min(y, rows - 13)
                a0 = load(bias, g)
                a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = a12 = a0
                for i in range(taps_along):
                    base = ((x * step_along + i) * rows_in + y * step_down) * cin
                    # Taps down a column lie one after the other, and so do their weights.
                    for c in range(taps_down * cin):
                        w = load(weights, (i * taps_down * cin + c) * cout + g)
                        at = base + c
                        a0 = a0 + w * load_in_all(source, at)
                        a1 = a1 + w * load_in_all(source, at + step)
                        a2 = a2 + w * load_in_all(source, at + 2 * step)
                        a3 = a3 + w * load_in_all(source, at + 3 * step)
                        a4 = a4 + w * load_in_all(source, at + 4 * step)
                        a5 = a5 + w * load_in_all(source, at + 5 * step)
                        a6 = a6 + w * load_in_all(source, at + 6 * step)
                        a7 = a7 + w * load_in_all(source, at + 7 * step)
                        a8 = a8 + w * load_in_all(source, at + 8 * step)
                        a9 = a9 + w * load_in_all(source, at + 9 * step)
                        a10 = a10 + w * load_in_all(source, at + 10 * step)
                        a11 = a11 + w * load_in_all(source, at + 11 * step)
                        a12 = a12 + w * load_in_all(source, at + 12 * step)
                at = first + y * cout
                if rectify:
                    a0, a1, a2, a3 = _rectified(a0), _rectified(a1), _rectified(a2), _rectified(a3)
                    a4, a5, a6, a7 = _rectified(a4), _rectified(a5), _rectified(a6), _rectified(a7)
                    a8, a9, a10, a11 = _rectified(a8), _rectified(a9), _rectified(a10), _rectified(a11)
                    a12 = _rectified(a12)
                store(out, at, a0)
                store(out, at + cout, a1)
                store(out, at + 2 * cout, a2)
                store(out, at + 3 * cout, a3)
                store(out, at + 4 * cout, a4)
                store(out, at + 5 * cout, a5)
                store(out, at + 6 * cout, a6)
                store(out, at + 7 * cout, a7)
                store(out, at + 8 * cout, a8)
                store(out, at + 9 * cout, a9)
                store(out, at + 10 * cout, a10)
                store(out, at + 11 * cout, a11)
                store(out, at + 12 * cout, a12)
                y += 13
            while y < rows:
                a0 = load(bias, g)
                for i in range(taps_along):
                    base = ((x * step_along + i) * rows_in + y * step_down) * cin
                    for c in range(taps_down * cin):
                        a0 = a0 + load(weights, (i * taps_down * cin + c) * cout + g) * load_in_all(
                            source, base + c
                        )
                if rectify:
                    a0 = _rectified(a0)
                store(out, first + y * cout, a0)
                y += 1


@_kernel
def add_rectified(total: Flat, addend: Flat) -> None:
    """Let `total` become max(0, total + addend), both of one size, a multiple of sixteen; zeros stay zeros."""
    for at in range(0, total.shape[0], LANES):
        store(total, at, _rectified(load(total, at) + load(addend, at)))


@_kernel
def add_to_rows(total: Flat, shape: tuple[int, int, int], addend: Flat) -> None:
    """Add `addend` [column][channel] to every row inside `total`, whose `shape` is without its border of 1."""
    columns, rows, channels = shape
    for x in range(columns):
        for y in range(rows):
            first = ((x + 1) * (rows + 2) + y + 1) * channels
            for c in range(0, channels, LANES):
                store(total, first + c, load(total, first + c) + load(addend, x * channels + c))


@_kernel
def pool_rows(
    source: Flat, shape: tuple[int, int, int], rows_pooled: int, pooled: Flat, width: int, at: int
) -> None:
    """Maximum, then mean of the first `rows_pooled` rows of each column of `source`, into `pooled` from `at` on.

    `source` has a border of 1 around `shape`; `pooled` is [column][width] with a column of zeros at either end.
    """
    columns, rows, channels = shape
    share = np.float32(1.0) / np.float32(rows_pooled)
    for x in range(columns):
        for c in range(channels):
            first = ((x + 1) * (rows + 2) + 1) * channels + c
            most = total = source[first]
            for y in range(1, rows_pooled):
                value = source[first + y * channels]
                most = max(most, value)
                total += value
            pooled[(x + 1) * width + at + c] = most
            pooled[(x + 1) * width + at + channels + c] = total * share
