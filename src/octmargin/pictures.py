"""Pictures of results: B-scans, en-face projections and margin maps as PNG.

For looking at what the pipeline did, not for diagnosis: a footer on each says so, and says when the spectra
were synthetic. States differ by colour and by pattern, so that they can be told apart without colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from octmargin.frames import ALINES_PER_BLOCK, BlockState
from octmargin.picture_style import BACKGROUND as _BACKGROUND
from octmargin.picture_style import TEXT as _TEXT
from octmargin.picture_style import font as _font

SURFACE = (70, 200, 255)
# Okabe and Ito's colours, which colour-blind people tell apart.
STATE_COLOURS = {
    BlockState.NOT_SCANNED: (45, 48, 54),
    BlockState.LOST: (120, 124, 130),
    BlockState.POOR: (240, 228, 66),
    BlockState.NOTHING_SUSPICIOUS: (0, 114, 178),
    BlockState.SUSPICIOUS: (230, 96, 0),
}
_WORDS = {
    BlockState.NOT_SCANNED: "not scanned",
    BlockState.LOST: "lost",
    BlockState.POOR: "poor",
    BlockState.NOTHING_SUSPICIOUS: "nothing suspicious",
    BlockState.SUSPICIOUS: "suspicious",
}
_GRAVITY = (
    BlockState.NOTHING_SUSPICIOUS,
    BlockState.POOR,
    BlockState.NOT_SCANNED,
    BlockState.LOST,
    BlockState.SUSPICIOUS,
)
"""What hides nothing worse, first."""
_LEAST_CELL_PX = 4
_DYNAMIC_RANGE_DB = 45.0
_MARGIN = 12
_LINE = 18


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands around a picture."""

    title: str
    synthetic: bool

    @property
    def footer(self) -> str:
        """The line under every picture."""
        origin = "SYNTHETIC spectra" if self.synthetic else "measured spectra"
        return f"octmargin, research use only - {origin}"


def bscan_image(
    bscan_db: NDArray[np.float32],
    *,
    axial_um: float,
    width_mm: float,
    surface_px: NDArray[np.float32],
    suspicious: NDArray[np.bool_],
    size: tuple[int, int] = (1024, 512),
) -> Image.Image:
    """One B-scan, depth downwards: (alines, depth) in dB, its surface line, suspicious blocks barred on top."""
    width, height = size
    alines, depth = bscan_db.shape
    image = Image.fromarray(grey_levels(bscan_db).T).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    draw = ImageDraw.Draw(image)
    scale_x = width / alines
    draw_surface(draw, surface_px, scale=(scale_x, height / depth))
    for block in np.flatnonzero(suspicious).tolist():
        left, right = block * ALINES_PER_BLOCK * scale_x, (block + 1) * ALINES_PER_BLOCK * scale_x
        draw.rectangle((left + 1, 0, min(right, width) - 2, 7), fill=STATE_COLOURS[BlockState.SUSPICIOUS])
    _scale_bar(draw, (width - _MARGIN, height - 14), width / width_mm, "1 mm")
    depth_px_per_mm = height / (depth * axial_um / 1000)
    draw.line((_MARGIN, height - 14 - depth_px_per_mm / 2, _MARGIN, height - 14), fill=_TEXT, width=3)
    draw.text(
        (_MARGIN + 8, height - 14 - depth_px_per_mm / 4), "0.5 mm", fill=_TEXT, font=_font(), anchor="lm"
    )
    return image


def draw_surface(
    draw: ImageDraw.ImageDraw,
    surface_px: NDArray[np.float32],
    *,
    scale: tuple[float, float],
    at: tuple[float, float] = (0.0, 0.0),
) -> None:
    """The surface line, just above the surface; `scale` pixels of the picture per A-line and per depth pixel."""
    (scale_x, scale_y), (left, top) = scale, at
    surface = [
        (left + (x + 0.5) * scale_x, top + z * scale_y) for x, z in enumerate(surface_px.tolist()) if np.isfinite(z)
    ]  # fmt: skip
    for (x0, y0), (x1, y1) in pairwise(surface):
        if x1 - x0 < 3 * scale_x:  # a hole in the surface stays a hole
            draw.line((x0, y0 - 3, x1, y1 - 3), fill=SURFACE)


def enface_image(enface_db: NDArray[np.float32], *, width_mm: float, size: tuple[int, int]) -> Image.Image:
    """En-face projection, (frames, alines) in dB; places without a surface (NaN) are a dark blue."""
    seen = np.isfinite(enface_db)
    grey = grey_levels(np.where(seen, enface_db, np.nan))
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    rgb[~seen] = (20, 24, 60)
    image = Image.fromarray(rgb).resize(size, Image.Resampling.NEAREST)
    _scale_bar(ImageDraw.Draw(image), (size[0] - _MARGIN, size[1] - 14), size[0] / width_mm, "1 mm")
    return image


