"""Attenuation against analytic Beer-Lambert profiles and the published sum in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal import attenuation

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


def test_agrees_with_the_published_sum_in_float64() -> None:
    rng = np.random.default_rng(5)
    lines = np.stack([beer_lambert(np.full(640, 3.0)), beer_lambert(np.where(DEPTH_MM < 0.5, 1.5, 5.0))])
    lines = (lines * rng.uniform(0.8, 1.2, lines.shape)).astype(np.float32)
    found = attenuation(lines, AXIAL_MM, tail_mm=0.2)
    for line, mu in zip(lines.astype(np.float64), found, strict=True):
        upper, lower = line[-50:-25].sum(), line[-25:].sum()
        mu_tail = np.log(upper / lower) / (2 * AXIAL_MM * 25)
        last = lower / np.exp(2 * mu_tail * AXIAL_MM * np.arange(25)).sum()
        below = last / (np.exp(2 * mu_tail * AXIAL_MM) - 1)
        expected = [np.log(1 + line[i] / (line[i + 1 :].sum() + below)) / (2 * AXIAL_MM) for i in range(640)]
        np.testing.assert_allclose(mu, expected, rtol=1e-4)


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


def test_a_flat_line_stays_finite_and_near_zero() -> None:
    found = attenuation(np.ones(640), AXIAL_MM)
    assert np.isfinite(found).all()
    assert found.max() < 0.3


def test_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"expected \(..., depth\), got shape \(\)"):
        attenuation(1.0, AXIAL_MM)
    with pytest.raises(InputError, match="axial_mm is 0"):
        attenuation(np.ones(8), 0.0)
    with pytest.raises(InputError, match="noise is -1"):
        attenuation(np.ones(8), AXIAL_MM, noise=-1.0)
