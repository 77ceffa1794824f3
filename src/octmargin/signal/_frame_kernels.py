"""What needs a whole frame at once: its mean spectrum, its fixed pattern, averages, packed counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._chain_kernels import (
    ChainTables,
    Floats,
    Workspace,
    depths_of,
    load_group,
    reconstruct,
    store_wanted,
    transform,
)
from octmargin.signal._fft_passes import IMAG, ROW, kernel
from octmargin.signal._lanes import LANES, load, store
from octmargin.signal._teamwork import finish_share, take_share, wait_for_shares

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}
SUMS, GROUPS = 0, 1
"""Stages of a frame: the sum of its A-lines, and groups of sixteen A-lines."""
_SUMMED_ALINES = 32
"""A share of the sum: few enough that threads end together, and that no uint32 overflows."""


class Part(NamedTuple):
    """What one thread, number `member`, sees of a frame that several work on.

    `newest` is the share of the frame's own mean in what is taken off its spectra, the rest being `background`: above
    0 it takes integer spectra. `totals` (threads, samples) begins as zeros, `progress` as `new_progress(2)`.
    """

    member: int
    background: Floats
    newest: np.float32
    totals: NDArray[np.float64]
    progress: NDArray[np.int64]


@kernel
def reconstruct_frame(
    raw: NDArray[Any],
    part: Part,
    tables: ChainTables,
    space: Workspace,
    intensity: Floats,
    out: Floats,
    wanted: int,
) -> None:
    """One thread's part of `raw` (alines, samples) into `intensity` and `out` (alines, depth).

    Returns when all A-lines are done, whoever did them; `space.background` then holds what was taken off.
    """
    measure_background(raw, part, space)
    alines = raw.shape[0]
    groups = -(-alines // LANES)
    group = take_share(part.progress, GROUPS)
    while group < groups:
        first = group * LANES
        reconstruct(raw, first, min(LANES, alines - first), tables, space, intensity, out, wanted)
        finish_share(part.progress, GROUPS)
        group = take_share(part.progress, GROUPS)
    wait_for_shares(part.progress, GROUPS, groups)


@kernel
def measure_background(raw: NDArray[Any], part: Part, space: Workspace) -> None:
    """What is taken off every A-line of `raw` into `space.background`."""
    if part.newest > np.float32(0.0):
        _add_up(raw, part.totals[part.member], space.counts, part.progress)
        _follow(part.background, part.newest, part.totals, raw.shape[0], space.background)
    else:
        for j in range(part.background.shape[0]):
            space.background[j] = part.background[j]


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def _add_up(
    raw: NDArray[Any],
    total: NDArray[np.float64],
    counts: NDArray[np.uint32],
    progress: NDArray[np.int64],
) -> None:
    """Sum of this thread's shares of the A-lines into `total` (samples,); exact, so that no share matters."""
    alines, samples = raw.shape
    shares = -(-alines // _SUMMED_ALINES)
    share = take_share(progress, SUMS)
    while share < shares:
        for j in range(samples):
            counts[j] = np.uint32(0)
        for i in range(share * _SUMMED_ALINES, min((share + 1) * _SUMMED_ALINES, alines)):
            line = raw[i]
            for j in range(samples):
                counts[j] += np.uint32(line[j])
        for j in range(samples):
            total[j] += np.float64(counts[j])
        finish_share(progress, SUMS)
        share = take_share(progress, SUMS)
    wait_for_shares(progress, SUMS, shares)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _follow(
    background: Floats, newest: np.float32, totals: NDArray[np.float64], alines: int, followed: Floats
) -> None:
    """`background` moved by the share `newest` towards the mean of the frame with these `totals`."""
    for j in range(followed.shape[0]):
        total = 0.0
        for member in range(totals.shape[0]):
            total += totals[member, j]
        # In double precision, so that the mean of equal lines is that line.
        mean = np.float32(total / alines)
        followed[j] = mean if newest == np.float32(1.0) else background[j] + (mean - background[j]) * newest


@njit(cache=True, nogil=True, fastmath=_KEEPS_NAN, error_model="numpy", boundscheck=False)
def mean_finite_lines(raw: NDArray[np.float32], background: NDArray[np.float32]) -> int:
    """Mean over the finite A-lines of `raw` (alines, samples) into `background` (samples,); their number."""
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
    return finite


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
    raw: NDArray[Any], part: Part, tables: ChainTables, space: Workspace, depths: Floats
) -> None:
    """One thread's part of the complex depth profiles of `raw` into `depths` (groups, depth * 32), in rows of lanes."""
    measure_background(raw, part, space)
    alines, passes = raw.shape[0], tables.radices.shape[0]
    groups = -(-alines // LANES)
    group = take_share(part.progress, GROUPS)
    while group < groups:
        first = group * LANES
        load_group(raw, first, min(LANES, alines - first), tables, space)
        rows = space.there if transform(tables, space.here, space.there, passes) else space.here
        profiles = depths[group]
        for k in range(0, profiles.shape[0], LANES):
            store(profiles, k, load(rows, k))
        finish_share(part.progress, GROUPS)
        group = take_share(part.progress, GROUPS)
    wait_for_shares(part.progress, GROUPS, groups)


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
    pattern: Floats,
    part: Part,
    space: Workspace,
    intensity: Floats,
    out: Floats,
    wanted: int,
) -> None:
    """One thread's part of what `transform_frame` left, less `pattern`, into `intensity` and `out`."""
    alines, depth = out.shape
    groups = -(-alines // LANES)
    group = take_share(part.progress, GROUPS)
    while group < groups:
        profiles, first = depths[group], group * LANES
        for z in range(depth):
            store(space.here, ROW * z, load(profiles, ROW * z) - pattern[z, 0])
            store(space.here, ROW * z + IMAG, load(profiles, ROW * z + IMAG) - pattern[z, 1])
        depths_of(space.here, space.here.shape[0] // ROW, depth, space.there, wanted)
        store_wanted(space.there, space.tile, first, min(LANES, alines - first), intensity, out, wanted)
        finish_share(part.progress, GROUPS)
        group = take_share(part.progress, GROUPS)
    wait_for_shares(part.progress, GROUPS, groups)
