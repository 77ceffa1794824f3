"""Whether spectra are linear in wavenumber already is told from mirrors and from a sample. All synthetic."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal import Calibration, LinearInK

SAMPLES = 1024
X = np.linspace(0.0, 1.0, SAMPLES)
PIXELS = np.arange(SAMPLES)
BENT = (SAMPLES - 1) * (X + 0.08 * X * (1 - X))
STRAIGHT = PIXELS.astype(float)
DISPERSION = 15 * (X - 0.5) ** 2


def over_pixels(phase_in_k: NDArray[np.float64], k_map: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(PIXELS, k_map, phase_in_k)


def mirror(depth_px: float, k_map: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    phase = over_pixels(2 * np.pi * depth_px * PIXELS / SAMPLES + DISPERSION, k_map)
    envelope = np.exp(-(((X - 0.5) / 0.3) ** 2))
    return envelope * np.cos(phase) + np.random.default_rng(seed).normal(0, 0.02, SAMPLES)


def sample(k_map: NDArray[np.float64], side: int = 1) -> NDArray[np.float64]:
    """Spectra (alines, samples) of sparse scatterers on one side of zero delay, with noise."""
    rng = np.random.default_rng(4)
    spectra = np.full((40, SAMPLES), 1000.0)
    for aline in range(len(spectra)):
        for depth_px, amplitude in zip(rng.uniform(60, 300, 12), 20 * rng.exponential(size=12), strict=True):
            phase = side * 2 * np.pi * depth_px * PIXELS / SAMPLES + DISPERSION
            spectra[aline] += amplitude * np.cos(over_pixels(phase, k_map))
    return spectra + rng.normal(0, 5, spectra.shape)


@pytest.mark.parametrize(("k_map", "linear"), [(STRAIGHT, True), (BENT, False)], ids=["straight", "bent"])
def test_mirrors_tell_whether_the_data_are_linear_already(k_map: NDArray[np.float64], linear: bool) -> None:
    found = Calibration.from_mirrors(mirror(80, k_map, 0), mirror(-130, k_map, 1))
    assert found.is_linear_in_k is linear


def test_the_departure_is_the_distance_from_a_straight_line_not_from_the_pixels() -> None:
    assert Calibration().k_map_departure_px == 0.0
    assert Calibration(k_map=5 + 0.9 * PIXELS).k_map_departure_px == pytest.approx(0.0, abs=1e-9)
    bow = Calibration(k_map=STRAIGHT + 3 * np.sin(2 * np.pi * 20 * X), window="boxcar")
    assert bow.k_map_departure_px == pytest.approx(3 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("k_map", [STRAIGHT, BENT], ids=["straight", "bent"])
def test_a_sample_tells_whether_its_spectra_need_the_k_map(k_map: NDArray[np.float64], side: int) -> None:
    calibration = Calibration(k_map=BENT, dispersion_rad=DISPERSION)
    raw = sample(k_map, side)
    raw[-1] = 60000.0 * np.random.default_rng(0).uniform(size=SAMPLES)
    assert calibration.linearity_of(raw) is (LinearInK.YES if k_map is STRAIGHT else LinearInK.NO)


@pytest.mark.parametrize("seed", range(5))
def test_noise_tells_nothing(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(1000, 5, (60, SAMPLES))
    assert Calibration(k_map=BENT, dispersion_rad=DISPERSION).linearity_of(noise) is LinearInK.UNDECIDED


def test_without_a_k_map_there_is_nothing_to_try() -> None:
    with pytest.raises(CalibrationError, match="holds no k-map to try the spectra with"):
        Calibration().linearity_of(sample(STRAIGHT))
