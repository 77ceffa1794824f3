"""A contact sheet: one B-scan of every tissue, lesion and artefact, beside what is really there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from octmargin.picture_style import BACKGROUND, TEXT, font
from octmargin.pictures import save_png
from octmargin.signal import Calibration, Reconstructor
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.tissue.covers import ARTEFACTS
from octmargin_simulator.tissue.materials import KIND, Kind, Material
from octmargin_simulator.tissue.paint import label, top_reflection
from octmargin_simulator.tissue.scan import FaceScanner
from octmargin_simulator.tissue.specimen import Scenario, Sort, TissueSpecimen

_ALINES, _FRAMES = 384, 25
_WIDTH_MM, _HEIGHT_MM = 6.0, 5.0
_SIZE = (384, 320)
_DEPTH_MM = 1.9
_RANGE_DB = 45.0
_GAP, _LINE, _COLUMNS = 10, 18, 4

_COLOURS = {
    Kind.ADIPOSE: (240, 228, 66),
    Kind.STROMA: (86, 180, 233),
    Kind.INVASIVE: (213, 94, 0),
    Kind.DCIS: (204, 121, 167),
    Kind.OTHER_BENIGN: (0, 158, 115),
    Kind.ARTEFACT: (150, 150, 150),
}
_DARKER = {Material.LUMEN, Material.NECROSIS, Material.VESSEL, Material.GAP, Material.FLUID, Material.CAPSULE}


@dataclass(frozen=True)
class Scene:
    """One picture of the sheet: shows the frame, of a few specimens, that has most of `shows`."""

    title: str
    shows: tuple[Material, ...]
    scenario: Scenario
    sort: Sort = Sort.LUMPECTOMY


def _scenes() -> tuple[Scene, ...]:
    plain = Scenario("none", "none", ())
    m = Material
    return (
        Scene("adipose: honeycomb", (m.ADIPOSE,), plain),
        Scene("stroma: bands", (m.STROMA,), plain),
        Scene("ducts and vessels", (m.LUMEN, m.DUCT_WALL, m.VESSEL), plain),
        Scene("invasive carcinoma", (m.INVASIVE,), Scenario("invasive", "none", ())),
        Scene("DCIS", (m.DCIS,), Scenario("dcis", "none", ())),
        Scene("DCIS, comedo necrosis", (m.NECROSIS,), Scenario("dcis", "none", ())),
        Scene("DCIS, calcification", (m.CALCIFICATION,), Scenario("dcis", "none", ())),
        Scene("cyst", (m.CYST,), Scenario("none", "cyst", ())),
        Scene("fibroadenoma-like mass", (m.FIBROADENOMA,), Scenario("none", "fibroadenoma", ())),
        Scene("biopsy cavity", (m.CAVITY, m.GRANULATION), Scenario("none", "cavity", ())),
        Scene("node: capsule and cortex", (m.CORTEX,), plain, Sort.NODE),
        Scene("node: metastasis", (m.METASTASIS,), Scenario("metastasis", "none", ()), Sort.NODE),
        *(
            Scene(
                f"artefact: {name.replace('_', ' ')}",
                _ARTEFACT_SHOWS[name],
                Scenario("none", "none", (name,)),
            )
            for name in ARTEFACTS
        ),
    )


_ARTEFACT_SHOWS: dict[str, tuple[Material, ...]] = {
    "cautery": (Material.CAUTERY,),
    "ink": (Material.INK,),
    "blood": (Material.BLOOD,),
    "fluid": (Material.FLUID,),
    "bubbles": (),
    "air_gap": (Material.GAP,),
    "debris": (Material.DEBRIS,),
    "glare": (),
}


def draw_gallery(path: Path, seed: int = 7, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the contact sheet as PNG. Raises OSError where it cannot be written."""
    scenes = _scenes()
    cell = (_SIZE[0] + _GAP, 2 * _SIZE[1] + _LINE + _GAP)
    rows = -(-len(scenes) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * cell[0] + _GAP, rows * cell[1] + 3 * _LINE + _GAP), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    head = f"simulated tissue, seed {seed}: B-scan above, truth below, {_WIDTH_MM:g} x {_DEPTH_MM:g} mm each"
    pen.text((_GAP, _GAP // 2), f"{head}. SYNTHETIC; research use only", fill=TEXT, font=font(14))
    _legend(pen, (_GAP, _GAP // 2 + _LINE))
    for number, scene in enumerate(scenes):
        x = _GAP + number % _COLUMNS * cell[0]
        y = 3 * _LINE + number // _COLUMNS * cell[1]
        bscan_db, labels, axial_um = _show(scene, seed + 100 * number)
        pen.text((x, y), scene.title, fill=TEXT, font=font(13))
        pixels = round(_DEPTH_MM * 1000 / axial_um)
        sheet.paste(_picture(_grey(bscan_db[:, :pixels])), (x, y + _LINE))
        sheet.paste(_picture(_coloured(labels[:, :pixels])), (x, y + _LINE + _SIZE[1]))
        if progress is not None:
            progress(number + 1, len(scenes))
    save_png(sheet, path)


def _show(scene: Scene, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], float]:
    """Reconstruct the frame that shows most of what the scene is about."""
    best, found = -1, None
    for specimen_seed in range(seed, seed + 12):
        specimen = TissueSpecimen(specimen_seed, scene.sort)
        optics = specimen.console()
        grid = ScanGrid(_ALINES, _FRAMES, optics.depth_px, _WIDTH_MM, _HEIGHT_MM, optics.axial_um)
        tissue = specimen.face("gallery", grid, scene.scenario)
        for frame in range(0, _FRAMES, 2):
            seen = label(tissue, frame)[:, : int(0.8 * 1000 / optics.axial_um)]
            much = int(np.isin(seen, scene.shows).sum())
            much += 1000 * int((tissue.covers.transmission[frame] < 1).sum())
            if not scene.shows:  # what has no voxels: bubbles and glare
                much += int(top_reflection(tissue, frame, seen)[1].sum())
            if much > best:
                best, found = much, (specimen, tissue, optics, frame)
    assert found is not None  # noqa: S101 - every frame counts for at least 0
    specimen, tissue, optics, frame = found
    raw = np.empty((_ALINES, optics.samples), np.uint16)
    FaceScanner(specimen, "gallery", tissue, optics).expose(frame, raw)
    x = np.linspace(0, 1, optics.samples)
    calibration = Calibration(
        k_map=np.asarray(polyval(x, optics.k_map_coefficients), np.float64),
        dispersion_rad=np.asarray(polyval(x, optics.dispersion_coefficients), np.float64),
        window="hann",
        background=optics.level_counts.astype(np.float32),
        axial_um=optics.axial_um,
    )
    reconstructor = Reconstructor(calibration, samples=optics.samples, depth=optics.depth_px)
    return reconstructor.process(raw), label(tissue, frame), optics.axial_um


def _grey(bscan_db: NDArray[np.float32]) -> NDArray[np.uint8]:
    top_db = float(np.quantile(bscan_db, 0.995))
    return np.asarray(np.clip((bscan_db - top_db + _RANGE_DB) / _RANGE_DB, 0, 1) * 255, np.uint8)


def _coloured(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    palette = np.full((len(Material), 3), 20, np.uint8)
    for material, kind in KIND.items():
        share = 0.6 if material in _DARKER else 1.0
        palette[material] = [int(share * c) for c in _COLOURS[kind]]
    palette[Material.CALCIFICATION] = 255
    return palette[labels]


def _picture(values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.swapaxes(values, 0, 1)).resize(_SIZE, Image.Resampling.BILINEAR).convert("RGB")


def _legend(pen: ImageDraw.ImageDraw, at: tuple[int, int]) -> None:
    x, y = at
    for kind, colour in _COLOURS.items():
        pen.rectangle((x, y + 3, x + 12, y + 15), fill=colour)
        pen.text((x + 16, y + 1), kind.value.replace("_", " "), fill=TEXT, font=font(12))
        x += 120
