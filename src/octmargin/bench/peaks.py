"""What one core of the machine can do at best: memory bandwidth and multiply-adds, by two small kernels."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

_COPY_VALUES = 1 << 24
"""64 MiB of float32 on either side: beyond the third-level cache of most machines."""
_VALUES = 2048
_PASSES = 4000
_STEPS = 16
_REPEATS = 7


@dataclass(frozen=True, slots=True)
class Peaks:
    """Best figures of one core: the two roofs of a roofline (Williams 2009, doi 10.1145/1498765.1498785)."""

    copy_gb_per_s: float
    """Bytes read plus bytes written."""
    gflop_per_s: float
    """Single precision; a multiply-add counts as two."""


def measure_peaks() -> Peaks:
    """Measure both; takes about a second."""
    source = np.ones(_COPY_VALUES, dtype=np.float32)
    target = np.empty_like(source)
    copy_s = min(_seconds_to_copy(source, target) for _ in range(_REPEATS))
    values = np.linspace(0.1, 0.9, _VALUES, dtype=np.float32)
    sums = np.zeros_like(values)
    add_s = min(_seconds_to_multiply_add(values, sums) for _ in range(_REPEATS))
    return Peaks(
        copy_gb_per_s=2 * source.nbytes / copy_s / 1e9,
        gflop_per_s=2.0 * _STEPS * _VALUES * _PASSES / add_s / 1e9,
    )


def _seconds_to_copy(source: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    began_s = time.perf_counter()
    _copy(source, target)
    return time.perf_counter() - began_s


def _seconds_to_multiply_add(values: NDArray[np.float32], sums: NDArray[np.float32]) -> float:
    began_s = time.perf_counter()
    _multiply_add(values, sums, _PASSES)
    return time.perf_counter() - began_s


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy", boundscheck=False)
def _copy(source: NDArray[np.float32], target: NDArray[np.float32]) -> None:
    for i in range(source.shape[0]):
        target[i] = source[i]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", boundscheck=False)
def _multiply_add(values: NDArray[np.float32], sums: NDArray[np.float32], passes: int) -> None:
    """A chain of multiply-adds per value, long against its load and store, short enough to overlap with others."""
    for _ in range(passes):
        for i in range(values.shape[0]):
            x = values[i]
            y = sums[i]
            for _step in range(_STEPS):
                y = y * x + np.float32(0.5)
            sums[i] = y
