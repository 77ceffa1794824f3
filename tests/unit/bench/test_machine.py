"""The header names the vector unit that numba really compiles for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from octmargin.bench.machine import VectorUnit, widest_unit

DESCRIBE = """
import json, dataclasses
from octmargin.bench.machine import describe_machine
machine = describe_machine()
print(json.dumps({**dataclasses.asdict(machine), "is_narrowed": machine.is_narrowed}))
"""


@pytest.mark.parametrize(
    ("features", "unit"),
    [
        ({"sse2", "avx", "avx2", "avx512f"}, VectorUnit("AVX-512", 16)),
        ({"sse2", "avx", "avx2"}, VectorUnit("AVX2", 8)),
        ({"sse2", "avx"}, VectorUnit("AVX", 8)),
        ({"sse2"}, VectorUnit("SSE", 4)),
        ({"neon"}, VectorUnit("NEON", 4)),
        (set(), VectorUnit("no known vector unit", 1)),
    ],
)
def test_the_widest_unit_counts(features: set[str], unit: VectorUnit) -> None:
    assert widest_unit(features) == unit


@pytest.mark.parametrize(
    ("variables", "lanes"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, 4),
        ({"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}, 8),
    ],
)
def test_what_numba_is_told_to_compile_for_is_said(
    variables: dict[str, str], lanes: int, tmp_path: Path
) -> None:
    environment = os.environ | variables | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE], env=environment, capture_output=True, text=True, check=True
    )
    machine = json.loads(done.stdout)
    if machine["available"]["name"] not in ("SSE", "AVX", "AVX2", "AVX-512"):
        pytest.skip("not an x86-64 processor")
    assert machine["compiled_for"]["lanes"] == lanes
    assert machine["is_narrowed"] == (machine["available"]["lanes"] > lanes)
