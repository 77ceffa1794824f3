"""The machine, and for which of its vector units numba compiles."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from llvmlite import binding
from numba.core.registry import cpu_target

from octmargin import __version__
from octmargin.signal._target import compiled_features

_WIDTHS = (("avx512f", "AVX-512", 16), ("avx", "AVX", 8), ("sse2", "SSE", 4), ("neon", "NEON", 4))


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """An instruction set and how many float32 it takes at a time."""

    name: str
    lanes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The conditions under which figures were measured."""

    cpu: str
    cores: int
    llvm_cpu: str
    """The processor that numba compiles for, by LLVM's name."""
    compiled_for: VectorUnit
    available: VectorUnit
    python: str
    numpy: str
    numba: str
    scipy: str
    octmargin: str

    @property
    def is_narrowed(self) -> bool:
        """Whether numba compiles for less than the processor has."""
        return self.compiled_for.lanes < self.available.lanes


def describe_machine() -> Machine:
    """The present machine and process."""
    _, llvm_cpu, _ = cpu_target.target_context.codegen().magic_tuple()
    available = {name for name, present in binding.get_host_cpu_features().items() if present}
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        llvm_cpu=llvm_cpu,
        compiled_for=widest_unit(compiled_features()),
        available=widest_unit(available),
        python=platform.python_version(),
        numpy=version("numpy"),
        numba=version("numba"),
        scipy=version("scipy"),
        octmargin=__version__,
    )


def widest_unit(features: set[str]) -> VectorUnit:
    """The widest vector unit among LLVM's feature names."""
    for feature, name, lanes in _WIDTHS:
        if feature in features:
            return VectorUnit(f"{name}2" if name == "AVX" and "avx2" in features else name, lanes)
    return VectorUnit("no known vector unit", 1)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
