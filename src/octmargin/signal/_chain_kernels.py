"""The chain over sixteen A-lines at a time: spectra to lanes, transform, power, dB back in rows.

A group of sixteen never leaves the second-level cache: its spectra are transposed on the way in, its depths on the
way out, and the first and the last pass of the FFT do the multiplication by the phasor and the squared magnitude.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from octmargin.signal._decibels import decibels
from octmargin.signal._fft_passes import (
    IMAG,
    ROW,
    butterfly8,
    eight_at,
    four_at,
    inlined,
    kernel,
    one_pass,
    put_eight,
)
from octmargin.signal._lanes import COLUMNS, LANES, load, load_columns, store, store_square

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

INTENSITY, DB = 1, 2
"""What a caller may want of the depths; both: their sum."""


class ChainTables(NamedTuple):
    """What one calibration and one shape need, read by every thread.

    `first_tap` (length,) and `weights` (length, taps) resample (samples,) to (length,); `phasor` (length, 2)
    is window x dispersion; the rest is the FFT's plan.
    """

    first_tap: Integers
    weights: Floats
    phasor: Floats
    radices: Integers
    firsts: Integers
    lengths: Integers
    strides: Integers
    twiddles: Floats


class Workspace(NamedTuple):
    """Scratch of one thread: two buffers of `length` rows, 16 x 16 values, and two spectra."""

    here: Floats
    there: Floats
    tile: Floats
    background: Floats
    counts: NDArray[np.uint32]


@kernel
def load_alines(
    raw: NDArray[Any], first: int, valid: int, background: Floats, tile: Floats, out: Floats
) -> None:
    """A-lines [first, first + valid) of `raw` less `background` as rows of sixteen lanes; the last one repeats."""
    samples = raw.shape[1]
    whole = samples - samples % COLUMNS
    for column in range(0, whole, COLUMNS):
        load_columns(raw, first * samples + column, samples, valid - 1, background, column, out)
    for column in range(whole, samples):
        for lane in range(LANES):
            line = first + min(lane, valid - 1)
            tile[lane] = np.float32(raw[line, column]) - background[column]
        store(out, column * LANES, load(tile, 0))


@kernel
def resample(x: Floats, first_tap: Integers, weights: Floats, y: Floats) -> None:
    """Weighted sums of neighbouring rows of lanes: `x` (samples, 16) to `y` (length, 16)."""
    taps = weights.shape[1]
    if taps == 1:
        for j in range(first_tap.shape[0]):
            store(y, LANES * j, load(x, LANES * first_tap[j]) * weights[j, 0])
    elif taps == 2:
        for j in range(first_tap.shape[0]):
            at = LANES * first_tap[j]
            store(y, LANES * j, load(x, at) * weights[j, 0] + load(x, at + LANES) * weights[j, 1])
    else:
        for j in range(first_tap.shape[0]):
            at = LANES * first_tap[j]
            total = _four_taps(x, at, weights, j, 0)
            for t in range(4, taps, 4):
                total = total + _four_taps(x, at + LANES * t, weights, j, t)
            store(y, LANES * j, total)


@inlined
def _four_taps(x: Floats, at: int, weights: Floats, j: int, t: int) -> Any:
    return (load(x, at) * weights[j, t] + load(x, at + LANES) * weights[j, t + 1]) + (
        load(x, at + 2 * LANES) * weights[j, t + 2] + load(x, at + 3 * LANES) * weights[j, t + 3]
    )


@kernel
def turn(x: Floats, phasor: Floats, y: Floats) -> None:
    """Real rows of lanes times the phasor: the complex rows that a pass takes."""
    for j in range(phasor.shape[0]):
        value = load(x, LANES * j)
        store(y, ROW * j, value * phasor[j, 0])
        store(y, ROW * j + IMAG, value * phasor[j, 1])


@kernel
def turn_and_pass8(x: Floats, phasor: Floats, y: Floats, twiddles: Floats) -> None:
    """`turn` and the first pass of radix 8 in one: half of the memory traffic of the two."""
    m = phasor.shape[0] // 8
    for p in range(m):
        a, b, c, d = p, p + m, p + 2 * m, p + 3 * m
        e, f, g, h = p + 4 * m, p + 5 * m, p + 6 * m, p + 7 * m
        xa, xb, xc, xd = load(x, LANES * a), load(x, LANES * b), load(x, LANES * c), load(x, LANES * d)
        xe, xf, xg, xh = load(x, LANES * e), load(x, LANES * f), load(x, LANES * g), load(x, LANES * h)
        v = butterfly8(
            xa * phasor[a, 0],
            xa * phasor[a, 1],
            xb * phasor[b, 0],
            xb * phasor[b, 1],
            xc * phasor[c, 0],
            xc * phasor[c, 1],
            xd * phasor[d, 0],
            xd * phasor[d, 1],
            xe * phasor[e, 0],
            xe * phasor[e, 1],
            xf * phasor[f, 0],
            xf * phasor[f, 1],
            xg * phasor[g, 0],
            xg * phasor[g, 1],
            xh * phasor[h, 0],
            xh * phasor[h, 1],
        )
        put_eight(y, ROW * 8 * p, ROW, v, twiddles, 14 * p)


@inlined
def _put_depth(rows: Floats, z: int, db_from: int, real: Any, imag: Any, wanted: int) -> None:
    power = real * real + imag * imag
    if wanted & INTENSITY:
        store(rows, LANES * z, power)
    if wanted & DB:
        store(rows, db_from + LANES * z, decibels(power))


@kernel
def last_pass4(x: Floats, stride: int, depth: int, rows: Floats, wanted: int) -> None:
    """The last pass of radix 4 together with `depths_of`, of the depths that are kept only."""
    db_from = LANES * stride * 4
    for q in range(min(stride, depth)):
        v = four_at(x, ROW * q, ROW * stride)
        _put_depth(rows, q, db_from, v[0], v[1], wanted)
        _put_depth(rows, q + stride, db_from, v[2], v[3], wanted)


@kernel
def last_pass8(x: Floats, stride: int, depth: int, rows: Floats, wanted: int) -> None:
    """The last pass of radix 8 together with `depths_of`, of the depths that are kept only."""
    db_from = LANES * stride * 8
    for q in range(min(stride, depth)):
        v = eight_at(x, ROW * q, ROW * stride)
        _put_depth(rows, q, db_from, v[0], v[1], wanted)
        _put_depth(rows, q + stride, db_from, v[2], v[3], wanted)
        _put_depth(rows, q + 2 * stride, db_from, v[4], v[5], wanted)
        _put_depth(rows, q + 3 * stride, db_from, v[6], v[7], wanted)


@kernel
def depths_of(x: Floats, length: int, depth: int, rows: Floats, wanted: int) -> None:
    """Squared magnitude of complex rows, and its dB: rows of sixteen lanes, dB from row `length` on."""
    for z in range(depth):
        _put_depth(rows, z, LANES * length, load(x, ROW * z), load(x, ROW * z + IMAG), wanted)


@inlined
def begin_transform(tables: ChainTables, here: Floats, there: Floats) -> bool:
    """Phasor and first pass of the real rows in `here`; whether the result is `there` rather than `here`."""
    if tables.radices[0] == 8:
        turn_and_pass8(here, tables.phasor, there, tables.twiddles)
        return True
    turn(here, tables.phasor, there)
    one_pass(
        tables.radices[0],
        there,
        here,
        tables.twiddles,
        tables.firsts[0],
        tables.lengths[0],
        tables.strides[0],
    )
    return False


@kernel
def transform(tables: ChainTables, here: Floats, there: Floats, passes: int) -> bool:
    """First `passes` passes of the spectra in `here`; whether their result is `there` rather than `here`."""
    is_there = begin_transform(tables, here, there)
    for k in range(1, passes):
        x, y = (there, here) if is_there else (here, there)
        one_pass(
            tables.radices[k],
            x,
            y,
            tables.twiddles,
            tables.firsts[k],
            tables.lengths[k],
            tables.strides[k],
        )
        is_there = not is_there
    return is_there


@kernel
def transform_to_depths(tables: ChainTables, here: Floats, there: Floats, depth: int, wanted: int) -> bool:
    """`depths_of` of the spectra in `here`; whether they are `there` rather than `here`."""
    last = tables.radices.shape[0] - 1
    radix, stride = tables.radices[last], tables.strides[last]
    fused = last > 0 and (radix in (4, 8))
    is_there = transform(tables, here, there, last if fused else last + 1)
    x, y = (there, here) if is_there else (here, there)
    if not fused:
        depths_of(x, tables.phasor.shape[0], depth, y, wanted)
    elif radix == 4:
        last_pass4(x, stride, depth, y, wanted)
    else:
        last_pass8(x, stride, depth, y, wanted)
    return not is_there


@kernel
def store_alines(rows: Floats, start: int, tile: Floats, first: int, valid: int, out: Floats) -> None:
    """Rows of lanes, `rows` from `start` on, back into A-lines [first, first + valid) of `out` (alines, depth)."""
    depth = out.shape[1]
    for z in range(0, depth, LANES):
        if valid == LANES and z + LANES <= depth:
            store_square(rows, start + LANES * z, out, first * depth + z, depth)
        else:
            store_square(rows, start + LANES * z, tile, 0, LANES)
            for lane in range(valid):
                for i in range(min(LANES, depth - z)):
                    out[first + lane, z + i] = tile[LANES * lane + i]


@kernel
def store_wanted(
    rows: Floats, tile: Floats, first: int, valid: int, intensity: Floats, out: Floats, wanted: int
) -> None:
    """What `depths_of` left, into `intensity` and `out` (alines, depth)."""
    if wanted & INTENSITY:
        store_alines(rows, 0, tile, first, valid, intensity)
    if wanted & DB:
        # A work buffer is `length` rows of twice sixteen: intensities fill its first half, dB its second.
        store_alines(rows, rows.shape[0] // 2, tile, first, valid, out)


@kernel
def load_group(raw: NDArray[Any], first: int, valid: int, tables: ChainTables, space: Workspace) -> None:
    """Spectra of one group, less the background and resampled to linear wavenumber, into `space.here`."""
    load_alines(raw, first, valid, space.background, space.tile, space.there)
    resample(space.there, tables.first_tap, tables.weights, space.here)


@kernel
def reconstruct(
    raw: NDArray[Any],
    first: int,
    valid: int,
    tables: ChainTables,
    space: Workspace,
    intensity: Floats,
    out: Floats,
    wanted: int,
) -> None:
    """A-lines [first, first + valid) of `raw` (alines, samples) into `intensity` and `out` (alines, depth)."""
    load_group(raw, first, valid, tables, space)
    is_there = transform_to_depths(tables, space.here, space.there, out.shape[1], wanted)
    rows = space.there if is_there else space.here
    store_wanted(rows, space.tile, first, valid, intensity, out, wanted)
