"""A calibration at one look: both mirrors before and after, what they stand on, and the roll-off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from octmargin.axes import Axes, Stroke
from octmargin.picture_style import BACKGROUND, ORANGE, SKY, TEXT, YELLOW, font
from octmargin.signal import Calibration

_SCALE = 2
"""Drawn twice as large and reduced, for smooth lines."""
_WIDTH, _HEIGHT = 1048, 740
_MARGIN, _HEAD, _FOOT = 12, 40, 28
_ZERO_PADDING = 16
_BESIDE_PX = 25
_DEEPEST_DB = -80.0
_LEGEND_DB = 22.0
"""Room over the peaks, so that the legend hides none."""
_LEAST_ROLLOFF_DB = 6.0
_RAW = Stroke(ORANGE, dash=(2, 3), width=2)
_K_MAP = Stroke(YELLOW, dash=(8, 4), width=2)
_WHOLE = Stroke(SKY, width=2)
_NOISE = Stroke(TEXT, dash=(3, 4))

Spectrum = NDArray[np.float64]


def stages(calibration: Calibration, number: int) -> tuple[Calibration, Calibration, Calibration]:
    """Calibration for mirror 1 or 2 without anything, with its k-map, and with its dispersion as well.

    The mirrors lie on either side of zero delay, so they need opposite signs of the dispersion.
    """
    k_map_only = replace(calibration, dispersion_rad=None)
    whole = calibration if number == 1 else calibration.conjugated()
    return replace(k_map_only, k_map=None), k_map_only, whole


def calibration_image(
    calibration: Calibration, mirrors: tuple[Spectrum, Spectrum], *, title: str, origin: str
) -> Image.Image:
    """Four plots: the point spread of each mirror, their whole profiles, and the roll-off.

    `mirrors`: interference spectra (samples,). `origin`: where they come from, for the footer.
    """
    sheet = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN * _SCALE, _MARGIN * _SCALE), title, fill=TEXT, font=font(16 * _SCALE))
    middle, half = (_HEAD + _HEIGHT - _FOOT) // 2, _WIDTH // 2
    top, bottom = (_HEAD, middle), (middle, _HEIGHT - _FOOT)
    left, right = (_MARGIN, half - 6), (half + 6, _WIDTH - _MARGIN)
    for number, (spectrum, columns) in enumerate(zip(mirrors, (left, right), strict=True), start=1):
        _draw_point_spread(draw, _box(columns, top), calibration, spectrum, number)
    _draw_profiles(draw, _box(left, bottom), calibration, mirrors)
    _draw_rolloff(draw, _box(right, bottom), calibration)
    footer = f"octmargin, research use only - {origin}"
    draw.text((_MARGIN * _SCALE, (_HEIGHT - 22) * _SCALE), footer, fill=TEXT, font=font(12 * _SCALE))
    return sheet.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)


def _box(columns: tuple[int, int], rows: tuple[int, int]) -> tuple[int, int, int, int]:
    return columns[0], rows[0], columns[1], rows[1]


def _draw_point_spread(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    calibration: Calibration,
    spectrum: Spectrum,
    number: int,
) -> None:
    axes = Axes(draw, box, x=(-_BESIDE_PX, _BESIDE_PX), y=(-60.0, _LEGEND_DB), scale=_SCALE)
    label = _depth_label("depth from the peak", calibration.axial_um)
    axes.frame(f"mirror {number}: point spread over its calibrated peak", label, "dB")
    tried = stages(calibration, number)
    highest_db = tried[-1].point_spread(spectrum).peak_db
    legend = []
    names = ("raw", "k-map", "k-map + dispersion")
    for name, stroke, stage in zip(names, (_RAW, _K_MAP, _WHOLE), tried, strict=True):
        peak = stage.point_spread(spectrum)
        depth_px, level_db = _profile_db(stage, spectrum)
        axes.line(depth_px - peak.depth_px, level_db - highest_db, stroke)
        legend.append((f"{name}: {peak.width_px:.2f} px wide", stroke))
    axes.legend(legend)


def _draw_profiles(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    calibration: Calibration,
    mirrors: tuple[Spectrum, Spectrum],
) -> None:
    deepest_px = len(mirrors[0]) // 2
    axes = Axes(draw, box, x=(0, deepest_px), y=(_DEEPEST_DB, _LEGEND_DB + 4), scale=_SCALE)
    label = _depth_label("depth", calibration.axial_um)
    axes.frame("both mirrors over their peaks, and their noise floors", label, "dB")
    legend = []
    for number, (spectrum, colour) in enumerate(zip(mirrors, (SKY, ORANGE), strict=True), start=1):
        whole = stages(calibration, number)[-1]
        peak = whole.point_spread(spectrum)
        depth_px, level_db = _profile_db(whole, spectrum)
        stroke = Stroke(colour)
        axes.line(depth_px, level_db - peak.peak_db, stroke)
        axes.level(peak.noise_db - peak.peak_db, replace(_NOISE, colour=colour, width=2))
        legend.append((f"mirror {number}: {peak.dynamic_range_db:.1f} dB over its noise floor", stroke))
    axes.legend([*legend, ("noise floor", _NOISE)])


def _draw_rolloff(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], calibration: Calibration
) -> None:
    rolloff = calibration.quality.rolloff if calibration.quality is not None else None
    title = "roll-off: peaks of one mirror, over the line's value at depth 0"
    label = _depth_label("depth", calibration.axial_um)
    if rolloff is None:
        axes = Axes(
            draw, box, x=(0, (calibration.samples or 2) // 2), y=(-_LEAST_ROLLOFF_DB, 1), scale=_SCALE
        )
        axes.frame(title, label, "dB")
        axes.note("not measured\n(needs one mirror at 3 depths or more)")
        return
    deepest_px = 1.1 * max(rolloff.depths_px)
    lowest_db = min(-_LEAST_ROLLOFF_DB, 1.15 * min(rolloff.peaks_db))
    highest_db = max(1.0, *rolloff.peaks_db) + 0.25 * -lowest_db
    axes = Axes(draw, box, x=(0, deepest_px), y=(lowest_db, highest_db), scale=_SCALE)
    axes.frame(title, label, "dB")
    depth_px = np.arange(int(deepest_px) + 1, dtype=np.float64)
    axes.line(depth_px, -rolloff.curve_db(len(depth_px)), _WHOLE)
    axes.points(rolloff.depths_px, rolloff.peaks_db, ORANGE)
    loss = f"{rolloff.db_per_px:.4f} dB per depth pixel"
    if calibration.axial_um is not None:
        loss = f"{rolloff.db_per_mm(calibration.axial_um):.2f} dB/mm, {loss}"
    axes.legend([(f"{loss}; peaks within {rolloff.residual_db:.2f} dB RMS", _WHOLE)])


def _profile_db(calibration: Calibration, spectrum: Spectrum) -> tuple[Spectrum, Spectrum]:
    """Depth in px and level in dB of a mirror's profile."""
    amplitude = calibration.mirror_profile(spectrum, _ZERO_PADDING)
    level_db = 20 * np.log10(np.maximum(amplitude, np.finfo(np.float64).tiny))
    return np.arange(len(amplitude)) / _ZERO_PADDING, level_db


def _depth_label(what: str, axial_um: float | None) -> str:
    return f"{what}, px" if axial_um is None else f"{what}, px of {axial_um:g} um in tissue"
