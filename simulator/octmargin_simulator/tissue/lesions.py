"""Vessels, ducts, benign masses and malignant lesions as bodies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from octmargin.errors import InputError
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.tissue.bodies import Body, Point
from octmargin_simulator.tissue.materials import Material
from octmargin_simulator.tissue.priors import TissuePriors, draw

_VIEWED_MM = 2.0
"""Ordinary structures are drawn down to this depth: light does not come back from below."""
_DEEP_TOP_MM = (1.1, 1.6)


def vessels_and_ducts(
    priors: TissuePriors, grid: ScanGrid, rng: np.random.Generator, *, ducts: bool
) -> Iterator[Body]:
    """Draw vessels, and normal ducts where there are any, at their density."""
    area_mm2 = grid.width_mm * grid.height_mm
    vessels = priors.vessels
    for _ in range(rng.poisson(draw(rng, vessels.per_mm2) * area_mm2)):
        start, end = _line(grid, rng, draw(rng, vessels.length_mm))
        radius_mm = draw(rng, vessels.radius_um) / 1000
        yield Body(start, end, radius_mm, 0.7 * radius_mm, Material.VESSEL, Material.STROMA, 0.012)
    if not ducts:
        return
    prior = priors.ducts
    for _ in range(rng.poisson(draw(rng, prior.per_mm2) * area_mm2)):
        start, end = _line(grid, rng, draw(rng, prior.length_mm))
        wall_mm = draw(rng, prior.wall_um) / 1000
        radius_mm = draw(rng, prior.lumen_radius_um) / 1000 + wall_mm
        yield Body(start, end, radius_mm, radius_mm, Material.LUMEN, Material.DUCT_WALL, wall_mm)


def benign(priors: TissuePriors, what: str, grid: ScanGrid, rng: np.random.Generator) -> Iterator[Body]:
    """Draw a cyst, a fibroadenoma-like mass or a biopsy cavity."""
    if what == "none":
        return
    if what not in {"cyst", "fibroadenoma", "cavity"}:
        raise InputError(f"benign {what!r}: give none, cyst, fibroadenoma or cavity")
    prior = getattr(priors, what)
    core, rim = {
        "cyst": (Material.CYST, Material.DUCT_WALL),
        "fibroadenoma": (Material.FIBROADENOMA, Material.FIBROADENOMA),
        "cavity": (Material.CAVITY, Material.GRANULATION),
    }[what]
    width_mm = draw(rng, prior.width_mm)
    yield _mass(
        grid,
        rng,
        width_mm,
        draw(rng, prior.top_mm),
        rng.uniform(0.5, 0.9),
        core,
        rim,
        rim_mm=draw(rng, prior.wall_um) / 1000,
        roughness=draw(rng, prior.roughness),
    )


def malignant(
    priors: TissuePriors, what: str, grid: ScanGrid, below_mm: float, rng: np.random.Generator
) -> Iterator[Body]:
    """Draw an invasive carcinoma, DCIS or a metastasis; "deep" ones begin below a millimetre.

    `below_mm` is where the parenchyma of a node begins.
    """
    match what:
        case "none":
            return
        case "invasive" | "deep invasive":
            yield from _invasive(priors, grid, rng, deep=what.startswith("deep"))
        case "dcis" | "deep dcis":
            yield from _dcis(priors, grid, rng, deep=what.startswith("deep"))
        case "metastasis":
            node = priors.node
            width_mm = _small_rather(rng, node.metastasis_mm)
            yield _mass(
                grid,
                rng,
                width_mm,
                below_mm + draw(rng, node.metastasis_top_mm),
                rng.uniform(0.6, 1.0),
                Material.METASTASIS,
                Material.METASTASIS,
                roughness=rng.uniform(0.05, 0.2),
            )
        case _:
            raise InputError(f"lesion {what!r}: give none, invasive, dcis or metastasis")


def _invasive(
    priors: TissuePriors, grid: ScanGrid, rng: np.random.Generator, *, deep: bool
) -> Iterator[Body]:
    prior = priors.invasive
    width_mm = min(_small_rather(rng, prior.width_mm), 0.7 * min(grid.width_mm, grid.height_mm))
    top_mm = _top(rng, prior.top_mm, prior.top_surfacing_share, deep=deep)
    roughness = draw(rng, prior.roughness)
    mass = _mass(
        grid,
        rng,
        width_mm,
        top_mm,
        draw(rng, prior.depth_share),
        Material.INVASIVE,
        Material.INVASIVE,
        roughness=roughness,
    )
    yield mass
    middle = np.mean([mass.start, mass.end], axis=0)
    lowest, highest = prior.spicules
    for _ in range(int(rng.integers(lowest, highest + 1))):
        turn, rise = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6)
        away = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        reach_mm = 0.4 * width_mm
        start = middle + away * reach_mm * np.array([1, 1, 1 / mass.flatness])
        end = start + away * draw(rng, prior.spicule_mm)
        if deep:
            end[2] = max(end[2], _DEEP_TOP_MM[0])
        radius_mm = draw(rng, prior.spicule_radius_um) / 1000
        yield Body(
            _point(start),
            _point(end),
            2 * radius_mm,
            0.5 * radius_mm,
            Material.INVASIVE,
            Material.INVASIVE,
            roughness=roughness,
        )


def _dcis(priors: TissuePriors, grid: ScanGrid, rng: np.random.Generator, *, deep: bool) -> Iterator[Body]:
    prior = priors.dcis
    region_mm = min(draw(rng, prior.region_mm), 0.6 * min(grid.width_mm, grid.height_mm))
    x, y = _place(grid, rng, region_mm)
    top_mm = _top(rng, prior.top_mm, prior.top_surfacing_share, deep=deep)
    turn = rng.uniform(0, np.pi)
    lowest, highest = prior.ducts
    for number in range(int(rng.integers(lowest, highest + 1))):
        radius_mm = draw(rng, prior.duct_radius_um) / 1000
        half_mm = draw(rng, prior.length_mm) / 2
        # Ducts of one segment run alike; the first is the one nearest the surface.
        along = turn + rng.normal(0, 0.4)
        off_x, off_y = rng.uniform(-0.5, 0.5, 2) * region_mm
        z = top_mm + radius_mm + (0.0 if number == 0 else rng.uniform(0, 0.6))
        slope = rng.normal(0, 0.08) if number else 0.0
        step = np.array([np.cos(along) * half_mm, np.sin(along) * half_mm, slope])
        middle = np.array([x + off_x, y + off_y, z])
        start, end = middle - step, middle + step
        solid = rng.random() < prior.solid_share
        necrotic = rng.random() < prior.necrosis_share
        core = Material.DCIS if solid else Material.NECROSIS if necrotic else Material.LUMEN
        rim_mm = min(draw(rng, prior.rim_um) / 1000, 0.7 * radius_mm)
        yield Body(
            _point(start),
            _point(end),
            radius_mm,
            radius_mm * rng.uniform(0.6, 1.0),
            core,
            Material.DCIS,
            rim_mm,
            roughness=0.08,
        )
        if core is Material.NECROSIS and rng.random() < prior.calcification_share:
            for _ in range(int(rng.integers(1, 6))):
                at = start + rng.random() * (end - start)
                at[2] += rng.uniform(-0.3, 0.3) * radius_mm
                grain_mm = draw(rng, prior.calcification_um) / 1000
                yield Body(
                    _point(at), _point(at), grain_mm, grain_mm, Material.CALCIFICATION, Material.CALCIFICATION
                )


def _mass(
    grid: ScanGrid,
    rng: np.random.Generator,
    width_mm: float,
    top_mm: float,
    depth_share: float,
    core: Material,
    rim: Material,
    *,
    rim_mm: float = 0.0,
    roughness: float = 0.0,
) -> Body:
    """Draw an ovoid mass whose highest point is `top_mm` below the surface."""
    x, y = _place(grid, rng, width_mm)
    stretch, turn = rng.uniform(0.0, 0.35), rng.uniform(0, np.pi)
    radius_mm = width_mm / 2 * (1 - stretch / 2)
    half_mm = width_mm / 2 - radius_mm
    flatness = 1 / depth_share
    z = top_mm + radius_mm / flatness
    along = np.array([np.cos(turn) * half_mm, np.sin(turn) * half_mm, 0.0])
    middle = np.array([x, y, z])
    return Body(
        _point(middle - along),
        _point(middle + along),
        radius_mm,
        radius_mm,
        core,
        rim,
        rim_mm,
        flatness,
        roughness,
    )


def _top(rng: np.random.Generator, between: tuple[float, float], surfacing: float, *, deep: bool) -> float:
    chance, share = rng.random(2)
    if deep:
        return float(_DEEP_TOP_MM[0] + share * (_DEEP_TOP_MM[1] - _DEEP_TOP_MM[0]))
    if chance < surfacing:
        return float(between[0] * share)
    return float(between[1] * share)


def _small_rather(rng: np.random.Generator, between: tuple[float, float]) -> float:
    return float(between[0] + rng.random() ** 2 * (between[1] - between[0]))


def _place(grid: ScanGrid, rng: np.random.Generator, width_mm: float) -> tuple[float, float]:
    """Draw a middle on the face such that most of what is `width_mm` wide lies on it."""
    x, y = (
        rng.uniform(min(0.4 * width_mm, 0.5 * edge), max(edge - 0.4 * width_mm, 0.5 * edge))
        for edge in (grid.width_mm, grid.height_mm)
    )
    return float(x), float(y)


def _line(grid: ScanGrid, rng: np.random.Generator, length_mm: float) -> tuple[Point, Point]:
    turn, rise = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15)
    middle = np.array(
        [rng.uniform(0, grid.width_mm), rng.uniform(0, grid.height_mm), rng.uniform(0.03, _VIEWED_MM)]
    )
    step = (
        0.5 * length_mm * np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    )
    return _point(middle - step), _point(middle + step)


def _point(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Point:
    x, y, z = values.tolist()
    return x, y, z
