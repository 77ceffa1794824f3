"""The batched FFT against NumPy's in double precision."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octmargin.errors import InputError
from octmargin.signal import fft


def signals(alines: int, length: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(2, alines, length))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


@pytest.mark.parametrize(
    "length",
    [
        4,
        5,
        6,
        8,
        9,
        10,
        15,
        25,
        27,
        30,
        64,
        100,
        128,
        243,
        512,
        625,
        1000,
        1024,
        1200,
        1536,
        2048,
        4096,
        5000,
    ],
)
@pytest.mark.parametrize("alines", [1, 16, 37])
def test_agrees_with_double_precision(length: int, alines: int) -> None:
    x = signals(alines, length)
    expected = np.fft.fft(x.astype(np.complex128), axis=1)
    error = np.linalg.norm(fft(x) - expected) / np.linalg.norm(expected)
    assert error < 5e-7


@settings(deadline=None)  # the first length that is tried may load the kernels
@given(
    twos=st.integers(0, 8),
    threes=st.integers(0, 3),
    fives=st.integers(0, 2),
    alines=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_agrees_for_any_length_of_small_factors(
    twos: int, threes: int, fives: int, alines: int, seed: int
) -> None:
    length = max(4, 2**twos * 3**threes * 5**fives)
    x = signals(alines, length, seed)
    expected = np.fft.fft(x.astype(np.complex128), axis=1)
    assert np.linalg.norm(fft(x) - expected) <= 5e-7 * np.linalg.norm(expected)


def test_a_nan_or_an_infinity_stays_in_its_own_line() -> None:
    x = signals(20, 128)
    expected = fft(x)
    x[3, 5], x[7, 9] = np.nan, np.inf
    got = fft(x)
    assert not np.isfinite(got[[3, 7]]).any()
    np.testing.assert_array_equal(np.delete(got, [3, 7], axis=0), np.delete(expected, [3, 7], axis=0))


def test_may_write_over_its_input_and_takes_strided_or_read_only_input() -> None:
    x = signals(40, 256)
    expected = fft(x)
    np.testing.assert_array_equal(fft(np.repeat(x, 2, axis=1)[:, ::2]), expected)
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(fft(frozen), expected)
    assert fft(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


def test_without_memory_for_its_buffers_it_says_so_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fft(np.ones((1, 64), np.complex64))

    def no_memory(length: int) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        # The package has a function of that name.
        patch.setattr(importlib.import_module("octmargin.signal.fft"), "work_buffers", no_memory)
        for _ in range(2):
            with pytest.raises(MemoryError):
                fft(np.ones((1, 4096), np.complex64))
    np.testing.assert_allclose(fft(np.ones((1, 4096), np.complex64))[0, 0], 4096.0)


def test_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match="14 points has factors other than 2, 3 and 5; use 15"):
        fft(signals(1, 14))
    with pytest.raises(InputError, match=r"expected complex64 \(alines, n\), got complex128"):
        fft(signals(1, 16).astype(np.complex128))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"out: expected a C-contiguous complex64 array \(2, 16\)"):
        fft(signals(2, 16), out=signals(1, 16))
    frozen = signals(2, 16)
    frozen.flags.writeable = False
    with pytest.raises(InputError, match="out is read-only"):
        fft(signals(2, 16), out=frozen)
