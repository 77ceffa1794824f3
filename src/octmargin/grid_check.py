"""Whether the grid that is to be scanned can clear a face: told at the start and by `doctor`; nothing is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from octmargin.frames import ScanPlan
from octmargin.margin import MarginModel
from octmargin.margin.grid import FrameLimit, KnownGrid, frame_limit, known_grid, told_um


@dataclass(frozen=True, slots=True)
class GridTrouble:
    """No face of a plan can be cleared: the model does not know its grid, or its frames lie too far apart."""

    text: str
    remedy: str


def grid_trouble(
    model: MarginModel,
    plan: ScanPlan,
    axial_um: float,
    *,
    max_frame_um: float | None,
    max_alines: int | None,
    max_frames: int | None = None,
) -> GridTrouble | None:
    """What the model knows or the policy allows, and what the plan has; None where they agree.

    `axial_um` is the depth pixel in tissue, `max_frame_um` what the policy allows (None: any), `max_alines` and
    `max_frames` the most that the console offers, None where it says nothing.
    """
    known = known_grid(model)
    aline_um = 1000 * plan.width_mm / plan.alines
    limit = frame_limit(model, max_frame_um)
    sparse = _sparse_frames(limit, plan, max_frames) if limit.is_passed(plan.frame_um) else None
    if known is None or not known.trouble(axial_um, aline_um):
        return sparse
    text = (
        f"{model.identity.name} knows {known}; this plan has A-lines {told_um(aline_um)} apart and depth pixels of "
        f"{axial_um:.3g} µm: every block will be poor, as unfamiliar, and every face indeterminate"
    )
    remedy = _remedy(known, plan, axial_um, max_alines)
    if sparse is None:
        return GridTrouble(text, remedy)
    return GridTrouble(f"{text}; {sparse.text}", f"{remedy}; {sparse.remedy}")


def _remedy(known: KnownGrid, plan: ScanPlan, axial_um: float, max_alines: int | None) -> str:
    closest_um, widest_um = known.aline_um
    fewest, most = math.ceil(1000 * plan.width_mm / widest_um), math.floor(1000 * plan.width_mm / closest_um)
    if max_alines is not None:
        most = min(most, max_alines)
    if known.trouble(axial_um, None) or fewest > most:
        return "name a model that knows this grid as model.name"
    return f"set scan.alines from {fewest} to {most}, or name a model that knows this grid as model.name"


def _sparse_frames(limit: FrameLimit, plan: ScanPlan, max_frames: int | None) -> GridTrouble:
    fewest = math.ceil(1000 * plan.height_mm / limit.um)
    if max_frames is None or fewest <= max_frames:
        remedy = f"set scan.frames to {fewest} or more"
    elif limit.is_of_model:
        remedy = "scan a smaller area, or name a model that knows this grid as model.name"
    else:
        remedy = "scan a smaller area"
    return GridTrouble(
        f"frames {told_um(plan.frame_um)} apart, and {limit.said}: "
        "what lies between is not seen, and no face will be cleared",
        remedy,
    )
