"""The grid of depth pixels, A-lines and frames that a margin model knows: on another one its answer does not count."""

from __future__ import annotations

import math
from dataclasses import dataclass

from octmargin.margin.model import MarginModel


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


@dataclass(frozen=True, slots=True)
class FrameLimit:
    """How far apart frames may lie: further, a lesion that is to be found may lie between them. `said` by whom."""

    um: float
    said: str
    is_of_model: bool

    def is_passed(self, frame_um: float) -> bool:
        """Whether frames lie further apart; what is the same when it is told is no more."""
        return round(frame_um, 1) > round(self.um, 1)


def frame_limit(model: MarginModel | None, allowed_um: float | None) -> FrameLimit:
    """The narrower of what the model knows and what the policy allows; None is no limit."""
    known = known_grid(model)
    known_um = known.max_frame_um if known is not None and known.max_frame_um is not None else math.inf
    allowed_um = math.inf if allowed_um is None else allowed_um
    if model is not None and known_um <= allowed_um:
        return FrameLimit(known_um, f"{model.identity.name} knows {known_um:g} at most", is_of_model=True)
    return FrameLimit(allowed_um, f"policy.max_frame_um is {allowed_um:g}", is_of_model=False)


def told_um(distance_um: float) -> str:
    """A distance in words, to a tenth of a micrometre."""
    return f"{round(distance_um, 1):g} µm"


def known_grid(model: object) -> KnownGrid | None:
    """The grid that a margin model says it knows; None of one that takes what it gets."""
    grid = getattr(model, "known_grid", None)
    return grid if isinstance(grid, KnownGrid) else None


def _range(of_um: tuple[float, float]) -> str:
    return f"{of_um[0]:g} to {of_um[1]:g} µm"
