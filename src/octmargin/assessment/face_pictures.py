"""The pictures of one face, as PNG: a sheet of its own, and the parts that the page of all faces shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from octmargin.assessment.face import AssessedFace, FaceAssessor
from octmargin.assessment.findings import Finding
from octmargin.assessment.key_bscan import key_bscan_image
from octmargin.frame_judge import Judged
from octmargin.frames import BlockState
from octmargin.levels import from_levels
from octmargin.picture_style import BACKGROUND, TEXT, font
from octmargin.pictures import Caption, bscan_image, enface_image, face_sheet, map_image, save_png
from octmargin.words import percent

SHOWN_PER_FACE = 6
"""Findings of a face whose B-scan is drawn, the most suspicious first."""
PICTURES = "pictures"
_PANEL_WIDTH, _LEAST_HEIGHT, _MOST_HEIGHT = 620, 160, 900


@dataclass(frozen=True, slots=True)
class KeyPicture:
    """The B-scan of one finding; `file` is relative to the output folder."""

    finding: Finding
    file: str


@dataclass(frozen=True, slots=True)
class FacePictures:
    """Files, relative to the output folder; `not_shown` findings have no picture."""

    sheet: str
    enface: str
    map: str
    located: str
    """The map with the findings numbered."""
    keys: tuple[KeyPicture, ...]
    not_shown: tuple[Finding, ...]


def draw_face(
    assessed: AssessedFace, assessor: FaceAssessor, output: Path, *, axial_um: float, synthetic: bool
) -> FacePictures:
    """Write every picture of a face into `output`."""
    plan = assessed.plan
    shown, not_shown = assessed.findings[:SHOWN_PER_FACE], assessed.findings[SHOWN_PER_FACE:]
    caption = Caption(f"{plan.face}: {_verdict_line(assessed)}", synthetic)
    panel = panel_size(plan.width_mm, plan.height_mm)
    enface = enface_image(assessed.enface_db, width_mm=plan.width_mm, size=panel)
    margin_map = map_image(assessed.state, size=panel)
    located = margin_map.copy()
    for image in (enface, located):
        draw_numbers(image, (assessed.map.frames, assessed.map.blocks), shown)
    files = FacePictures(
        sheet=f"face-{plan.face}.png",
        enface=f"{PICTURES}/{plan.face}-enface.png",
        map=f"{PICTURES}/{plan.face}-map.png",
        located=f"{PICTURES}/{plan.face}-findings.png",
        keys=tuple(
            KeyPicture(
                finding, f"{PICTURES}/{plan.face}-finding{finding.number}-frame{finding.frame:04d}.png"
            )
            for finding in shown
        ),
        not_shown=not_shown,
    )
    save_png(enface, output / files.enface)
    save_png(margin_map, output / files.map)
    save_png(located, output / files.located)
    for key in files.keys:
        image = key_bscan_image(
            assessor.look(plan.face, key.finding.frame),
            key.finding,
            suspicious=_suspicious(assessed, key.finding.frame),
            axial_um=axial_um,
            width_mm=plan.width_mm,
            caption=caption,
        )
        save_png(image, output / key.file)
    first = assessed.most_suspicious_frame
    sheet = face_sheet(
        caption,
        enface_db=assessed.enface_db,
        state=assessed.state,
        width_mm=plan.width_mm,
        height_mm=plan.height_mm,
        bscan=None if first is None else _bscan(assessed, assessor.look(plan.face, first), axial_um),
    )
    save_png(sheet, output / files.sheet)
    return files


def _verdict_line(assessed: AssessedFace) -> str:
    verdict = assessed.verdict
    depth_mm = verdict.visualised_depth_mm
    return "  |  ".join(
        (
            verdict.outcome.value.replace("_", " "),
            f"coverage {percent(verdict.coverage)}",
            f"visualised depth {depth_mm:.2f} mm" if isfinite(depth_mm) else "nothing visualised",
        )
    )


def panel_size(width_mm: float, height_mm: float, width_px: int = _PANEL_WIDTH) -> tuple[int, int]:
    """Pixels of the picture of a face, at its proportions where they fit."""
    share = width_px / _PANEL_WIDTH
    height_px = min(max(width_px * height_mm / width_mm, _LEAST_HEIGHT * share), _MOST_HEIGHT * share)
    return width_px, round(height_px)


def draw_numbers(
    image: Image.Image, grid: tuple[int, int], shown: Sequence[Finding], *, font_px: int = 14
) -> None:
    """Where the B-scans of the findings lie: a line through the frame, a number beside the cluster.

    `grid` is how many frames and blocks the picture of the face has.
    """
    half_width, half_height = round(font_px * 0.71), round(font_px * 0.64)
    draw = ImageDraw.Draw(image)
    row_px, block_px = image.height / grid[0], image.width / grid[1]
    for finding in shown:
        y = (finding.frame + 0.5) * row_px
        draw.line((0, y, image.width, y), fill=TEXT)
    for finding in shown:
        y = min(max((finding.frame + 0.5) * row_px, half_height + 1), image.height - half_height - 2)
        x = max(finding.cluster.first_block * block_px - half_width - 3, half_width + 1)
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        draw.rounded_rectangle(box, 4, fill=TEXT)
        draw.text((x, y), str(finding.number), fill=BACKGROUND, font=font(font_px), anchor="mm")


def _suspicious(assessed: AssessedFace, frame: int) -> NDArray[np.bool_]:
    return np.asarray(assessed.state[frame] == BlockState.SUSPICIOUS)


def _bscan(assessed: AssessedFace, judged: Judged, axial_um: float) -> Image.Image:
    assert judged.bscan is not None  # noqa: S101 - `look` keeps it
    return bscan_image(
        from_levels(judged.bscan),
        axial_um=axial_um,
        width_mm=assessed.plan.width_mm,
        surface_px=judged.flags.surface_px,
        suspicious=_suspicious(assessed, judged.header.index),
    )
