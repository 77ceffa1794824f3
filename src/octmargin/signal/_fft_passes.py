"""One pass of a Stockham FFT over sixteen A-lines at a time, for the radices 2, 3, 4, 5 and 8.

A buffer holds rows of 32 float32: the real parts of sixteen A-lines, then their imaginary parts. A pass over
transforms of length n that are interleaved `stride` times reads row q + stride * (p + m * j), m = n / radix, for
j < radix; takes the small transform over j; multiplies by exp(-2 pi i p k / n); and writes row
q + stride * (radix * p + k). After all passes the rows stand in order, without a bit reversal.

Source: T. G. Stockham, "High-speed convolution and correlation", AFIPS 1966, doi 10.1145/1464182.1464209;
C. Van Loan, "Computational Frameworks for the Fast Fourier Transform", SIAM 1992, section 1.7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._lanes import load, store

ROW = 32
"""float32 per row: sixteen real and sixteen imaginary parts."""
IMAG = 16

Lanes = Any
Buffer = NDArray[np.float32]

_HALF_SQRT = np.float32(np.sqrt(0.5))
_SIN_60 = np.float32(np.sqrt(0.75))
_COS_72, _SIN_72 = np.float32(np.cos(2 * np.pi / 5)), np.float32(np.sin(2 * np.pi / 5))
_COS_144, _SIN_144 = np.float32(np.cos(4 * np.pi / 5)), np.float32(np.sin(4 * np.pi / 5))
_HALF = np.float32(0.5)

kernel = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False)
inlined = njit(
    cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False, forceinline=True
)


@inlined
def butterfly2(r0: Lanes, i0: Lanes, r1: Lanes, i1: Lanes) -> tuple[Lanes, ...]:
    """Transform of two points: real and imaginary parts in order."""
    return r0 + r1, i0 + i1, r0 - r1, i0 - i1


@inlined
def butterfly3(r0: Lanes, i0: Lanes, r1: Lanes, i1: Lanes, r2: Lanes, i2: Lanes) -> tuple[Lanes, ...]:
    """Transform of three points."""
    sum_r, sum_i = r1 + r2, i1 + i2
    diff_r, diff_i = (r1 - r2) * _SIN_60, (i1 - i2) * _SIN_60
    mid_r, mid_i = r0 - sum_r * _HALF, i0 - sum_i * _HALF
    return r0 + sum_r, i0 + sum_i, mid_r + diff_i, mid_i - diff_r, mid_r - diff_i, mid_i + diff_r


@inlined
def butterfly4(
    r0: Lanes, i0: Lanes, r1: Lanes, i1: Lanes, r2: Lanes, i2: Lanes, r3: Lanes, i3: Lanes
) -> tuple[Lanes, ...]:
    """Transform of four points."""
    ar, ai, br, bi = r0 + r2, i0 + i2, r0 - r2, i0 - i2
    cr, ci, dr, di = r1 + r3, i1 + i3, r1 - r3, i1 - i3
    return ar + cr, ai + ci, br + di, bi - dr, ar - cr, ai - ci, br - di, bi + dr


@inlined
def butterfly5(
    r0: Lanes,
    i0: Lanes,
    r1: Lanes,
    i1: Lanes,
    r2: Lanes,
    i2: Lanes,
    r3: Lanes,
    i3: Lanes,
    r4: Lanes,
    i4: Lanes,
) -> tuple[Lanes, ...]:
    """Transform of five points."""
    ar, ai, br, bi = r1 + r4, i1 + i4, r2 + r3, i2 + i3
    cr, ci, dr, di = r1 - r4, i1 - i4, r2 - r3, i2 - i3
    er, ei = r0 + ar * _COS_72 + br * _COS_144, i0 + ai * _COS_72 + bi * _COS_144
    fr, fi = r0 + ar * _COS_144 + br * _COS_72, i0 + ai * _COS_144 + bi * _COS_72
    gr, gi = cr * _SIN_72 + dr * _SIN_144, ci * _SIN_72 + di * _SIN_144
    hr, hi = cr * _SIN_144 - dr * _SIN_72, ci * _SIN_144 - di * _SIN_72
    return (
        r0 + ar + br,
        i0 + ai + bi,
        er + gi,
        ei - gr,
        fr + hi,
        fi - hr,
        fr - hi,
        fi + hr,
        er - gi,
        ei + gr,
    )


@inlined
def butterfly8(
    r0: Lanes,
    i0: Lanes,
    r1: Lanes,
    i1: Lanes,
    r2: Lanes,
    i2: Lanes,
    r3: Lanes,
    i3: Lanes,
    r4: Lanes,
    i4: Lanes,
    r5: Lanes,
    i5: Lanes,
    r6: Lanes,
    i6: Lanes,
    r7: Lanes,
    i7: Lanes,
) -> tuple[Lanes, ...]:
    """Transform of eight points: two of four, joined by the eighth roots of one."""
    e0r, e0i, e1r, e1i, e2r, e2i, e3r, e3i = butterfly4(r0, i0, r2, i2, r4, i4, r6, i6)
    o0r, o0i, o1r, o1i, o2r, o2i, o3r, o3i = butterfly4(r1, i1, r3, i3, r5, i5, r7, i7)
    ur, ui = (o1r + o1i) * _HALF_SQRT, (o1i - o1r) * _HALF_SQRT
    vr, vi = (o3i - o3r) * _HALF_SQRT, (o3r + o3i) * _HALF_SQRT
    return (
        e0r + o0r,
        e0i + o0i,
        e1r + ur,
        e1i + ui,
        e2r + o2i,
        e2i - o2r,
        e3r + vr,
        e3i - vi,
        e0r - o0r,
        e0i - o0i,
        e1r - ur,
        e1i - ui,
        e2r - o2i,
        e2i + o2r,
        e3r - vr,
        e3i + vi,
    )


@inlined
def put(y: Buffer, row: int, real: Lanes, imag: Lanes) -> None:
    """Store one row."""
    store(y, row, real)
    store(y, row + IMAG, imag)


@inlined
def put_turned(y: Buffer, row: int, real: Lanes, imag: Lanes, twiddles: Buffer, at: int) -> None:
    """Store one row, multiplied by the twiddle factor at `at`."""
    wr, wi = twiddles[at], twiddles[at + 1]
    store(y, row, real * wr - imag * wi)
    store(y, row + IMAG, real * wi + imag * wr)


@inlined
def put_eight(y: Buffer, row: int, step: int, v: tuple[Lanes, ...], twiddles: Buffer, at: int) -> None:
    """Store what `butterfly8` gave, all but the first multiplied by their twiddle factors."""
    put(y, row, v[0], v[1])
    put_turned(y, row + step, v[2], v[3], twiddles, at)
    put_turned(y, row + 2 * step, v[4], v[5], twiddles, at + 2)
    put_turned(y, row + 3 * step, v[6], v[7], twiddles, at + 4)
    put_turned(y, row + 4 * step, v[8], v[9], twiddles, at + 6)
    put_turned(y, row + 5 * step, v[10], v[11], twiddles, at + 8)
    put_turned(y, row + 6 * step, v[12], v[13], twiddles, at + 10)
    put_turned(y, row + 7 * step, v[14], v[15], twiddles, at + 12)


@inlined
def put_four(y: Buffer, row: int, step: int, v: tuple[Lanes, ...], twiddles: Buffer, at: int) -> None:
    """Store what `butterfly4` gave, all but the first multiplied by their twiddle factors."""
    put(y, row, v[0], v[1])
    put_turned(y, row + step, v[2], v[3], twiddles, at)
    put_turned(y, row + 2 * step, v[4], v[5], twiddles, at + 2)
    put_turned(y, row + 3 * step, v[6], v[7], twiddles, at + 4)


@inlined
def eight_at(x: Buffer, a: int, step: int) -> tuple[Lanes, ...]:
    """Load eight rows, `step` apart, and transform them."""
    b, c, d, e, f, g, h = (
        a + step,
        a + 2 * step,
        a + 3 * step,
        a + 4 * step,
        a + 5 * step,
        a + 6 * step,
        a + 7 * step,
    )
    return butterfly8(
        load(x, a),
        load(x, a + IMAG),
        load(x, b),
        load(x, b + IMAG),
        load(x, c),
        load(x, c + IMAG),
        load(x, d),
        load(x, d + IMAG),
        load(x, e),
        load(x, e + IMAG),
        load(x, f),
        load(x, f + IMAG),
        load(x, g),
        load(x, g + IMAG),
        load(x, h),
        load(x, h + IMAG),
    )


@inlined
def four_at(x: Buffer, a: int, step: int) -> tuple[Lanes, ...]:
    """Load four rows, `step` apart, and transform them."""
    b, c, d = a + step, a + 2 * step, a + 3 * step
    return butterfly4(
        load(x, a),
        load(x, a + IMAG),
        load(x, b),
        load(x, b + IMAG),
        load(x, c),
        load(x, c + IMAG),
        load(x, d),
        load(x, d + IMAG),
    )


@kernel
def pass2(x: Buffer, y: Buffer, twiddles: Buffer, first: int, n: int, stride: int) -> None:
    """One pass of radix 2; `first` is where its twiddle factors begin."""
    m = n // 2
    step = ROW * stride
    for p in range(m):
        for q in range(stride):
            a = ROW * (q + stride * p)
            b = a + step * m
            v = butterfly2(load(x, a), load(x, a + IMAG), load(x, b), load(x, b + IMAG))
            row = ROW * (q + stride * 2 * p)
            put(y, row, v[0], v[1])
            put_turned(y, row + step, v[2], v[3], twiddles, first + 2 * p)


@kernel
def pass3(x: Buffer, y: Buffer, twiddles: Buffer, first: int, n: int, stride: int) -> None:
    """One pass of radix 3."""
    m = n // 3
    step = ROW * stride
    for p in range(m):
        at = first + 4 * p
        for q in range(stride):
            a = ROW * (q + stride * p)
            b, c = a + step * m, a + 2 * step * m
            v = butterfly3(
                load(x, a), load(x, a + IMAG), load(x, b), load(x, b + IMAG), load(x, c), load(x, c + IMAG)
            )
            row = ROW * (q + stride * 3 * p)
            put(y, row, v[0], v[1])
            put_turned(y, row + step, v[2], v[3], twiddles, at)
            put_turned(y, row + 2 * step, v[4], v[5], twiddles, at + 2)


@kernel
def pass4(x: Buffer, y: Buffer, twiddles: Buffer, first: int, n: int, stride: int) -> None:
    """One pass of radix 4."""
    m = n // 4
    step = ROW * stride
    for p in range(m):
        for q in range(stride):
            v = four_at(x, ROW * (q + stride * p), step * m)
            put_four(y, ROW * (q + stride * 4 * p), step, v, twiddles, first + 6 * p)


@kernel
def pass5(x: Buffer, y: Buffer, twiddles: Buffer, first: int, n: int, stride: int) -> None:
    """One pass of radix 5."""
    m = n // 5
    step = ROW * stride
    for p in range(m):
        at = first + 8 * p
        for q in range(stride):
            a = ROW * (q + stride * p)
            b, c, d, e = a + step * m, a + 2 * step * m, a + 3 * step * m, a + 4 * step * m
            v = butterfly5(
                load(x, a),
                load(x, a + IMAG),
                load(x, b),
                load(x, b + IMAG),
                load(x, c),
                load(x, c + IMAG),
                load(x, d),
                load(x, d + IMAG),
                load(x, e),
                load(x, e + IMAG),
            )
            row = ROW * (q + stride * 5 * p)
            put(y, row, v[0], v[1])
            put_turned(y, row + step, v[2], v[3], twiddles, at)
            put_turned(y, row + 2 * step, v[4], v[5], twiddles, at + 2)
            put_turned(y, row + 3 * step, v[6], v[7], twiddles, at + 4)
            put_turned(y, row + 4 * step, v[8], v[9], twiddles, at + 6)


@kernel
def pass8(x: Buffer, y: Buffer, twiddles: Buffer, first: int, n: int, stride: int) -> None:
    """One pass of radix 8."""
    m = n // 8
    step = ROW * stride
    for p in range(m):
        for q in range(stride):
            v = eight_at(x, ROW * (q + stride * p), step * m)
            put_eight(y, ROW * (q + stride * 8 * p), step, v, twiddles, first + 14 * p)


@kernel
def one_pass(radix: int, x: Buffer, y: Buffer, twiddles: Buffer, first: int, n: int, stride: int) -> None:
    """The pass of `radix`."""
    if radix == 8:
        pass8(x, y, twiddles, first, n, stride)
    elif radix == 4:
        pass4(x, y, twiddles, first, n, stride)
    elif radix == 5:
        pass5(x, y, twiddles, first, n, stride)
    elif radix == 3:
        pass3(x, y, twiddles, first, n, stride)
    else:
        pass2(x, y, twiddles, first, n, stride)
