"""Frames of simulated specimens with what is really there: what a margin model is trained and calibrated on.

Everything a specimen gives depends on its seed alone. Frames are kept as cells (see
`octmargin.margin._cell_kernels`), so that training sees what the model will see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from octmargin.frames import ALINES_PER_BLOCK
from octmargin.margin.cells import SeenFrame, see_frame
from octmargin.margin.model import CLASSES
from octmargin.signal import Calibration, Reconstructor
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.optics import ConsoleOptics
from octmargin_simulator.tissue import KIND, MALIGNANT, FaceScanner, Material, Scenario, Sort, TissueSpecimen
from octmargin_simulator.tissue.covers import ARTEFACTS
from octmargin_simulator.tissue.paint import label
from octmargin_simulator.tissue.scan import SORT_FACES
from octmargin_simulator.tissue.specimen import FaceTissue
from octmargin_simulator.tissue.truth import block_truth

ALINES, FRAMES, EDGE_MM = 512, 40, 8.0
AIR = len(CLASSES)
"""Class of a place that is outside the tissue; the classes of the model come before it."""
_WIDTHS_MM = (6.5, 9.5)
"""Of a frame, for training: A-lines 13 to 19 µm apart."""
_SORTS = {Sort.LUMPECTOMY: 0.75, Sort.SHAVE: 0.1, Sort.NODE: 0.15}
_WITH_LESION, _WITHOUT = 0.6, 0.3
"""Shares of the training faces that must carry a lesion, or none; the others are left to the seed."""
_DCIS_SHARE = 0.6
"""Of the lesions that are asked for: it is the harder one, and smaller."""
_FRAMES_WITH_LESION, _FRAMES_BESIDE, _FRAMES_CLEAR = 6, 3, 6
_FRAMES_PREFERRED = 3
_PREFERENCES = {"benign": 0.25, "mimics": 0.3}
"""Shares of the specimens whose face and frames prefer what is easily taken for malignant; see `Preference`."""
_WITH_PREFERRED, _ARTEFACT_SHARE = 0.8, 0.2
LEAST_LESION_PX = 200
Preference = Literal["lesions", "benign", "mimics"]
"""What a training face is made to carry, and what frames are chosen through, besides lesions.

"benign": a cyst, a fibroadenoma or a cavity, whose walls and rims are easily taken for carcinoma. "mimics": air gaps,
vessels and normal ducts: what is dark with a bright rim is easily taken for DCIS.
"""


def _of(*materials: Material) -> NDArray[np.bool_]:
    return np.isin(np.arange(len(Material)), materials)


LOOK_ALIKES: dict[Preference, tuple[NDArray[np.bool_], ...]] = {
    "lesions": (),
    "benign": (_of(Material.CYST, Material.FIBROADENOMA, Material.CAVITY, Material.GRANULATION),),
    "mimics": (
        _of(Material.GAP),
        _of(Material.VESSEL, Material.LUMEN, Material.DUCT_WALL, Material.CYST),
    ),
}
_BAND_ROWS = 8
_CLASS_OF = np.full(len(Material), AIR, np.uint8)
for _material, _kind in KIND.items():
    _CLASS_OF[_material] = CLASSES.index(_kind.value)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Frames, in the order of their seeds.

    `cells_db` float16 (frames, ALINES, rows) over the noise; `places` float16 (frames, blocks, bands, classes + 1):
    share of each class in each place below the surface that was found; `kind` int8 (frames, blocks): class of the
    block, by the truth below the true surface; `counts` bool (frames, blocks): whether it is trained on: it can be
    judged, and is not merely touched by a lesion; `seed` int64 (frames,).
    """

    cells_db: NDArray[np.float16]
    places: NDArray[np.float16]
    kind: NDArray[np.int8]
    counts: NDArray[np.bool_]
    seed: NDArray[np.int64]

    @classmethod
    def join(cls, parts: Sequence[Examples]) -> Examples:
        """Put several after each other."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__slots__))


def training_examples(seeds: Iterable[int], folder: Path, processes: int) -> Examples:
    """Frames of one face of each specimen, those through its lesion and through what looks like one preferred.

    Each specimen is kept as a file in `folder`; those that are there stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not forked: numba's and PyTorch's threads do not survive that.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        paths = list(pool.map(partial(_specimen, folder), seeds, chunksize=8))
    return _read_all(paths)


