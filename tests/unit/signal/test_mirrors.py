"""Calibration from two mirrors: synthetic ones with a known k-map, and the ones of a real system."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from octmargin.errors import CalibrationError
from octmargin.signal import Calibration, LinearInK, Reconstructor, interference

SAMPLES = 1024
X = np.linspace(0.0, 1.0, SAMPLES)
PIXELS = np.arange(SAMPLES)
K_MAP = (SAMPLES - 1) * (X + 0.1 * X * (1 - X) + 0.02 * X * (1 - X) * (1 - 2 * X))
DISPERSION = 12 * (X - 0.5) ** 2 + 5 * (X - 0.5) ** 3


def mirror(depth_px: float, seed: int) -> NDArray[np.float64]:
    """Fringes of a mirror over the camera's pixels; a negative depth lies past zero delay."""
    phase_in_k = 2 * np.pi * depth_px * PIXELS / SAMPLES + DISPERSION
    phase = np.interp(PIXELS, K_MAP, phase_in_k)
    envelope = np.exp(-(((X - 0.5) / 0.3) ** 2))
    return envelope * np.cos(phase) + np.random.default_rng(seed).normal(0, 0.01, SAMPLES)


def without_line(values: NDArray[np.float64], inner: slice) -> NDArray[np.float64]:
    return values[inner] - np.polyval(np.polyfit(X[inner], values[inner], 1), X[inner])


def test_two_mirrors_give_the_k_map_and_the_dispersion() -> None:
    found = Calibration.from_mirrors(mirror(80, 0), mirror(-130, 1), axial_um=4.0)
    inner = slice(60, -60)
    assert found.k_map is not None
    assert found.dispersion_rad is not None
    assert np.abs(found.k_map - K_MAP)[inner].max() < 0.5
    assert np.abs(without_line(found.dispersion_rad - DISPERSION, inner)).max() < 0.1
    assert found.axial_um == 4.0


def test_the_point_spread_reaches_that_of_the_true_calibration() -> None:
    found = Calibration.from_mirrors(mirror(80, 0), mirror(-130, 1))
    truth = Calibration(k_map=K_MAP, dispersion_rad=DISPERSION)
    for depth_px, sign in ((80, 1), (-130, -1), (200, 1), (-40, -1)):
        a, b = (found, truth) if sign > 0 else (found.conjugated(), truth.conjugated())
        spectrum = mirror(depth_px, 2)
        assert a.point_spread_width(spectrum) == pytest.approx(b.point_spread_width(spectrum), rel=0.02)


def test_the_width_of_a_hann_window_is_its_textbook_two_pixels() -> None:
    line = np.cos(2 * np.pi * 100.25 * PIXELS / SAMPLES)
    assert Calibration().point_spread_width(line) == pytest.approx(2.0, abs=0.01)


def test_interference_is_the_mirror_less_its_arms_with_the_offset_put_back() -> None:
    fringes, sample, reference, offset = np.cos(X), 3 + X, 7 + X**2, np.full(SAMPLES, 2.0)
    recorded = fringes + sample + reference + offset
    found = interference(recorded, sample + offset, reference + offset, offset)
    np.testing.assert_allclose(found, fringes, atol=1e-12)
    with pytest.raises(CalibrationError, match=r"four spectra of one length, got \(1024,\), \(3,\)"):
        interference(recorded, np.zeros(3), reference, offset)


def test_says_what_is_wrong_with_the_mirrors() -> None:
    with pytest.raises(CalibrationError, match="mirror1 has 1024 samples, mirror2 512"):
        Calibration.from_mirrors(mirror(80, 0), mirror(-130, 0)[:512])
    with pytest.raises(CalibrationError, match="mirror2 holds no clear fringe"):
        Calibration.from_mirrors(mirror(80, 0), np.random.default_rng(0).normal(size=SAMPLES))
    with pytest.raises(CalibrationError, match="mirror1 holds a value that is not finite"):
        Calibration.from_mirrors(np.full(SAMPLES, np.nan), mirror(80, 0))
    with pytest.raises(CalibrationError, match="mirror1 has 32 samples; give at least 64"):
        Calibration.from_mirrors(np.cos(np.arange(32)), np.cos(np.arange(32)))


