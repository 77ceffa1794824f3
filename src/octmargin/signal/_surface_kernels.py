"""The jitted parts of the surface search and of the noise floor."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.signal._decibels import FLOOR_DB
from octmargin.signal._fft_passes import kernel
from octmargin.signal._lanes import LANES, in_all, last_above, last_in_all, load, moved_down, store

# Every fast-math licence but the two that would let LLVM assume that no NaN and no infinity exist.
_KEEPS_NAN = {"contract", "reassoc", "nsz", "arcp"}
_CHUNK_PX = 64
"""Depths that are searched at once: a line is read no further than to its surface."""
_CELL_PX = 16
"""Depths whose mean counts where the brightest of an A-line is looked for."""
_BIN_DB = 0.25
_BINS = 1200
"""Bins from the floor upwards, to 200 dB: more than float32 counts can make. One more takes what does not count."""
_HISTOGRAMS = 4


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def darkest_median_db(bscan_db: NDArray[np.float32], first_px: int, bands: int, values: int) -> float:
    """Least of the medians of `bands` bands of depth from `first_px` on; NaN where none has one.

    Of each band about `values` pixels count, taken from A-lines that are evenly apart.
    """
    alines, depth = bscan_db.shape
    counts = np.empty((_HISTOGRAMS, _BINS + 1), dtype=np.int32)
    bins = np.empty(depth, dtype=np.uint32)
    darkest = np.inf
    for band in range(bands):
        start = first_px + band * (depth - first_px) // bands
        stop = first_px + (band + 1) * (depth - first_px) // bands
        every = max(1, alines * (stop - start) // values)
        # Written so that a band of NaN is none.
        darkest = min(darkest, _median_db(bscan_db, every, start, stop, counts, bins))
    return darkest if np.isfinite(darkest) else np.nan


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _median_db(
    bscan_db: NDArray[np.float32],
    every: int,
    start: int,
    stop: int,
    counts: NDArray[np.int32],
    bins: NDArray[np.uint32],
) -> float:
    """Median of each `every`-th A-line's depths [start, stop), NaN, infinity and the floor left out.

    NaN where nothing is left. `counts` and `bins` are scratch: a histogram is one pass and no copy.
    """
    counts[:] = 0
    for i in range(0, bscan_db.shape[0], every):
        band = bscan_db[i, start:stop]
        for z in range(stop - start):
            above = band[z] - np.float32(FLOOR_DB)
            is_counted = (above > np.float32(0.0)) & (above < np.float32(np.inf))
            in_range = min(above * np.float32(1.0 / _BIN_DB), np.float32(_BINS - 1))
            bins[z] = np.uint32(np.int32(in_range)) if is_counted else np.uint32(_BINS)
        for z in range(stop - start):
            # Neighbours go to histograms of their own: they are alike, and one count would wait for the last.
            counts[z % _HISTOGRAMS, bins[z]] += 1
    for k in range(_BINS):
        counts[0, k] += counts[1, k] + counts[2, k] + counts[3, k]
    total = counts[0, :_BINS].sum()
    below = 0
    for k in range(_BINS):
        if counts[0, k] and 2 * (below + counts[0, k]) >= total:
            within = (0.5 * total - below) / counts[0, k]
            return float(FLOOR_DB + (k + within) * _BIN_DB)
        below += counts[0, k]
    return np.nan


@kernel
def find_edges(
    bscan_db: NDArray[np.float32],
    first_px: int,
    window_px: int,
    radius: int,
    noise_level_db: np.float32,
    above_level_db: np.float32,
    below_brightest_db: np.float32,
    contrast_db: np.float32,
    sustained_share: np.float32,
    edge_px: NDArray[np.float32],
) -> None:
    """First sufficient edge of each A-line, on the mean of its neighbours within `radius`; NaN without one."""
    alines, depth = bscan_db.shape
    # Whole vectors may be read and written beyond what is asked for.
    line = np.zeros(depth + _CHUNK_PX, dtype=np.float32)
    # sums[z + window] is the sum of the line's depths [origin, z), where origin is the first depth or a window
    # before the chunk; the zeros before stand for what lies above the first depth.
    sums = np.zeros(depth + 1 + window_px + _CHUNK_PX, dtype=np.float32)
    per_before = np.empty(depth + 1, dtype=np.float32)
    for z in range(depth + 1):
        per_before[z] = np.float32(1.0) / np.float32(max(1, min(window_px, z - first_px)))
    least_before = max(2, window_px // 3)
    last = depth - window_px
    # An A-line that is NaN is so all over; what lies above the first depth may have been masked.
    probe_px = min(first_px, depth - 1)
    cells_db = _cell_means(bscan_db, first_px)
    for i in range(alines):
        edge_px[i] = np.float32(np.nan)
        if np.isnan(bscan_db[i, probe_px]):
            continue
        level_db = max(noise_level_db, _brightest_db(cells_db, i, radius) - below_brightest_db)
        best_px = -1
        ready = first_px
        for start in range(first_px + least_before, last + 1, _CHUNK_PX):
            stop = min(start + _CHUNK_PX, last + 1)
            reach = min(stop + 2 * window_px, depth)
            ready = _extend(bscan_db, i, radius, probe_px, ready, reach, line)
            # Where no pixel is bright enough no mean of pixels is.
            if not _reaches(line, start, reach, level_db):
                continue
            _sum_up(line, max(first_px, start - window_px), reach, window_px, sums)
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
        if above <= max(above_level_db, own - below_brightest_db) and own > level_db:
            edge_px[i] = np.float32(best_px)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def _cell_means(bscan_db: NDArray[np.float32], first_px: int) -> NDArray[np.float32]:
    """Mean of each whole run of `_CELL_PX` depths below `first_px`, (alines, cells)."""
    alines, depth = bscan_db.shape
    cells_db = np.empty((alines, max(0, depth - first_px) // _CELL_PX), dtype=np.float32)
    for i in range(alines):
        line = bscan_db[i, first_px:]
        for c in range(cells_db.shape[1]):
            cell = line[c * _CELL_PX : (c + 1) * _CELL_PX]
            total = np.float32(0.0)
            for z in range(_CELL_PX):
                total += cell[z]
            cells_db[i, c] = total * np.float32(1.0 / _CELL_PX)
    return cells_db


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def _brightest_db(cells_db: NDArray[np.float32], i: int, radius: int) -> np.float32:
    """Brightest mean over A-line `i` and its neighbours; what is NaN is none of them."""
    alines, cells = cells_db.shape
    from_, to = max(0, i - radius), min(alines, i + radius + 1)
    brightest = np.float32(-np.inf)
    for c in range(cells):
        total, lines = np.float32(0.0), np.float32(0.0)
        for j in range(from_, to):
            value = cells_db[j, c]
            known = value == value  # noqa: PLR0124 - NaN alone is not itself, and this vectorises
            total += value if known else np.float32(0.0)
            lines += np.float32(1.0) if known else np.float32(0.0)
        mean = total / max(lines, np.float32(1.0))
        brightest = max(brightest, mean if lines > np.float32(0.0) else brightest)
    return brightest


@kernel
def _extend(
    bscan_db: NDArray[np.float32],
    i: int,
    radius: int,
    probe_px: int,
    start: int,
    stop: int,
    line: NDArray[np.float32],
) -> int:
    """Mean over the neighbours of A-line `i` that are a number at `probe_px`, depths [start, stop) at least.

    Returns where it ends.
    """
    alines, depth = bscan_db.shape
    from_, to = max(0, i - radius), min(alines, i + radius + 1)
    lines = np.float32(0.0)
    for j in range(from_, to):
        lines += np.float32(0.0) if np.isnan(bscan_db[j, probe_px]) else np.float32(1.0)
    scale = np.float32(1.0) / lines
    z = start
    while z < stop and z + LANES <= depth:
        total = in_all(np.float32(0.0))
        for j in range(from_, to):
            if not np.isnan(bscan_db[j, probe_px]):
                total = total + load(bscan_db, j * depth + z)
        store(line, z, total * scale)
        z += LANES
    while z < stop:
        total_db = np.float32(0.0)
        for j in range(from_, to):
            if not np.isnan(bscan_db[j, probe_px]):
                total_db += bscan_db[j, z]
        line[z] = total_db * scale
        z += 1
    return z


@kernel
def _reaches(line: NDArray[np.float32], start: int, stop: int, level_db: np.float32) -> bool:
    """Whether any depth of [start, stop), or of the few that fill up its last vector, is above the level."""
    level, z = in_all(level_db), start
    while z < stop and last_above(load(line, z), level) < 0:
        z += LANES
    return z < stop


@kernel
def _sum_up(
    line: NDArray[np.float32], origin: int, stop: int, window_px: int, sums: NDArray[np.float32]
) -> None:
    """Running sum of the depths [origin, stop)."""
    nothing = in_all(np.float32(0.0))
    before = nothing
    sums[origin + window_px] = np.float32(0.0)
    for z in range(origin, stop, LANES):
        part = load(line, z)
        part = part + moved_down(nothing, part, 15)
        part = part + moved_down(nothing, part, 14)
        part = part + moved_down(nothing, part, 12)
        part = part + moved_down(nothing, part, 8) + before
        store(sums, z + window_px + 1, part)
        before = last_in_all(part)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_KEEPS_NAN, boundscheck=False)
def _mean(line: NDArray[np.float32], start: int, stop: int) -> np.float32:
    part = line[start:stop]
    total = np.float32(0.0)
    for z in range(stop - start):
        total += part[z]
    return np.float32(total / np.float32(stop - start))


@kernel
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
    level = in_all(level_db)
    for sixteen in range(start, stop, LANES):
        # Most have nothing bright behind them: said of sixteen at once.
        brightness = (load(sums, sixteen + 2 * window_px) - load(sums, sixteen + window_px)) * per_window
        if last_above(brightness, level) < 0:
            continue
        for z in range(sixteen, min(sixteen + LANES, stop)):
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
    # The finite edges of the window in order: from one A-line to the next one leaves and one comes.
    near = np.empty(2 * radius + 2, dtype=np.float32)
    inner_near = np.empty(2 * radius + 2, dtype=np.float32)
    found = 0
    for i in range(min(radius, alines)):
        found = _insert(edge_px[i], near, found)
    for i in range(alines):
        surface_px[i] = np.float32(np.nan)
        start, stop = max(0, i - radius), min(alines, i + radius + 1)
        if i + radius < alines:
            found = _insert(edge_px[i + radius], near, found)
        if start > 0:
            found = _remove(edge_px[start - 1], near, found)
        if np.isnan(edge_px[i]) or 2 * found < stop - start:
            continue
        middle = _middle(near, found)
        if abs(edge_px[i] - middle) > max_jump_px:
            continue
        # At the ends of the frame a one-sided median would bend a tilted surface: the window shrinks instead.
        inner = min(radius, i, alines - 1 - i)
        if inner < radius:
            inner_found = 0
            for j in range(i - inner, i + inner + 1):
                inner_found = _insert(edge_px[j], inner_near, inner_found)
            middle = _middle(inner_near, inner_found)
        surface_px[i] = middle


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _insert(value: np.float32, ordered: NDArray[np.float32], count: int) -> int:
    """Take `value` into the first `count` of `ordered`, unless it is NaN; returns the new count."""
    if np.isnan(value):
        return count
    k = count
    while k > 0 and ordered[k - 1] > value:
        ordered[k] = ordered[k - 1]
        k -= 1
    ordered[k] = value
    return count + 1


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _remove(value: np.float32, ordered: NDArray[np.float32], count: int) -> int:
    """Take `value` out of the first `count` of `ordered`, unless it is NaN; returns the new count."""
    if np.isnan(value):
        return count
    k = 0
    while ordered[k] != value:
        k += 1
    for j in range(k, count - 1):
        ordered[j] = ordered[j + 1]
    return count - 1


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _middle(ordered: NDArray[np.float32], count: int) -> np.float32:
    return np.float32(0.5 * (ordered[(count - 1) // 2] + ordered[count // 2]))
