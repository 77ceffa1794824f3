"""One frame cut out of a face: what every voxel is, how it scatters, and which surfaces mirror."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from octmargin_simulator.optics import Reflections
from octmargin_simulator.tissue.bodies import paint_bodies, table
from octmargin_simulator.tissue.materials import Material
from octmargin_simulator.tissue.specimen import FaceTissue, Optics
from octmargin_simulator.tissue.textures import Texture, look

_AIR, _FLUID, _INK, _BLOOD = (int(m) for m in (Material.AIR, Material.FLUID, Material.INK, Material.BLOOD))
_CAUTERY, _DEBRIS, _GAP = int(Material.CAUTERY), int(Material.DEBRIS), int(Material.GAP)
_ADIPOSE, _CAPSULE = int(Material.ADIPOSE), int(Material.CAPSULE)
_DARK_TAU = 10.0
"""Optical depth below which no light comes back that a camera could tell from its noise."""
_MEAN_WALL = np.float32(0.35)
"""Of a honeycomb: what its mean brightness is measured from."""
_GAP_COUNTS = 60.0
"""Fringe of the reflection at a gap's upper and lower face in full light."""


@dataclass(frozen=True)
class Cut:
    """A frame before the optics: all (alines, depth).

    `labels` uint8 of `Material`; `attenuation_per_mm` and `backscatter` float32; `transmission` float32 (alines,)
    of what lies over the tissue.
    """

    labels: NDArray[np.uint8]
    attenuation_per_mm: NDArray[np.float32]
    backscatter: NDArray[np.float32]
    transmission: NDArray[np.float32]
    reflections: Reflections


def label(face: FaceTissue, frame: int) -> NDArray[np.uint8]:
    """`Material` of every voxel of a frame, uint8 (alines, depth); pixel d covers its centre d."""
    grid, covers = face.grid, face.covers
    pixel_mm, aline_mm = np.float32(grid.axial_um / 1000), np.float32(grid.width_mm / grid.alines)
    y_mm = float(grid.y_mm[frame, 0])
    surface = face.surface_mm[frame]
    labels = np.empty((grid.alines, grid.depth_px), np.uint8)
    composition, composition_at = _plane(face.composition, y_mm)
    septa, septa_at = _plane(face.septa, y_mm)
    _paint_base(
        surface,
        (pixel_mm, aline_mm),
        (composition, septa),
        (composition_at, septa_at),
        (np.float32(face.adipose_above), np.float32(face.septum_within)),
        (np.float32(face.fat_mm), np.float32(face.capsule_mm)),
        int(face.base),
        labels,
    )
    rough, rough_at = _plane(face.rough, y_mm)
    here = (np.float32(y_mm), aline_mm, pixel_mm, surface, rough, rough_at, labels)
    paint_bodies(table(face.bodies), *here)
    _paint_covers(
        surface,
        pixel_mm,
        np.stack([getattr(covers, name)[frame] for name in ("cautery_mm", "ink_mm", "blood_mm", "fluid_mm")]),
        labels,
    )
    paint_bodies(table(covers.gaps), *here)
    _paint_crumbs(
        surface,
        (np.float32(y_mm), aline_mm, pixel_mm),
        np.array(covers.crumbs, np.float32).reshape(-1, 3),
        labels,
    )
    return labels


def cut(face: FaceTissue, optics: Optics, frame: int) -> Cut:
    """Cut frame `frame` out of a face, with the specimen's optical properties."""
    grid = face.grid
    labels = label(face, frame)
    y_mm = float(grid.y_mm[frame, 0])
    planes, places = zip(
        *(_plane(texture, y_mm) for texture in (face.coarse, face.fine, face.warp, face.honeycomb)),
        strict=True,
    )
    fibres = face.fibres
    turn = 2 * np.pi / fibres.period_mm
    bands = np.array([*(turn * n for n in fibres.normal), 2 * np.pi * fibres.warp], np.float32)
    bands[1] *= y_mm
    attenuation, backscatter = np.zeros((2, *labels.shape), np.float32)
    gap_px, gap_light = np.full((2, grid.alines), np.nan, np.float32), np.zeros((2, grid.alines), np.float32)
    _fill_properties(
        labels,
        face.surface_mm[frame],
        (np.float32(grid.axial_um / 1000), np.float32(grid.width_mm / grid.alines)),
        planes,
        places,
        bands,
        np.stack(
            [
                optics.attenuation_per_mm,
                optics.backscatter,
                optics.coarse_db,
                optics.fine_db,
                optics.band_db,
                optics.honeycomb_db,
            ]
        ),
        (attenuation, backscatter),
        (gap_px, gap_light),
    )
    top_px, top_counts = top_reflection(face, frame, labels)
    return Cut(
        labels,
        attenuation,
        backscatter,
        face.covers.transmission[frame],
        Reflections(
            np.concatenate([top_px[None], gap_px]),
            np.concatenate([top_counts[None], np.float32(_GAP_COUNTS) * gap_light]),
        ),
    )


