"""Every assumption about tissue that the synthetic layered phantom makes, in one place.

These are our own priors for breast tissue at 1300 nm. They are NOT taken from the literature and were not
measured: no published table could be read. Results on this phantom say nothing about tissue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Tissue(IntEnum):
    """What fills a depth pixel."""

    AIR = 0
    ADIPOSE = 1
    STROMA = 2
    TUMOUR = 3


@dataclass(frozen=True)
class TissuePrior:
    """Optical properties of one tissue.

    `attenuation_per_mm` (mu) acts on the way in and out: intensity falls with exp(-2 mu z).
    `backscatter_db` is the intensity at equal light, relative to stroma.
    """

    attenuation_per_mm: float
    backscatter_db: float


def _tissues() -> dict[Tissue, TissuePrior]:
    return {
        Tissue.ADIPOSE: TissuePrior(attenuation_per_mm=1.5, backscatter_db=-8.0),
        Tissue.STROMA: TissuePrior(attenuation_per_mm=3.0, backscatter_db=0.0),
        Tissue.TUMOUR: TissuePrior(attenuation_per_mm=6.5, backscatter_db=5.0),
    }


@dataclass(frozen=True)
class PhantomPriors:
    """Geometry and optics of the synthetic layered phantom; pairs are (lowest, highest), drawn evenly."""

    tissues: dict[Tissue, TissuePrior] = field(default_factory=_tissues)
    specimen_variation: float = 0.10
    """Standard deviation of attenuation and backscatter between specimens, relative (a log-normal factor)."""
    stroma_surface_snr_db: float = 38.0
    """Mean intensity of stroma at the surface over the noise floor, before roll-off."""

    surface_mm: tuple[float, float] = (0.10, 0.40)
    """Depth of the surface below zero delay, in tissue millimetres."""
    surface_of_range: tuple[float, float] = (0.15, 0.30)
    """Limits of the same as a share of the simulated depth, for consoles that see less than a millimetre."""
    relief_wavelength_mm: tuple[float, float] = (4.0, 12.0)

    layer_mm: tuple[float, float] = (0.3, 0.8)
    """Thickness of a layer of adipose or stroma anywhere on a face."""
    boundary_wave_mm: float = 0.05
    """Largest excursion of a boundary between layers."""
    boundary_wavelength_mm: tuple[float, float] = (2.0, 6.0)

    tumours_per_face: tuple[int, int] = (1, 2)
    tumour_half_width_mm: tuple[float, float] = (1.5, 3.0)
    tumour_share_of_face: float = 0.3
    """Largest half width as a share of the face, so that small faces keep clear tissue."""
    tumour_centre_mm: tuple[float, float] = (0.05, 0.25)
    """Depth of the ellipsoid's centre below the surface; always less than its depth, so that it surfaces."""
    tumour_bottom_mm: tuple[float, float] = (0.6, 1.0)

    reach_mm: float = 0.3
    """A tumour within this depth below the surface makes a place, and its face, suspicious."""
