"""What is really there, reduced to one answer per block and per face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

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

    `width_mm` is its largest extent along the face, at any depth, `top_mm` its nearest point below the surface.
    """

    width_mm: float
    top_mm: float


def block_truth(truth: FrameTruth, grid: ScanGrid) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`Malignant` and index into `KINDS` of each block, uint8 (blocks,) both; see `tissue.truth.block_truth`."""
    kinds, touched = tissue_block_truth(truth, grid.axial_um, 1000 * grid.width_mm / grid.alines)
    malignant = np.array([Malignant.YES if kind in _MALIGNANT else Malignant.NO for kind in kinds], np.uint8)
    malignant[touched] = Malignant.TOUCHED
    return malignant, np.array([KINDS.index(kind) for kind in kinds], np.uint8)


def lesion_of(truths: Sequence[FrameTruth], grid: ScanGrid) -> Lesion | None:
    """Measure the malignant tissue in the frames of a face; None where they cut none."""
    depth_mm = np.stack([truth.malignant_mm for truth in truths])
    there = np.isfinite(depth_mm)
    if not there.any():
        return None
    along_mm = _extent(np.flatnonzero(there.any(axis=0))) * grid.width_mm / grid.alines
    across_mm = _extent(np.flatnonzero(there.any(axis=1))) * grid.height_mm / grid.frames
    return Lesion(max(along_mm, across_mm), float(np.nanmin(depth_mm)))


def _extent(at: NDArray[np.int64]) -> int:
    return int(at[-1] - at[0] + 1)
