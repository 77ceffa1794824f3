"""What a calibration holds, refuses, keeps on disk, and finds out by itself from a sample's sharpness."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal import Calibration, MeasuredQuality, Reconstructor, RollOff

SAMPLES = 1024
X = np.linspace(0.0, 1.0, SAMPLES)


def test_without_arguments_it_fits_any_number_of_samples() -> None:
    calibration = Calibration()
    assert calibration.k_map is None
    assert calibration.samples is None
    assert calibration.window_over(8).shape == (8,)


def test_its_arrays_are_its_own_and_read_only() -> None:
    given = np.arange(SAMPLES, dtype=np.float32)
    calibration = Calibration(k_map=given)  # type: ignore[arg-type]
    given[:] = 0
    assert calibration.k_map is not None
    assert calibration.k_map[5] == 5.0
    with pytest.raises(ValueError, match="read-only"):
        calibration.k_map[0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k_map": np.zeros((4, 4))}, r"k_map has shape \(4, 4\)"),
        ({"k_map": [0.0, 2.0, 1.0, 3.0]}, "k_map is not strictly monotonic"),
        ({"k_map": np.arange(8) * 2.0}, "k_map spans 0.00..14.00"),
        ({"dispersion_rad": [0.0, np.nan, 0.0, 0.0]}, "dispersion_rad holds a value that is not finite"),
        ({"background": "dark"}, "background is not an array of numbers"),
        ({"window": "no such window"}, "window 'no such window' cannot be made"),
        ({"k_map": np.arange(8.0), "background": np.zeros(9)}, "differ in length.*k_map 8, background 9"),
        ({"axial_um": 0.0}, "axial_um is 0"),
    ],
)
def test_refuses_what_cannot_be_applied(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Calibration(**arguments)


def test_a_factory_calibration_is_two_polynomials() -> None:
    calibration = Calibration.from_polynomial(
        [2.0, 900.0, 100.0], [1.0, -2.0, 30.0], samples=SAMPLES, axial_um=4.0
    )
    np.testing.assert_allclose(calibration.k_map, 2 + 900 * X + 100 * X**2)
    np.testing.assert_allclose(calibration.dispersion_rad, 1 - 2 * X + 30 * X**2)
    assert calibration.axial_um == 4.0
    with pytest.raises(CalibrationError, match="not strictly monotonic"):
        Calibration.from_polynomial([0.0, 3000.0, -3000.0], samples=SAMPLES)
    with pytest.raises(CalibrationError, match="without coefficients"):
        Calibration.from_polynomial([], samples=SAMPLES)


WAVELENGTH_NM = [1250.0, 0.11, -9e-6, 1e-9]
"""Of a spectrometer around 1300 nm: nm over the pixel, lowest power first."""


@pytest.mark.parametrize("direction", [1, -1], ids=["rising", "falling"])
def test_a_wavelength_polynomial_gives_wavenumbers_in_even_steps(direction: int) -> None:
    coefficients = WAVELENGTH_NM if direction > 0 else [1360.0, -0.11, 9e-6]
    k_map = Calibration.from_wavelengths(coefficients, samples=SAMPLES).k_map
    assert k_map is not None
    assert k_map[[0, -1]] == pytest.approx([0.0, SAMPLES - 1])
    wavenumbers = 2 * np.pi / np.polyval(coefficients[::-1], k_map)
    even = np.linspace(wavenumbers[0], wavenumbers[-1], SAMPLES)
    np.testing.assert_allclose(wavenumbers, even, rtol=1e-12)


@pytest.mark.parametrize("refractive_index", [1.0, 1.4])
def test_a_wavelength_polynomial_puts_a_reflector_at_its_depth_in_um(refractive_index: float) -> None:
    calibration = Calibration.from_wavelengths(
        WAVELENGTH_NM, [0.0, 0.0, 30.0], samples=SAMPLES, refractive_index=refractive_index
    )
    depth_um = 700.0
    wavenumber_per_um = 2e3 * np.pi / np.polyval(WAVELENGTH_NM[::-1], np.arange(SAMPLES))
    # Light goes there and back, slower in the medium.
    fringes = np.cos(2 * refractive_index * depth_um * wavenumber_per_um)
    peak = Calibration(k_map=calibration.k_map).point_spread(fringes)
    assert calibration.axial_um is not None
    assert peak.depth_px * calibration.axial_um == pytest.approx(depth_um, rel=1e-3)
    assert peak.width_px == pytest.approx(2.0, abs=0.02)
    np.testing.assert_allclose(calibration.dispersion_rad, 30 * X**2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coefficients_nm": [1300.0, 0.0, 1e-4]}, "the wavelength stands still"),
        ({"coefficients_nm": []}, "wavelengths: give the polynomial's coefficients"),
        ({"coefficients_nm": [1300.0, np.nan]}, "wavelengths: give the polynomial's coefficients, finite"),
        ({"coefficients_nm": [1300.0]}, "strictly monotonic"),
        ({"coefficients_nm": [0.1, 1300.0, -2.0]}, "lowest power first"),
        ({"coefficients_nm": [-10.0, 1.0]}, "-10 nm at the first pixel"),
        ({"coefficients_nm": WAVELENGTH_NM, "refractive_index": 0.7}, "refractive_index is 0.7"),
        ({"coefficients_nm": WAVELENGTH_NM, "samples": 2}, "samples is 2; give at least 4"),
    ],
)
def test_refuses_wavelengths_that_no_spectrometer_has(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Calibration.from_wavelengths(**{"samples": SAMPLES, **arguments})


def test_conjugating_twice_gives_the_same() -> None:
    calibration = Calibration(dispersion_rad=X**2)
    np.testing.assert_array_equal(calibration.conjugated().dispersion_rad, -(X**2))
    np.testing.assert_array_equal(calibration.conjugated().conjugated().dispersion_rad, X**2)
    np.testing.assert_array_equal(calibration.with_background(X).background, X)


def scattering_sample(dispersion_rad: NDArray[np.float64], alines: int = 40) -> NDArray[np.float64]:
    """Raw spectra over linear wavenumber: sparse scatterers at random depths behind one dispersion."""
    rng = np.random.default_rng(11)
    spectra = np.full((alines, SAMPLES), 1000.0)
    for aline in range(alines):
        for depth_px, amplitude in zip(rng.uniform(40, 300, 12), 20 * rng.exponential(size=12), strict=True):
            phase = 2 * np.pi * depth_px * np.arange(SAMPLES) / SAMPLES + dispersion_rad
            spectra[aline] += amplitude * np.cos(phase)
    return spectra + rng.normal(0, 1, spectra.shape)


def curved(second: float, third: float) -> NDArray[np.float64]:
    u = 2 * X - 1
    return second * u**2 + third * u**3


@pytest.mark.parametrize(("second", "third"), [(18.0, 0.0), (-25.0, 4.0), (0.0, 0.0)])
def test_refining_finds_the_dispersion_of_a_scattering_sample(second: float, third: float) -> None:
    raw = scattering_sample(curved(second, third))
    raw[-1] = 60000.0 * np.random.default_rng(0).uniform(size=SAMPLES)
    refined = Calibration(background=np.full(SAMPLES, 1000.0)).refine_dispersion(raw)
    left = refined.dispersion_rad - curved(second, third)
    # A constant phase is unseen and a linear one is a depth: only the curvature counts, where the window lets
    # light in.
    inner = slice(SAMPLES // 8, -SAMPLES // 8)
    residual = left[inner] - np.polyval(np.polyfit(X[inner], left[inner], 1), X[inner])
    assert np.abs(residual).max() < 0.4


def test_refining_is_not_led_astray_by_a_corrupt_last_line() -> None:
    raw = scattering_sample(curved(18.0, 0.0))
    clean = Calibration().refine_dispersion(raw)
    raw[-1] = 60000.0 * np.random.default_rng(0).uniform(size=SAMPLES)
    corrupt = Calibration().refine_dispersion(raw)
    np.testing.assert_allclose(corrupt.dispersion_rad, clean.dispersion_rad, atol=0.5)


def test_refining_does_not_move_the_surface() -> None:
    truth = curved(22.0, 0.0)
    line = 100 * np.cos(2 * np.pi * 120 * np.arange(SAMPLES) / SAMPLES + truth)
    raw = np.stack([line, 0.7 * line, 1.2 * line])
    refined = Calibration(background=np.zeros(SAMPLES)).refine_dispersion(raw)
    bscan_db = Reconstructor(refined, samples=SAMPLES, depth=512).process(raw.astype(np.float32))
    assert np.argmax(bscan_db, axis=1).tolist() == [120] * 3


@pytest.mark.parametrize("side", [1, -1])
def test_the_sharper_sign_of_the_dispersion_is_that_of_the_samples_side(side: int) -> None:
    dispersion = curved(15.0, 2.0)
    calibration = Calibration(dispersion_rad=dispersion)
    chosen = calibration.best_dispersion_sign(scattering_sample(side * dispersion))
    np.testing.assert_array_equal(chosen.dispersion_rad, side * dispersion)


def test_sharpness_needs_spectra() -> None:
    with pytest.raises(CalibrationError, match=r"expected \(alines, samples\), got shape \(8,\)"):
        Calibration().refine_dispersion(np.zeros(8))
    with pytest.raises(CalibrationError, match="no A-line is finite"):
        Calibration().refine_dispersion(np.full((3, 64), np.nan))


@pytest.mark.parametrize("window", ["hamming", np.linspace(0.1, 1.0, SAMPLES)], ids=["named", "array"])
def test_a_saved_calibration_loads_as_it_was(tmp_path: Path, window: Any) -> None:
    path = tmp_path / "console.calibration"
    saved = Calibration(k_map=1000 * X, dispersion_rad=X**2, window=window, background=X, axial_um=3.5)
    saved.save(path)
    loaded = Calibration.load(path)
    for name in ("k_map", "dispersion_rad", "background", "window"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert loaded.axial_um == 3.5


@pytest.mark.parametrize(
    "rolloff",
    [None, RollOff(db_per_px=0.02, residual_db=0.1, depths_px=(9.0, 50.5, 90.0), peaks_db=(0.0, -1.0, -2.0))],
    ids=["not measured", "measured"],
)
def test_the_measured_quality_is_saved_with_it(tmp_path: Path, rolloff: RollOff | None) -> None:
    quality = MeasuredQuality(axial_resolution_px=2.25, dynamic_range_db=61.5, rolloff=rolloff)
    Calibration(k_map=1000 * X, quality=quality).save(tmp_path / "c.npz")
    assert Calibration.load(tmp_path / "c.npz").quality == quality


def test_a_file_of_version_1_loads_without_a_measured_quality(tmp_path: Path) -> None:
    path = write(
        tmp_path / "old.npz",
        format="octmargin-calibration",
        version=1,
        k_map=1000 * X,
        window="hamming",
        axial_um=3.5,
    )
    loaded = Calibration.load(path)
    np.testing.assert_array_equal(loaded.k_map, 1000 * X)
    assert (loaded.window, loaded.axial_um, loaded.quality) == ("hamming", 3.5, None)


def test_the_identity_saves_and_loads(tmp_path: Path) -> None:
    Calibration().save(tmp_path / "identity.npz")
    loaded = Calibration.load(tmp_path / "identity.npz")
    assert (loaded.k_map, loaded.background, loaded.axial_um, loaded.window) == (None, None, None, "hann")


def test_the_file_is_a_versioned_npz_without_pickle(tmp_path: Path) -> None:
    Calibration(k_map=1000 * X).save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
        assert str(archive["format"]) == "octmargin-calibration"
        assert int(archive["version"]) == 2
        np.testing.assert_array_equal(archive["k_map"], 1000 * X)


def write(path: Path, **entries: Any) -> Path:
    np.savez(path, **entries)
    return path


def test_a_calibration_that_cannot_be_saved_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.npz"
    Calibration(k_map=1000 * X).save(path)

    def full_disk(file: Any, **_entries: Any) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        with pytest.raises(CalibrationError, match=r"c\.npz: cannot be written \(No space left on device\)"):
            Calibration(k_map=999 * X).save(path)
    np.testing.assert_array_equal(Calibration.load(path).k_map, 1000 * X)
    assert [file.name for file in tmp_path.iterdir()] == ["c.npz"]
    with pytest.raises(CalibrationError, match="cannot be written"):
        Calibration().save(tmp_path)


def test_a_background_that_is_no_line_of_numbers_is_refused() -> None:
    with pytest.raises(CalibrationError, match="background is not an array of numbers"):
        Calibration().with_background("dark")


def test_loading_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    ours = {"format": "octmargin-calibration", "version": 1}
    with pytest.raises(CalibrationError, match=r"missing\.npz: no such file"):
        Calibration.load(tmp_path / "missing.npz")
    (tmp_path / "text").write_text("k_map = 1")
    with pytest.raises(CalibrationError, match="text: not an octmargin calibration"):
        Calibration.load(tmp_path / "text")
    with pytest.raises(CalibrationError, match="not an octmargin calibration"):
        Calibration.load(write(tmp_path / "other.npz", k_map=X))
    with pytest.raises(CalibrationError, match="version 3 where versions 1 to 2 are read; calibrate again"):
        Calibration.load(write(tmp_path / "newer.npz", **{**ours, "version": 3}))
    with pytest.raises(CalibrationError, match=r"shape\.npz: .*k_map has shape \(2, 4\)"):
        Calibration.load(write(tmp_path / "shape.npz", **ours, k_map=np.zeros((2, 4))))
    half = {"quality_dynamic_range_db": 50.0}
    with pytest.raises(CalibrationError, match=r"half\.npz: quality_axial_resolution_px is not one number"):
        Calibration.load(write(tmp_path / "half.npz", **ours, **half))
    flat = {**half, "quality_axial_resolution_px": 2.0, "rolloff_db_per_px": 0.1, "rolloff_residual_db": 0.1}
    with pytest.raises(CalibrationError, match=r"flat\.npz: rolloff_depths_px is not a line of numbers"):
        Calibration.load(write(tmp_path / "flat.npz", **ours, **flat))
    odd = {**flat, "rolloff_depths_px": [1.0, 2.0], "rolloff_peaks_db": [1.0]}
    with pytest.raises(CalibrationError, match=r"odd\.npz: roll-off: .*as many peaks as depths"):
        Calibration.load(write(tmp_path / "odd.npz", **ours, **odd))
    with pytest.raises(CalibrationError, match="axial_um is not one number"):
        Calibration.load(write(tmp_path / "axial.npz", **ours, axial_um=np.zeros(3)))
    with pytest.raises(CalibrationError, match="cannot be read"):
        Calibration.load(write(tmp_path / "pickle.npz", **ours, k_map=np.array([{}], dtype=object)))
    Calibration(k_map=1000 * X).save(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-200])
    with pytest.raises(CalibrationError, match=r"cut\.npz"):
        Calibration.load(tmp_path / "cut.npz")