def _plane(
    texture: Texture, y_mm: float
) -> tuple[NDArray[np.float32], tuple[np.float32, np.float32, np.float32]]:
    plane = texture.plane(y_mm)
    # Depths begin a millimetre above the surface at most: keep the voxels' numbers positive.
    return plane.values, (
        np.float32(plane.voxels_per_mm),
        np.float32(plane.x_voxel),
        np.float32(plane.z_voxel + 2 * plane.voxels_per_mm),
    )


def top_reflection(
    face: FaceTissue, frame: int, labels: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Depth in pixels and fringe of what the beam meets first, where that faces the beam."""
    grid, covers = face.grid, face.covers
    above = covers.ink_mm + covers.blood_mm + covers.fluid_mm + covers.bubble_mm
    top_mm = face.surface_mm - above
    slope_y, slope_x = (
        np.gradient(top_mm, edge / n, axis=axis)[frame] if n > 1 else np.zeros(grid.alines)
        for axis, edge, n in ((0, grid.height_mm, grid.frames), (1, grid.width_mm, grid.alines))
    )
    slope2 = (slope_x**2 + slope_y**2) / covers.specular_slope**2
    counts = covers.specular_counts * np.exp(-slope2)
    seen = (labels != _AIR).any(axis=1)
    top_px = np.where(seen, top_mm[frame] / (grid.axial_um / 1000), np.nan)
    return top_px.astype(np.float32), counts.astype(np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _paint_base(
    surface_mm: NDArray[np.float32],
    steps_mm: tuple[np.float32, np.float32],
    planes: tuple[NDArray[np.float32], NDArray[np.float32]],
    places: tuple[tuple[np.float32, np.float32, np.float32], tuple[np.float32, np.float32, np.float32]],
    thresholds: tuple[np.float32, np.float32],
    node_mm: tuple[np.float32, np.float32],
    base: int,
    labels: NDArray[np.uint8],
) -> None:
    pixel_mm, aline_mm = steps_mm
    adipose_above, septum_within = thresholds
    fat_mm, capsule_mm = node_mm
    for a in range(labels.shape[0]):
        x = (np.float32(a) + np.float32(0.5)) * aline_mm
        for d in range(labels.shape[1]):
            z = np.float32(d) * pixel_mm - surface_mm[a]
            if z < 0:
                labels[a, d] = _AIR
            elif capsule_mm > 0:
                labels[a, d] = _ADIPOSE if z < fat_mm else _CAPSULE if z < fat_mm + capsule_mm else base
            else:
                scale, ox, oz = places[0]
                what = base
                if look(planes[0], x * scale + ox, z * scale + oz) > adipose_above:
                    scale, ox, oz = places[1]
                    if abs(look(planes[1], x * scale + ox, z * scale + oz)) > septum_within:
                        what = _ADIPOSE
                labels[a, d] = what


@numba.njit(cache=True, nogil=True, fastmath=True)
def _paint_covers(
    surface_mm: NDArray[np.float32],
    pixel_mm: np.float32,
    covers_mm: NDArray[np.float32],
    labels: NDArray[np.uint8],
) -> None:
    for a in range(labels.shape[0]):
        cautery, ink, blood, fluid = covers_mm[0, a], covers_mm[1, a], covers_mm[2, a], covers_mm[3, a]
        first = max(0, int((surface_mm[a] - ink - blood - fluid) / pixel_mm))
        last = min(labels.shape[1] - 1, int((surface_mm[a] + cautery) / pixel_mm) + 1)
        for d in range(first, last + 1):
            z = np.float32(d) * pixel_mm - surface_mm[a]
            if z >= 0:
                if z < cautery:
                    labels[a, d] = _CAUTERY
            elif -z <= ink:
                labels[a, d] = _INK
            elif -z <= ink + blood:
                labels[a, d] = _BLOOD
            elif -z <= ink + blood + fluid:
                labels[a, d] = _FLUID


@numba.njit(cache=True, nogil=True, fastmath=True)
def _paint_crumbs(
    surface_mm: NDArray[np.float32],
    y_and_steps_mm: tuple[np.float32, np.float32, np.float32],
    crumbs: NDArray[np.float32],
    labels: NDArray[np.uint8],
) -> None:
    y_mm, aline_mm, pixel_mm = y_and_steps_mm
    for k in range(crumbs.shape[0]):
        x0, y0, radius = crumbs[k, 0], crumbs[k, 1], crumbs[k, 2]
        if abs(y_mm - y0) >= radius:
            continue
        for a in range(labels.shape[0]):
            dx = (np.float32(a) + np.float32(0.5)) * aline_mm - x0
            rest = radius * radius - dx * dx - (y_mm - y0) ** 2
            if rest <= 0:
                continue
            half = np.sqrt(rest)
            middle = surface_mm[a] - radius
            for d in range(max(0, int((middle - half) / pixel_mm)), int((middle + half) / pixel_mm) + 1):
                if d < labels.shape[1] and np.float32(d) * pixel_mm < surface_mm[a]:
                    labels[a, d] = _DEBRIS


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _fill_properties(
    labels: NDArray[np.uint8],
    surface_mm: NDArray[np.float32],
    steps_mm: tuple[np.float32, np.float32],
    planes: tuple[NDArray[np.float32], ...],
    places: tuple[tuple[np.float32, np.float32, np.float32], ...],
    bands: NDArray[np.float32],
    optics: NDArray[np.float32],
    filled: tuple[NDArray[np.float32], NDArray[np.float32]],
    gaps: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    pixel_mm, aline_mm = steps_mm
    attenuation, backscatter = filled
    gap_px, gap_light = gaps
    neper_per_db = np.float32(np.log(10.0) / 10.0)
    (coarse_s, coarse_x, coarse_z), (fine_s, fine_x, fine_z) = places[0], places[1]
    (warp_s, warp_x, warp_z), (comb_s, comb_x, comb_z) = places[2], places[3]
    for a in range(labels.shape[0]):
        x = (np.float32(a) + np.float32(0.5)) * aline_mm
        tau = np.float32(0)
        in_gap = False
        for d in range(labels.shape[1]):
            what = labels[a, d]
            if what == _GAP:
                if not in_gap and np.isnan(gap_px[0, a]):
                    gap_px[0, a], gap_light[0, a] = d, np.exp(-tau)
                in_gap = True
                continue
            if in_gap:
                gap_px[1, a], gap_light[1, a] = d, np.exp(-tau)
                in_gap = False
            if what in {_AIR, _FLUID}:
                continue
            z = np.float32(d) * pixel_mm - surface_mm[a]
            nests = look(planes[0], x * coarse_s + coarse_x, z * coarse_s + coarse_z)
            mu = optics[0, what] * np.exp(np.float32(0.1) * nests)
            db = optics[2, what] * nests
            if optics[3, what] > 0:
                db += optics[3, what] * look(planes[1], x * fine_s + fine_x, z * fine_s + fine_z)
            if optics[4, what] > 0:
                warp = look(planes[2], x * warp_s + warp_x, z * warp_s + warp_z)
                # Bundles fade and double where the finer field says so: no grating.
                fade = look(planes[2], x * 3 * warp_s + warp_z, z * 3 * warp_s + warp_x)
                phase = bands[0] * x + bands[1] + bands[2] * z + bands[3] * (warp + np.float32(0.3) * fade)
                db += optics[4, what] * (
                    np.sin(phase) * (np.float32(0.7) + np.float32(0.5) * fade) + warp * np.float32(0.3)
                )
            if optics[5, what] > 0:
                wall = look(planes[3], x * comb_s + comb_x, z * comb_s + comb_z)
                db += optics[5, what] * (wall - _MEAN_WALL)
            attenuation[a, d] = mu
            backscatter[a, d] = optics[1, what] * np.exp(neper_per_db * db)
            tau += mu * pixel_mm
            if tau > _DARK_TAU:
                # What lies below keeps the light from coming back just as well.
                attenuation[a, d:] = mu
                break
