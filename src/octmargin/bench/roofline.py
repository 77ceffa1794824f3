"""The least time that one core could take: operations and bytes of an A-line against the machine's peaks.

Williams, Waterman & Patterson 2009, doi 10.1145/1498765.1498785. docs/performance.md explains the counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from octmargin.bench.peaks import Peaks

_RAW_BYTES, _FLOAT_BYTES, _COMPLEX_BYTES = 2, 4, 8
_LOAD_FLOP = 11
"""Per sample: 1 for the mean background and 1 to subtract it, 7 for four taps, 2 for the complex phasor."""
_STORE_FLOP = 18
"""Per depth pixel: 3 for the squared magnitude, 15 for the logarithm by a polynomial of degree 6."""


@dataclass(frozen=True, slots=True)
class AlineWork:
    """What one A-line costs at least: single-precision operations, and bytes to and from memory."""

    flop: float
    bytes: float

    def roof_us(self, peaks: Peaks) -> float:
        """Time in µs if only the scarcer of the two counted."""
        return max(self.flop / peaks.gflop_per_s, self.bytes / peaks.copy_gb_per_s) / 1e3


def fft_work(samples: int) -> AlineWork:
    """A complex64 FFT, by the usual count of 5 n log2 n; every value is read once and written once."""
    return AlineWork(flop=5.0 * samples * math.log2(samples), bytes=2.0 * _COMPLEX_BYTES * samples)


def chain_work(samples: int, depth: int) -> AlineWork:
    """Spectra of uint16 to dB: spectra read once, dB written once, nothing else leaves the cache."""
    return AlineWork(
        flop=_LOAD_FLOP * samples + fft_work(samples).flop + _STORE_FLOP * depth,
        bytes=_RAW_BYTES * samples + _FLOAT_BYTES * depth,
    )
