"""What numba compiles for."""

from __future__ import annotations

import platform

from numba.core.registry import cpu_target


def compiled_features() -> set[str]:
    """LLVM's names of the instruction sets that numba compiles for, of this processor or as its environment says."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    compiled = {name[1:] for name in features.split(",") if name.startswith("+")}
    if not compiled and platform.machine() in ("x86_64", "AMD64"):
        compiled = {"sse2"}  # the baseline of x86-64, which LLVM does not list for "generic"
    return compiled
