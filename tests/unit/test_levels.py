"""B-scans in 8 bits: half a decibel, and nothing made of what is no number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from octmargin.errors import InputError
from octmargin.levels import from_levels, to_levels

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)


@settings(deadline=None)  # the first call compiles
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-36.0, 91.0, width=32)))
def test_what_spectra_of_16_bits_give_is_known_to_a_quarter_of_a_decibel(bscan_db: np.ndarray) -> None:
    assert np.abs(from_levels(to_levels(bscan_db)) - bscan_db).max() <= 0.25


@settings(deadline=None)
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32)))
def test_brighter_is_never_darker_and_what_is_no_number_is_unknown(bscan_db: np.ndarray) -> None:
    levels = to_levels(bscan_db)
    assert levels.shape == bscan_db.shape
    assert (levels[np.isnan(bscan_db)] == 0).all()
    assert (levels[bscan_db < -37] == 0).all()
    assert (levels[bscan_db > 91] == 255).all()
    known = np.isfinite(bscan_db)
    order = np.argsort(bscan_db[known])
    assert (np.diff(levels[known][order].astype(int)) >= 0).all()
    assert np.isnan(from_levels(levels)[levels == 0]).all()


@pytest.mark.parametrize("bscan", [np.zeros((4, 4)), np.zeros((4, 4), np.float32).T[:, ::2]])
def test_what_the_kernel_cannot_read_is_refused(bscan: np.ndarray) -> None:
    with pytest.raises(InputError, match="contiguous float32"):
        to_levels(bscan)
