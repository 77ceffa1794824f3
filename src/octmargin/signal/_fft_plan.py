"""Which passes a transform of some length takes, their twiddle factors, and where they work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal._fft_passes import ROW

_APART_FLOATS = 512
"""2 KB: two buffers that begin at the same place of a 4 KB page evict each other from the first-level cache, because
all rows that a pass reads and writes fall on the same few sets. Half a page apart a transform takes two thirds."""


@dataclass(frozen=True, slots=True)
class FftPlan:
    """Passes of one length: `radices`, and per pass where its `twiddles` begin, its length and its stride."""

    length: int
    radices: NDArray[np.int64]
    firsts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    strides: NDArray[np.int64]
    twiddles: NDArray[np.float32]


def is_supported(length: int) -> bool:
    """Whether `length` has no factor but 2, 3 and 5, and is at least 4."""
    return length >= 4 and _without(length, (2, 3, 5)) == 1


def next_supported(length: int) -> int:
    """Return the smallest length of at least `length` that has a plan."""
    while not is_supported(length):
        length += 1
    return length


def make_plan(length: int) -> FftPlan:
    """Plan the passes; InputError for a length with other factors than 2, 3 and 5."""
    if length < 4:
        raise InputError(f"a transform of {length} points; give at least 4")
    if not is_supported(length):
        raise InputError(
            f"a transform of {length} points has factors other than 2, 3 and 5; use {next_supported(length)}"
        )
    radices = _radices(length)
    firsts, lengths, strides, twiddles = [], [], [], []
    n, stride, first = length, 1, 0
    for radix in radices:
        m = n // radix
        turns = np.arange(m)[:, None] * np.arange(1, radix) / n
        factors = np.exp(-2j * np.pi * turns)
        twiddles.append(np.stack([factors.real, factors.imag], axis=-1).ravel())
        firsts.append(first)
        lengths.append(n)
        strides.append(stride)
        first += 2 * m * (radix - 1)
        n, stride = m, stride * radix
    return FftPlan(
        length,
        np.array(radices),
        np.array(firsts),
        np.array(lengths),
        np.array(strides),
        np.concatenate(twiddles).astype(np.float32),
    )


def work_buffers(length: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two buffers of `length` rows that the passes go back and forth between."""
    size = length * ROW
    page = 1024
    whole = np.zeros(2 * (size + 2 * page), dtype=np.float32)
    start = (-whole.ctypes.data // 4) % page
    second = start + -(-size // page) * page + _APART_FLOATS
    return whole[start : start + size], whole[second : second + size]


def _radices(length: int) -> list[int]:
    """Eight first and four or eight last, where the chain fuses them with what comes before and after."""
    odd = [radix for radix in (5, 3) for _ in range(_count(length, radix))]
    twos = _count(length, 2)
    eights, fours, pairs = twos // 3, 0, 0
    if twos % 3 == 1 and eights:
        eights, fours = eights - 1, 2
    elif twos % 3:
        fours, pairs = divmod(twos % 3, 2)
    evens = [8] * eights + [4] * fours + [2] * pairs
    return evens[:1] + odd + evens[1:]


def _count(length: int, factor: int) -> int:
    count = 0
    while length % factor == 0:
        length //= factor
        count += 1
    return count


def _without(length: int, factors: tuple[int, ...]) -> int:
    for factor in factors:
        while length % factor == 0:
            length //= factor
    return length
