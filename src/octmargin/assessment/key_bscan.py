"""The B-scan through a finding, with rulers: what the sheet shows for a closer look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from octmargin.assessment.findings import Finding
from octmargin.frame_judge import Judged
from octmargin.frames import ALINES_PER_BLOCK, BlockState
from octmargin.levels import from_levels
from octmargin.margin import BlockFlags
from octmargin.picture_style import BACKGROUND, TEXT, font
from octmargin.pictures import STATE_COLOURS, SURFACE, Caption, draw_surface, grey_levels

_WIDTH, _LEAST_HEIGHT, _MOST_HEIGHT = 1080, 220, 620
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 30, 14, 58
_SEEN = (200, 204, 210)
_SUSPICIOUS = STATE_COLOURS[BlockState.SUSPICIOUS]
_TICKS_MM = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_LEAST_TICK_PX = 44


def key_bscan_image(
    judged: Judged,
    finding: Finding,
    *,
    suspicious: NDArray[np.bool_],
    axial_um: float,
    width_mm: float,
    caption: Caption,
) -> Image.Image:
    """Draw a frame that was judged with its B-scan, depth downwards, at tissue's proportions where they fit.

    `suspicious` (blocks,) is what the evidence says.

    Above: a bar over each of these blocks, those of `finding` filled and numbered. In it: the surface, the
    depth of the nearest suspicious feature of each suspicious block, and how deep each block was seen.
    """
    assert judged.bscan is not None  # noqa: S101 - the caller asked for it
    alines, depth = judged.bscan.shape
    depth_mm = depth * axial_um / 1000
    height = round(min(max(_WIDTH * depth_mm / width_mm, _LEAST_HEIGHT), _MOST_HEIGHT))
    tissue = Image.fromarray(grey_levels(from_levels(judged.bscan)).T)
    image = Image.new("RGB", (_LEFT + _WIDTH + _RIGHT, _TOP + height + _BOTTOM), BACKGROUND)
    image.paste(tissue.resize((_WIDTH, height), Image.Resampling.BILINEAR), (_LEFT, _TOP))
    draw = ImageDraw.Draw(image)
    scale = (_WIDTH / alines, height / depth)
    draw_surface(draw, judged.flags.surface_px, scale=scale, at=(_LEFT, _TOP))
    _draw_depths(draw, judged.flags, suspicious, scale=scale, axial_um=axial_um)
    _draw_bars(draw, suspicious, finding, scale[0])
    _draw_rulers(draw, (_WIDTH, height), width_mm=width_mm, depth_mm=depth_mm)
    _draw_key(draw, image.height - 18, caption)
    return image


def _blocks_px(block: int, scale_x: float) -> tuple[float, float]:
    """Left and right edge of a block in the picture; the last one may be narrower."""
    edges = (_LEFT + edge * ALINES_PER_BLOCK * scale_x for edge in (block, block + 1))
    left, right = (min(edge, _LEFT + _WIDTH) for edge in edges)
    return left, right


def _draw_depths(
    draw: ImageDraw.ImageDraw,
    flags: BlockFlags,
    suspicious: NDArray[np.bool_],
    *,
    scale: tuple[float, float],
    axial_um: float,
) -> None:
    px_per_mm = 1000 / axial_um * scale[1]
    for block in range(flags.blocks):
        left, right = _blocks_px(block, scale[0])
        seen_mm = float(flags.surface_mm[block] + flags.visualised_depth_mm[block])
        if np.isfinite(seen_mm):
            y = _TOP + seen_mm * px_per_mm
            _dotted(draw, left, right, y)
        suspicious_mm = float(flags.surface_mm[block] + flags.feature_mm[block])
        if suspicious[block] and np.isfinite(suspicious_mm):
            y = _TOP + suspicious_mm * px_per_mm
            draw.line((left + 1, y, right - 2, y), fill=_SUSPICIOUS, width=2)


def _dotted(draw: ImageDraw.ImageDraw, left: float, right: float, y: float) -> None:
    for x in np.arange(left + 1, right - 1, 5):
        draw.line((x, y, x + 1, y), fill=_SEEN)


def _draw_bars(
    draw: ImageDraw.ImageDraw, suspicious: NDArray[np.bool_], finding: Finding, scale_x: float
) -> None:
    cluster = finding.cluster
    own = range(cluster.first_block, cluster.last_block + 1)
    own_edges: list[float] = []
    for block in np.flatnonzero(suspicious).tolist():
        left, right = _blocks_px(block, scale_x)
        fill = _SUSPICIOUS if block in own else None
        draw.rectangle((left + 1, _TOP - 10, right - 2, _TOP - 3), fill=fill, outline=_SUSPICIOUS)
        own_edges += [left, right] if block in own else []
    if own_edges:
        middle = (min(own_edges) + max(own_edges)) / 2
        draw.text((middle, _TOP - 13), str(finding.number), fill=TEXT, font=font(14), anchor="mb")


def _draw_rulers(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], *, width_mm: float, depth_mm: float
) -> None:
    width, height = size
    for tick_mm in _ticks(depth_mm, height):
        y = _TOP + tick_mm / depth_mm * height
        draw.line((_LEFT - 6, y, _LEFT - 1, y), fill=TEXT)
        draw.text((_LEFT - 9, y), f"{tick_mm:g}", fill=TEXT, font=font(), anchor="rm")
    draw.text((8, _TOP - 15), "depth, mm", fill=TEXT, font=font(), anchor="lm")
    for tick_mm in _ticks(width_mm, width):
        x = _LEFT + tick_mm / width_mm * width
        draw.line((x, _TOP + height, x, _TOP + height + 5), fill=TEXT)
        draw.text((x, _TOP + height + 7), f"{tick_mm:g}", fill=TEXT, font=font(), anchor="mt")
    draw.text((_LEFT - 9, _TOP + height + 7), "mm", fill=TEXT, font=font(), anchor="rt")


def _ticks(extent_mm: float, extent_px: int) -> list[float]:
    step_mm = next(
        (step for step in _TICKS_MM if step / extent_mm * extent_px >= _LEAST_TICK_PX), _TICKS_MM[-1]
    )
    return [float(tick) for tick in np.arange(0, extent_mm + step_mm / 100, step_mm)]


def _draw_key(draw: ImageDraw.ImageDraw, y: int, caption: Caption) -> None:
    x = float(_LEFT)
    for word, colour, dotted in (
        ("surface", SURFACE, False),
        ("nearest suspicious feature", _SUSPICIOUS, False),
        ("seen down to here", _SEEN, True),
    ):
        if dotted:
            _dotted(draw, x, x + 24, y)
        else:
            draw.line((x, y, x + 22, y), fill=colour, width=2)
        draw.text((x + 28, y), word, fill=TEXT, font=font(), anchor="lm")
        x += 44 + draw.textlength(word, font=font())
    draw.text((_LEFT + _WIDTH, y), caption.footer, fill=TEXT, font=font(), anchor="rm")
