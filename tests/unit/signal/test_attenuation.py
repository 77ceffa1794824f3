"""Attenuation against analytic Beer-Lambert profiles and the published sum in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal import Calibration, Reconstructor, attenuation
from octmargin_simulator.optics import ConsoleOptics, Interferometer

AXIAL_MM = 0.004
DEPTH_MM = (np.arange(640) + 0.5) * AXIAL_MM


def beer_lambert(mu_per_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensity where the backscattered share is constant: mu exp(-2 int mu), integrated over each pixel."""
    optical_depth = np.concatenate([[0.0], np.cumsum(mu_per_mm) * AXIAL_MM])
    return 1e4 * -np.diff(np.exp(-2 * optical_depth)) / (2 * AXIAL_MM)


@pytest.mark.parametrize("mu", [0.8, 1.5, 3.0, 6.5])
def test_recovers_one_layer_over_the_whole_depth_tail_included(mu: float) -> None:
    found = attenuation(beer_lambert(np.full(640, mu)), AXIAL_MM)
    np.testing.assert_allclose(found, mu, rtol=0.02)


@pytest.mark.parametrize(("upper", "lower"), [(1.5, 6.5), (3.0, 6.5), (6.5, 3.0), (3.0, 1.5)])
def test_recovers_two_layers(upper: float, lower: float) -> None:
    found = attenuation(beer_lambert(np.where(DEPTH_MM < 0.4, upper, lower)), AXIAL_MM)
    np.testing.assert_allclose(found[:95], upper, rtol=0.03)
    np.testing.assert_allclose(found[105:250], lower, rtol=0.03)


@pytest.mark.parametrize("mu", [1.5, 3.0, 6.5])
def test_a_noise_floor_is_taken_off_and_nothing_is_claimed_below_the_cut(mu: float) -> None:
    noise = 20.0
    signal = beer_lambert(np.full(640, mu))
    found = attenuation(signal + noise, AXIAL_MM, noise=noise)
    visible = int((signal >= noise * 10**0.6).sum())
    assert abs(int(np.isfinite(found).sum()) - visible) <= 8
    np.testing.assert_allclose(found[: visible - 8], mu, rtol=0.05)
    assert np.isnan(found[visible + 8 :]).all()


def test_speckle_averages_out() -> None:
    rng = np.random.default_rng(3)
    signal = beer_lambert(np.where(DEPTH_MM < 0.3, 3.0, 6.5))
    frame = signal * rng.exponential(size=(4000, 640)) + 20.0 * rng.exponential(size=(4000, 640))
    found = attenuation(frame.mean(axis=0), AXIAL_MM, noise=20.0)
    assert np.mean(found[:70]) == pytest.approx(3.0, rel=0.05)
    assert np.mean(found[80:110]) == pytest.approx(6.5, rel=0.05)


def in_float64(
    line: NDArray[np.float64], correction: NDArray[np.float64], half_px: int
) -> NDArray[np.float64]:
    """The published sum over a whole profile, tail of two halves included, one pixel at a time."""
    signal = line * correction
    upper, lower = signal[-2 * half_px : -half_px].sum(), signal[-half_px:].sum()
    # A tail that does not fall counts as falling by 0.05 per mm.
    mu_tail = max(0.05, np.log(upper / lower) / (2 * AXIAL_MM * half_px))
    last = lower / np.exp(2 * mu_tail * AXIAL_MM * np.arange(half_px)).sum()
    below = last / (np.exp(2 * mu_tail * AXIAL_MM) - 1)
    return np.array([np.log(1 + signal[i] / (signal[i + 1 :].sum() + below)) for i in range(len(line))]) / (
        2 * AXIAL_MM
    )


