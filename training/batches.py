"""Batches for training: frames in random order, mirrored and dimmed, with their features as the model sees them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octmargin.margin import _cell_kernels as kernels
from training.examples import Examples, out_of_db

_DIMMED_SHARE = 0.7
_GAIN_DB = (-6.0, 1.5)
_SLOPE_DB_PER_MM = (-5.0, 2.0)
"""Brightness, and fall with depth, by which a frame is changed: consoles and tissues differ in them."""
_LOOKS = 2.5
"""Independent speckles in a cell: its noise is gamma-distributed with this shape."""
_POOL = 3_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some frames.

    `features` float32 (n, columns, rows, FEATURES), `kind` int64 (n, blocks), `counts` float32 (n, blocks),
    `places` float32 (n, blocks, bands, classes + 1).
    """

    features: NDArray[np.float32]
    kind: NDArray[np.int64]
    counts: NDArray[np.float32]
    places: NDArray[np.float32]


def batches(examples: Examples, size: int, epochs: int, seed: int) -> Iterator[Batch]:
    """Yield the batches of all epochs; the next is made while one is trained on."""
    rng = np.random.default_rng([seed, 30])
    pool = noise_pool(rng)
    per_epoch = len(examples.seed) // size
    chosen = []
    for _ in range(epochs):
        order = rng.permutation(len(examples.seed))
        chosen += [np.sort(order[size * n : size * (n + 1)]) for n in range(per_epoch)]
    streams = rng.spawn(len(chosen))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(_batch, examples, chosen[0], streams[0], pool)
        for n in range(len(chosen)):
            ready = waiting.result()
            if n + 1 < len(chosen):
                waiting = thread.submit(_batch, examples, chosen[n + 1], streams[n + 1], pool)
            yield ready


def _batch(
    examples: Examples, chosen: NDArray[np.int64], rng: np.random.Generator, pool: NDArray[np.float32]
) -> Batch:
    cells = out_of_db(examples.cells_db[chosen])
    kind, counts = examples.kind[chosen].astype(np.int64), examples.counts[chosen].astype(np.float32)
    places = examples.places[chosen].astype(np.float32)
    for n in range(len(chosen)):
        dim(cells[n : n + 1], rng, pool)
        if rng.random() < 0.5:
            cells[n] = cells[n, ::-1].copy()
            kind[n], counts[n], places[n] = (
                kind[n, ::-1].copy(),
                counts[n, ::-1].copy(),
                places[n, ::-1].copy(),
            )
    return Batch(features_of(cells), kind, counts, places)


def features_of(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (n, columns, rows, FEATURES) of the cells (n, alines, rows) of some frames, as the model sees them."""
    features = np.zeros(
        (
            len(cells),
            cells.shape[1] // kernels.ALINES_PER_COLUMN + 2 * kernels.BORDER,
            kernels.ROWS + 2 * kernels.BORDER,
            kernels.FEATURES,
        ),
        np.float32,
    )
    scratch, tile = np.empty_like(cells[0]), np.zeros(16, np.float32)
    for frame, its_features in zip(cells, features, strict=True):
        kernels.cell_features(frame, scratch, tile, its_features)
    inside = slice(kernels.BORDER, -kernels.BORDER)
    return np.ascontiguousarray(features[:, inside, inside])


def noise_pool(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw much noise of cells at once, to take from: drawing it anew each time takes longer than all else."""
    return np.asarray((rng.gamma(_LOOKS, 1 / _LOOKS, _POOL)).astype(np.float32))


def dim(cells: NDArray[np.float32], rng: np.random.Generator, pool: NDArray[np.float32]) -> None:
    """Change the brightness of the frames (n, alines, rows), and its fall with depth, or leave them as they are."""
    if rng.random() < _DIMMED_SHARE:
        gain_db, slope_db = rng.uniform(*_GAIN_DB), rng.uniform(*_SLOPE_DB_PER_MM)
        for frame in cells:
            _dim(frame, gain_db, slope_db, pool, int(rng.integers(0, _POOL - frame.size)))


@njit(cache=True, nogil=True)
def _dim(
    cells: NDArray[np.float32], gain_db: float, slope_db_per_mm: float, pool: NDArray[np.float32], first: int
) -> None:
    """Scale what rises above the noise, by depth; what the noise loses with it comes from the pool."""
    for a in range(cells.shape[0]):
        for r in range(cells.shape[1]):
            depth_mm = max(0, r - kernels.ROWS_ABOVE) * kernels.ROW_UM / 1000
            share = 10.0 ** ((gain_db + slope_db_per_mm * depth_mm) / 10)
            kept = min(share, 1.0)
            value = cells[a, r]
            noise = kept * min(value, 1.0) + (1 - kept) * pool[first + a * cells.shape[1] + r]
            cells[a, r] = max(value - 1.0, 0.0) * share + noise
