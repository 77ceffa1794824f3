"""What is really there, for whoever judges an assessment: per block and depth band, per A-line, per face."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from octmargin.frames import ALINES_PER_BLOCK
from octmargin_simulator.tissue.materials import MALIGNANT, Material
from octmargin_simulator.tissue.specimen import FaceTissue

BAND_UM = 100.0
BANDS = 20


@dataclass(frozen=True)
class FrameTruth:
    """Truth of one frame, measured from the surface of the tissue.

    `material_px` uint16 (blocks, bands, materials): voxels of each `Material` in each band of `BAND_UM`, of the
    tissue and what lies in it; `above_px` uint16 (blocks, materials): of what lies on it; `malignant_mm` float32
    (alines,): depth of the nearest malignant voxel, NaN where there is none.
    """

    material_px: NDArray[np.uint16]
    above_px: NDArray[np.uint16]
    malignant_mm: NDArray[np.float32]


def frame_truth(face: FaceTissue, frame: int, labels: NDArray[np.uint8]) -> FrameTruth:
    """Count the voxels of `labels` (alines, depth), as `label` gives them for this frame."""
    blocks = -(-len(labels) // ALINES_PER_BLOCK)
    material_px = np.zeros((blocks, BANDS, len(Material)), np.uint16)
    above_px = np.zeros((blocks, len(Material)), np.uint16)
    malignant_mm = np.full(len(labels), np.nan, np.float32)
    _count(
        labels,
        face.surface_mm[frame],
        face.grid.axial_um / 1000,
        MALIGNANT,
        (material_px, above_px, malignant_mm),
    )
    return FrameTruth(material_px, above_px, malignant_mm)


@numba.njit(cache=True, nogil=True)
def _count(
    labels: NDArray[np.uint8],
    surface_mm: NDArray[np.float32],
    pixel_mm: float,
    malignant: NDArray[np.bool_],
    counted: tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.float32]],
) -> None:
    material_px, above_px, malignant_mm = counted
    bands_per_mm = 1000.0 / BAND_UM
    for a in range(labels.shape[0]):
        block = a // ALINES_PER_BLOCK
        for d in range(labels.shape[1]):
            what = labels[a, d]
            z = d * pixel_mm - surface_mm[a]
            if z < 0:
                if what:
                    above_px[block, what] += np.uint16(1)
                continue
            band = int(z * bands_per_mm)
            if band < material_px.shape[1]:
                material_px[block, band, what] += np.uint16(1)
            if malignant[what] and np.isnan(malignant_mm[a]):
                malignant_mm[a] = np.float32(z)
