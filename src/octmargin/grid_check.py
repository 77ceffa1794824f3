"""Whether the grid that is to be scanned can clear a face: told at the start and by `doctor`; nothing is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from octmargin.frames import ScanPlan
from octmargin.margin import MarginModel
from octmargin.margin.grid import KnownGrid, is_wider, known_grid


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
    max_frame_um: float,
    max_alines: int | None,
    max_frames: int | None = None,
) -> GridTrouble | None:
    """What the model knows or the policy allows, and what the plan has; None where they agree.

    `axial_um` is the depth pixel in tissue, `max_frame_um` what the policy allows, `max_alines` and `max_frames` the
    most that the console offers, None where it says nothing.
    """
    known = known_grid(model)
    aline_um = 1000 * plan.width_mm / plan.alines
    if known is None or not known.trouble(axial_um, aline_um):
        return _sparse_frames(model, known, plan, max_frames, max_frame_um)
    return GridTrouble(
        f"{model.identity.name} knows {known}; this plan has A-lines {aline_um:.3g} µm apart and depth pixels of "
        f"{axial_um:.3g} µm: every block will be poor, as unfamiliar, and every face indeterminate",
        _remedy(known, plan, axial_um, max_alines),
    )


def _remedy(known: KnownGrid, plan: ScanPlan, axial_um: float, max_alines: int | None) -> str:
    closest_um, widest_um = known.aline_um
    fewest, most = math.ceil(1000 * plan.width_mm / widest_um), math.floor(1000 * plan.width_mm / closest_um)
    if max_alines is not None:
        most = min(most, max_alines)
    if known.trouble(axial_um, None) or fewest > most:
        return "name a model that knows this grid as model.name"
    return f"set scan.alines from {fewest} to {most}, or name a model that knows this grid as model.name"


def _sparse_frames(
    model: MarginModel, known: KnownGrid | None, plan: ScanPlan, max_frames: int | None, allowed_um: float
) -> GridTrouble | None:
    known_um = known.max_frame_um if known is not None and known.max_frame_um is not None else math.inf
    limit_um = min(known_um, allowed_um)
    if not is_wider(plan.frame_um, limit_um):
        return None
    fewest = math.ceil(1000 * plan.height_mm / limit_um)
    limit = (
        f"{model.identity.name} knows frames at most {known_um:g} µm apart"
        if known_um <= allowed_um
        else f"policy.max_frame_um is {allowed_um:g}"
    )
    if max_frames is None or fewest <= max_frames:
        remedy = f"set scan.frames to {fewest} or more"
    elif known_um <= allowed_um:
        remedy = "scan a smaller area, or name a model that knows this grid as model.name"
    else:
        remedy = "scan a smaller area"
    return GridTrouble(
        f"{limit}; this plan has them {plan.frame_um:.3g} µm apart: "
        "what lies between is not seen, and no face will be cleared",
        remedy,
    )