def map_image(state: NDArray[np.uint8], *, size: tuple[int, int]) -> Image.Image:
    """Margin map, (frames, blocks) of `BlockState`.

    Where blocks would be too small for their patterns, several share a cell: the gravest of them is shown.
    """
    state = _gathered(state, (size[1] // _LEAST_CELL_PX, size[0] // _LEAST_CELL_PX))
    frames, blocks = state.shape
    image = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(image)
    xs = np.linspace(0, size[0], blocks + 1).round().astype(int).tolist()
    ys = np.linspace(0, size[1], frames + 1).round().astype(int).tolist()
    for row in range(frames):
        for column in range(blocks):
            box = (xs[column], ys[row], xs[column + 1] - 1, ys[row + 1] - 1)
            _draw_state(draw, box, BlockState(int(state[row, column])))
    return image


def swatch_image(state: BlockState, size: int = 44) -> Image.Image:
    """A block of this state, for a legend."""
    image = Image.new("RGB", (size, size), _BACKGROUND)
    _draw_state(ImageDraw.Draw(image), (0, 0, size - 1, size - 1), state)
    return image


def face_sheet(
    caption: Caption,
    *,
    enface_db: NDArray[np.float32],
    state: NDArray[np.uint8],
    width_mm: float,
    height_mm: float,
    bscan: Image.Image | None,
) -> Image.Image:
    """A face at one look: en-face projection, margin map with its legend, one B-scan."""
    panel = (502, max(120, round(502 * height_mm / width_mm)))
    bscan_height = bscan.height + _LINE + _MARGIN if bscan is not None else 0
    height = _LINE * 4 + panel[1] + bscan_height + _MARGIN * 4
    sheet = Image.new("RGB", (1024 + 2 * _MARGIN, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), caption.title, fill=_TEXT, font=_font(16))
    top = _MARGIN * 2 + _LINE
    enface_text = "en face: mean of 50-500 um below the surface; dark blue: no surface found"
    draw.text((_MARGIN, top), enface_text, fill=_TEXT, font=_font())
    draw.text((_MARGIN * 2 + 512, top), "margin map", fill=_TEXT, font=_font())
    sheet.paste(enface_image(enface_db, width_mm=width_mm, size=panel), (_MARGIN, top + _LINE))
    sheet.paste(map_image(state, size=panel), (_MARGIN * 2 + 510, top + _LINE))
    below = top + _LINE + panel[1] + 6
    _legend(draw, (_MARGIN * 2 + 510, below))
    if bscan is not None:
        draw.text((_MARGIN, below), "B-scan through the most suspicious frame", fill=_TEXT, font=_font())
        sheet.paste(bscan, (_MARGIN, below + _LINE + 4))
    draw.text((_MARGIN, height - _LINE - 4), caption.footer, fill=_TEXT, font=_font())
    return sheet


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Speckle hardly compresses: the fastest level is 4 times quicker than the default, for a tenth more bytes.
    image.save(path, "PNG", compress_level=1)


def grey_levels(values_db: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey of dB: the brightest 0.1 % white, `_DYNAMIC_RANGE_DB` below it black."""
    finite = values_db[np.isfinite(values_db)]
    white = float(np.quantile(finite, 0.999)) if finite.size else 0.0
    black = max(white - _DYNAMIC_RANGE_DB, float(np.quantile(finite, 0.02)) if finite.size else 0.0)
    scaled = (np.nan_to_num(values_db, nan=black) - black) / max(white - black, 1e-3)
    grey: NDArray[np.uint8] = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey


def _gathered(state: NDArray[np.uint8], most: tuple[int, int]) -> NDArray[np.uint8]:
    """The same map in so many rows and columns at most, each with the gravest state of what it stands for."""
    rank = np.argsort(_GRAVITY).astype(np.uint8)[state]
    for axis, limit in enumerate(most):
        length = rank.shape[axis]
        if length > limit:
            first = np.linspace(0, length, max(limit, 1) + 1)[:-1].astype(int)
            rank = np.maximum.reduceat(rank, first, axis=axis)
    return np.array(_GRAVITY, np.uint8)[rank]


def _draw_state(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], state: BlockState) -> None:
    """A block in its colour and pattern: suspicious cross-hatched, poor striped, lost dotted."""
    left, top, right, bottom = box
    draw.rectangle(box, fill=STATE_COLOURS[state])
    if state is BlockState.SUSPICIOUS:
        draw.line((left, top, right, bottom), fill=_BACKGROUND)
        draw.line((left, bottom, right, top), fill=_BACKGROUND)
    elif state is BlockState.POOR:
        draw.line((left, (top + bottom) // 2, right, (top + bottom) // 2), fill=_BACKGROUND)
    elif state is BlockState.LOST:
        x, y = (left + right) // 2, (top + bottom) // 2
        draw.rectangle((x - 1, y - 1, x + 1, y + 1), fill=_BACKGROUND)


def _legend(draw: ImageDraw.ImageDraw, at: tuple[int, int]) -> None:
    x, y = at
    for state, word in _WORDS.items():
        _draw_state(draw, (x, y + 2, x + 11, y + 13), state)
        draw.text((x + 15, y), word, fill=_TEXT, font=_font())
        x += 22 + round(draw.textlength(word, font=_font()))


def _scale_bar(draw: ImageDraw.ImageDraw, right_bottom: tuple[int, int], px_per_mm: float, text: str) -> None:
    right, bottom = right_bottom
    draw.rectangle((right - px_per_mm - 6, bottom - 20, right + 6, bottom + 6), fill=_BACKGROUND)
    draw.line((right - px_per_mm, bottom, right, bottom), fill=_TEXT, width=3)
    draw.text((right - px_per_mm / 2, bottom - 4), text, fill=_TEXT, font=_font(), anchor="mb")
