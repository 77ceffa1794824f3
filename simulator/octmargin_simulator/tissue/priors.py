"""The priors of the simulated tissue, read from `priors.toml`, and what a seed draws from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from octmargin.errors import ConfigError
from octmargin_simulator.tissue.materials import Material

DEFAULT = Path(__file__).with_name("priors.toml")

Range = tuple[float, float]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a pair that runs backwards is refused."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise ValueError(f"{name} is {list(value)}: the first number is the lowest")


class Scene(_Table, frozen=True):
    """How often what occurs."""

    stroma_surface_snr_db: Range
    positive_share: float
    dcis_share: float
    deep_lesion_share: float
    benign_share: float
    adipose_share: Range
    composition_mm: Range
    septum_share: Range
    scattering_angle_rad: Range


class SurfacePrior(_Table, frozen=True):
    """Where and how the surface lies."""

    depth_mm: Range
    relief_mm: Range
    relief_wavelength_mm: Range
    tilt_deg: Range
    specular_counts: Range
    specular_slope: Range


class Textures(_Table, frozen=True):
    """Scales of the textures."""

    coarse_um: Range
    fine_um: Range
    band_um: Range
    band_warp: Range
    adipose_cell_um: Range


class MaterialPrior(_Table, frozen=True):
    """Optics and texture of one material."""

    mu: Range
    backscatter_db: Range
    coarse_db: Range = (0.0, 0.0)
    fine_db: Range = (0.0, 0.0)
    band_db: Range = (0.0, 0.0)
    honeycomb_db: Range = (0.0, 0.0)


class Ducts(_Table, frozen=True):
    """Normal ducts."""

    per_mm2: Range
    lumen_radius_um: Range
    wall_um: Range
    length_mm: Range


class Vessels(_Table, frozen=True):
    """Blood vessels."""

    per_mm2: Range
    radius_um: Range
    length_mm: Range


class Invasive(_Table, frozen=True):
    """Invasive carcinoma."""

    width_mm: Range
    depth_share: Range
    top_mm: Range
    top_surfacing_share: float
    roughness: Range
    spicules: tuple[int, int]
    spicule_mm: Range
    spicule_radius_um: Range


class Dcis(_Table, frozen=True):
    """Ducts with carcinoma in situ."""

    ducts: tuple[int, int]
    region_mm: Range
    duct_radius_um: Range
    rim_um: Range
    solid_share: float
    necrosis_share: float
    calcification_share: float
    calcification_um: Range
    length_mm: Range
    top_mm: Range
    top_surfacing_share: float


class Mass(_Table, frozen=True):
    """Cyst, fibroadenoma-like mass or biopsy cavity."""

    width_mm: Range
    top_mm: Range
    wall_um: Range = (0.0, 0.0)
    roughness: Range = (0.0, 0.0)


class Node(_Table, frozen=True):
    """Axillary lymph node."""

    capsule_um: Range
    fat_mm: Range
    metastasis_share: float
    metastasis_mm: Range
    metastasis_top_mm: Range


class Cover(_Table, frozen=True):
    """A layer on parts of the surface."""

    share: float
    cover: Range
    thickness_um: Range


class Bubbles(_Table, frozen=True):
    """Air in the fluid on the surface."""

    share: float
    count: tuple[int, int]
    radius_um: Range
    transmission: Range


class AirGap(_Table, frozen=True):
    """Air under a flap of tissue."""

    share: float
    count: tuple[int, int]
    width_mm: Range
    top_um: Range
    thickness_um: Range


class Debris(_Table, frozen=True):
    """Crumbs on the surface."""

    share: float
    count: tuple[int, int]
    radius_um: Range


class Glare(_Table, frozen=True):
    """A surface that mirrors."""

    share: float
    specular_counts: Range


class Artefacts(_Table, frozen=True):
    """What a face may carry besides tissue."""

    cautery: Cover
    ink: Cover
    blood: Cover
    fluid: Cover
    bubbles: Bubbles
    air_gap: AirGap
    debris: Debris
    glare: Glare


class ConsolePrior(_Table, frozen=True):
    """What differs between consoles."""

    rolloff_6db_mm: Range
    beam_radius_um: Range
    focus_mm: Range
    electrons_per_count: Range
    read_noise_counts: Range
    excess_noise: Range
    power_fluctuation: Range
    pixel_gain_spread: Range
    etalon_counts: Range


class TissuePriors(_Table, frozen=True):
    """The whole file."""

    scene: Scene
    surface: SurfacePrior
    textures: Textures
    materials: dict[str, MaterialPrior]
    ducts: Ducts
    vessels: Vessels
    invasive: Invasive
    dcis: Dcis
    cyst: Mass
    fibroadenoma: Mass
    cavity: Mass
    node: Node
    artefacts: Artefacts
    console: ConsolePrior

    def __post_init__(self) -> None:
        known = {m.name.lower() for m in Material} - {"air", "fluid", "gap"}
        if known != set(self.materials):
            raise ValueError(f"materials: give exactly {', '.join(sorted(known))}")


def load(path: Path | None = None, *, changes: Path | None = None) -> TissuePriors:
    """Read a whole file of priors, or the default one; `changes` is a file with those that differ, and no more.

    Raises ConfigError for a file that cannot be read or does not fit.
    """
    table = _read(path or DEFAULT)
    if changes is not None:
        table = _merged(table, _read(changes))
    try:
        return msgspec.convert(table, TissuePriors)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{changes or path or DEFAULT}: {error}; see the default priors.toml") from error


@cache
def default() -> TissuePriors:
    """The priors that come with the simulator."""
    return load()


def draw(rng: np.random.Generator, between: Range) -> float:
    """Draw one number of a range."""
    return float(rng.uniform(*between))


def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give a file of priors") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error
    return table


def _merged(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for name, value in changes.items():
        before = merged.get(name)
        merged[name] = (
            _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
        )
    return merged