def _read_all(paths: Sequence[Path]) -> Examples:
    """All frames one after the other, each file put straight into its place: together they fill much of the memory."""
    sizes = [len(_read(path, ["seed"])["seed"]) for path in paths]
    ends = np.cumsum(sizes).tolist()
    whole: dict[str, NDArray[Any]] = {}
    for path, size, end in zip(paths, sizes, ends, strict=True):
        for name, part in _read(path, Examples.__slots__).items():
            if name not in whole:
                whole[name] = np.empty((ends[-1], *part.shape[1:]), part.dtype)
            whole[name][end - size : end] = part
    return Examples(**whole)


def _read(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    with np.load(path) as content:
        return {name: content[name] for name in names}


def _specimen(folder: Path, seed: int) -> Path:
    path = folder / f"examples-{seed}.npz"
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            examples = specimen_examples(seed)
            np.savez(file, **{name: getattr(examples, name) for name in Examples.__slots__})
        part.rename(path)
    return path


def specimen_examples(seed: int) -> Examples:
    """Some frames of a face of a specimen."""
    rng = np.random.default_rng([seed, 20])
    prefer = draw_preference(rng)
    scan = draw_scan(seed, rng, prefer=prefer)
    # Every other frame: neighbours show much of the same.
    shown = {k: near_surface(scan, k) for k in range(0, FRAMES, 2)}

    def frames_with(wanted: NDArray[np.bool_]) -> list[int]:
        return [k for k, counts in shown.items() if counts[wanted].sum() > LEAST_LESION_PX]

    with_lesion = frames_with(MALIGNANT)
    others = [k for k in shown if k not in with_lesion]
    chosen = _some(rng, with_lesion, _FRAMES_WITH_LESION)
    chosen += _some(rng, others, _FRAMES_BESIDE if chosen else _FRAMES_CLEAR)
    for wanted in LOOK_ALIKES[prefer]:
        chosen += _some(rng, [k for k in frames_with(wanted) if k in others], _FRAMES_PREFERRED)
    frames = []
    for k in dict.fromkeys(chosen):
        seen, kind, touched = scan.frame(k)
        frames.append(
            Examples(
                in_db(seen.cells)[None],
                places(scan.labels(k), seen.top_px, seen.edges_px)[None],
                kind[None],
                (judgeable(seen.usable) & ~touched)[None],
                np.array([seed], np.int64),
            )
        )
    return Examples.join(frames)


def draw_preference(rng: np.random.Generator) -> Preference:
    """Draw what a training face prefers."""
    chance = rng.random()
    if chance < _PREFERENCES["benign"]:
        return "benign"
    return "mimics" if chance < _PREFERENCES["benign"] + _PREFERENCES["mimics"] else "lesions"


class TrainingScan:
    """One face of a specimen, whose frames are rendered and reduced to cells one at a time."""

    def __init__(self, specimen: TissueSpecimen, name: str, face: FaceTissue, optics: ConsoleOptics) -> None:
        self.face, self.grid = face, face.grid
        self._optics = optics
        self._scanner = FaceScanner(specimen, name, face, optics)
        calibration = Calibration.from_polynomial(
            optics.k_map_coefficients.tolist(),
            optics.dispersion_coefficients.tolist(),
            samples=optics.samples,
            axial_um=optics.axial_um,
        )
        self._reconstructor = Reconstructor(calibration, samples=optics.samples, depth=optics.depth_px)
        self._raw = np.empty((ALINES, optics.samples), np.uint16)
        self._intensity = np.empty((ALINES, optics.depth_px), np.float32)

    def labels(self, frame: int) -> NDArray[np.uint8]:
        """`Material` of every voxel, (alines, depth)."""
        return label(self.face, frame)

    def frame(self, frame: int) -> tuple[SeenFrame, NDArray[np.int8], NDArray[np.bool_]]:
        """Cells of a frame, class of each block, and whether a lesion merely touches it."""
        truth = self._scanner.expose(frame, self._raw)
        bscan_db = self._reconstructor.process(self._raw, intensity=self._intensity)
        saturated = self._raw.max(axis=1) >= self._optics.full_scale
        seen = see_frame(bscan_db, self._intensity, saturated, self._optics.axial_um)
        kinds, touched = block_truth(truth, self._optics.axial_um, 1000 * self.grid.width_mm / ALINES)
        return seen, np.array([CLASSES.index(kind.value) for kind in kinds], np.int8), touched


def draw_scan(
    seed: int,
    rng: np.random.Generator,
    *,
    height_mm: float = EDGE_MM,
    natural: bool = False,
    prefer: Preference = "lesions",
) -> TrainingScan:
    """Draw a specimen, one of its faces, and, unless `natural`, mostly what that must or must not carry."""
    benign, artefacts = None, None
    sort = Sort(rng.choice(list(_SORTS), p=list(_SORTS.values())))
    chance, kind = rng.random(2)
    lesion = None
    if natural:
        pass
    elif chance < _WITH_LESION:
        lesion = "metastasis" if sort is Sort.NODE else ("dcis" if kind < _DCIS_SHARE else "invasive")
    elif chance < _WITH_LESION + _WITHOUT:
        lesion = "none"
    if prefer == "benign" and sort is not Sort.NODE and rng.random() < _WITH_PREFERRED:
        benign = str(rng.choice(["cyst", "fibroadenoma", "cavity"]))
    elif prefer == "mimics" and rng.random() < _WITH_PREFERRED:
        artefacts = (
            "air_gap",
            *(name for name in ARTEFACTS if name != "air_gap" and rng.random() < _ARTEFACT_SHARE),
        )
    specimen = TissueSpecimen(seed, sort)
    optics = specimen.console()
    width_mm = EDGE_MM if natural else rng.uniform(*_WIDTHS_MM)
    grid = ScanGrid(ALINES, FRAMES, optics.depth_px, width_mm, height_mm, optics.axial_um)
    name = str(rng.choice(SORT_FACES[sort]))
    return TrainingScan(
        specimen, name, specimen.face(name, grid, Scenario(lesion, benign, artefacts)), optics
    )


def in_db(cells: NDArray[np.float32]) -> NDArray[np.float16]:
    """Cells in units of the noise as they are kept."""
    return np.asarray((10 * np.log10(np.maximum(cells, 1e-2))).astype(np.float16))


def out_of_db(cells_db: NDArray[np.float16]) -> NDArray[np.float32]:
    """Cells in units of the noise, from what `in_db` made of them."""
    return np.asarray(np.float32(10) ** (cells_db.astype(np.float32) / np.float32(10)), np.float32)


def _some(rng: np.random.Generator, frames: list[int], most: int) -> list[int]:
    return [int(k) for k in rng.choice(frames, min(most, len(frames)), replace=False)] if frames else []


def near_surface(scan: TrainingScan, frame: int) -> NDArray[np.int64]:
    """Count the pixels of each material that a frame cuts within about a millimetre of the surface, (materials,)."""
    labels = scan.labels(frame)
    depth_mm = np.arange(labels.shape[1]) * scan.grid.axial_um / 1000 - scan.face.surface_mm[frame][:, None]
    return np.bincount(labels[(depth_mm >= 0) & (depth_mm < 1.05)], minlength=len(Material))


def judgeable(usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether half of the A-lines of each block can be used."""
    return np.asarray(usable.reshape(-1, ALINES_PER_BLOCK).mean(axis=1) >= 0.5)


def places(
    labels: NDArray[np.uint8], top_px: NDArray[np.int64], edges_px: NDArray[np.int64]
) -> NDArray[np.float16]:
    """Share of each class in blocks of A-lines and bands of rows, below the surface that was found."""
    kinds = _CLASS_OF[labels]
    depth = np.clip(top_px[:, None] + np.arange(edges_px[0], edges_px[-1]), 0, labels.shape[1] - 1)
    below = np.take_along_axis(kinds, depth, axis=1)
    below[top_px < 0] = AIR
    cuts = edges_px[::_BAND_ROWS] - edges_px[0]
    shares = np.empty((len(labels) // ALINES_PER_BLOCK, len(cuts) - 1, AIR + 1), np.float16)
    for band, (first, stop) in enumerate(pairwise(cuts.tolist())):
        part = below[:, first:stop].reshape(len(shares), -1)
        for kind in range(AIR + 1):
            shares[:, band, kind] = (part == kind).mean(axis=1)
    return shares
