"""The passes over a frame's A-lines, against NumPy one block at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from octmargin.margin import _block_kernels

ALINES_PER_BLOCK = 16


@pytest.fixture(params=[16, 40, 100])
def surface_px(request: pytest.FixtureRequest) -> NDArray[np.float32]:
    """Surfaces with holes; where there are several blocks, the second has none at all."""
    rng = np.random.default_rng(request.param)
    surface = (40 + 10 * rng.random(request.param)).astype(np.float32)
    surface[rng.random(request.param) < 0.2] = np.nan
    surface[16:32] = np.nan
    return surface


def blocks_of(values: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    return [values[i : i + ALINES_PER_BLOCK] for i in range(0, len(values), ALINES_PER_BLOCK)]


@pytest.mark.parametrize("wanted_px", [50, 203, 300])
def test_a_block_is_the_mean_of_its_usable_alines_below_their_surface(
    surface_px: NDArray[np.float32], wanted_px: int
) -> None:
    rng = np.random.default_rng(1)
    intensity = rng.exponential(size=(len(surface_px), 300)).astype(np.float32)
    # As the assessor hands it over: another kind of array would be compiled anew.
    intensity.flags.writeable = False
    usable = np.isfinite(surface_px) & (rng.random(len(surface_px)) < 0.8)
    blocks = len(blocks_of(surface_px))
    profile = np.full((blocks, wanted_px), 7.0, dtype=np.float32)
    profile_px = np.empty(blocks, dtype=np.int64)
    _block_kernels.average_blocks(intensity, surface_px, usable, ALINES_PER_BLOCK, profile, profile_px)
    for b, lines in enumerate(blocks_of(np.arange(len(surface_px)))):
        kept = [i for i in lines if usable[i]]
        length = min((300 - round(float(surface_px[i])) for i in kept), default=0)
        assert profile_px[b] == length
        expected = np.zeros(300)
        for i in kept:
            top = round(float(surface_px[i]))
            expected[:length] += intensity[i, top : top + length].astype(np.float64) / len(kept)
        np.testing.assert_allclose(profile[b], expected[:wanted_px], rtol=1e-5)


def test_shares_and_medians_are_those_of_each_block(surface_px: NDArray[np.float32]) -> None:
    clipped = np.random.default_rng(2).random(len(surface_px)) < 0.3
    blocks = len(blocks_of(surface_px))
    missing, saturated = np.empty(blocks), np.empty(blocks)
    median_px = np.empty(blocks, dtype=np.float32)
    _block_kernels.summarise_blocks(surface_px, clipped, ALINES_PER_BLOCK, missing, saturated, median_px)
    np.testing.assert_allclose(missing, [np.isnan(block).mean() for block in blocks_of(surface_px)])
    np.testing.assert_allclose(saturated, [block.mean() for block in blocks_of(clipped)])
    for median, block in zip(median_px, blocks_of(surface_px), strict=True):
        found = block[np.isfinite(block)]
        np.testing.assert_allclose(median, np.median(found) if found.size else np.nan, rtol=1e-6)