@pytest.mark.parametrize("depth", [64, 100, 127, 128, 129, 640, 655, 1024])
@pytest.mark.parametrize("corrected", [False, True])
def test_agrees_with_the_published_sum_in_float64(depth: int, corrected: bool) -> None:
    rng = np.random.default_rng(depth)
    depth_mm = np.arange(depth) * AXIAL_MM
    lines = np.stack([beer_lambert(np.full(depth, 1.0)), beer_lambert(np.where(depth_mm < 0.5, 1.5, 2.5))])
    lines = (lines * rng.uniform(0.5, 1.5, lines.shape)).astype(np.float32)
    options: dict[str, float] = {}
    correction = np.ones(depth)
    if corrected:
        options = {"rolloff_db_per_mm": 1.5, "focus_mm": 0.3, "rayleigh_mm": 1.1}
        correction = 10 ** (1.5 * depth_mm / 10) * (1 + ((depth_mm - 0.3) / 1.1) ** 2)
    lines = (lines / correction).astype(np.float32)
    found = attenuation(lines, AXIAL_MM, tail_mm=0.2, **options)
    half_px = min(25, depth // 4)
    for line, mu in zip(lines.astype(np.float64), found, strict=True):
        np.testing.assert_allclose(mu, in_float64(line, correction, half_px), rtol=1e-4)


@pytest.mark.parametrize("ratio", [1e-4, 0.05, 1.9, 2.1, 30.0, 1e6])
def test_the_logarithm_is_right_for_small_and_for_huge_ratios(ratio: float) -> None:
    line = np.ones(200, dtype=np.float32)
    line[20] = ratio * (line[21:].sum(dtype=np.float64) + tail_below(line))
    found = attenuation(line, AXIAL_MM)
    assert found[20] == pytest.approx(np.log1p(ratio) / (2 * AXIAL_MM), rel=1e-4)


def tail_below(line: NDArray[np.float32]) -> float:
    """Light below a flat tail, which is taken for the slowest fall there is: 0.05 per mm."""
    fall = np.exp(-2 * 0.05 * AXIAL_MM * 25)
    return float(line[-25:].sum() * fall / (1 - fall))


def seen_through(depth_mm: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, float]]:
    """A sensitivity of 1.5 dB/mm roll-off and a confocal gate, and the options that say so."""
    shape = 10 ** (-0.15 * depth_mm) / (1 + ((depth_mm - 0.6) / 0.8) ** 2)
    return shape, {"rolloff_db_per_mm": 1.5, "focus_mm": 0.6, "rayleigh_mm": 0.8}


