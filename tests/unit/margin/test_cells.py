"""Cells and their features, against NumPy in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from octmargin.margin import _cell_kernels as kernels
from octmargin.margin.cells import average_cells, row_edges_px

DEPTH = 520


def lines(alines: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).exponential(size=(alines, DEPTH)).astype(np.float32)
    values.flags.writeable = False
    return values


@settings(deadline=None)
@given(usable=st.lists(st.booleans(), min_size=1, max_size=40), beyond=st.integers(0, 20))
def test_an_aline_that_cannot_be_used_takes_the_nearest_that_can(usable: list[bool], beyond: int) -> None:
    source = np.empty(len(usable) + beyond, np.int64)
    kernels.nearest_usable(np.array(usable), source)
    good = np.flatnonzero(usable)
    if not good.size:
        assert (source == -1).all()
        return
    for aline, taken in enumerate(source.tolist()):
        assert usable[taken]
        assert abs(taken - aline) == np.abs(good - aline).min()


@pytest.mark.parametrize("axial_um", [3.8, 4.0, 4.2])
def test_a_cell_is_the_mean_of_its_pixels_below_the_surface(axial_um: float) -> None:
    intensity, noise = lines(48), 0.7
    surface_px = np.random.default_rng(1).uniform(2, 150, 48).astype(np.float32)
    source, cells = np.empty(48, np.int64), np.empty((48, kernels.ROWS), np.float32)
    average_cells(intensity, surface_px, np.ones(48, np.bool_), noise, axial_um, source, cells)
    edges_px = row_edges_px(axial_um)
    assert edges_px[kernels.ROWS_ABOVE] == 0
    for aline in range(48):
        top = int(np.floor(surface_px[aline] + 0.5))
        for row in range(kernels.ROWS):
            first, stop = top + edges_px[row], top + edges_px[row + 1]
            inside = first >= 0 and stop <= DEPTH
            mean = intensity[aline, first:stop].mean(dtype=np.float64) / noise if inside else 1.0
            assert cells[aline, row] == pytest.approx(mean, rel=1e-5)


def reference_features(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """(columns, ROWS, FEATURES), with NumPy."""
    alines, rows = cells.shape
    pairs = cells.reshape(alines // 2, 2, rows)
    db = np.maximum(10 * np.log10(pairs), -20)
    groups = cells.reshape(alines // 8, 8, rows).mean(axis=1)
    signal = np.maximum(groups - 1, 0.02)
    surface = np.maximum(groups[:, 6:14].mean(axis=1) - 1, 0.02)
    in_tissue = signal.copy()
    in_tissue[:, :4] = 0.02
    below = np.cumsum(in_tissue[:, ::-1], axis=1)[:, ::-1] - in_tissue + 0.3
    attenuation = np.log1p(in_tissue / below) / (2 * 0.016)
    found = np.empty((alines // 2, rows, kernels.FEATURES))
    found[..., kernels.LEVEL] = np.log10(pairs.mean(axis=1) + 1e-3) - 1.3
    found[..., kernels.SPREAD] = np.abs(db[:, 0] - db[:, 1]) / 10 - 0.5
    found[..., kernels.ATTENUATION] = np.repeat(0.5 * np.log(np.maximum(attenuation, 0.1)), 4, axis=0)
    found[..., kernels.RELATIVE] = np.repeat(0.5 * np.log10(signal / surface[:, None]), 4, axis=0)
    found[..., kernels.SEEN] = np.repeat(groups > 10**0.6, 4, axis=0)
    found[..., kernels.DEPTH] = np.linspace(-1, 1, rows)
    return found


@settings(max_examples=25, deadline=None)
@given(blocks=st.integers(1, 6), seed=st.integers(0, 1000), scale=st.floats(0.01, 1e4))
def test_features_are_what_they_say(blocks: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    fall = np.exp(-np.arange(kernels.ROWS) / 20)
    cells = (rng.gamma(2.5, 0.4, (16 * blocks, kernels.ROWS)) * (1 + scale * fall)).astype(np.float32)
    features = np.zeros((8 * blocks + 2, kernels.ROWS + 2, kernels.FEATURES), np.float32)
    kernels.cell_features(cells, np.empty_like(cells), np.zeros(16, np.float32), features)
    expected = reference_features(cells.astype(np.float64))
    # Where eight A-lines lie on the limit, single precision may see them on its other side.
    borderline = np.abs(np.repeat(cells.reshape(2 * blocks, 8, -1).mean(axis=1), 4, axis=0) - 10**0.6) < 1e-3
    expected[..., kernels.SEEN][borderline] = features[1:-1, 1:-1, kernels.SEEN][borderline]
    np.testing.assert_allclose(features[1:-1, 1:-1], expected, atol=2e-3)
    features[1:-1, 1:-1] = 0
    assert not features.any(), "the border stays as it was"
