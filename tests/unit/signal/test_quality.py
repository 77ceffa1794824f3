"""What mirrors of known width, noise and roll-off are measured to be. All spectra here are synthetic."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal import Calibration, MeasuredQuality, RollOff

SAMPLES = 1024
X = np.linspace(0.0, 1.0, SAMPLES)
PIXELS = np.arange(SAMPLES)
K_MAP = (SAMPLES - 1) * (X + 0.12 * X * (1 - X))
DISPERSION = 14 * (X - 0.5) ** 2 - 6 * (X - 0.5) ** 3
NOISE = 0.02
DEPTHS_PX = (20.0, 55.0, 90.0, 125.0, 160.0)


def mirror(
    depth_px: float, *, db_per_px: float = 0.0, seed: int = 0, noise: float = NOISE
) -> NDArray[np.float64]:
    """A mirror over the camera's pixels, weaker by `db_per_px`; a negative depth lies past zero delay."""
    phase = np.interp(PIXELS, K_MAP, 2 * np.pi * depth_px * PIXELS / SAMPLES + DISPERSION)
    amplitude = 10 ** (-db_per_px * abs(depth_px) / 20)
    return amplitude * np.cos(phase) + np.random.default_rng(seed).normal(0, noise, SAMPLES)


def calibrated(series: NDArray[np.float64] | None, axial_um: float | None = None) -> MeasuredQuality:
    quality = Calibration.from_mirrors(
        mirror(70, seed=1), mirror(-110, seed=2), axial_um=axial_um, series=series
    ).quality
    assert quality is not None
    return quality


@pytest.mark.parametrize("db_per_px", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("side", [1, -1])
def test_the_rolloff_of_a_mirror_at_five_depths(db_per_px: float, side: int) -> None:
    series = np.stack([mirror(side * d, db_per_px=db_per_px, seed=int(d)) for d in DEPTHS_PX])
    rolloff = calibrated(series[::-1]).rolloff
    assert rolloff is not None
    assert rolloff.db_per_px == pytest.approx(db_per_px, abs=0.002)
    assert rolloff.residual_db < 0.2
    assert rolloff.depths_px == pytest.approx(DEPTHS_PX, abs=0.5)
    assert rolloff.peaks_db == pytest.approx([-db_per_px * d for d in DEPTHS_PX], abs=0.4)


def test_the_rolloff_is_per_mm_where_the_depth_pixel_is_known() -> None:
    rolloff = RollOff(db_per_px=0.02, residual_db=0.0, depths_px=(1.0,), peaks_db=(0.0,))
    assert rolloff.db_per_mm(axial_um=4.0) == pytest.approx(5.0)
    np.testing.assert_allclose(rolloff.curve_db(4), [0.0, 0.02, 0.04, 0.06])


def test_a_loss_that_is_no_straight_line_shows_in_the_residual() -> None:
    bent = np.stack([mirror(d, db_per_px=0.0005 * d, seed=int(d)) for d in DEPTHS_PX])
    straight = np.stack([mirror(d, db_per_px=0.05, seed=int(d)) for d in DEPTHS_PX])
    found, reference = calibrated(bent).rolloff, calibrated(straight).rolloff
    assert found is not None
    assert reference is not None
    expected = 0.0005 * np.square(DEPTHS_PX)
    line = np.polyval(np.polyfit(DEPTHS_PX, expected, 1), DEPTHS_PX)
    assert found.residual_db == pytest.approx(np.sqrt(np.mean((expected - line) ** 2)), abs=0.2)
    assert found.residual_db > 3 * reference.residual_db


def test_fewer_than_three_depths_are_no_measurement() -> None:
    assert calibrated(None).rolloff is None
    assert calibrated(np.stack([mirror(20), mirror(90)])).rolloff is None
    same_again = np.stack([mirror(20), mirror(90, seed=1), mirror(90.5, seed=2), mirror(91, seed=3)])
    assert calibrated(same_again).rolloff is None


def test_many_depths_close_together_are_a_series_all_the_same() -> None:
    close = np.stack([mirror(d, db_per_px=0.05, seed=d) for d in range(20, 81, 3)])
    rolloff = calibrated(close).rolloff
    assert rolloff is not None
    assert rolloff.db_per_px == pytest.approx(0.05, abs=0.005)


def test_a_mirror_lost_in_the_noise_is_no_point_of_the_rolloff() -> None:
    lost = np.random.default_rng(5).normal(size=SAMPLES)
    series = np.stack([mirror(20), mirror(60), mirror(100), lost])
    with pytest.raises(CalibrationError, match=r"mirror series: mirror 4 of 4 stands .* dB over the noise"):
        calibrated(series)
    with pytest.raises(
        CalibrationError, match=r"mirror series: expected \(n, samples\), got shape \(1024,\)"
    ):
        calibrated(mirror(20))


def test_the_resolution_is_that_of_the_window_where_nothing_else_widens_the_peak() -> None:
    quality = calibrated(None)
    assert quality.axial_resolution_px == pytest.approx(2.0, rel=0.03)
    assert quality.axial_resolution_um(4.5) == pytest.approx(4.5 * quality.axial_resolution_px)


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.05])
def test_the_dynamic_range_is_peak_over_mean_noise(noise: float) -> None:
    """White noise of variance s^2 has the mean intensity s^2 sum(w^2); a cosine peaks at (sum(w) / 2)^2."""
    window = np.hanning(SAMPLES)
    expected = 10 * np.log10((window.sum() / 2) ** 2 / (noise**2 * (window**2).sum()))
    line = np.cos(2 * np.pi * 100 * PIXELS / SAMPLES)
    measured = [
        Calibration().point_spread(line + np.random.default_rng(seed).normal(0, noise, SAMPLES))
        for seed in range(8)
    ]
    assert np.mean([peak.dynamic_range_db for peak in measured]) == pytest.approx(expected, abs=0.3)


def test_the_worse_mirror_counts() -> None:
    noisy = Calibration.from_mirrors(mirror(70), mirror(-110, noise=0.1))
    clean = Calibration.from_mirrors(mirror(70), mirror(-110))
    assert noisy.quality is not None
    assert clean.quality is not None
    assert noisy.quality.dynamic_range_db < clean.quality.dynamic_range_db - 10


@pytest.mark.parametrize("width", [0.0, float("nan")])
def test_refuses_a_quality_that_nobody_measured(width: float) -> None:
    with pytest.raises(CalibrationError, match="axial_resolution_px is"):
        MeasuredQuality(axial_resolution_px=width, dynamic_range_db=50.0)
    with pytest.raises(CalibrationError, match="dynamic_range_db is nan"):
        MeasuredQuality(axial_resolution_px=2.0, dynamic_range_db=float("nan"))


def test_spectra_too_short_to_hold_noise_beside_the_peak_are_refused() -> None:
    with pytest.raises(CalibrationError, match="32 depth pixels leave none to measure the noise in"):
        Calibration().point_spread(np.cos(2 * np.pi * 20 * np.arange(64) / 64))
