"""Whether the model knows the grid that is to be scanned: told at the start and by `doctor`, and nothing is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from octmargin.frames import ScanPlan
from octmargin.margin import MarginModel
from octmargin.margin.grid import KnownGrid, known_grid


@dataclass(frozen=True, slots=True)
class GridTrouble:
    """The model does not know the grid of a plan: each of its blocks will be poor, or no face cleared."""

    text: str
    remedy: str


def grid_trouble(
    model: MarginModel,
    plan: ScanPlan,
    axial_um: float,
    *,
    max_alines: int | None,
    max_frames: int | None = None,
) -> GridTrouble | None:
    """What the model knows and what the plan has; None where the model knows it, or takes what it gets.

    `axial_um` is the depth pixel in tissue, `max_alines` and `max_frames` the most that the console offers, None where
    it says nothing.
    """
    known = known_grid(model)
    aline_um = 1000 * plan.width_mm / plan.alines
    if known is None:
        return None
    if not known.trouble(axial_um, aline_um):
        return _sparse_frames(model, known, plan, max_frames)
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
    model: MarginModel, known: KnownGrid, plan: ScanPlan, max_frames: int | None
) -> GridTrouble | None:
    if known.max_frame_um is None or not known.is_sparse(plan.frame_um):
        return None
    fewest = math.ceil(1000 * plan.height_mm / known.max_frame_um)
    return GridTrouble(
        f"{model.identity.name} knows frames at most {known.max_frame_um:g} µm apart; this plan has them "
        f"{plan.frame_um:.3g} µm apart: what lies between is not seen, and no face will be cleared",
        f"set scan.frames to {fewest} or more"
        if max_frames is None or fewest <= max_frames
        else "scan a smaller area, or name a model that knows this grid as model.name",
    )
