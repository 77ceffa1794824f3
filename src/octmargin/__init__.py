"""Margin flags from optical coherence tomography, in near real time. Research use only.

The public names load on first use: a subscriber in a terminal need not wait for compilers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from octmargin.kernel_cache import ensure_cache_folder

if TYPE_CHECKING:
    from octmargin.archive import Recording
    from octmargin.margin import Assessor
    from octmargin.signal import Calibration, Reconstructor, attenuation, find_surface

__version__ = "0.1.0"

__all__ = [
    "Assessor",
    "Calibration",
    "Reconstructor",
    "Recording",
    "__version__",
    "attenuation",
    "find_surface",
]

_ROOMS = {
    "Assessor": "octmargin.margin",
    "Calibration": "octmargin.signal",
    "Reconstructor": "octmargin.signal",
    "Recording": "octmargin.archive",
    "attenuation": "octmargin.signal",
    "find_surface": "octmargin.signal",
}

ensure_cache_folder()


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
