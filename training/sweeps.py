"""Sweeps of simulated faces as cells, whole or in part: what evidence over neighbouring frames is learned from."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octmargin_simulator.tissue import MALIGNANT
from training.examples import (
    EDGE_MM,
    FRAMES,
    LEAST_LESION_PX,
    LOOK_ALIKES,
    TrainingScan,
    draw_preference,
    draw_scan,
    in_db,
    judgeable,
    near_surface,
    places,
)

WINDOW_FRAMES = 20
"""Of a part of a sweep: a few more than evidence is gathered over, so that more faces are seen for the same work."""
_HEIGHTS_MM = (6.5, 9.5)
"""Of a sweep: frames 0.16 to 0.24 mm apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One face, or some frames after each other of it.

    `cells_db` float16 (frames, alines, rows); `places` float16 (frames, blocks, bands, classes + 1) and `kind` int8
    (frames, blocks) as in `Examples`; `usable` and `touched` bool (frames, blocks).
    """

    cells_db: NDArray[np.float16]
    places: NDArray[np.float16]
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


def render_windows(folder: Path, seeds: Iterable[int], processes: int) -> list[Path]:
    """Render `WINDOW_FRAMES` of a face of each specimen, as `render_sweeps` does.

    They lie where the face carries a lesion, or else what is easily taken for one (see `Preference`), if it does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return list(pool.map(partial(_render_window, folder), seeds))


def read_sweep(path: Path) -> Sweep:
    """Read one of the files."""
    with np.load(path) as content:
        return Sweep(**{field.name: content[field.name] for field in fields(Sweep)})


def _render(folder: Path, natural: bool, seed: int) -> Path:
    path = folder / f"{'natural' if natural else 'sweep'}-{seed}.npz"
    if not path.exists():
        rng = np.random.default_rng([seed, 21])
        height_mm = EDGE_MM if natural else rng.uniform(*_HEIGHTS_MM)
        _write(path, draw_scan(seed, rng, height_mm=height_mm, natural=natural), range(FRAMES))
    return path


def _render_window(folder: Path, seed: int) -> Path:
    path = folder / f"window-{seed}.npz"
    if path.exists():
        return path
    rng = np.random.default_rng([seed, 22])
    prefer = draw_preference(rng)
    scan = draw_scan(seed, rng, height_mm=rng.uniform(*_HEIGHTS_MM), prefer=prefer)
    shown = [near_surface(scan, k) for k in range(FRAMES)]
    at = int(rng.integers(FRAMES))
    for wanted in (MALIGNANT, *LOOK_ALIKES[prefer]):
        showing = [k for k, counts in enumerate(shown) if counts[wanted].sum() > LEAST_LESION_PX]
        if showing:
            at = int(rng.choice(showing))
            break
    first = int(np.clip(at - rng.integers(WINDOW_FRAMES), 0, FRAMES - WINDOW_FRAMES))
    _write(path, scan, range(first, first + WINDOW_FRAMES))
    return path


def _write(path: Path, scan: TrainingScan, wanted: range) -> None:
    frames = [scan.frame(k) for k in wanted]
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            cells_db=np.stack([in_db(seen.cells) for seen, _, _ in frames]),
            places=np.stack(
                [
                    places(scan.labels(k), seen.top_px, seen.edges_px)
                    for k, (seen, _, _) in zip(wanted, frames, strict=True)
                ]
            ),
            kind=np.stack([kind for _, kind, _ in frames]),
            usable=np.stack([judgeable(seen.usable) for seen, _, _ in frames]),
            touched=np.stack([touched for _, _, touched in frames]),
        )
    part.rename(path)
