"""What counts as malignant, and what a block is."""

from __future__ import annotations

import numpy as np
import pytest

from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.study.truth import KINDS, Malignant, block_truth, lesion_of
from octmargin_simulator.tissue import Kind, Material
from octmargin_simulator.tissue.truth import BANDS, FrameTruth

GRID = ScanGrid(alines=64, frames=4, depth_px=600, width_mm=1.0, height_mm=2.0, axial_um=4.0)
PIXEL_MM2 = 0.004 / 64


def truth_of(*there: tuple[Material, int, int], above: tuple[tuple[Material, int], ...] = ()) -> FrameTruth:
    """One block with so many voxels of a material in a band of depth."""
    material_px, above_px = (
        np.zeros((1, BANDS, len(Material)), np.uint16),
        np.zeros((1, len(Material)), np.uint16),
    )
    for material, band, voxels in there:
        material_px[0, band, material] = voxels
    for material, voxels in above:
        above_px[0, material] = voxels
    return FrameTruth(material_px, above_px, np.full(16, np.nan, np.float32))


def judged(
    *there: tuple[Material, int, int], above: tuple[tuple[Material, int], ...] = ()
) -> tuple[Malignant, Kind]:
    malignant, kind = block_truth(truth_of(*there, above=above), GRID)
    return Malignant(malignant[0]), KINDS[kind[0]]


ENOUGH = int(np.ceil(0.01 / PIXEL_MM2))


@pytest.mark.parametrize(
    ("voxels", "expected"),
    [(0, Malignant.NO), (1, Malignant.TOUCHED), (ENOUGH - 1, Malignant.TOUCHED), (ENOUGH, Malignant.YES)],
)
def test_a_block_is_malignant_from_a_hundredth_of_a_square_millimetre_on(
    voxels: int, expected: Malignant
) -> None:
    assert judged((Material.STROMA, 0, 900), (Material.INVASIVE, 3, voxels))[0] is expected


def test_the_area_is_that_of_all_malignant_tissue_of_the_first_millimetre() -> None:
    half = ENOUGH // 2 + 1
    assert judged((Material.DCIS, 0, half), (Material.NECROSIS, 9, half))[0] is Malignant.YES
    assert judged((Material.DCIS, 0, half), (Material.DCIS, 10, 9 * half))[0] is Malignant.TOUCHED


def test_a_malignant_block_is_of_the_more_frequent_lesion() -> None:
    assert (
        judged((Material.STROMA, 0, 9000), (Material.DCIS, 2, 200), (Material.METASTASIS, 5, 300))[1]
        is Kind.INVASIVE
    )
    assert (
        judged((Material.DCIS, 2, 200), (Material.CALCIFICATION, 2, 200), (Material.INVASIVE, 5, 300))[1]
        is Kind.DCIS
    )


def test_another_block_is_what_its_first_half_millimetre_is_mostly() -> None:
    assert (
        judged((Material.ADIPOSE, 0, 300), (Material.STROMA, 4, 301), (Material.CYST, 5, 5000))[1]
        is Kind.STROMA
    )
    assert (
        judged((Material.ADIPOSE, 0, 300), (Material.CYST, 1, 400), (Material.STROMA, 1, 200))[1]
        is Kind.OTHER_BENIGN
    )
    assert judged((Material.STROMA, 0, 300), (Material.INVASIVE, 0, 100))[1] is Kind.STROMA


def test_what_lies_on_it_or_in_it_makes_it_an_artefact_from_half_its_tissue_on() -> None:
    tissue = ((Material.STROMA, 0, 300), (Material.CAUTERY, 0, 100))
    assert judged(*tissue)[1] is Kind.STROMA
    assert judged(*tissue, above=((Material.BLOOD, 150),))[1] is Kind.ARTEFACT


def test_a_lesion_is_as_wide_as_the_frames_cut_it() -> None:
    truths = [truth_of() for _ in range(4)]
    for truth, (first, last) in zip(truths[1:3], ((3, 6), (5, 12)), strict=True):
        truth.malignant_mm[first:last] = 0.4
    truths[2].malignant_mm[8] = 0.25
    seen_mm = np.full((4, len(truths[0].material_px)), 1.0, np.float32)
    lesion = lesion_of(truths, GRID, seen_mm)
    assert lesion is not None
    assert lesion.width_mm == pytest.approx(2 * 2.0 / 4), "two frames are more than nine A-lines"
    assert lesion.top_mm == pytest.approx(0.25)
    assert lesion.seen_width_mm == lesion.width_mm


def test_what_of_a_lesion_was_seen_lies_above_the_visualised_depth_of_a_judged_block() -> None:
    truths = [truth_of() for _ in range(4)]
    for truth in truths[1:3]:
        truth.malignant_mm[3:12] = 0.4
    seen_mm = np.full((4, len(truths[0].material_px)), 1.0, np.float32)
    seen_mm[1], seen_mm[2] = 0.39, np.nan
    dark = lesion_of(truths, GRID, seen_mm)
    assert dark is not None
    assert (dark.width_mm, dark.seen_width_mm) == (pytest.approx(1.0), 0.0)
    seen_mm[2] = 0.41
    half = lesion_of(truths, GRID, seen_mm)
    assert half is not None
    assert half.seen_width_mm == pytest.approx(0.5), "of one frame"


def test_no_lesion_is_none() -> None:
    assert lesion_of([truth_of()], GRID, np.ones((1, 1), np.float32)) is None
