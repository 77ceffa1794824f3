"""The rows of `octmargin bench kernels`: what is called, on what, and why where it cannot be."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from octmargin.bench.plain_chain import PlainChain
from octmargin.bench.resident import ResidentFft
from octmargin.bench.roofline import AlineWork, chain_work, fft_work
from octmargin.bench.synthetic import AXIAL_UM, SyntheticFrame
from octmargin.buffers import aligned_zeros
from octmargin.errors import OctMarginError
from octmargin.margin import Assessor, BlockFlags
from octmargin.signal import Reconstructor, Texture, attenuation, find_surface, noise_floor_db, texture
from octmargin.signal import fft as our_fft

UNIT = "scipy.fft"
ALLOWED_DIFFERENCE_DB = 0.05
_STREAMED_FRAMES = 8
_FFTW_ALINES = 32
"""A-lines of one FFTW plan: a PATIENT plan over more takes many seconds and is no faster."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to measure: `call` does it once for the whole frame, or `note` says why it cannot be done."""

    name: str
    what: str
    call: Callable[[], object] | None
    note: str = ""
    least: AlineWork | None = None
    """What one A-line costs at least, where that was counted."""
    frames: int = 1
    """How many times `call` does it."""


class Workload:
    """One synthetic frame with everything that the rows need of it."""

    def __init__(self, frame: SyntheticFrame, *, depth: int, threads: int) -> None:
        # As in the ring.
        self.raw = aligned_zeros(frame.raw.shape, frame.raw.dtype)
        self.raw[:] = frame.raw
        self.depth = depth
        self.threads = threads
        alines, samples = frame.raw.shape
        self.chain = Reconstructor(frame.calibration, samples=samples, depth=depth)
        self.threaded_chain = Reconstructor(frame.calibration, samples=samples, depth=depth, threads=threads)
        self.plain_chain = PlainChain(frame.calibration, samples=samples, depth=depth)
        self.bscan_db = aligned_zeros((alines, depth), np.float32)
        self.intensity = aligned_zeros((alines, depth), np.float32)
        self.mu_per_mm = aligned_zeros((alines, depth), np.float32)
        self.chain.process(frame.raw, self.bscan_db, self.intensity)
        self.noise = 10.0 ** (noise_floor_db(self.bscan_db, axial_um=AXIAL_UM) / 10.0)
        self.rule, self.network = Assessor("rule-1"), Assessor("margin-1")
        self.surface_px = find_surface(self.bscan_db, axial_um=AXIAL_UM)
        lines = frame.raw - frame.raw.mean(axis=0)
        self.spectra = np.ascontiguousarray(lines, dtype=np.complex64)
        self.lines = np.empty_like(self.spectra)
        self.resident = ResidentFft(samples, alines)

    def check_chains_agree(self) -> float:
        """Largest difference of the two chains in dB; OctMarginError where they do not do the same."""
        plain_db = self.plain_chain.process(self.raw)
        difference_db = float(np.abs(plain_db - self.chain.process(self.raw)).max())
        if not difference_db <= ALLOWED_DIFFERENCE_DB:
            raise OctMarginError(
                f"the NumPy chain and the kernels differ by {difference_db:.3g} dB on the same spectra: "
                "their times cannot be compared; please report this"
            )
        return difference_db

    def reconstruct(self) -> None:
        """Spectra to dB and intensity, one thread."""
        self.chain.process(self.raw, self.bscan_db, self.intensity)

    def attenuate(self) -> NDArray[np.float32]:
        """Attenuation of the whole frame."""
        return attenuation(self.intensity, AXIAL_UM / 1000.0, noise=self.noise, out=self.mu_per_mm)

    def describe_texture(self, surface_px: NDArray[np.float32]) -> Texture:
        """Texture below the surface, of every block."""
        return texture(self.intensity, surface_px, axial_um=AXIAL_UM)

    def assess(self, assessor: Assessor) -> BlockFlags:
        """Flags of the frame's blocks, the surface included."""
        return assessor.assess(self.bscan_db, axial_um=AXIAL_UM, intensity=self.intensity)

    def everything(self) -> None:
        """Spectra to flags by the rule, attenuation and texture."""
        self.reconstruct()
        self.attenuate()
        self.describe_texture(self.assess(self.rule).surface_px)


