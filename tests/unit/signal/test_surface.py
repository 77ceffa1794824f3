"""The surface of synthetic B-scans whose surface is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal import find_surface, noise_floor_db

AXIAL_UM = 4.0
NOISE = 3.0
SHAPE = (256, 640)


def bscan(surface_px: NDArray[np.float64], mu_per_mm: float = 3.0, peak_db: float = 25.0, seed: int = 0):  # type: ignore[no-untyped-def]
    """Speckled tissue below `surface_px` (NaN: none) over exponential noise, in dB, float32."""
    rng = np.random.default_rng(seed)
    below_mm = (np.arange(SHAPE[1]) - surface_px[:, None]) * AXIAL_UM / 1000
    tissue = np.where(below_mm >= 0, NOISE * 10 ** (peak_db / 10) * np.exp(-2 * mu_per_mm * below_mm), 0.0)
    intensity = np.nan_to_num(tissue) * rng.exponential(size=SHAPE) + NOISE * rng.exponential(size=SHAPE)
    return (10 * np.log10(intensity)).astype(np.float32)


FLAT = np.full(SHAPE[0], 60.0)
NOISE_DB = float(10 * np.log10(NOISE))
TILTED = np.linspace(30, 140, SHAPE[0])
WAVY = 60 + 20 * np.sin(np.arange(SHAPE[0]) / 25)


@pytest.mark.parametrize("truth", [FLAT, TILTED, WAVY], ids=["flat", "tilted", "wavy"])
@pytest.mark.parametrize(("mu", "peak_db"), [(1.5, 17.0), (3.0, 25.0), (6.5, 30.0)])
def test_finds_the_surface_within_24_um_and_6_in_the_median(
    truth: NDArray[np.float64], mu: float, peak_db: float
) -> None:
    found = find_surface(bscan(truth, mu, peak_db), axial_um=AXIAL_UM)
    assert np.isfinite(found).mean() > 0.97
    assert np.nanmax(np.abs(found - truth)) * AXIAL_UM <= 24
    assert np.nanmedian(np.abs(found - truth)) * AXIAL_UM <= 6


def test_half_a_pixel_of_depth_scale_changes_nothing_but_the_scale() -> None:
    coarse = bscan(FLAT)[:, ::2]
    assert np.nanmedian(find_surface(coarse, axial_um=2 * AXIAL_UM)) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_surface(seed: int) -> None:
    noise = bscan(np.full(SHAPE[0], np.nan), seed=seed)
    assert np.isnan(find_surface(noise, axial_um=AXIAL_UM)).all()


def test_where_tissue_is_missing_there_is_no_surface_and_the_rest_stays() -> None:
    truth = FLAT.copy()
    truth[100:180] = np.nan
    found = find_surface(bscan(truth), axial_um=AXIAL_UM)
    assert np.isnan(found[100:180]).all()
    assert np.isfinite(found[:97]).mean() > 0.97
    assert np.isfinite(found[183:]).mean() > 0.97


@pytest.mark.parametrize("line_px", [12, 45])
def test_a_bright_line_of_fixed_pattern_is_not_taken(line_px: int) -> None:
    truth = TILTED + 40
    frame = bscan(truth)
    frame[:, line_px] += 40.0
    found = find_surface(frame, axial_um=AXIAL_UM)
    assert np.nanmedian(np.abs(found - truth)) * AXIAL_UM <= 6
    assert np.nanmax(np.abs(found - truth)) * AXIAL_UM <= 24
    noise = bscan(np.full(SHAPE[0], np.nan))
    noise[:, line_px] += 40.0
    assert np.isnan(find_surface(noise, axial_um=AXIAL_UM)).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("debris_um", [60.0, 120.0])
def test_debris_above_a_tilted_surface_costs_its_own_lines_only(debris_um: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.linspace(120, 200, SHAPE[0])
    frame = bscan(truth, seed=seed)
    thick_px = round(debris_um / AXIAL_UM)
    # Apart: what is wider than half of the lines that have a say is a film, not debris.
    specks = rng.choice(np.arange(16, 240, 24), size=3, replace=False)
    hidden = np.zeros(SHAPE[0], dtype=bool)
    for middle in specks:
        lines = slice(middle - 2, middle + 3)
        frame[lines, 40 : 40 + thick_px] += 20.0
        hidden[middle - 4 : middle + 5] = True
    found = find_surface(frame, axial_um=AXIAL_UM)
    seen = np.isfinite(found)
    assert seen[~hidden].mean() > 0.95
    assert np.abs(found - truth)[seen].mean() <= 2.0
    assert np.abs(found - truth)[seen].max() * AXIAL_UM <= 40


def test_a_film_with_an_air_gap_is_the_surface_where_it_is_wide_and_never_the_mean_of_both() -> None:
    truth = np.full(SHAPE[0], 200.0)
    frame = bscan(truth)
    frame[60:160, 80:110] += 22.0
    found = find_surface(frame, axial_um=AXIAL_UM)
    seen = np.isfinite(found)
    near_film, near_tissue = np.abs(found - 80) <= 6, np.abs(found - 200) <= 6
    assert (near_film | near_tissue)[seen].all()
    assert near_film[70:150].mean() > 0.95
    assert near_tissue[np.r_[10:50, 170:246]].mean() > 0.95


def test_saturated_lines_neither_have_a_surface_of_their_own_nor_move_their_neighbours() -> None:
    truth = TILTED + 40
    frame = bscan(truth)
    for line in (50, 51, 180):
        # Clipped fringes spread over all depths.
        frame[line] = 45.0 + np.random.default_rng(line).normal(0, 4, SHAPE[1])
    found = find_surface(frame, axial_um=AXIAL_UM)
    seen = np.isfinite(found)
    assert seen.mean() > 0.93
    assert np.abs(found - truth)[seen].mean() <= 2.0
    assert np.abs(found - truth)[seen].max() * AXIAL_UM <= 24


@pytest.mark.parametrize("value", [-100.0, 0.0, 40.0, np.inf, -np.inf, np.nan])
def test_a_constant_frame_has_no_surface(value: float) -> None:
    assert np.isnan(find_surface(np.full(SHAPE, value, np.float32), axial_um=AXIAL_UM)).all()


@pytest.mark.parametrize("below_db", [20.0, 25.0])
def test_faint_light_above_the_tissue_is_not_its_surface_where_the_tissue_is_much_brighter(
    below_db: float,
) -> None:
    """Layers that interfere with one another leave such light near zero delay."""
    tissue, ghost = bscan(FLAT, peak_db=40.0), bscan(np.full(SHAPE[0], 20.0), peak_db=40.0 - below_db, seed=1)
    both = (10 * np.log10(10 ** (tissue / 10) + 10 ** (ghost / 10))).astype(np.float32)
    found = find_surface(both, axial_um=AXIAL_UM, noise_db=NOISE_DB)
    assert np.isfinite(found).mean() > 0.97
    assert np.nanmax(np.abs(found - FLAT)) * AXIAL_UM <= 24


def test_a_faint_layer_that_is_not_much_darker_than_what_lies_below_is_the_surface() -> None:
    deep, faint = bscan(FLAT + 100, peak_db=30.0), bscan(FLAT, mu_per_mm=1.0, peak_db=20.0, seed=1)
    both = (10 * np.log10(10 ** (deep / 10) + 10 ** (faint / 10))).astype(np.float32)
    found = find_surface(both, axial_um=AXIAL_UM, noise_db=NOISE_DB)
    assert np.nanmax(np.abs(found - FLAT)) * AXIAL_UM <= 24


def test_the_first_micrometres_are_left_out() -> None:
    frame = bscan(FLAT)
    frame[:, :6] += 50.0
    assert np.nanmedian(find_surface(frame, axial_um=AXIAL_UM)) == pytest.approx(60, abs=1.5)


def test_a_lone_line_far_from_its_neighbours_is_an_outlier() -> None:
    truth = FLAT.copy()
    truth[128] = 200.0
    found = find_surface(bscan(truth), axial_um=AXIAL_UM)
    assert np.isnan(found[128])
    assert np.isfinite(found[[127, 129]]).all()


def test_a_line_of_nan_has_no_surface_and_a_frame_at_the_floor_none_at_all() -> None:
    frame = bscan(FLAT)
    frame[40] = np.nan
    found = find_surface(frame, axial_um=AXIAL_UM)
    assert np.isnan(found[40])
    assert np.isfinite(found[39])
    assert np.isnan(find_surface(np.full(SHAPE, -100.0, np.float32), axial_um=AXIAL_UM)).all()


@pytest.mark.parametrize("truth", [FLAT, np.full(SHAPE[0], np.nan)], ids=["tissue", "noise only"])
def test_the_noise_floor_is_the_mean_of_the_noise(truth: NDArray[np.float64]) -> None:
    assert noise_floor_db(bscan(truth), axial_um=AXIAL_UM) == pytest.approx(10 * np.log10(NOISE), abs=0.2)


def test_lines_at_the_floor_do_not_lower_the_noise_floor() -> None:
    frame = bscan(FLAT)
    frame[:200] = -100.0
    found = noise_floor_db(frame, axial_um=AXIAL_UM)
    assert found == pytest.approx(10 * np.log10(NOISE), abs=0.5)


def test_what_was_masked_above_the_first_depth_does_not_matter() -> None:
    frame = bscan(TILTED)
    masked = frame.copy()
    masked[:, :5] = np.nan
    np.testing.assert_array_equal(
        find_surface(masked, axial_um=AXIAL_UM, noise_db=NOISE_DB),
        find_surface(frame, axial_um=AXIAL_UM, noise_db=NOISE_DB),
    )


@pytest.mark.parametrize("depth", [1, 2, 7, 8, 15, 16, 17, 31, 40])
def test_a_frame_that_is_hardly_deeper_than_what_is_left_out_has_no_surface(depth: int) -> None:
    frame = np.zeros((5, depth), np.float32)
    assert np.isnan(find_surface(frame, axial_um=AXIAL_UM, noise_db=-20.0)).all()


def test_says_what_is_wrong() -> None:
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(InputError, match=f"window_um is {bad}"):
            find_surface(np.zeros((4, 640), np.float32), axial_um=4.0, window_um=bad)
        with pytest.raises(InputError, match=f"ignore_um is {bad}"):
            find_surface(np.zeros((4, 640), np.float32), axial_um=4.0, ignore_um=bad)
    with pytest.raises(InputError, match=r"expected float \(alines, depth\), got float32 \(640,\)"):
        find_surface(np.zeros(640, np.float32), axial_um=4.0)
    with pytest.raises(InputError, match="got uint16"):
        find_surface(np.zeros((4, 640), np.uint16), axial_um=4.0)
    with pytest.raises(InputError, match="axial_um is 0"):
        find_surface(np.zeros((4, 640), np.float32), axial_um=0.0)
    with pytest.raises(InputError, match="lateral_alines is 0"):
        find_surface(np.zeros((4, 640), np.float32), axial_um=4.0, lateral_alines=0)
