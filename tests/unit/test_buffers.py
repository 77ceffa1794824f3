"""Arrays that begin on a cache line."""

from __future__ import annotations

import numpy as np
import pytest

from octmargin.buffers import CACHE_LINE, aligned_zeros
from octmargin.ring import FrameRing


@pytest.mark.parametrize("shape", [3, (5,), (7, 11), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_is_zeros_of_the_wanted_shape_from_the_begin_of_a_cache_line(
    shape: int | tuple[int, ...], dtype: type
) -> None:
    for _ in range(5):
        array = aligned_zeros(shape, dtype)
        np.testing.assert_array_equal(array, np.zeros(shape, dtype), strict=True)
        assert array.ctypes.data % CACHE_LINE == 0
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_every_slot_of_a_ring_begins_on_a_cache_line() -> None:
    ring = FrameRing(4, 1000)
    for _ in range(4):
        assert ring.reserve().memory.ctypes.data % CACHE_LINE == 0
