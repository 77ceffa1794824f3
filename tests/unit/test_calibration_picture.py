"""The picture of a calibration shows its peaks where they are. Its mirrors here are synthetic."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from octmargin.axes import Axes, Stroke
from octmargin.calibration_picture import calibration_image, stages
from octmargin.picture_style import BACKGROUND, ORANGE, SKY
from octmargin.signal import Calibration

SAMPLES = 512
PIXELS = np.arange(SAMPLES)


def mirror(depth_px: float, loss_db: float = 0.0) -> NDArray[np.float64]:
    noise = np.random.default_rng(int(abs(depth_px))).normal(0, 0.02, SAMPLES)
    bend = 12 * (PIXELS / SAMPLES - 0.5) ** 2
    return 10 ** (-loss_db / 20) * np.cos(2 * np.pi * depth_px * PIXELS / SAMPLES + bend) + noise


MIRRORS = (mirror(60), mirror(-90))


def found(image: Image.Image, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(np.asarray(image, int) - colour).sum(axis=2) < 30)


@pytest.mark.parametrize("axial_um", [None, 4.0])
@pytest.mark.parametrize("measured", [True, False])
def test_the_rolloff_has_its_points_only_where_it_was_measured(
    measured: bool, axial_um: float | None
) -> None:
    series = np.stack([mirror(d, d / 20) for d in (20.0, 60.0, 100.0)]) if measured else None
    calibration = Calibration.from_mirrors(*MIRRORS, axial_um=axial_um, series=series)
    image = calibration_image(calibration, MIRRORS, title="calibration", origin="synthetic mirrors")
    width, height = image.size
    lower_right = found(image, ORANGE)[height // 2 :, width // 2 + 60 :]
    assert lower_right.any() == measured


def test_the_mirrors_peaks_stand_at_their_depths() -> None:
    calibration = Calibration.from_mirrors(*MIRRORS)
    image = calibration_image(calibration, MIRRORS, title="calibration", origin="synthetic mirrors")
    width, height = image.size
    # Below the legend, and above the noise, nothing but the two peaks is drawn: one blue, one orange.
    band = np.asarray(image, int)[height // 2 + 120 : height // 2 + 170, : width // 2]
    blue_over_red = band[..., 2] - band[..., 0]
    blue, orange = (np.flatnonzero(peak.any(axis=0)) for peak in (blue_over_red > 60, blue_over_red < -60))
    px_per_depth = (orange.mean() - blue.mean()) / (90 - 60)
    axes_px = width // 2 - 6 - 12 - 60
    assert px_per_depth == pytest.approx(axes_px / (SAMPLES / 2), rel=0.1)


def test_the_stages_leave_out_one_part_after_the_other() -> None:
    calibration = Calibration.from_mirrors(*MIRRORS)
    raw, k_map, whole = stages(calibration, 2)
    assert (raw.k_map, raw.dispersion_rad, k_map.dispersion_rad) == (None, None, None)
    np.testing.assert_array_equal(k_map.k_map, calibration.k_map)
    np.testing.assert_array_equal(whole.dispersion_rad, -np.asarray(calibration.dispersion_rad))
    assert stages(calibration, 1)[-1] is calibration


def drawn(stroke: Stroke) -> NDArray[np.bool_]:
    image = Image.new("RGB", (200, 150), BACKGROUND)
    axes = Axes(ImageDraw.Draw(image), (0, 0, 200, 150), x=(0, 10), y=(0, 10), scale=1)
    axes.line([-5.0, 0.0, 10.0, 20.0], [5.0, 5.0, 5.0, 5.0], stroke)
    return found(image, stroke.colour)


def test_a_line_stays_within_its_axes_and_a_dashed_one_has_gaps() -> None:
    solid, dashed = drawn(Stroke(SKY)), drawn(Stroke(SKY, dash=(4, 4)))
    columns = np.flatnonzero(solid.any(axis=0))
    assert (columns[0], columns[-1]) == (52, 192)
    assert solid.any(axis=1).sum() == 1
    starts = np.diff(dashed.any(axis=0).astype(int)) == 1
    assert starts.sum() == pytest.approx((192 - 52) / 8, abs=1.5)
