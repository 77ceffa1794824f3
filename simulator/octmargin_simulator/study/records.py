"""What a study found, face by face and block by block, and its two files."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from octmargin import __version__
from octmargin.errors import InputError
from octmargin_simulator.study.plan import StudyPlan
from octmargin_simulator.tissue.scan import REACH_MM

FACES_FILE, BLOCKS_FILE = "faces.json", "blocks.npz"
_FORMAT = 2


class FaceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One examined face: what is really there, and what the verdict said; None is "not there" or "not known".

    `part` is the world, or "artefacts" with the scenario in `condition`. `drawn_lesion` is what the simulator was
    asked for, `lesion_width_mm` and `lesion_top_mm` what the frames cut, `lesion_seen_mm` what of it was above the
    visualised depth (`truth.Lesion`).
    """

    seed: int
    sort: str
    face: str
    part: str
    condition: str
    drawn_lesion: str
    lesion_width_mm: float | None
    lesion_top_mm: float | None
    lesion_seen_mm: float | None
    benign: str
    artefacts: tuple[str, ...]
    outcome: str
    reasons: tuple[str, ...]
    coverage: float
    visualised_depth_mm: float | None
    score: float
    snr_db: float
    blocks: int

    @property
    def is_positive(self) -> bool:
        """Whether malignant tissue lies within a millimetre below the surface."""
        return self.lesion_top_mm is not None and self.lesion_top_mm <= REACH_MM


@dataclass(frozen=True, eq=False)
class Blocks:
    """One value per block, those of a face together, frame after frame.

    `suspicion` as its frame alone shows it and `evidence` gathered over the sweep, float32, NaN where unknown;
    `probabilities` float16 (blocks, classes); `state` as the evidence gives it, `quality` as in `BlockFlags`;
    `malignant` and `kind` as in `truth.block_truth`; uint8 these four.
    """

    suspicion: NDArray[np.float32]
    evidence: NDArray[np.float32]
    probabilities: NDArray[np.float16]
    state: NDArray[np.uint8]
    quality: NDArray[np.uint8]
    malignant: NDArray[np.uint8]
    kind: NDArray[np.uint8]

    @classmethod
    def joined(cls, parts: Sequence[Blocks]) -> Self:
        """Those of several frames or faces, one after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def where(self, chosen: NDArray[np.bool_]) -> Self:
        """The chosen blocks."""
        return type(self)(*(getattr(self, f.name)[chosen] for f in fields(self)))


class _FacesFile(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    synthetic: bool
    octmargin: str
    plan: StudyPlan
    classes: tuple[str, ...]
    faces: list[FaceRecord]


@dataclass(frozen=True, eq=False)
class StudyResults:
    """Everything that a report needs; `classes` names the columns of `blocks.probabilities`."""

    plan: StudyPlan
    classes: tuple[str, ...]
    faces: list[FaceRecord]
    blocks: Blocks
    octmargin: str = __version__

    @property
    def face_of_block(self) -> NDArray[np.int64]:
        """Index into `faces` of each block."""
        return np.repeat(np.arange(len(self.faces)), [face.blocks for face in self.faces])

    def save(self, folder: Path) -> None:
        """Write both files. Raises InputError where the folder cannot be written."""
        head = _FacesFile(
            format=_FORMAT,
            synthetic=True,
            octmargin=self.octmargin,
            plan=self.plan,
            classes=self.classes,
            faces=self.faces,
        )
        arrays: dict[str, Any] = {f.name: getattr(self.blocks, f.name) for f in fields(Blocks)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(folder / BLOCKS_FILE, **arrays)
            (folder / FACES_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(head), indent=1))
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}; name another folder") from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises InputError for what is missing or does not fit."""
        try:
            head = msgspec.json.decode((folder / FACES_FILE).read_bytes(), type=_FacesFile)
            # Opened here: numpy leaves a damaged file open.
            with (folder / BLOCKS_FILE).open("rb") as opened, np.load(opened) as file:
                blocks = Blocks(*(file[f.name] for f in fields(Blocks)))
        except OSError as error:
            raise InputError(
                f"{folder}: no results of a study: {error.strerror}: {Path(error.filename or folder).name}; "
                "give the folder that a study wrote"
            ) from error
        except (msgspec.MsgspecError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise InputError(f"{folder}: results cannot be read: {error}; run the study again") from error
        if head.format != _FORMAT:
            raise InputError(
                f"{folder}: results of format {head.format}, this version reads {_FORMAT}; run it again"
            )
        blocks_told = sum(face.blocks for face in head.faces)
        if any(len(getattr(blocks, f.name)) != blocks_told for f in fields(Blocks)):
            raise InputError(f"{folder}: {FACES_FILE} and {BLOCKS_FILE} are not of one study; run it again")
        return cls(head.plan, head.classes, head.faces, blocks, head.octmargin)
