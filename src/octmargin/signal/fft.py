"""A batched FFT: many transforms of one length at a time, in single precision, on one core."""

from __future__ import annotations

from functools import lru_cache
from threading import local

import numpy as np
from numpy.typing import NDArray

from octmargin.buffers import aligned_zeros
from octmargin.errors import InputError
from octmargin.signal._chain_kernels import Floats, Integers, load_alines, store_alines
from octmargin.signal._fft_passes import kernel, one_pass
from octmargin.signal._fft_plan import FftPlan, make_plan, work_buffers
from octmargin.signal._lanes import LANES

_scratch = local()


def fft(signals: NDArray[np.complex64], out: NDArray[np.complex64] | None = None) -> NDArray[np.complex64]:
    """Discrete Fourier transform of each row, exp(-2 pi i j k / n), as `scipy.fft.fft` defines it.

    `signals` (alines, n) complex64, n of at least 4 without factors other than 2, 3 and 5; `out`, if given, a
    C-contiguous complex64 array of that shape, which may be `signals` itself. Relative error about 1e-7. InputError
    for another shape or dtype. Safe in several threads: each has buffers of its own.
    """
    if signals.ndim != 2 or signals.dtype != np.complex64 or not signals.size:
        raise InputError(f"signals: expected complex64 (alines, n), got {signals.dtype} {signals.shape}")
    if out is None:
        out = np.empty(signals.shape, dtype=np.complex64)
    elif out.shape != signals.shape or out.dtype != np.complex64 or not out.flags.c_contiguous:
        raise InputError(
            f"out: expected a C-contiguous complex64 array {signals.shape}, got {out.dtype} {out.shape}"
        )
    if not out.flags.writeable:
        raise InputError("out is read-only; give an array that can be written")
    plan = _plan(signals.shape[1])
    here, there, tile, zeros = _buffers(plan.length)
    parts = np.ascontiguousarray(signals).view(np.float32).view()
    parts.flags.writeable = False
    _transform_rows(
        parts,
        zeros,
        here,
        there,
        tile,
        plan.radices,
        plan.firsts,
        plan.lengths,
        plan.strides,
        plan.twiddles,
        out.view(np.float32),
    )
    return out


@lru_cache(maxsize=16)
def _plan(length: int) -> FftPlan:
    return make_plan(length)


def _buffers(length: int) -> tuple[NDArray[np.float32], ...]:
    if getattr(_scratch, "length", None) != length:
        _scratch.buffers = (
            *work_buffers(length),
            aligned_zeros(LANES * LANES, np.float32),
            aligned_zeros(2 * length, np.float32),
        )
        # Last: without memory for buffers the old ones must not pass for long enough.
        _scratch.length = length
    buffers: tuple[NDArray[np.float32], ...] = _scratch.buffers
    return buffers


@kernel
def _transform_rows(
    parts: Floats,
    zeros: Floats,
    here: Floats,
    there: Floats,
    tile: Floats,
    radices: Integers,
    firsts: Integers,
    lengths: Integers,
    strides: Integers,
    twiddles: Floats,
    out: Floats,
) -> None:
    """Transform `parts` (alines, 2 n), real and imaginary parts in turn, into `out` of the same kind."""
    alines = parts.shape[0]
    for first in range(0, alines, LANES):
        valid = min(LANES, alines - first)
        # Real and imaginary parts in turn are, transposed, just the rows that a pass takes.
        load_alines(parts, first, valid, zeros, tile, here)
        x, y = here, there
        for k in range(radices.shape[0]):
            one_pass(radices[k], x, y, twiddles, firsts[k], lengths[k], strides[k])
            x, y = y, x
        store_alines(x, 0, tile, first, valid, out)
