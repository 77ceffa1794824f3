"""A frame reduced to cells below its surface: 16 µm of depth of each A-line, in units of the noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.margin import _cell_kernels as kernels
from octmargin.margin._cell_kernels import ROW_UM, ROWS, ROWS_ABOVE
from octmargin.signal import find_surface, noise_floor_db


@dataclass(frozen=True, slots=True, eq=False)
class SeenFrame:
    """A B-scan as cells.

    `cells` float32 (alines, ROWS); `usable` bool (alines,); `top_px` int64 (alines,): pixel of the surface that an
    A-line's cells are below, -1 where it has none; `edges_px` int64 (ROWS + 1,): where rows begin, from there.
    """

    cells: NDArray[np.float32]
    usable: NDArray[np.bool_]
    top_px: NDArray[np.int64]
    edges_px: NDArray[np.int64]


def row_edges_px(axial_um: float) -> NDArray[np.int64]:
    """Where the rows begin and the last ends, in pixels of `axial_um` from the surface, (ROWS + 1,)."""
    return np.round((np.arange(ROWS + 1) - ROWS_ABOVE) * (ROW_UM / axial_um)).astype(np.int64)


def average_cells(
    intensity: NDArray[np.float32],
    surface_px: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: float,
    axial_um: float,
    source: NDArray[np.int64],
    cells: NDArray[np.float32],
) -> None:
    """Average `intensity` (alines, depth) into `cells` (A-lines of whole blocks, ROWS), in units of `noise`.

    An A-line that is not usable, or lies beyond the frame, takes the nearest that is; `source`, int64 of as many
    A-lines as `cells`, says which, -1 where there is none at all.
    """
    kernels.nearest_usable(usable, source)
    kernels.average_cells(intensity, surface_px, source, row_edges_px(axial_um), np.float32(noise), cells)


def see_frame(
    bscan_db: NDArray[np.float32],
    intensity: NDArray[np.float32],
    saturated: NDArray[np.bool_],
    axial_um: float,
) -> SeenFrame:
    """Reduce a B-scan (alines, depth) of whole blocks as the assessor does."""
    noise_db = noise_floor_db(bscan_db, axial_um=axial_um)
    surface_px = find_surface(bscan_db, axial_um=axial_um, noise_db=noise_db)
    usable = np.isfinite(surface_px) & ~saturated
    source = np.empty(len(bscan_db), np.int64)
    cells = np.empty((len(bscan_db), ROWS), np.float32)
    lines = intensity.view()
    lines.flags.writeable = False
    average_cells(lines, surface_px, usable, 10.0 ** (noise_db / 10.0), axial_um, source, cells)
    top_px = np.floor(np.nan_to_num(surface_px[source]) + 0.5).astype(np.int64)
    top_px[source < 0] = -1
    return SeenFrame(cells, usable, top_px, row_edges_px(axial_um))
