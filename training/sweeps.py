"""Whole sweeps of simulated faces as cells: what evidence over neighbouring blocks and frames is learned from."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.examples import EDGE_MM, FRAMES, draw_scan, in_db, judgeable

_HEIGHTS_MM = (6.5, 9.5)
"""Of a sweep: frames 0.16 to 0.24 mm apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One face.

    `cells_db` float16 (frames, alines, rows); `kind` int8, `usable` and `touched` bool (frames, blocks).
    """

    cells_db: NDArray[np.float16]
    kind: NDArray[np.int8]
    usable: NDArray[np.bool_]
    touched: NDArray[np.bool_]


def render_sweeps(folder: Path, seeds: Iterable[int], processes: int, *, natural: bool = False) -> list[Path]:
    """Render a face of each specimen into `folder`, a file each; those that are there stay as they are.

    `natural` leaves what the face carries to its seed, and its size to what a study scans; else lesions are preferred
    and sizes differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return list(pool.map(partial(_render, folder, natural), seeds))


def read_sweep(path: Path) -> Sweep:
    """Read one of the files."""
    with np.load(path) as content:
        return Sweep(**{field.name: content[field.name] for field in fields(Sweep)})


def _render(folder: Path, natural: bool, seed: int) -> Path:
    path = folder / f"{'natural' if natural else 'sweep'}-{seed}.npz"
    if path.exists():
        return path
    rng = np.random.default_rng([seed, 21])
    height_mm = EDGE_MM if natural else rng.uniform(*_HEIGHTS_MM)
    scan = draw_scan(seed, rng, height_mm=height_mm, natural=natural)
    frames = [scan.frame(k) for k in range(FRAMES)]
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            cells_db=np.stack([in_db(seen.cells) for seen, _, _ in frames]),
            kind=np.stack([kind for _, kind, _ in frames]),
            usable=np.stack([judgeable(seen.usable) for seen, _, _ in frames]),
            touched=np.stack([touched for _, _, touched in frames]),
        )
    part.rename(path)
    return path
