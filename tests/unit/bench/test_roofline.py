"""The roof is the time of whatever is scarcer, arithmetic or memory."""

from __future__ import annotations

import pytest

from octmargin.bench.peaks import Peaks, measure_peaks
from octmargin.bench.roofline import AlineWork, chain_work, fft_work

PEAKS = Peaks(copy_gb_per_s=10.0, gflop_per_s=100.0)


def test_much_arithmetic_on_few_bytes_is_bound_by_arithmetic() -> None:
    assert AlineWork(flop=200_000, bytes=1_000).roof_us(PEAKS) == pytest.approx(2.0)


def test_little_arithmetic_on_many_bytes_is_bound_by_memory() -> None:
    assert AlineWork(flop=1_000, bytes=50_000).roof_us(PEAKS) == pytest.approx(5.0)


def test_a_chain_is_its_fft_and_more_but_moves_fewer_bytes() -> None:
    fft, chain = fft_work(2048), chain_work(2048, 1024)
    assert fft == AlineWork(flop=5 * 2048 * 11, bytes=2048 * 16)
    assert chain.flop > fft.flop
    assert chain.bytes == 2048 * 2 + 1024 * 4


def test_the_machine_has_peaks() -> None:
    peaks = measure_peaks()
    assert peaks.copy_gb_per_s > 0
    assert peaks.gflop_per_s > 0
