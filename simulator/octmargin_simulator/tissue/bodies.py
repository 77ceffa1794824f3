"""Structures as rounded bodies: a capsule between two ends, whose surface noise roughens; painted frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from octmargin_simulator.tissue.materials import Material
from octmargin_simulator.tissue.textures import look

Point = tuple[float, float, float]
"""x along the frame, y across frames, z below the surface, mm."""


@dataclass(frozen=True)
class Body:
    """All points nearer to the line between two ends than the radius there.

    `flatness` divides the extent in depth; `roughness` moves the surface in and out by noise, in radii; the outer
    `rim_mm` is `rim`, the rest `core`.
    """

    start: Point
    end: Point
    start_radius_mm: float
    end_radius_mm: float
    core: Material
    rim: Material
    rim_mm: float = 0.0
    flatness: float = 1.0
    roughness: float = 0.0


_COLUMNS = 13


def table(bodies: Sequence[Body]) -> NDArray[np.float32]:
    """Bodies as rows for `paint_bodies`, in the order in which they cover each other."""
    rows = np.empty((len(bodies), _COLUMNS), np.float32)
    for row, body in zip(rows, bodies, strict=True):
        row[:] = (
            *body.start,
            *body.end,
            body.start_radius_mm,
            body.end_radius_mm,
            body.flatness,
            body.roughness,
            body.rim_mm,
            body.rim,
            body.core,
        )
    return rows


@numba.njit(cache=True, nogil=True, fastmath=True)
def paint_bodies(
    rows: NDArray[np.float32],
    y_mm: np.float32,
    aline_mm: np.float32,
    pixel_mm: np.float32,
    surface_mm: NDArray[np.float32],
    rough: NDArray[np.float32],
    rough_scale: tuple[np.float32, np.float32, np.float32],
    labels: NDArray[np.uint8],
) -> None:
    """Paint the bodies that the frame at `y_mm` cuts into `labels` (alines, depth), below the surface only."""
    voxels_per_mm, rough_x, rough_z = rough_scale
    alines, depth = labels.shape
    for b in range(rows.shape[0]):
        x0, y0, z0, x1, y1, z1 = rows[b, 0], rows[b, 1], rows[b, 2], rows[b, 3], rows[b, 4], rows[b, 5]
        r0, r1, flat, roughness, rim_mm = rows[b, 6], rows[b, 7], rows[b, 8], rows[b, 9], rows[b, 10]
        rim, core = np.uint8(rows[b, 11]), np.uint8(rows[b, 12])
        reach = max(r0, r1) * (np.float32(1) + np.float32(3) * roughness)
        if y_mm < min(y0, y1) - reach or y_mm > max(y0, y1) + reach:
            continue
        first = max(0, int((min(x0, x1) - reach) / aline_mm - np.float32(0.5)))
        last = min(alines - 1, int((max(x0, x1) + reach) / aline_mm + np.float32(0.5)))
        # Depth is measured in units that make the body round.
        ax, ay, az = x1 - x0, y1 - y0, (z1 - z0) * flat
        length2 = ax * ax + ay * ay + az * az + np.float32(1e-12)
        for a in range(first, last + 1):
            x = (np.float32(a) + np.float32(0.5)) * aline_mm
            top = surface_mm[a]
            from_px = max(int(np.ceil(top / pixel_mm)), int((top + min(z0, z1) - reach / flat) / pixel_mm))
            to_px = min(depth - 1, int((top + max(z0, z1) + reach / flat) / pixel_mm) + 1)
            for d in range(from_px, to_px + 1):
                z = np.float32(d) * pixel_mm - top
                px, py, pz = x - x0, y_mm - y0, (z - z0) * flat
                t = (px * ax + py * ay + pz * az) / length2
                t = min(max(t, np.float32(0)), np.float32(1))
                dx, dy, dz = px - t * ax, py - t * ay, pz - t * az
                radius = r0 + t * (r1 - r0)
                inside = np.float32(1) - np.sqrt(dx * dx + dy * dy + dz * dz) / radius
                if roughness > 0:
                    inside += roughness * look(
                        rough, x * voxels_per_mm + rough_x, z * voxels_per_mm + rough_z
                    )
                if inside > 0:
                    labels[a, d] = rim if inside * radius < rim_mm else core