def kernel_rows(work: Workload) -> list[Row]:
    """All rows, the unit first."""
    samples = work.raw.shape[1]
    fft_what = f"complex64 FFT of {samples} points, 1 thread"
    least_fft, least_chain = fft_work(samples), chain_work(samples, work.depth)
    return [
        Row(UNIT, f"{fft_what}: the unit", lambda: fft.fft(work.spectra, axis=1, workers=1), least=least_fft),
        _fftw_row(work, fft_what, least_fft),
        Row("octmargin FFT", fft_what, lambda: our_fft(work.spectra, work.lines), least=least_fft),
        Row(
            "octmargin FFT, as in the chain",
            "the passes alone, sixteen A-lines that stay in the cache",
            work.resident.transform,
        ),
        Row(
            "numpy+scipy chain",
            "uint16 to dB, 1 thread",
            lambda: work.plain_chain.process(work.raw),
            least=least_chain,
        ),
        Row(
            "octmargin chain",
            "uint16 to dB, 1 thread",
            lambda: work.chain.process(work.raw, work.bscan_db),
            least=least_chain,
        ),
        Row("octmargin chain, both", "uint16 to dB and linear intensity, 1 thread", work.reconstruct),
        Row(
            f"octmargin chain, {work.threads} threads",
            "uint16 to dB, the threads woken for one frame",
            lambda: work.threaded_chain.process(work.raw, work.bscan_db),
        ),
        _stream_row(work, work.chain, "1 thread"),
        _stream_row(work, work.threaded_chain, f"{work.threads} threads"),
        Row(
            "surface",
            "noise floor and surface of every A-line",
            lambda: find_surface(work.bscan_db, axial_um=AXIAL_UM),
        ),
        Row("attenuation", "depth-resolved, every pixel", work.attenuate),
        Row(
            "flags, rule-1",
            "dB to the flags of every block, surface included",
            lambda: work.assess(work.rule),
        ),
        Row("flags, margin-1", "the same by the trained network", lambda: work.assess(work.network)),
        Row("texture", "five bands of every block", lambda: work.describe_texture(work.surface_px)),
        Row(
            "chain + all of these",
            "uint16 to flags by rule-1, attenuation and texture, 1 thread",
            work.everything,
        ),
    ]


def _stream_row(work: Workload, chain: Reconstructor, threads: str) -> Row:
    def call() -> None:
        for _ in range(_STREAMED_FRAMES):
            chain.process(work.raw, work.bscan_db)

    what = f"uint16 to dB, {_STREAMED_FRAMES} frames one after the other"
    return Row(f"octmargin chain, stream, {threads}", what, call, frames=_STREAMED_FRAMES)


def _fftw_row(work: Workload, what: str, least: AlineWork) -> Row:
    name = "FFTW, PATIENT plan"
    if importlib.util.find_spec("pyfftw") is None:
        return Row(name, what, None, "not installed: pip install octmargin[bench]")
    pyfftw = importlib.import_module("pyfftw")
    alines, samples = work.spectra.shape
    pieces = [slice(start, start + _FFTW_ALINES) for start in range(0, alines, _FFTW_ALINES)]
    spectra, lines = (pyfftw.empty_aligned((alines, samples), "complex64") for _ in range(2))
    # One plan a length: only the last piece may be shorter.
    plans = {
        length: pyfftw.FFTW(spectra[:length], lines[:length], axes=(1,), flags=("FFTW_PATIENT",), threads=1)
        for length in {len(spectra[piece]) for piece in pieces}
    }
    # Planning writes to its arrays.
    spectra[:] = work.spectra

    def transform() -> NDArray[np.complex64]:
        for piece in pieces:
            plan = plans[len(spectra[piece])]
            plan.update_arrays(spectra[piece], lines[piece])
            plan.execute()
        return lines  # type: ignore[no-any-return]

    return Row(name, what, transform, least=least)
