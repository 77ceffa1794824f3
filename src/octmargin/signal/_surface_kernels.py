"""The jitted parts of the surface search and of the noise floor."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._decibels import FLOOR_DB

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}
_CHUNK_PX = 64
"""Depths that are searched at once: a line is read no further than to its surface."""
_BIN_DB = 0.25
_BINS = 1200
"""Bins from the floor upwards, to 200 dB: more than float32 counts can make. One more takes what does not count."""


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def median_db(
    bscan_db: NDArray[np.float32], every: int, start: int, stop: int, counts: NDArray[np.int32]
) -> float:
    """Median of each `every`-th A-line's depths [start, stop), NaN, infinity and the floor left out.

    NaN where nothing is left. `counts` is scratch: a histogram is one pass and no copy.
    """
    counts[:] = 0
    bins = np.empty(stop - start, dtype=np.uint32)
    for i in range(0, bscan_db.shape[0], every):
        band = bscan_db[i, start:stop]
        for z in range(stop - start):
            above = band[z] - np.float32(FLOOR_DB)
            is_counted = (above > np.float32(0.0)) & (above < np.float32(np.inf))
            in_range = min(above * np.float32(1.0 / _BIN_DB), np.float32(_BINS - 1))
            bins[z] = np.uint32(np.int32(in_range)) if is_counted else np.uint32(_BINS)
        for z in range(stop - start):
            # Neighbours go to histograms of their own: they are alike, and one count would wait for the last.
            counts[z & 3, bins[z]] += 1
    for k in range(_BINS):
        counts[0, k] += counts[1, k] + counts[2, k] + counts[3, k]
    total = counts[0, :_BINS].sum()
    if total == 0:
        return np.nan
    below = 0
    for k in range(_BINS):
        if 2 * (below + counts[0, k]) >= total:
            within = (0.5 * total - below) / counts[0, k]
            return float(FLOOR_DB + (k + within) * _BIN_DB)
        below += counts[0, k]
    return np.nan


def histogram_scratch() -> NDArray[np.int32]:
    """Scratch of `median_db`."""
    return np.empty((4, _BINS + 1), dtype=np.int32)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def find_edges(
    bscan_db: NDArray[np.float32],
    first_px: int,
    window_px: int,
    radius: int,
    level_db: np.float32,
    above_level_db: np.float32,
    contrast_db: np.float32,
    sustained_share: np.float32,
    edge_px: NDArray[np.float32],
) -> None:
    """First sufficient edge of each A-line, on the mean of its neighbours within `radius`; NaN without one."""
    alines, depth = bscan_db.shape
    line = np.empty(depth, dtype=np.float32)
    # sums[z + window] is the sum of the line's depths [origin, z), where origin is the first depth or a window
    # before the chunk; the zeros before stand for what lies above the first depth.
    sums = np.zeros(depth + 1 + window_px, dtype=np.float32)
    per_before = np.empty(depth + 1, dtype=np.float32)
    for z in range(depth + 1):
        per_before[z] = np.float32(1.0) / np.float32(max(1, min(window_px, z - first_px)))
    least_before = max(2, window_px // 3)
    last = depth - window_px
    for i in range(alines):
        edge_px[i] = np.float32(np.nan)
        if np.isnan(bscan_db[i, 0]):
            continue
        best_px = -1
        ready = first_px
        for start in range(first_px + least_before, last + 1, _CHUNK_PX):
            stop = min(start + _CHUNK_PX, last + 1)
            reach = min(stop + 2 * window_px, depth)
            _extend(bscan_db, i, radius, ready, reach, line)
            ready = reach
            # Where no pixel is bright enough no mean of pixels is.
            if not _reaches(line, start, reach, level_db):
                continue
            _sum_up(line, max(first_px, start - window_px), reach, window_px, sums)
            if not _has_edge(sums, per_before, start, stop, window_px, level_db, contrast_db):
                continue
            first = _first_edge(
                line, sums, per_before, start, stop, window_px, level_db, contrast_db, sustained_share
            )
            if first >= 0:
                stop = min(first + window_px, last) + 1
                best_px = _sharpest_edge(
                    line, sums, per_before, first, stop, window_px, contrast_db, sustained_share
                )
                break
        if best_px < 0:
            continue
        above = _mean(line, first_px, best_px)
        # Beside a hole the neighbours have an edge where this A-line has nothing.
        own = _mean(bscan_db[i], best_px, best_px + window_px)
        if above <= above_level_db and own > level_db:
            edge_px[i] = np.float32(best_px)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def _extend(
    bscan_db: NDArray[np.float32], i: int, radius: int, start: int, stop: int, line: NDArray[np.float32]
) -> None:
    """Mean over the neighbours of A-line `i`, depths [start, stop)."""
    # Slices, because loops from 0 spare numba the test for negative indices, which keeps them from vectorising.
    part = line[start:stop]
    part[:] = np.float32(0.0)
    lines = np.float32(0.0)
    for j in range(max(0, i - radius), min(bscan_db.shape[0], i + radius + 1)):
        if not np.isnan(bscan_db[j, 0]):
            lines += np.float32(1.0)
            neighbour = bscan_db[j, start:stop]
            for z in range(stop - start):
                part[z] += neighbour[z]
    scale = np.float32(1.0) / lines
    for z in range(stop - start):
        part[z] *= scale


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def _reaches(line: NDArray[np.float32], start: int, stop: int, level_db: np.float32) -> bool:
    """Whether any depth of [start, stop) is above the level."""
    part = line[start:stop]
    hits = 0
    for z in range(stop - start):
        hits += int(part[z] > level_db)
    return hits > 0


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _sum_up(
    line: NDArray[np.float32], origin: int, stop: int, window_px: int, sums: NDArray[np.float32]
) -> None:
    """Running sum of the depths [origin, stop)."""
    part, running = line[origin:stop], sums[origin + window_px : stop + 1 + window_px]
    total = np.float32(0.0)
    running[0] = total
    for z in range(stop - origin):
        total += part[z]
        running[z + 1] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def _mean(line: NDArray[np.float32], start: int, stop: int) -> np.float32:
    part = line[start:stop]
    total = np.float32(0.0)
    for z in range(stop - start):
        total += part[z]
    return np.float32(total / np.float32(stop - start))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def _has_edge(
    sums: NDArray[np.float32],
    per_before: NDArray[np.float32],
    start: int,
    stop: int,
    window_px: int,
    level_db: np.float32,
    contrast_db: np.float32,
) -> bool:
    """Whether any depth of [start, stop) could be an edge: without a branch, so that it vectorises."""
    per_window = np.float32(1.0) / np.float32(window_px)
    above, below = sums[start:stop], sums[start + 2 * window_px : stop + 2 * window_px]
    middle, scale = sums[start + window_px : stop + window_px], per_before[start:stop]
    hits = 0
    for z in range(stop - start):
        behind = (below[z] - middle[z]) * per_window
        before = (middle[z] - above[z]) * scale[z]
        hits += int(behind > level_db) & int(behind - before >= contrast_db)
    return hits > 0


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _first_edge(
    line: NDArray[np.float32],
    sums: NDArray[np.float32],
    per_before: NDArray[np.float32],
    start: int,
    stop: int,
    window_px: int,
    level_db: np.float32,
    contrast_db: np.float32,
    sustained_share: np.float32,
) -> int:
    """First depth of [start, stop) behind which it is bright enough, by contrast, and for long; -1 without."""
    per_window = np.float32(1.0) / np.float32(window_px)
    for z in range(start, stop):
        here = sums[z + window_px]
        behind = (sums[z + 2 * window_px] - here) * per_window
        before = (here - sums[z]) * per_before[z]
        if (
            behind > level_db
            and behind - before >= contrast_db
            and _is_sustained(line, z, window_px, before, contrast_db, sustained_share)
        ):
            return z
    return -1


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _sharpest_edge(
    line: NDArray[np.float32],
    sums: NDArray[np.float32],
    per_before: NDArray[np.float32],
    first: int,
    stop: int,
    window_px: int,
    contrast_db: np.float32,
    sustained_share: np.float32,
) -> int:
    """Depth of [first, stop) of the greatest contrast; `first` itself where it is not bright behind that for long."""
    per_window = np.float32(1.0) / np.float32(window_px)
    best_px, best_contrast, best_before = first, np.float32(0.0), np.float32(0.0)
    for z in range(first, stop):
        here = sums[z + window_px]
        before = (here - sums[z]) * per_before[z]
        contrast = (sums[z + 2 * window_px] - here) * per_window - before
        if contrast > best_contrast:
            best_px, best_contrast, best_before = z, contrast, before
    if _is_sustained(line, best_px, window_px, best_before, contrast_db, sustained_share):
        return best_px
    return first


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _is_sustained(
    line: NDArray[np.float32],
    z: int,
    window_px: int,
    before: np.float32,
    contrast_db: np.float32,
    sustained_share: np.float32,
) -> bool:
    """Whether enough of the window behind `z` is clearly brighter than what lies before."""
    clear = before + np.float32(0.5) * contrast_db
    brighter = 0
    for y in range(z, z + window_px):
        brighter += int(line[y] > clear)
    return bool(np.float32(brighter) >= sustained_share * np.float32(window_px))


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def agree_with_neighbours(
    edge_px: NDArray[np.float32], radius: int, max_jump_px: np.float32, surface_px: NDArray[np.float32]
) -> None:
    """Running median of the edges; NaN for those that lie off their neighbours' or have too few of them."""
    alines = edge_px.shape[0]
    near = np.empty(2 * radius + 1, dtype=np.float32)
    for i in range(alines):
        surface_px[i] = np.float32(np.nan)
        start, stop = max(0, i - radius), min(alines, i + radius + 1)
        found = _sorted_finite(edge_px, start, stop, near)
        if np.isnan(edge_px[i]) or 2 * found < stop - start:
            continue
        if abs(edge_px[i] - _middle(near, found)) > max_jump_px:
            continue
        # At the ends of the frame a one-sided median would bend a tilted surface: the window shrinks instead.
        inner = min(radius, i, alines - 1 - i)
        if inner < radius:
            found = _sorted_finite(edge_px, i - inner, i + inner + 1, near)
        surface_px[i] = _middle(near, found)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _sorted_finite(values: NDArray[np.float32], start: int, stop: int, into: NDArray[np.float32]) -> int:
    """Finite values of [start, stop) in order: so few that an insertion beats any call."""
    found = 0
    for i in range(start, stop):
        value = values[i]
        if not np.isnan(value):
            k = found
            while k > 0 and into[k - 1] > value:
                into[k] = into[k - 1]
                k -= 1
            into[k] = value
            found += 1
    return found


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _middle(ordered: NDArray[np.float32], count: int) -> np.float32:
    return np.float32(0.5 * (ordered[(count - 1) // 2] + ordered[count // 2]))
