"""A synthetic layered phantom of an excised breast specimen: surface, layers and tumour of each face.

Every face is a grid of A-lines. Geometry is drawn from `priors.PhantomPriors` by seed; it is smooth,
regular and much simpler than tissue.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.optics import returned_amplitude
from octmargin_simulator.phantom.priors import PhantomPriors, Tissue


@dataclass(frozen=True)
class Ellipsoid:
    """A tumour: centre on the face and below its surface, half widths along the face and in depth."""

    x_mm: float
    y_mm: float
    depth_mm: float
    half_x_mm: float
    half_y_mm: float
    half_depth_mm: float

    def interval_mm(self, grid: ScanGrid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Top and bottom below the surface, float32 (frames, alines) each; NaN where there is no tumour."""
        off_axis = ((grid.x_mm - self.x_mm) / self.half_x_mm) ** 2 + (
            (grid.y_mm - self.y_mm) / self.half_y_mm
        ) ** 2
        half = self.half_depth_mm * np.sqrt(np.where(off_axis < 1, 1 - off_axis, np.nan))
        top = np.maximum(0.0, self.depth_mm - half)
        return top.astype(np.float32), (self.depth_mm + half).astype(np.float32)


@dataclass(frozen=True)
class Face:
    """Geometry of one face on its grid; every depth is in tissue millimetres.

    `surface_mm` float32 (frames, alines) below zero delay; `boundaries_mm` float32 (boundaries, frames,
    alines) below the surface, ascending, between layers that alternate from `first_layer` on;
    `tumour_top_mm`, `tumour_bottom_mm` float32 (tumours, frames, alines) below the surface, NaN for none.
    """

    grid: ScanGrid
    surface_mm: NDArray[np.float32]
    boundaries_mm: NDArray[np.float32]
    first_layer: Tissue
    tumours: tuple[Ellipsoid, ...]
    tumour_top_mm: NDArray[np.float32]
    tumour_bottom_mm: NDArray[np.float32]

    def tumour_within(self, reach_mm: float) -> NDArray[np.bool_]:
        """Where tumour lies within `reach_mm` below the surface, bool (frames, alines)."""
        return np.asarray(np.any(self.tumour_top_mm <= reach_mm, axis=0))

    def tissue(self, frame: int) -> NDArray[np.uint8]:
        """`Tissue` of every depth pixel of a frame, uint8 (alines, depth); pixel d covers its centre d."""
        labels = np.empty((self.grid.alines, self.grid.depth_px), np.uint8)
        _label(
            self.surface_mm[frame],
            np.ascontiguousarray(self.boundaries_mm[:, frame]),
            np.stack([self.tumour_top_mm[:, frame], self.tumour_bottom_mm[:, frame]]),
            (np.float32(self.grid.axial_um / 1000), int(self.first_layer)),
            labels,
        )
        return labels


