"""The grid of depth pixels and A-lines that a margin model knows: on another one its answer does not count."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownGrid:
    """What a model was validated for, [lowest, highest] in µm: depth pixel in tissue, and distance of A-lines."""

    axial_um: tuple[float, float]
    aline_um: tuple[float, float]

    def __str__(self) -> str:
        return f"A-lines {_range(self.aline_um)} apart and depth pixels of {_range(self.axial_um)}"

    def trouble(self, axial_um: float, aline_um: float | None) -> str:
        """What of a grid is not known, in words; empty where all is. `aline_um` None where nobody knows it."""
        troubles = []
        if aline_um is not None and not self.aline_um[0] <= aline_um <= self.aline_um[1]:
            troubles.append(f"A-lines {_range(self.aline_um)} apart, and these are {aline_um:.3g} µm apart")
        if not self.axial_um[0] <= axial_um <= self.axial_um[1]:
            troubles.append(f"depth pixels of {_range(self.axial_um)}, and these are of {axial_um:.3g} µm")
        return "; ".join(troubles)


def known_grid(model: object) -> KnownGrid | None:
    """The grid that a margin model says it knows; None of one that takes what it gets."""
    grid = getattr(model, "known_grid", None)
    return grid if isinstance(grid, KnownGrid) else None


def _range(of_um: tuple[float, float]) -> str:
    return f"{of_um[0]:g} to {of_um[1]:g} µm"
