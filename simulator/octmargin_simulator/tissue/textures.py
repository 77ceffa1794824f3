"""Random textures in three dimensions: periodic tiles, of which a frame sees the plane that it cuts."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

TILE = 96
"""Voxels along each edge of a tile; a scale given to `plane` is two voxels of noise, or a cell of honeycomb."""
_NOISE_VOXELS = 2.0
_CELL_VOXELS = 8


@dataclass(frozen=True)
class Plane:
    """One cut through a tile: `values` float32 (x, z), periodic, and how millimetres become voxels."""

    values: NDArray[np.float32]
    voxels_per_mm: float
    x_voxel: float
    z_voxel: float


@dataclass(frozen=True)
class Texture:
    """A tile in one size and place: `origin` (3,) in voxels."""

    tile: NDArray[np.float32]
    voxels_per_mm: float
    origin: NDArray[np.float64]

    def plane(self, y_mm: float) -> Plane:
        """Cut at `y_mm`, between the two nearest planes of the tile."""
        y = (y_mm * self.voxels_per_mm + self.origin[1]) % TILE
        below = int(y)
        share = np.float32(y - below)
        values = (1 - share) * self.tile[below % TILE] + share * self.tile[(below + 1) % TILE]
        return Plane(
            np.ascontiguousarray(values), self.voxels_per_mm, float(self.origin[0]), float(self.origin[2])
        )


class TextureSource:
    """The tiles of one specimen; `noise` and `honeycomb` place them anew each time they are called."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._noise = noise_tile(rng)
        self._honeycomb = honeycomb_tile(rng)

    def noise(self, rng: np.random.Generator, scale_mm: float) -> Texture:
        """Gaussian noise of mean 0 and deviation 1 whose features are about `scale_mm` wide."""
        return Texture(self._noise, 2 * _NOISE_VOXELS / scale_mm, rng.uniform(0, TILE, 3))

    def honeycomb(self, rng: np.random.Generator, cell_mm: float) -> Texture:
        """Cells of `cell_mm`: 1 on their walls, 0 inside."""
        return Texture(self._honeycomb, _CELL_VOXELS / cell_mm, rng.uniform(0, TILE, 3))


def noise_tile(rng: np.random.Generator) -> NDArray[np.float32]:
    """White noise under a Gaussian of two voxels, periodic, mean 0, deviation 1, float32 (y, x, z)."""
    frequency = np.fft.fftfreq(TILE)
    half = np.fft.rfftfreq(TILE)
    squared = frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + half[None, None, :] ** 2
    smooth = np.exp(-2 * (np.pi * _NOISE_VOXELS) ** 2 * squared)
    white = np.fft.rfftn(rng.standard_normal((TILE, TILE, TILE)))
    noise = np.fft.irfftn(white * smooth, (TILE, TILE, TILE), axes=(0, 1, 2))
    noise -= noise.mean()
    return np.asarray(noise / noise.std(), np.float32)


def honeycomb_tile(rng: np.random.Generator) -> NDArray[np.float32]:
    """Walls of a periodic three-dimensional Voronoi diagram, 0 to 1, float32 (y, x, z)."""
    cells = TILE // _CELL_VOXELS
    seeds = (
        np.indices((cells, cells, cells)) + rng.uniform(0.05, 0.95, (3, cells, cells, cells))
    ) * _CELL_VOXELS
    walls = np.empty((TILE, TILE, TILE), np.float32)
    _voronoi_walls(np.ascontiguousarray(seeds, np.float32), walls)
    return walls


@numba.njit(cache=True, nogil=True)
def _voronoi_walls(seeds: NDArray[np.float32], walls: NDArray[np.float32]) -> None:
    """How near each voxel is to being as far from its second nearest seed as from the nearest."""
    cells = seeds.shape[1]
    edge = walls.shape[0]
    wall_voxels = np.float32(1.2)
    for i in range(edge):
        for j in range(edge):
            for k in range(edge):
                nearest = second = np.float32(1e9)
                ci, cj, ck = i // _CELL_VOXELS, j // _CELL_VOXELS, k // _CELL_VOXELS
                for di in range(-1, 2):
                    for dj in range(-1, 2):
                        for dk in range(-1, 2):
                            si, sj, sk = (ci + di) % cells, (cj + dj) % cells, (ck + dk) % cells
                            # A neighbour beyond the edge is the periodic copy of one inside.
                            wi = (ci + di - si) * _CELL_VOXELS
                            wj = (cj + dj - sj) * _CELL_VOXELS
                            wk = (ck + dk - sk) * _CELL_VOXELS
                            off = (
                                (seeds[0, si, sj, sk] + wi - i) ** 2
                                + (seeds[1, si, sj, sk] + wj - j) ** 2
                                + (seeds[2, si, sj, sk] + wk - k) ** 2
                            )
                            distance = np.float32(np.sqrt(off))
                            if distance < nearest:
                                second, nearest = nearest, distance
                            elif distance < second:
                                second = distance
                gap = (second - nearest) / wall_voxels
                walls[i, j, k] = np.exp(-gap * gap)


@numba.njit(cache=True, nogil=True, fastmath=True)
def look(values: NDArray[np.float32], x: np.float32, z: np.float32) -> np.float32:
    """Value of a periodic plane at (x, z) in voxels, both at least 0, between its four nearest points."""
    i, j = int(x), int(z)
    u, w = np.float32(x - i), np.float32(z - j)
    i, j = i % TILE, j % TILE
    i1 = i + 1 if i + 1 < TILE else 0
    j1 = j + 1 if j + 1 < TILE else 0
    one = np.float32(1)
    left = (one - w) * values[i, j] + w * values[i, j1]
    right = (one - w) * values[i1, j] + w * values[i1, j1]
    return np.float32((one - u) * left + u * right)
