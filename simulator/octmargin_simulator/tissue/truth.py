"""What is really there, for whoever judges an assessment: per block and depth band, per A-line, per face."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from octmargin.frames import ALINES_PER_BLOCK
from octmargin_simulator.tissue.materials import KIND, MALIGNANT, Kind, Material
from octmargin_simulator.tissue.specimen import FaceTissue

BAND_UM = 100.0
BANDS = 20
REACH_BANDS = 10
"""Of the first millimetre: what makes a block malignant lies there."""
LEAST_MALIGNANT_MM2 = 0.01
"""Malignant tissue that makes a block malignant; a block with less, but some, is merely touched."""
_NEAR_BANDS = 5
"""Of the first half millimetre: what names a block that is not malignant."""


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


def block_truth(truth: FrameTruth, axial_um: float, aline_um: float) -> tuple[list[Kind], NDArray[np.bool_]]:
    """What each block is, and whether a lesion merely touches it, bool (blocks,).

    A block is invasive or DCIS, whichever is more, where at least `LEAST_MALIGNANT_MM2` of it lies in the first
    millimetre; else an artefact where that makes up half as much as the benign tissue of the first half
    millimetre, what lies on the surface included; else the benign kind of which there is most in it.
    """
    kinds = list(Kind)
    px = {kind: np.zeros(truth.material_px.shape[:2], np.int64) for kind in kinds}
    above_px = np.zeros(len(truth.above_px), np.int64)
    for material, kind in KIND.items():
        px[kind] += truth.material_px[:, :, material]
        if kind is Kind.ARTEFACT:
            above_px += truth.above_px[:, material]
    px_mm2 = axial_um * aline_um * 1e-6
    invasive_mm2, dcis_mm2 = (px[k][:, :REACH_BANDS].sum(axis=1) * px_mm2 for k in (Kind.INVASIVE, Kind.DCIS))
    malignant_mm2 = invasive_mm2 + dcis_mm2
    near = {kind: px[kind][:, :_NEAR_BANDS].sum(axis=1) for kind in kinds}
    benign = [Kind.ADIPOSE, Kind.STROMA, Kind.OTHER_BENIGN]
    benign_px = np.stack([near[kind] for kind in benign])
    named: list[Kind] = []
    for block in range(len(malignant_mm2)):
        if malignant_mm2[block] >= LEAST_MALIGNANT_MM2:
            named.append(Kind.INVASIVE if invasive_mm2[block] >= dcis_mm2[block] else Kind.DCIS)
        elif 2 * (near[Kind.ARTEFACT][block] + above_px[block]) > benign_px[:, block].sum():
            named.append(Kind.ARTEFACT)
        else:
            named.append(benign[int(benign_px[:, block].argmax())])
    return named, (malignant_mm2 > 0) & (malignant_mm2 < LEAST_MALIGNANT_MM2)


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
