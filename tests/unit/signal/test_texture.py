"""Texture against a plain float64 reference, and against what theory says of speckle."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.signal import Texture, texture

AXIAL_UM = 4.0


def speckle(alines: int, depth: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).exponential(50.0, (alines, depth)).astype(np.float32)


def reference(
    intensity: NDArray[np.float32], surface_px: NDArray[np.float32], per_block: int, band_px: int, bands: int
) -> dict[str, NDArray[np.float64]]:
    names = ("speckle_contrast", "spread_db", "lateral_similarity", "axial_similarity", "fractal_dimension")
    blocks = -(-len(intensity) // per_block)
    found = {name: np.full((blocks, bands), np.nan) for name in names}
    for b in range(blocks):
        lines = range(b * per_block, min((b + 1) * per_block, len(intensity)))
        for k in range(bands):
            cut = {}
            for i in lines:
                if np.isfinite(surface_px[i]):
                    below = intensity[i, int(np.floor(surface_px[i] + 0.5)) :].astype(np.float64)
                    whole = below[: min(len(below), bands * band_px) // band_px * band_px]
                    part = whole[k * band_px : (k + 1) * band_px]
                    if len(part) == band_px and np.isfinite(whole).all():
                        cut[i] = part
            if 2 * len(cut) < len(lines):
                continue
            linear = np.array(list(cut.values()))
            db = {i: 10 * np.log10(part) for i, part in cut.items()}
            mean = np.mean(list(db.values()))
            centred = {i: part - mean for i, part in db.items()}
            every = np.array(list(centred.values()))
            variance = np.mean(every**2)
            found["speckle_contrast"][b, k] = linear.std() / linear.mean()
            found["spread_db"][b, k] = np.sqrt(variance)
            pairs = [centred[i] * centred[i + 1] for i in centred if i + 1 in centred]
            found["lateral_similarity"][b, k] = np.mean(pairs) / variance if pairs else np.nan
            found["axial_similarity"][b, k] = np.mean(every[:, 2:] * every[:, :-2]) / variance
            lags = np.array([1, 2, 4, 8])
            steps = [np.mean((every[:, lag:] - every[:, :-lag]) ** 2) for lag in lags]
            slope = np.polyfit(np.log(lags), np.log(steps), 1)[0]
            found["fractal_dimension"][b, k] = np.clip(2 - slope / 2, 1, 2)
    return found


@pytest.mark.parametrize(
    ("alines", "depth", "per_block", "band_um", "bands"),
    [(64, 400, 16, 200.0, 5), (37, 300, 16, 64.0, 7), (20, 512, 8, 100.0, 3), (5, 100, 16, 80.0, 4)],
)
def test_agrees_with_the_float64_reference(
    alines: int, depth: int, per_block: int, band_um: float, bands: int
) -> None:
    rng = np.random.default_rng(alines)
    smooth = np.cumsum(rng.normal(0, 0.2, (alines, depth)), axis=1)
    intensity = (speckle(alines, depth, alines) * np.exp(smooth)).astype(np.float32)
    surface_px = rng.uniform(5, 60, alines).astype(np.float32)
    surface_px[rng.random(alines) < 0.2] = np.nan
    intensity[1, 70], intensity[3, 80] = np.nan, np.inf
    found = texture(
        intensity, surface_px, axial_um=AXIAL_UM, alines_per_block=per_block, band_um=band_um, bands=bands
    )
    expected = reference(intensity, surface_px, per_block, round(band_um / AXIAL_UM), bands)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=2e-3, atol=2e-3, err_msg=name)


def test_fully_developed_speckle_has_contrast_1_and_nothing_alike() -> None:
    found = texture(speckle(256, 300), np.full(256, 20.0), axial_um=AXIAL_UM)
    assert found.speckle_contrast.mean() == pytest.approx(1.0, rel=0.05)
    assert found.spread_db.mean() == pytest.approx(5.57, rel=0.05)
    assert np.abs(found.lateral_similarity).mean() < 0.05
    assert np.abs(found.axial_similarity).mean() < 0.05
    assert found.fractal_dimension.mean() > 1.9


def test_structure_larger_than_speckle_raises_similarity_and_lowers_the_fractal_dimension() -> None:
    z = np.arange(300)
    layers = np.exp(1.5 * np.sin(2 * np.pi * z / 40)).astype(np.float32)
    plain = texture(speckle(64, 300), np.full(64, 10.0), axial_um=AXIAL_UM)
    layered = texture(speckle(64, 300) * layers, np.full(64, 10.0), axial_um=AXIAL_UM)
    assert (layered.lateral_similarity > plain.lateral_similarity + 0.2).all()
    assert (layered.fractal_dimension < plain.fractal_dimension).all()
    walk = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.3, (64, 300)), axis=1)).astype(np.float32)
    brownian = texture(walk, np.full(64, 10.0), axial_um=AXIAL_UM)
    assert brownian.fractal_dimension.mean() == pytest.approx(1.5, abs=0.05)


def test_what_is_not_known_is_nan_and_never_a_number() -> None:
    missing = texture(speckle(16, 300), np.full(16, np.nan), axial_um=AXIAL_UM)
    assert np.isnan(missing.speckle_contrast).all()
    shallow = texture(speckle(16, 130), np.full(16, 10.0), axial_um=AXIAL_UM)
    assert np.isfinite(shallow.spread_db[:, :2]).all()
    assert np.isnan(shallow.spread_db[:, 2:]).all()
    for value in (1.0, 50.0, 1234.5):
        constant = texture(np.full((16, 300), value, np.float32), np.full(16, 10.0), axial_um=AXIAL_UM)
        assert np.isnan(constant.fractal_dimension).all()
        assert np.isnan(constant.lateral_similarity).all()
        assert np.isnan(constant.axial_similarity).all()
    zero = texture(np.zeros((16, 300), np.float32), np.full(16, 10.0), axial_um=AXIAL_UM)
    assert np.isnan(zero.speckle_contrast).all()
    assert isinstance(zero, Texture)


def test_says_what_is_wrong() -> None:
    intensity, surface_px = speckle(16, 100), np.full(16, 10.0)
    with pytest.raises(InputError, match=r"expected \(alines, depth\), got shape \(100,\)"):
        texture(intensity[0], surface_px, axial_um=4.0)
    with pytest.raises(InputError, match=r"surface_px: expected shape \(16,\)"):
        texture(intensity, surface_px[:3], axial_um=4.0)
    with pytest.raises(InputError, match="axial_um is -1"):
        texture(intensity, surface_px, axial_um=-1.0)
    with pytest.raises(InputError, match="band_um is 40, 10 pixels of 4 µm; give at least 16"):
        texture(intensity, surface_px, axial_um=4.0, band_um=40.0)
    with pytest.raises(InputError, match="bands is 0"):
        texture(intensity, surface_px, axial_um=4.0, bands=0)
