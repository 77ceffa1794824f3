"""Pictures show what was found, and say what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from octmargin.frames import BlockState
from octmargin.pictures import Caption, bscan_image, enface_image, face_sheet, map_image, save_png


def test_a_bscan_picture_has_its_surface_and_its_suspicious_blocks() -> None:
    bscan_db = np.zeros((64, 100), np.float32)
    bscan_db[:, 40:] = 30.0
    surface = np.full(64, 40.0, np.float32)
    plain = np.asarray(
        bscan_image(
            bscan_db,
            axial_um=5.0,
            width_mm=2.0,
            surface_px=surface,
            suspicious=np.zeros(4, bool),
            size=(640, 500),
        )
    )
    marked = np.asarray(
        bscan_image(
            bscan_db,
            axial_um=5.0,
            width_mm=2.0,
            surface_px=surface,
            suspicious=np.array([False, True, False, False]),
            size=(640, 500),
        )
    )
    assert plain.shape == (500, 640, 3)
    assert plain[400, 320].mean() > plain[100, 320].mean() + 50, (
        "tissue is brighter than air, depth goes down"
    )
    assert (plain[197, 320] != plain[100, 320]).any(), "the surface line lies just above the surface"
    changed = np.flatnonzero((plain != marked).any(axis=(0, 2)))
    assert changed.min() >= 160
    assert changed.max() < 320, "the bar stands over the second of four blocks"


def test_a_hole_in_the_surface_is_not_bridged() -> None:
    bscan_db = np.zeros((64, 100), np.float32)
    surface = np.full(64, 50.0, np.float32)
    surface[20:40] = np.nan
    image = np.asarray(
        bscan_image(
            bscan_db,
            axial_um=5.0,
            width_mm=2.0,
            surface_px=surface,
            suspicious=np.zeros(4, bool),
            size=(640, 500),
        )
    )
    line = image[247].astype(int)
    blue = line[:, 2] > line[:, 0] + 50
    assert blue[100]
    assert blue[500]
    assert not blue[215:395].any()


def test_every_state_of_a_map_looks_different_even_without_colour() -> None:
    state = np.array([[s.value for s in BlockState]], np.uint8)
    grey = np.asarray(map_image(state, size=(200, 40)).convert("L"))
    cells = [grey[:, 40 * i : 40 * i + 39] for i in range(5)]
    for i, first in enumerate(cells):
        for second in cells[i + 1 :]:
            assert (first != second).any()


def test_a_place_without_surface_is_not_shown_as_dark_tissue() -> None:
    enface = np.full((4, 8), 10.0, np.float32)
    enface[0, 0] = -30.0
    enface[2, 2] = np.nan
    image = np.asarray(enface_image(enface, width_mm=1.0, size=(8, 4)))
    assert image[2, 2, 2] > image[2, 2, 0] + 20
    assert image[0, 0, 2] == image[0, 0, 0]


def test_a_sheet_says_synthetic_and_is_written(tmp_path: Path) -> None:
    sheets = [
        face_sheet(
            Caption("medial: suspicious", synthetic),
            enface_db=np.random.default_rng(1).normal(0, 5, (8, 64)).astype(np.float32),
            state=np.full((8, 4), BlockState.SUSPICIOUS, np.uint8),
            width_mm=4.0,
            height_mm=3.0,
            bscan=None,
        )
        for synthetic in (True, False)
    ]
    assert (np.asarray(sheets[0]) != np.asarray(sheets[1])).any()
    assert "SYNTHETIC" in Caption("", synthetic=True).footer
    assert "research use only" in Caption("", synthetic=False).footer
    save_png(sheets[0], tmp_path / "deep" / "sheet.png")
    with Image.open(tmp_path / "deep" / "sheet.png") as read:
        assert read.format == "PNG"


def test_one_suspicious_block_of_a_long_sweep_is_not_lost_in_a_small_map() -> None:
    state = np.full((3000, 700), BlockState.NOTHING_SUSPICIOUS, np.uint8)
    state[1501, 351] = BlockState.SUSPICIOUS
    state[20] = BlockState.LOST
    picture = np.asarray(map_image(state, size=(460, 345))).astype(int)
    orange = (abs(picture - np.array([230, 96, 0])) < 10).all(axis=2)
    grey = (abs(picture - np.array([120, 124, 130])) < 10).all(axis=2)
    rows, columns = np.nonzero(orange)
    assert len(rows) >= 4
    assert abs(rows.mean() / 345 - 1501 / 3000) < 0.02
    assert abs(columns.mean() / 460 - 351 / 700) < 0.02
    assert grey[:6].any(axis=0).mean() > 0.9
