"""Sums that grow side by side in registers, against NumPy, for tiles of the sizes that processors have room for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from octmargin.signal._lanes import LANES
from octmargin.signal._tiles import rectified_tile, store_tile, tile, with_products


def product(rows: int, groups: int) -> Any:
    """A kernel: `rows` of `source`, each `row_step` after the one before, times `weights`, and `bias`."""

    @njit
    def kernel(
        source: Any, row_step: int, count: int, weights: Any, width: int, bias: Any, out: Any, rectify: bool
    ) -> None:
        sums = tile(rows, groups, bias, 0)
        for c in range(count):
            sums = with_products(sums, source, c, row_step, weights, c * width)
        if rectify:
            sums = rectified_tile(sums)
        store_tile(out, 0, width, sums)

    return kernel


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(("rows", "groups"), [(1, 1), (5, 1), (13, 1), (13, 2), (3, 3)])
def test_a_tile_is_a_product_of_matrices(rows: int, groups: int, rectify: bool) -> None:
    rng = np.random.default_rng(rows * groups)
    count, width, row_step = 37, groups * LANES + 5, 41
    source = rng.standard_normal(rows * row_step).astype(np.float32)
    weights = rng.standard_normal((count, width)).astype(np.float32)
    bias = rng.standard_normal(width).astype(np.float32)
    out = np.full((rows, width), 7, np.float32)
    product(rows, groups)(source, row_step, count, weights.reshape(-1), width, bias, out.reshape(-1), rectify)
    expected = source.reshape(rows, row_step)[:, :count].astype(np.float64) @ weights + bias
    if rectify:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(out[:, : groups * LANES], expected[:, : groups * LANES], rtol=1e-4, atol=1e-4)
    assert (out[:, groups * LANES :] == 7).all(), "nothing is written beside the tile"


def test_a_number_that_is_none_stays_in_its_row_and_is_not_rectified() -> None:
    source = np.ones(13, np.float32)
    source[4] = np.nan
    out = np.zeros((13, 32), np.float32)
    product(13, 2)(source, 1, 1, np.ones(32, np.float32), 32, np.zeros(32, np.float32), out.reshape(-1), True)
    assert np.isnan(out[4]).all()
    assert (np.delete(out, 4, axis=0) == 1).all()