@pytest.mark.parametrize("mu", [1.0, 2.0, 3.0, 5.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_one_layer_is_right_to_the_last_tenth_of_what_is_seen(mu: float, seed: int) -> None:
    """Mean of 512 A-lines with speckle, over noise, roll-off and confocal gate: 30 dB at the surface."""
    found, end = speckled(np.full(640, mu), seed)
    errors = np.abs(found[:end] / mu - 1)
    assert errors.mean() < 0.1
    assert errors[-end // 10 :].mean() < 0.2


@pytest.mark.parametrize(("upper", "lower"), [(1.0, 3.0), (2.0, 6.0), (3.0, 8.0), (6.0, 2.0), (4.0, 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_two_layers_are_right_to_the_last_tenth_of_what_is_seen(
    upper: float, lower: float, seed: int
) -> None:
    truth = np.where(DEPTH_MM < 0.25, upper, lower)
    found, end = speckled(truth, seed)
    errors = np.abs(found[:end] / truth[:end] - 1)
    assert errors.mean() < 0.1
    assert errors[-end // 10 :].mean() < 0.2


def test_leaving_out_the_correction_would_be_seen() -> None:
    truth = np.full(640, 3.0)
    signal = beer_lambert(truth) * seen_through(DEPTH_MM - AXIAL_MM / 2)[0]
    assert np.abs(attenuation(signal, AXIAL_MM)[:300] / 3.0 - 1).mean() > 0.1


def speckled(truth: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float32], int]:
    """Attenuation of the mean of 512 synthetic A-lines, and the pixels that it claims to have seen."""
    rng = np.random.default_rng(seed)
    sensitivity, options = seen_through(np.arange(640) * AXIAL_MM)
    signal = beer_lambert(truth)
    noise = signal[0] * 1e-3
    frame = signal * sensitivity * rng.exponential(size=(512, 640)) + noise * rng.exponential(size=(512, 640))
    found = attenuation(frame.mean(axis=0), AXIAL_MM, noise=noise, **options)
    end = int(np.isfinite(found).sum())
    assert np.isfinite(found[:end]).all()
    return found, end


class LinearRolloff(ConsoleOptics):
    """The simulated console with a roll-off that is a straight line in dB."""

    def sensitivity(self, depth_px: Any) -> Any:
        return 10 ** (-2.0 * np.abs(depth_px) * self.axial_um / 1000 / 20)


@pytest.mark.parametrize(("upper", "lower"), [(3.0, 3.0), (6.0, 6.0), (2.0, 5.0)])
def test_simulated_spectra_come_back_as_their_attenuation(upper: float, lower: float) -> None:
    """From spectra through the reconstruction: scatterers below pixel 50, the mean of 512 A-lines."""
    optics = LinearRolloff()
    depth_mm = (np.arange(optics.depth_px) - 50) * AXIAL_MM
    truth = np.where(depth_mm < 0.2, upper, lower)
    falls = np.exp(-2 * np.cumsum(np.where(depth_mm >= 0, truth, 0.0)) * AXIAL_MM)
    power = np.where(depth_mm >= 0, truth / upper * falls, 0.0)
    amplitude = np.tile((optics.amplitude_for_snr(35.0) * np.sqrt(power)).astype(np.float32), (512, 1))
    raw = np.empty((512, optics.samples), np.uint16)
    Interferometer(optics).expose(amplitude, np.random.default_rng(4), raw)
    u = np.linspace(0, 1, optics.samples)
    calibration = Calibration(
        k_map=np.polynomial.polynomial.polyval(u, optics.k_map_coefficients),
        dispersion_rad=np.polynomial.polynomial.polyval(u, optics.dispersion_coefficients),
    )
    intensity = np.empty((512, optics.depth_px), np.float32)
    Reconstructor(calibration, samples=optics.samples, depth=optics.depth_px).process(raw, None, intensity)
    mean = intensity.mean(axis=0)
    noise = float(mean[-100:].mean())
    found = attenuation(mean, AXIAL_MM, noise=noise, rolloff_db_per_mm=2.0)
    end = int(np.flatnonzero(np.isfinite(found))[-1]) + 1
    # Two pixels of the point spread at the surface are neither air nor tissue.
    errors = np.abs(found[53:end] / truth[53:end] - 1)
    assert end > 150
    assert errors.mean() < 0.1
    assert errors[-(end - 53) // 10 :].mean() < 0.2


def test_keeps_the_shape_and_treats_each_line_alone() -> None:
    line = beer_lambert(np.full(640, 3.0))
    volume = np.broadcast_to(line, (2, 3, 640)).copy()
    volume[1, 2, 10] = np.nan
    found = attenuation(volume, AXIAL_MM)
    assert found.shape == (2, 3, 640)
    assert found.dtype == np.float32
    assert np.isnan(found[1, 2]).all()
    np.testing.assert_allclose(found[0], 3.0, rtol=0.02)


@pytest.mark.parametrize("line", [np.zeros(100), np.full(100, 20.0), np.full(100, 1.0)])
def test_a_line_without_signal_has_no_attenuation(line: NDArray[np.float64]) -> None:
    assert np.isnan(attenuation(line, AXIAL_MM, noise=20.0)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 320, 639])
def test_one_value_that_is_not_finite_makes_its_line_unknown_and_no_other(bad: float, at: int) -> None:
    lines = np.tile(beer_lambert(np.full(640, 3.0)), (3, 1))
    lines[1, at] = bad
    found = attenuation(lines, AXIAL_MM)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2]], 3.0, rtol=0.02)


@pytest.mark.parametrize("depth", [1, 2, 7, 8, 9, 63, 65])
def test_short_lines_are_read_or_unknown_never_infinite(depth: int) -> None:
    found = attenuation(beer_lambert(np.full(depth, 3.0)), AXIAL_MM)
    assert not np.isinf(found).any()
    if depth >= 8:
        np.testing.assert_allclose(found, 3.0, rtol=0.05)
    assert np.isnan(attenuation(np.zeros(depth), AXIAL_MM)).all()


def test_writes_into_out() -> None:
    lines = np.tile(beer_lambert(np.full(640, 3.0)), (4, 1)).astype(np.float32)
    out = np.empty_like(lines)
    assert attenuation(lines, AXIAL_MM, out=out) is out
    np.testing.assert_array_equal(out, attenuation(lines, AXIAL_MM))


def test_a_flat_line_stays_finite_and_near_zero() -> None:
    found = attenuation(np.ones(640), AXIAL_MM)
    assert np.isfinite(found).all()
    assert found.max() < 0.3


def test_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"expected \(..., depth\), got shape \(\)"):
        attenuation(1.0, AXIAL_MM)
    with pytest.raises(InputError, match="axial_mm is 0"):
        attenuation(np.ones(8), 0.0)
    with pytest.raises(InputError, match="snr_cut_db is nan"):
        attenuation(np.ones(8), AXIAL_MM, snr_cut_db=np.nan)
    for bad in (np.nan, np.inf, 0.0):
        with pytest.raises(InputError, match=f"tail_mm is {bad}"):
            attenuation(np.ones(8), AXIAL_MM, tail_mm=bad)
    with pytest.raises(InputError, match="noise is -1"):
        attenuation(np.ones(8), AXIAL_MM, noise=-1.0)
    with pytest.raises(InputError, match="rolloff_db_per_mm is -1"):
        attenuation(np.ones(8), AXIAL_MM, rolloff_db_per_mm=-1.0)
    with pytest.raises(InputError, match="focus_mm and rayleigh_mm belong together"):
        attenuation(np.ones(8), AXIAL_MM, focus_mm=0.5)
    with pytest.raises(InputError, match="focus_mm is nan"):
        attenuation(np.ones(8), AXIAL_MM, focus_mm=np.nan, rayleigh_mm=0.5)
    with pytest.raises(InputError, match="rayleigh_mm is 0"):
        attenuation(np.ones(8), AXIAL_MM, focus_mm=0.5, rayleigh_mm=0.0)
    line = np.ones(8, dtype=np.float32)
    with pytest.raises(InputError, match=r"out: expected a C-contiguous float32 array \(8,\)"):
        attenuation(line, AXIAL_MM, out=np.empty(9, dtype=np.float32))
    with pytest.raises(InputError, match="out shares memory"):
        attenuation(line, AXIAL_MM, out=line)
    read_only = np.empty(8, dtype=np.float32)
    read_only.flags.writeable = False
    with pytest.raises(InputError, match="out is read-only"):
        attenuation(line, AXIAL_MM, out=read_only)
