"""`octmargin bench kernels`: all rows in one process and one run, round by round."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from octmargin.bench.kernel_rows import Row, Workload, kernel_rows
from octmargin.bench.machine import Machine, describe_machine
from octmargin.bench.peaks import Peaks, measure_peaks
from octmargin.bench.statistics import Timing, summarise, time_rounds
from octmargin.bench.synthetic import synthetic_frame
from octmargin.errors import InputError, OctMarginError
from octmargin.signal._fft_plan import is_supported, next_supported


class CompareCpu(Enum):
    """What else numba can be told to compile for."""

    HOST = "host"
    AVX2 = "avx2"
    GENERIC = "generic"


_CPU_VARIABLES = {
    CompareCpu.HOST: {},
    # With features that are named, since numba takes the host's otherwise.
    CompareCpu.AVX2: {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"},
    CompareCpu.GENERIC: {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}
_COMPARISON_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """Shape of the frame and number of rounds."""

    samples: int = 2048
    alines: int = 512
    depth: int = 1024
    rounds: int = 40
    threads: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= self.samples // 2:
            raise InputError(
                f"--depth {self.depth}: {self.samples} samples give depths from 1 to {self.samples // 2}"
            )
        if not is_supported(self.samples):
            raise InputError(
                f"--samples {self.samples}: has factors other than 2, 3 and 5, which our FFT does not take by itself; "
                f"use {next_supported(self.samples)}"
            )


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One row of the table; `timing` is None where `note` says why it was not measured."""

    name: str
    what: str
    timing: Timing | None
    roof_us: float | None
    """The least time per A-line that the machine's peaks allow one core; None where it was not counted."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class KernelReport:
    """All figures of one run and the conditions they were measured under. The spectra are synthetic."""

    machine: Machine
    plan: KernelPlan
    peaks: Peaks
    chains_differ_db: float
    """Largest difference between the NumPy chain and ours on the frame that was timed."""
    rows: list[MeasuredRow]


def measure_kernels(plan: KernelPlan) -> KernelReport:
    """Check that the chains agree, then measure. OctMarginError where they do not."""
    work = Workload(synthetic_frame(plan.samples, plan.alines), depth=plan.depth, threads=plan.threads)
    difference_db = work.check_chains_agree()
    peaks = measure_peaks()
    rows = kernel_rows(work)
    durations_ns = time_rounds({row.name: row.call for row in rows if row.call is not None}, plan.rounds)
    unit_ns = durations_ns[rows[0].name]
    return KernelReport(
        machine=describe_machine(),
        plan=plan,
        peaks=peaks,
        chains_differ_db=difference_db,
        rows=[
            MeasuredRow(
                row.name,
                row.what,
                _timing(row, durations_ns[row.name], unit_ns, plan.alines) if row.call is not None else None,
                row.least.roof_us(peaks) if row.least is not None else None,
                row.note,
            )
            for row in rows
        ],
    )


def _timing(row: Row, durations_ns: list[int], unit_ns: list[int], alines: int) -> Timing:
    return summarise([duration / row.frames for duration in durations_ns], unit_ns, alines)


def measure_kernels_for_cpu(
    plan: KernelPlan, cpu: CompareCpu, *, timeout_s: float = _COMPARISON_TIMEOUT_S
) -> KernelReport:
    """The same in a process of its own in which numba compiles for `cpu`.

    Its kernels go to a cache folder of their own. OctMarginError with the last words of a process that fails.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU_")}
    environment |= _CPU_VARIABLES[cpu]
    with tempfile.TemporaryDirectory(prefix="octmargin-bench-") as folder:
        environment["NUMBA_CACHE_DIR"] = folder
        path = Path(folder) / "report.json"
        options = [f"--{name.replace('_', '-')}={value}" for name, value in msgspec.to_builtins(plan).items()]
        command = [sys.executable, "-m", "octmargin", "bench", "kernels", *options]
        try:
            done = subprocess.run(  # noqa: S603 - this program itself
                [*command, "--no-compare", "--json", str(path)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise OctMarginError(
                f"--compare-cpu {cpu.value}: not done after {timeout_s:.0f} s; ask for fewer --rounds"
            ) from error
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["(it said nothing)"]
            raise OctMarginError(f"--compare-cpu {cpu.value}: {words[-1].removeprefix('octmargin: ')}")
        return msgspec.json.decode(path.read_bytes(), type=KernelReport)
