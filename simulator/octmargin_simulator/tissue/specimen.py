"""Specimens by seed: what each consists of, and what lies where on each of its faces."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.optics import ConsoleOptics
from octmargin_simulator.tissue import lesions
from octmargin_simulator.tissue.bodies import Body
from octmargin_simulator.tissue.covers import Covers, draw_covers
from octmargin_simulator.tissue.materials import Material
from octmargin_simulator.tissue.priors import TissuePriors, default, draw
from octmargin_simulator.tissue.textures import Texture, TextureSource


class Sort(StrEnum):
    """What was excised."""

    LUMPECTOMY = "lumpectomy"
    SHAVE = "shave"
    NODE = "node"


@dataclass(frozen=True)
class Scenario:
    """What a face is made to carry, where chance is not to decide; None leaves it to the seed.

    `lesion` is "none", "invasive" or "dcis" (of a node: "none" or "metastasis"); `benign` "none", "cyst",
    "fibroadenoma" or "cavity"; `artefacts` the only ones that the face has.
    """

    lesion: str | None = None
    benign: str | None = None
    artefacts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Optics:
    """Properties per material, float32, indexed by `Material`: mu in 1/mm, backscatter linear, the rest in dB."""

    attenuation_per_mm: NDArray[np.float32]
    backscatter: NDArray[np.float32]
    coarse_db: NDArray[np.float32]
    fine_db: NDArray[np.float32]
    band_db: NDArray[np.float32]
    honeycomb_db: NDArray[np.float32]


@dataclass(frozen=True)
class Fibres:
    """Direction and distance of the stroma's bundles: a bundle each `period_mm` along the unit vector `normal`."""

    normal: tuple[float, float, float]
    period_mm: float
    warp: float


@dataclass(frozen=True)
class FaceTissue:
    """Everything that one face is, for `paint` to cut frames from; lengths in mm, depths below the surface.

    `surface_mm` float32 (frames, alines) is the tissue's surface below zero delay.
    """

    grid: ScanGrid
    surface_mm: NDArray[np.float32]
    base: Material
    """Between lobules of fat: stroma, or the cortex of a node."""
    adipose_above: float
    septum_within: float
    composition: Texture
    septa: Texture
    coarse: Texture
    fine: Texture
    warp: Texture
    rough: Texture
    honeycomb: Texture
    fibres: Fibres
    fat_mm: float
    """Of a node: fat over the capsule; below it lies no fat. 0 elsewhere."""
    capsule_mm: float
    bodies: tuple[Body, ...]
    covers: Covers
    lesion: str
    benign: str