class Specimen:
    """Tissue properties of one specimen and the faces drawn for it, reproducible by seed.

    A face depends on the seed and its own name alone, not on which other faces are scanned.
    """

    def __init__(self, seed: int, priors: PhantomPriors | None = None) -> None:
        self.priors = priors or PhantomPriors()
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        tissues = self.priors.tissues
        self.attenuation_per_mm = np.zeros(len(Tissue), np.float32)
        """Indexed by `Tissue`, float32."""
        self.backscatter = np.zeros(len(Tissue), np.float32)
        """Intensity relative to nominal stroma, linear, indexed by `Tissue`, float32."""
        for tissue in sorted(tissues):
            prior = tissues[tissue]
            vary_mu, vary_backscatter = np.exp(self.priors.specimen_variation * rng.standard_normal(2))
            self.attenuation_per_mm[tissue] = prior.attenuation_per_mm * vary_mu
            self.backscatter[tissue] = 10 ** (prior.backscatter_db / 10) * vary_backscatter

    def choose_face(self, faces: Sequence[str]) -> str:
        """Choose the one face that carries tumour unless told otherwise."""
        return faces[int(np.random.default_rng([self._seed, 1]).integers(len(faces)))]

    def rng(self, face: str, frame: int) -> np.random.Generator:
        """Random numbers of one frame: independent of the order, and of the thread, in which it is made."""
        return np.random.Generator(np.random.SFC64([self._seed, 3, zlib.crc32(face.encode()), frame]))

    def face(self, name: str, grid: ScanGrid, *, tumour: bool) -> Face:
        """Draw the geometry of a face; with `tumour` it carries one or two that reach the surface."""
        rng = np.random.default_rng([self._seed, 2, zlib.crc32(name.encode())])
        surface = self._surface(grid, rng)
        boundaries = self._boundaries(grid, rng)
        first_layer = Tissue(rng.choice([Tissue.ADIPOSE, Tissue.STROMA]))
        tumours = self._tumours(grid, rng) if tumour else ()
        intervals = [t.interval_mm(grid) for t in tumours]
        tops, bottoms = np.empty((2, len(tumours), grid.frames, grid.alines), np.float32)
        for k, (top, bottom) in enumerate(intervals):
            tops[k], bottoms[k] = top, bottom
        return Face(grid, surface, boundaries, first_layer, tumours, tops, bottoms)

    def _surface(self, grid: ScanGrid, rng: np.random.Generator) -> NDArray[np.float32]:
        p = self.priors
        shallow = min(p.surface_mm[0], p.surface_of_range[0] * grid.range_mm)
        deep = min(p.surface_mm[1], p.surface_of_range[1] * grid.range_mm)
        half = (deep - shallow) / 2
        tilt_x, tilt_y = rng.uniform(-1, 1, 2)
        # Relief and tilt share the allowed excursion, so that the surface never leaves its bounds.
        tilt = tilt_x * (grid.x_mm / grid.width_mm - 0.5) + tilt_y * (grid.y_mm / grid.height_mm - 0.5)
        relief = _smooth(grid, rng, p.relief_wavelength_mm)
        return np.asarray(shallow + half * (1 + 0.6 * relief + 0.4 * tilt), np.float32)

    def _boundaries(self, grid: ScanGrid, rng: np.random.Generator) -> NDArray[np.float32]:
        p = self.priors
        # Two boundaries may wave against each other: keep the thickness within its bounds all the same.
        thinnest, thickest = p.layer_mm[0] + 2 * p.boundary_wave_mm, p.layer_mm[1] - 2 * p.boundary_wave_mm
        depth_mm = rng.uniform(thinnest, thickest)
        boundaries: list[NDArray[np.float32]] = []
        while not boundaries or depth_mm < grid.range_mm:
            wave = p.boundary_wave_mm * _smooth(grid, rng, p.boundary_wavelength_mm)
            boundaries.append((depth_mm + wave).astype(np.float32))
            depth_mm += rng.uniform(thinnest, thickest)
        return np.stack(boundaries)

    def _tumours(self, grid: ScanGrid, rng: np.random.Generator) -> tuple[Ellipsoid, ...]:
        p = self.priors
        tumours: list[Ellipsoid] = []
        for _ in range(int(rng.integers(p.tumours_per_face[0], p.tumours_per_face[1] + 1))):
            half_x = min(rng.uniform(*p.tumour_half_width_mm), p.tumour_share_of_face * grid.width_mm)
            half_y = min(rng.uniform(*p.tumour_half_width_mm), p.tumour_share_of_face * grid.height_mm)
            if tumours:  # a second one overlaps the first and makes the mass irregular
                x, y = (
                    tumours[0].x_mm + rng.uniform(-1, 1) * half_x,
                    tumours[0].y_mm + rng.uniform(-1, 1) * half_y,
                )
            else:
                x, y = rng.uniform(0.4, 0.6) * grid.width_mm, rng.uniform(0.4, 0.6) * grid.height_mm
            depth_mm, bottom_mm = rng.uniform(*p.tumour_centre_mm), rng.uniform(*p.tumour_bottom_mm)
            tumours.append(Ellipsoid(x, y, depth_mm, half_x, half_y, bottom_mm - depth_mm))
        return tuple(tumours)


def scattering_amplitude(
    tissue: NDArray[np.uint8], specimen: Specimen, stroma_counts: float, axial_um: float
) -> NDArray[np.float32]:
    """Root-mean-square fringe amplitude of every depth pixel, float32 (alines, depth), counts.

    `tissue` uint8 (alines, depth). Beer-Lambert: intensity ~ backscatter * exp(-2 * integral of mu), taken at
    the centre of the pixel; `stroma_counts` is the amplitude of nominal stroma that nothing shades.
    """
    return returned_amplitude(
        specimen.attenuation_per_mm[tissue],
        specimen.backscatter[tissue],
        axial_um=axial_um,
        full_light_counts=stroma_counts,
    )


def _smooth(
    grid: ScanGrid, rng: np.random.Generator, wavelength_mm: tuple[float, float]
) -> NDArray[np.float64]:
    """Draw a smooth field within [-1, 1], (frames, alines): four waves of random direction."""
    field = np.zeros((grid.frames, grid.alines))
    for _ in range(4):
        direction, phase = rng.uniform(0, 2 * np.pi, 2)
        k = 2 * np.pi / rng.uniform(*wavelength_mm)
        field += 0.25 * np.cos(k * (grid.x_mm * np.cos(direction) + grid.y_mm * np.sin(direction)) + phase)
    return field


@numba.njit(cache=True, nogil=True)
def _label(
    surface_mm: NDArray[np.float32],
    boundaries_mm: NDArray[np.float32],
    tumour_mm: NDArray[np.float32],
    pixel_mm_and_first_layer: tuple[np.float32, int],
    labels: NDArray[np.uint8],
) -> None:
    pixel_mm, first_layer = pixel_mm_and_first_layer
    other_layer = 3 - first_layer  # adipose is 1, stroma is 2
    for a in range(labels.shape[0]):
        layer = 0
        for d in range(labels.shape[1]):
            z = pixel_mm * np.float32(d) - surface_mm[a]
            if z < 0:
                labels[a, d] = 0
                continue
            while layer < boundaries_mm.shape[0] and z >= boundaries_mm[layer, a]:
                layer += 1
            labels[a, d] = first_layer if layer % 2 == 0 else other_layer
            for k in range(tumour_mm.shape[1]):
                if tumour_mm[0, k, a] <= z < tumour_mm[1, k, a]:
                    labels[a, d] = 3
