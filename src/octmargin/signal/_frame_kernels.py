"""What needs a whole frame at once: its mean spectrum, its fixed pattern, averages, packed counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._chain_kernels import (
    ChainTables,
    Floats,
    Workspace,
    depths_of,
    load_group,
    store_wanted,
    transform,
)
from octmargin.signal._fft_passes import IMAG, ROW, kernel
from octmargin.signal._lanes import LANES, load, store

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}
_EXACT_LINES = 65536
"""So many 16-bit counts a uint32 adds without overflow."""


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def mean_counts(raw: NDArray[Any], sums: NDArray[np.uint32], background: NDArray[np.float32]) -> None:
    """Mean over the A-lines of integer `raw` (alines, samples); `sums` (samples,) is scratch. Exact to float32."""
    alines, samples = raw.shape
    background[:] = np.float32(0.0)
    for start in range(0, alines, _EXACT_LINES):
        sums[:] = np.uint32(0)
        for i in range(start, min(start + _EXACT_LINES, alines)):
            for j in range(samples):
                sums[j] += np.uint32(raw[i, j])
        for j in range(samples):
            # In double precision, so that the mean of equal lines is that line.
            background[j] += np.float32(np.float64(sums[j]) / alines)


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def mean_finite_lines(raw: NDArray[np.float32], background: NDArray[np.float32]) -> None:
    """Mean over the finite A-lines of `raw` (alines, samples) into `background` (samples,); 0 without any."""
    alines, samples = raw.shape
    background[:] = np.float32(0.0)
    finite = 0
    for i in range(alines):
        total = np.float32(0.0)
        for j in range(samples):
            # 0 for all that is finite, however large: the values themselves could overflow their sum.
            total += raw[i, j] * np.float32(0.0)
        if total == np.float32(0.0):
            finite += 1
            for j in range(samples):
                background[j] += raw[i, j]
    if finite:
        scale = np.float32(1.0) / np.float32(finite)
        for j in range(samples):
            background[j] *= scale


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def unpack_mono12p(packed: NDArray[np.uint8], counts: NDArray[np.uint16]) -> None:
    """Two 12-bit counts from every three bytes, low bits first: (alines, samples * 3 / 2) to (alines, samples)."""
    alines, samples = counts.shape
    for i in range(alines):
        for pair in range(samples // 2):
            low, middle, high = packed[i, 3 * pair], packed[i, 3 * pair + 1], packed[i, 3 * pair + 2]
            counts[i, 2 * pair] = np.uint16(low) | (np.uint16(middle & 15) << 8)
            counts[i, 2 * pair + 1] = np.uint16(middle >> 4) | (np.uint16(high) << 4)


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def average(intensity: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Mean of `intensity` (bscans, alines, depth) over B-scans and n A-lines into `out` (alines / n, depth)."""
    bscans, alines, depth = intensity.shape
    together = alines // out.shape[0]
    scale = np.float32(1.0 / (bscans * together))
    for i in range(out.shape[0]):
        for z in range(depth):
            out[i, z] = np.float32(0.0)
        for b in range(bscans):
            for j in range(i * together, (i + 1) * together):
                for z in range(depth):
                    out[i, z] += intensity[b, j, z] * scale


@kernel
def transform_frame(
    raw: NDArray[Any],
    start: int,
    stop: int,
    background: Floats,
    tables: ChainTables,
    space: Workspace,
    depths: Floats,
) -> None:
    """Complex depth profiles of A-lines [start, stop) into `depths` (groups, depth * 32), in rows of lanes."""
    passes = tables.radices.shape[0]
    for first in range(start, stop, LANES):
        load_group(raw, first, min(LANES, stop - first), background, tables, space)
        rows = space.there if transform(tables, space.here, space.there, passes) else space.here
        group = depths[first // LANES]
        for k in range(0, group.shape[0], LANES):
            store(group, k, load(rows, k))


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def minimum_variance_mean(
    depths: NDArray[np.float32], groups: int, segments: int, pattern: NDArray[np.float32]
) -> None:
    """Fixed pattern (depth, 2) of the first `groups` whole groups of `depths` (groups, depth * 32).

    Real and imaginary part each take the mean of the segment of A-lines in which they vary least: there no tissue
    adds to the pattern. A segment with a value that is not finite has no say; 0 where every segment has one.

    Source: Moon et al., Opt. Express 18(24), 24395 (2010), doi 10.1364/OE.18.024395.
    """
    for row in range(pattern.shape[0] * 2):
        z, part = row // 2, row % 2
        least = np.inf
        pattern[z, part] = np.float32(0.0)
        for segment in range(segments):
            begin, end = segment * groups // segments, (segment + 1) * groups // segments
            total = squares = 0.0
            for g in range(begin, end):
                for lane in range(LANES):
                    value = depths[g, ROW * z + IMAG * part + lane]
                    total += value
                    squares += value * value
            count = (end - begin) * LANES
            mean = total / count
            variance = squares / count - mean * mean
            if variance < least:
                least = variance
                pattern[z, part] = np.float32(mean)


@kernel
def finish_frame(
    depths: Floats,
    start: int,
    stop: int,
    pattern: Floats,
    space: Workspace,
    intensity: Floats,
    out: Floats,
    wanted: int,
) -> None:
    """A-lines [start, stop) of `transform_frame`, less `pattern`, into `intensity` and `out`."""
    depth = out.shape[1]
    for first in range(start, stop, LANES):
        group = depths[first // LANES]
        for z in range(depth):
            store(space.here, ROW * z, load(group, ROW * z) - pattern[z, 0])
            store(space.here, ROW * z + IMAG, load(group, ROW * z + IMAG) - pattern[z, 1])
        depths_of(space.here, space.here.shape[0] // ROW, depth, space.there, wanted)
        store_wanted(space.there, space.tile, first, min(LANES, stop - first), intensity, out, wanted)
