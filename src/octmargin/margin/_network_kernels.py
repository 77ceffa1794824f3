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

from octmargin.signal._lanes import LANES, load, store, where_below
from octmargin.signal._tiles import TILE_GROUPS, TILE_ROWS, rectified_tile, store_tile, tile, with_products

_kernel = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False)
_inlined = njit(
    cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False, forceinline=True
)
_ZERO = np.float32(0.0)
Flat = NDArray[np.float32]


@_inlined
def _rectified(value: Any) -> Any:
    return where_below(value, _ZERO, _ZERO, value)


def _tile_of(tile_rows: int, tile_groups: int) -> Any:
    """What computes so many rows, each of so many groups of sixteen channels, of one column."""

    # Not cached: it becomes part of `convolve`, which is, and three of one name would share the files of their cache.
    @njit(nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False, forceinline=True)
    def compute(
        source: Flat,
        first: int,
        steps: tuple[int, int],
        lengths: tuple[int, int],
        weights: Flat,
        bias: Flat,
        out: Flat,
        at: int,
        cout: int,
        channel: int,
        rectify: bool,
    ) -> None:
        """Of `source` from `first` on, `steps` apart, to the rows of `out` from `at` on; channels from `channel` on.

        `lengths` are the taps along, and the numbers of a column that each row takes: taps down times channels in.
        """
        step_along, step_down = steps
        taps_along, numbers = lengths
        sums = tile(tile_rows, tile_groups, bias, channel)
        weight = channel
        for i in range(taps_along):
            # Taps down a column lie one after the other, and so do their weights.
            for c in range(numbers):
                sums = with_products(sums, source, first + i * step_along + c, step_down, weights, weight)
                weight += cout
        if rectify:
            sums = rectified_tile(sums)
        store_tile(out, at + channel, cout, sums)

    return compute


_tile = _tile_of(TILE_ROWS, TILE_GROUPS)
_one_group = _tile if TILE_GROUPS == 1 else _tile_of(TILE_ROWS, 1)
_one_row = _tile_of(1, 1)


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
    columns, rows, cout = out_shape
    along, down = stride[0] * rows_in * cin, stride[1] * cin
    steps, lengths = (rows_in * cin, down), (taps[0], taps[1] * cin)
    tile_rows = TILE_ROWS if rows >= TILE_ROWS else 1
    for x in range(columns):
        column = ((x + border) * (rows + 2 * border) + border) * cout
        g = 0
        while g < cout:
            groups = TILE_GROUPS if tile_rows > 1 and g + TILE_GROUPS * LANES <= cout else 1
            y = 0
            while y < rows:
                # The last tile may begin among the rows before: it takes about as long as two of its rows alone.
                y = min(y, rows - tile_rows)
                first, at = x * along + y * down, column + y * cout
                if tile_rows == 1:
                    _one_row(source, first, steps, lengths, weights, bias, out, at, cout, g, rectify)
                elif groups == TILE_GROUPS:
                    _tile(source, first, steps, lengths, weights, bias, out, at, cout, g, rectify)
                else:
                    _one_group(source, first, steps, lengths, weights, bias, out, at, cout, g, rectify)
                y += tile_rows
            g += groups * LANES


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