@pytest.fixture(scope="module")
def real_mirrors(real_data: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    def load(name: str) -> NDArray[np.float64]:
        return np.asarray(np.load(real_data / "py-oct-calibration" / f"{name}.npy"), dtype=np.float64)

    reference, neither = load("dark_ref"), load("dark_not")
    return (
        interference(load("mirror1"), load("dark_sample1"), reference, neither),
        interference(load("mirror2"), load("dark_sample2"), reference, neither),
    )


@pytest.mark.real_data
def test_real_mirrors_reach_the_widths_known_for_them(
    real_mirrors: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    mirror1, mirror2 = real_mirrors
    both = Calibration.from_mirrors(mirror1, mirror2)
    k_map_only = Calibration(k_map=both.k_map)
    widths = [
        (c.point_spread_width(mirror1), d.point_spread_width(mirror2))
        for c, d in ((Calibration(), Calibration()), (k_map_only, k_map_only), (both, both.conjugated()))
    ]
    np.testing.assert_allclose(widths, [(7.41, 14.97), (2.44, 2.41), (2.25, 2.22)], rtol=0.03)
    assert max(widths[1]) <= 2.5
    assert max(widths[2]) <= 2.3


@pytest.mark.real_data
def test_real_mirrors_alone_reach_what_the_published_calibration_reaches(
    real_data: Path, real_mirrors: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    with np.load(real_data / "py-oct-calibration" / "published_calibration.npz") as archive:
        theirs = Calibration(k_map=archive["k_map"], dispersion_rad=archive["dispersion_rad"])
    ours = Calibration.from_mirrors(*real_mirrors)
    map_of_theirs, map_of_ours = Calibration(k_map=theirs.k_map), Calibration(k_map=ours.k_map)
    for mirror_spectrum, a, b in zip(
        real_mirrors, (ours, ours.conjugated()), (theirs, theirs.conjugated()), strict=True
    ):
        assert a.point_spread_width(mirror_spectrum) == pytest.approx(
            b.point_spread_width(mirror_spectrum), rel=0.05
        )
        assert map_of_ours.point_spread_width(mirror_spectrum) == pytest.approx(
            map_of_theirs.point_spread_width(mirror_spectrum), rel=0.05
        )


@pytest.mark.real_data
def test_the_real_camera_is_not_linear_in_wavenumber(
    real_mirrors: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    assert not Calibration.from_mirrors(*real_mirrors).is_linear_in_k


@pytest.mark.real_data
@pytest.mark.parametrize("frame", [5, 50, 90])
def test_real_spectra_are_told_from_the_same_made_linear(
    real_data: Path, real_mirrors: tuple[NDArray[np.float64], NDArray[np.float64]], frame: int
) -> None:
    raw = np.array(np.load(real_data / "py-oct-calibration" / "cscan.npy", mmap_mode="r")[frame], float)
    calibration = Calibration.from_mirrors(*real_mirrors)
    linear = CubicSpline(np.arange(raw.shape[1]), raw, axis=1)(calibration.k_map)
    assert calibration.linearity_of(raw) is LinearInK.NO
    assert calibration.linearity_of(linear) is LinearInK.YES


@pytest.mark.real_data
def test_refining_sharpens_a_real_sample_of_unknown_dispersion(
    real_data: Path, real_mirrors: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    raw = np.array(np.load(real_data / "py-oct-calibration" / "cscan.npy", mmap_mode="r")[50], float)
    raw[-1] = 60000.0 * np.random.default_rng(0).uniform(size=raw.shape[1])
    known = Calibration.from_mirrors(*real_mirrors).best_dispersion_sign(raw)
    assert known.dispersion_rad is not None
    wrong = Calibration(k_map=known.k_map, dispersion_rad=known.dispersion_rad + 80 * (X - 0.5) ** 2)

    def median_sharpness(calibration: Calibration) -> float:
        intensity = np.empty((len(raw), 400), dtype=np.float32)
        Reconstructor(
            calibration.with_background(np.median(raw, axis=0)), samples=raw.shape[1], depth=400
        ).process(raw.astype(np.float32), None, intensity)
        tissue = intensity[:, 10:].astype(np.float64)
        return float(np.median((tissue**2).sum(axis=1) / tissue.sum(axis=1) ** 2))

    refined = median_sharpness(wrong.refine_dispersion(raw))
    assert refined > 1.2 * median_sharpness(wrong)
    assert refined > 0.95 * median_sharpness(known)
    # Their own dispersion is small: 2.44 px wide mirrors become 2.25.
    none = Calibration(k_map=known.k_map)
    assert median_sharpness(none.refine_dispersion(raw)) > median_sharpness(none)


@pytest.mark.real_data
def test_a_real_sample_is_sharper_with_the_sign_that_is_chosen_for_it(
    real_data: Path, real_mirrors: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> None:
    frame = np.load(real_data / "py-oct-calibration" / "cscan.npy", mmap_mode="r")[50]
    chosen = Calibration.from_mirrors(*real_mirrors).best_dispersion_sign(frame)

    def sharpness(calibration: Calibration) -> float:
        intensity = np.empty((100, 400), dtype=np.float32)
        Reconstructor(calibration, samples=1024, depth=400).process(
            np.ascontiguousarray(frame), None, intensity
        )
        tissue = intensity[:, 10:].astype(np.float64)
        return float(np.median((tissue**2).sum(axis=1) / tissue.sum(axis=1) ** 2))

    assert sharpness(chosen) > sharpness(chosen.conjugated())
    assert sharpness(chosen.refine_dispersion(frame)) > 0.95 * sharpness(chosen)