class TissueSpecimen:
    """One specimen of `sort`, drawn by `seed` from `priors`; a face depends on the seed and its own name alone."""

    def __init__(self, seed: int, sort: Sort = Sort.LUMPECTOMY, priors: TissuePriors | None = None) -> None:
        self.seed, self.sort = seed, Sort(sort)
        self.priors = priors or default()
        rng = np.random.default_rng([seed, 10])
        scene, textures = self.priors.scene, self.priors.textures
        self.optics = _draw_optics(self.priors, rng)
        self.snr_db = draw(rng, scene.stroma_surface_snr_db)
        self.scattering_angle_rad = draw(rng, scene.scattering_angle_rad)
        self._adipose_share = draw(rng, scene.adipose_share)
        self._composition_mm = draw(rng, scene.composition_mm)
        self._septum_share = draw(rng, scene.septum_share)
        self._coarse_mm = draw(rng, textures.coarse_um) / 1000
        self._fine_mm = draw(rng, textures.fine_um) / 1000
        self._cell_mm = draw(rng, textures.adipose_cell_um) / 1000

    @cached_property
    def _textures(self) -> TextureSource:
        return TextureSource(np.random.default_rng([self.seed, 14]))

    def console(self, samples: int = 2048) -> ConsoleOptics:
        """Draw the console that looks at this specimen."""
        prior = self.priors.console
        rng = np.random.default_rng([self.seed, 11])
        return ConsoleOptics(
            samples=samples,
            rolloff_6db_mm=draw(rng, prior.rolloff_6db_mm),
            beam_radius_um=draw(rng, prior.beam_radius_um),
            focus_mm=draw(rng, prior.focus_mm),
            electrons_per_count=draw(rng, prior.electrons_per_count),
            read_noise_counts=draw(rng, prior.read_noise_counts),
            excess_noise=draw(rng, prior.excess_noise),
            power_fluctuation=draw(rng, prior.power_fluctuation),
            pixel_gain_spread=draw(rng, prior.pixel_gain_spread),
            etalons=tuple((rng.uniform(20, 600), draw(rng, prior.etalon_counts)) for _ in range(2)),
        )

    def rng(self, face: str, frame: int) -> np.random.Generator:
        """Random numbers of one frame: independent of the order, and of the thread, in which it is made."""
        return np.random.Generator(np.random.SFC64([self.seed, 13, zlib.crc32(face.encode()), frame]))

    def face(self, name: str, grid: ScanGrid, scenario: Scenario | None = None) -> FaceTissue:
        """Draw one face."""
        rng = np.random.default_rng([self.seed, 12, zlib.crc32(name.encode())])
        scenario = self._complete(scenario or Scenario(), rng)
        is_node = self.sort is Sort.NODE
        node = self.priors.node
        fat_mm = draw(rng, node.fat_mm) if is_node else 0.0
        capsule_mm = draw(rng, node.capsule_um) / 1000 if is_node else 0.0
        noise = self._textures.noise
        share = np.clip(self._adipose_share + rng.normal(0, 0.15), 0.02, 0.95)
        return FaceTissue(
            grid=grid,
            surface_mm=self._surface(grid, rng),
            base=Material.CORTEX if is_node else Material.STROMA,
            adipose_above=_normal_quantile(1 - share),
            septum_within=_normal_quantile(0.5 + self._septum_share / 2),
            composition=noise(rng, self._composition_mm),
            septa=noise(rng, 0.6 * self._composition_mm),
            coarse=noise(rng, self._coarse_mm),
            fine=noise(rng, self._fine_mm),
            warp=noise(rng, 0.35),
            rough=noise(rng, rng.uniform(0.15, 0.5)),
            honeycomb=self._textures.honeycomb(rng, self._cell_mm),
            fibres=self._fibres(rng),
            fat_mm=fat_mm,
            capsule_mm=capsule_mm,
            bodies=tuple(self._bodies(scenario, grid, fat_mm + capsule_mm, rng)),
            covers=draw_covers(self.priors, scenario.artefacts or (), grid, noise, rng),
            lesion=scenario.lesion or "none",
            benign=scenario.benign or "none",
        )

    def _complete(self, scenario: Scenario, rng: np.random.Generator) -> Scenario:
        """Let chance decide what the scenario leaves open; always draws the same numbers."""
        scene, artefacts = self.priors.scene, self.priors.artefacts
        chance = rng.random(4)
        if self.sort is Sort.NODE:
            lesion = "metastasis" if chance[0] < self.priors.node.metastasis_share else "none"
            benign = "none"
        else:
            malignant = "dcis" if chance[1] < scene.dcis_share else "invasive"
            beyond = scene.positive_share + (1 - scene.positive_share) * scene.deep_lesion_share
            lesion = malignant if chance[0] < scene.positive_share else "none"
            lesion = f"deep {malignant}" if scene.positive_share <= chance[0] < beyond else lesion
            benign = (
                ("cyst", "fibroadenoma", "cavity")[int(3 * chance[3])]
                if chance[2] < scene.benign_share
                else "none"
            )
        names = artefacts.__struct_fields__
        drawn = tuple(
            n for n, c in zip(names, rng.random(len(names)), strict=True) if c < getattr(artefacts, n).share
        )
        return replace(
            scenario,
            lesion=lesion if scenario.lesion is None else scenario.lesion,
            benign=benign if scenario.benign is None else scenario.benign,
            artefacts=drawn if scenario.artefacts is None else scenario.artefacts,
        )

    def _bodies(
        self, scenario: Scenario, grid: ScanGrid, below_mm: float, rng: np.random.Generator
    ) -> Iterator[Body]:
        # Each part has numbers of its own: a face with a lesion is otherwise the face that it is without.
        vessels, benign, lesion = rng.spawn(3)
        yield from lesions.vessels_and_ducts(self.priors, grid, vessels, ducts=self.sort is not Sort.NODE)
        yield from lesions.benign(self.priors, scenario.benign or "none", grid, benign)
        yield from lesions.malignant(self.priors, scenario.lesion or "none", grid, below_mm, lesion)

    def _fibres(self, rng: np.random.Generator) -> Fibres:
        tilt, turn = rng.normal(0, 0.35), rng.uniform(0, 2 * np.pi)
        normal = (np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt))
        textures = self.priors.textures
        return Fibres(normal, draw(rng, textures.band_um) / 1000, draw(rng, textures.band_warp))

    def _surface(self, grid: ScanGrid, rng: np.random.Generator) -> NDArray[np.float32]:
        prior = self.priors.surface
        tilt = np.tan(np.deg2rad(draw(rng, prior.tilt_deg)))
        turn = rng.uniform(0, 2 * np.pi)
        x_mm, y_mm = grid.x_mm - grid.width_mm / 2, grid.y_mm - grid.height_mm / 2
        surface = draw(rng, prior.depth_mm) + tilt * (np.cos(turn) * x_mm + np.sin(turn) * y_mm)
        relief_mm = draw(rng, prior.relief_mm)
        for _ in range(5):
            direction, phase = rng.uniform(0, 2 * np.pi, 2)
            k = 2 * np.pi / draw(rng, prior.relief_wavelength_mm)
            surface = surface + relief_mm / np.sqrt(2.5) * np.cos(
                k * (x_mm * np.cos(direction) + y_mm * np.sin(direction)) + phase
            )
        # The console's operator keeps the specimen inside the range.
        highest = float(surface.min())
        return np.asarray(surface + max(0.0, 0.08 - highest), np.float32)


def _draw_optics(priors: TissuePriors, rng: np.random.Generator) -> Optics:
    table = {name: np.zeros(len(Material), np.float32) for name in Optics.__dataclass_fields__}
    for material in Material:
        prior = priors.materials.get(material.name.lower())
        if prior is None:
            continue
        table["attenuation_per_mm"][material] = draw(rng, prior.mu)
        table["backscatter"][material] = 10 ** (draw(rng, prior.backscatter_db) / 10)
        for name in ("coarse_db", "fine_db", "band_db", "honeycomb_db"):
            table[name][material] = draw(rng, getattr(prior, name))
    return Optics(**table)


def _normal_quantile(share: float) -> float:
    return float(ndtri(share))
