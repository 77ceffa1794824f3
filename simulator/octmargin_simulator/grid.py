"""Where the A-lines of a sweep lie on a face, and how deep they look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScanGrid:
    """Where the A-lines of one face lie: `frames` frames of `alines` A-lines, `depth_px` pixels deep."""

    alines: int
    frames: int
    depth_px: int
    width_mm: float
    height_mm: float
    axial_um: float

    @property
    def x_mm(self) -> NDArray[np.float64]:
        """Position along a frame, (1, alines)."""
        return np.linspace(0.5, self.alines - 0.5, self.alines)[None, :] * (self.width_mm / self.alines)

    @property
    def y_mm(self) -> NDArray[np.float64]:
        """Position across frames, (frames, 1)."""
        return np.linspace(0.5, self.frames - 0.5, self.frames)[:, None] * (self.height_mm / self.frames)

    @property
    def range_mm(self) -> float:
        """Simulated depth in tissue."""
        return self.depth_px * self.axial_um / 1000
