"""What lies on a face's surface or was done to it: cautery, ink, blood, fluid, bubbles, gaps, crumbs, glare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from octmargin.errors import InputError
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.tissue.bodies import Body
from octmargin_simulator.tissue.materials import Material
from octmargin_simulator.tissue.priors import TissuePriors, draw
from octmargin_simulator.tissue.textures import Texture, look

ARTEFACTS = ("cautery", "ink", "blood", "fluid", "bubbles", "air_gap", "debris", "glare")


@dataclass(frozen=True)
class Covers:
    """Thickness of each layer, mm, float32 (frames, alines); 0 where there is none.

    Cautery lies in the tissue, from its surface down; the others on it, ink lowest, fluid highest. `transmission`
    is the share of light that bubbles let through; `gaps` lie in the tissue, `crumbs` on it (z below 0).
    """

    names: tuple[str, ...]
    cautery_mm: NDArray[np.float32]
    ink_mm: NDArray[np.float32]
    blood_mm: NDArray[np.float32]
    fluid_mm: NDArray[np.float32]
    bubble_mm: NDArray[np.float32]
    transmission: NDArray[np.float32]
    gaps: tuple[Body, ...]
    crumbs: tuple[tuple[float, float, float], ...]
    """x, y and radius of each, mm."""
    specular_counts: float
    specular_slope: float


def draw_covers(
    priors: TissuePriors,
    names: tuple[str, ...],
    grid: ScanGrid,
    noise: Callable[[np.random.Generator, float], Texture],
    rng: np.random.Generator,
) -> Covers:
    """Draw the named artefacts of a face. Raises InputError for one that does not exist."""
    if unknown := set(names) - set(ARTEFACTS):
        raise InputError(f"artefact {min(unknown)!r}: give any of {', '.join(ARTEFACTS)}")
    prior = priors.artefacts
    # One stream each: what a face has besides does not change what it has.
    streams = dict(zip(ARTEFACTS, rng.spawn(len(ARTEFACTS)), strict=True))
    shape = (grid.frames, grid.alines)
    layers = {}
    for name in ("cautery", "ink", "blood", "fluid"):
        layers[name] = np.zeros(shape, np.float32)
        if name in names:
            own, cover = streams[name], getattr(prior, name)
            texture = noise(own, own.uniform(1.0, 4.0))
            thickness_mm = draw(own, cover.thickness_um) / 1000
            layers[name] = _patches(texture, grid, draw(own, cover.cover), thickness_mm)
    fluid_mm = layers["fluid"]
    transmission = np.ones(shape, np.float32)
    bubble_mm = np.zeros(shape, np.float32)
    if "bubbles" in names:
        _blow(priors, grid, streams["bubbles"], bubble_mm, transmission)
    wet = "glare" in names
    specular = prior.glare.specular_counts if wet else priors.surface.specular_counts
    return Covers(
        names=tuple(n for n in ARTEFACTS if n in names),
        cautery_mm=layers["cautery"],
        ink_mm=layers["ink"],
        blood_mm=layers["blood"],
        fluid_mm=fluid_mm,
        bubble_mm=bubble_mm,
        transmission=transmission,
        gaps=tuple(_gaps(priors, grid, streams["air_gap"])) if "air_gap" in names else (),
        crumbs=tuple(_crumbs(priors, grid, streams["debris"])) if "debris" in names else (),
        specular_counts=draw(streams["glare"], specular),
        specular_slope=draw(streams["glare"], priors.surface.specular_slope),
    )


def _patches(texture: Texture, grid: ScanGrid, cover: float, thickness_mm: float) -> NDArray[np.float32]:
    """Patches that cover about a share of the face, thinner at their edges."""
    field = np.empty((grid.frames, grid.alines), np.float32)
    for row, y_mm in zip(field, grid.y_mm[:, 0].tolist(), strict=True):
        plane = texture.plane(y_mm)
        row[:] = [
            look(plane.values, np.float32(x * plane.voxels_per_mm + plane.x_voxel), np.float32(plane.z_voxel))
            for x in grid.x_mm[0].tolist()
        ]
    over = np.clip((field - ndtri(1 - cover)) / 0.4, 0, 1)
    thickness = thickness_mm * np.sqrt(over)
    return np.asarray(thickness, np.float32)


def _blow(
    priors: TissuePriors,
    grid: ScanGrid,
    rng: np.random.Generator,
    bubble_mm: NDArray[np.float32],
    transmission: NDArray[np.float32],
) -> None:
    prior = priors.artefacts.bubbles
    for _ in range(int(rng.integers(prior.count[0], prior.count[1] + 1))):
        radius_mm = draw(rng, prior.radius_um) / 1000
        x, y = rng.uniform(0, grid.width_mm), rng.uniform(0, grid.height_mm)
        off2 = ((grid.x_mm - x) ** 2 + (grid.y_mm - y) ** 2) / radius_mm**2
        height = radius_mm * np.sqrt(np.maximum(0, 1 - off2))
        np.maximum(bubble_mm, height, out=bubble_mm, casting="same_kind")
        transmission[off2 < 1] = draw(rng, prior.transmission)


def _gaps(priors: TissuePriors, grid: ScanGrid, rng: np.random.Generator) -> list[Body]:
    prior = priors.artefacts.air_gap
    gaps = []
    for _ in range(int(rng.integers(prior.count[0], prior.count[1] + 1))):
        width_mm, thick_mm = draw(rng, prior.width_mm), draw(rng, prior.thickness_um) / 1000
        x, y = rng.uniform(0, grid.width_mm), rng.uniform(0, grid.height_mm)
        middle = (x, y, draw(rng, prior.top_um) / 1000 + thick_mm / 2)
        gaps.append(
            Body(
                middle,
                middle,
                width_mm / 2,
                width_mm / 2,
                Material.GAP,
                Material.GAP,
                flatness=width_mm / thick_mm,
                roughness=0.1,
            )
        )
    return gaps


def _crumbs(
    priors: TissuePriors, grid: ScanGrid, rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    prior = priors.artefacts.debris
    return [
        (
            rng.uniform(0, grid.width_mm),
            rng.uniform(0, grid.height_mm),
            draw(rng, prior.radius_um) / 1000,
        )
        for _ in range(int(rng.integers(prior.count[0], prior.count[1] + 1)))
    ]
