"""The grid of depth pixels, A-lines and frames that a margin model knows: on another one its answer does not count."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownGrid:
    """What a model was validated for, [lowest, highest] in µm: depth pixel in tissue, and distance of A-lines.

    Frames may lie `max_frame_um` apart at most, or as they like where that is None.
    """

    axial_um: tuple[float, float]
    aline_um: tuple[float, float]
    max_frame_um: float | None = None

    def __str__(self) -> str:
        alines, pixels = f"A-lines {_range(self.aline_um)} apart", f"depth pixels of {_range(self.axial_um)}"
        if self.max_frame_um is None:
            return f"{alines} and {pixels}"
        return f"{alines}, {pixels} and frames at most {self.max_frame_um:g} µm apart"

    def trouble(self, axial_um: float, aline_um: float | None) -> str:
        """What of a grid is not known, in words; empty where all is. `aline_um` None where nobody knows it."""
        troubles = []
        if aline_um is not None and not self.aline_um[0] <= aline_um <= self.aline_um[1]:
            troubles.append(f"A-lines {_range(self.aline_um)} apart, and these are {aline_um:.3g} µm apart")
        if not self.axial_um[0] <= axial_um <= self.axial_um[1]:
            troubles.append(f"depth pixels of {_range(self.axial_um)}, and these are of {axial_um:.3g} µm")
        return "; ".join(troubles)

    def is_sparse(self, frame_um: float) -> bool:
        """Whether frames so far apart may have a lesion between them that the model is to find; µm."""
        return self.max_frame_um is not None and is_wider(frame_um, self.max_frame_um)


def is_wider(frame_um: float, max_frame_um: float) -> bool:
    """Whether frames lie further apart than that; a distance as large as the largest does not fail by rounding."""
    return frame_um > max_frame_um + 1e-6


def known_grid(model: object) -> KnownGrid | None:
    """The grid that a margin model says it knows; None of one that takes what it gets."""
    grid = getattr(model, "known_grid", None)
    return grid if isinstance(grid, KnownGrid) else None


def _range(of_um: tuple[float, float]) -> str:
    return f"{of_um[0]:g} to {of_um[1]:g} µm"
