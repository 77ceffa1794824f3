"""What is really there, reduced to one answer per block and per face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.tissue.materials import KIND, MALIGNANT, Kind, Material
from octmargin_simulator.tissue.scan import REACH_MM
from octmargin_simulator.tissue.truth import BAND_UM, FrameTruth

KINDS = tuple(Kind)
LEAST_MALIGNANT_MM2 = 0.01
"""Of malignant tissue in the first millimetre: from here on a block is malignant, with less it is only touched."""
_BENIGN_REACH_MM = 0.5
_OF_KIND = np.array([[KIND.get(material) is kind for material in Material] for kind in KINDS])
_INVASIVE, _DCIS = KINDS.index(Kind.INVASIVE), KINDS.index(Kind.DCIS)


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
    """`Malignant` and index into `KINDS` of each block, uint8 (blocks,) both.

    A block is malignant with at least `LEAST_MALIGNANT_MM2` of malignant tissue within `REACH_MM` below its surface.
    Its kind is then the more frequent of invasive and DCIS; else the most frequent of the other kinds in the first
    half millimetre, with what lies on the surface.
    """
    pixel_mm2 = grid.axial_um / 1000 * grid.width_mm / grid.alines
    within = truth.material_px[:, : _bands(REACH_MM)].sum(axis=1, dtype=np.int64)
    area_mm2 = within[:, MALIGNANT].sum(axis=1) * pixel_mm2
    malignant = np.where(area_mm2 > 0, Malignant.TOUCHED, Malignant.NO)
    malignant[area_mm2 >= LEAST_MALIGNANT_MM2] = Malignant.YES

    near = truth.material_px[:, : _bands(_BENIGN_REACH_MM)].sum(axis=1, dtype=np.int64) + truth.above_px
    benign_px = near @ _OF_KIND.T
    benign_px[:, [_INVASIVE, _DCIS]] = -1
    invasive_px, dcis_px = within @ _OF_KIND[_INVASIVE], within @ _OF_KIND[_DCIS]
    tumour = np.where(invasive_px >= dcis_px, _INVASIVE, _DCIS)
    kind = np.where(malignant == Malignant.YES, tumour, benign_px.argmax(axis=1))
    return malignant.astype(np.uint8), kind.astype(np.uint8)


def lesion_of(truths: Sequence[FrameTruth], grid: ScanGrid) -> Lesion | None:
    """Measure the malignant tissue in the frames of a face; None where they cut none."""
    depth_mm = np.stack([truth.malignant_mm for truth in truths])
    there = np.isfinite(depth_mm)
    if not there.any():
        return None
    along_mm = _extent(np.flatnonzero(there.any(axis=0))) * grid.width_mm / grid.alines
    across_mm = _extent(np.flatnonzero(there.any(axis=1))) * grid.height_mm / grid.frames
    return Lesion(max(along_mm, across_mm), float(np.nanmin(depth_mm)))


def _bands(depth_mm: float) -> int:
    return round(depth_mm * 1000 / BAND_UM)


def _extent(at: NDArray[np.int64]) -> int:
    return int(at[-1] - at[0] + 1)
