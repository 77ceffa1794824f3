"""What is really there, reduced to one answer per block and per face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from octmargin.frames import ALINES_PER_BLOCK
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.tissue.materials import Kind
from octmargin_simulator.tissue.truth import FrameTruth
from octmargin_simulator.tissue.truth import block_truth as tissue_block_truth

KINDS = tuple(Kind)
_MALIGNANT = {Kind.INVASIVE, Kind.DCIS}


class Malignant(IntEnum):
    """What is known of a block; touched blocks count neither way."""

    NO = 0
    YES = 1
    TOUCHED = 2


@dataclass(frozen=True)
class Lesion:
    """Malignant tissue as the frames of one face cut it; mm.

    `width_mm` is its largest extent along the face, at any depth, `top_mm` its nearest point below the surface;
    `seen_width_mm` is the extent of that whose nearest point lies above the visualised depth of a judged block: what
    the verdict speaks of at all.
    """

    width_mm: float
    top_mm: float
    seen_width_mm: float


def block_truth(truth: FrameTruth, grid: ScanGrid) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`Malignant` and index into `KINDS` of each block, uint8 (blocks,) both; see `tissue.truth.block_truth`."""
    kinds, touched = tissue_block_truth(truth, grid.axial_um, 1000 * grid.width_mm / grid.alines)
    malignant = np.array([Malignant.YES if kind in _MALIGNANT else Malignant.NO for kind in kinds], np.uint8)
    malignant[touched] = Malignant.TOUCHED
    return malignant, np.array([KINDS.index(kind) for kind in kinds], np.uint8)


def lesion_of(
    truths: Sequence[FrameTruth], grid: ScanGrid, visualised_mm: NDArray[np.float32]
) -> Lesion | None:
    """Measure the malignant tissue in the frames of a face; None where they cut none.

    `visualised_mm` (frames, blocks), NaN where a block was not judged.
    """
    depth_mm = np.stack([truth.malignant_mm for truth in truths])
    there = np.isfinite(depth_mm)
    if not there.any():
        return None
    of_alines = np.repeat(visualised_mm, ALINES_PER_BLOCK, axis=1)[:, : depth_mm.shape[1]]
    with np.errstate(invalid="ignore"):
        seen = depth_mm < of_alines
    return Lesion(_width_mm(there, grid), float(np.nanmin(depth_mm)), _width_mm(seen, grid))


def _width_mm(there: NDArray[np.bool_], grid: ScanGrid) -> float:
    """Largest extent along the face of what is True in (frames, alines)."""
    along_mm = _extent(np.flatnonzero(there.any(axis=0))) * grid.width_mm / grid.alines
    across_mm = _extent(np.flatnonzero(there.any(axis=1))) * grid.height_mm / grid.frames
    return max(along_mm, across_mm)


def _extent(at: NDArray[np.int64]) -> int:
    return int(at[-1] - at[0] + 1) if at.size else 0
