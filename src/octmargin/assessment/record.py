"""An assessment as a document for programs: `assessment.json`. Fields that a reader does not know are to be ignored.

The words are those of the messages on the bus (docs/messages.md).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from octmargin.assessment.face import AssessedFace
from octmargin.assessment.findings import Finding
from octmargin.bus import StateCounts, count_states, grid_letters, rounded
from octmargin.frames import ALINES_PER_BLOCK, BlockState
from octmargin.words import NOTICE

SCHEMA = 1

Rows = list[list[float | None]]
"""(frames, blocks); null where unknown."""


class ModelRecord(Struct, frozen=True, kw_only=True):
    """What judged, and the classes that it tells apart."""

    name: str
    version: str
    hash: str
    """Of the model's file; empty where nothing was trained."""
    classes: list[str]
    suspicious_at: float
    """Of a block as its frame alone shows it."""
    operating_point: dict[str, Any]
    """Of the evidence over a sweep."""


class ClusterRecord(Struct, frozen=True, kw_only=True):
    """Suspicious blocks that touch; ranges are inclusive. `key_frame` is where it is most suspicious."""

    number: int
    blocks: int
    first_frame: int
    last_frame: int
    first_block: int
    last_block: int
    distance_mm: float | None
    key_frame: int
    evidence: float
    """Highest of its blocks, gathered over neighbouring blocks and frames."""
    probabilities: dict[str, float | None]
    """Mean over its blocks, by class."""


class FaceRecord(Struct, frozen=True, kw_only=True):
    """What is said of one face, and everything that it rests on."""

    face: str
    verdict: str
    reasons: list[str]
    coverage: float
    visualised_depth_mm: float | None
    distance_mm: float | None
    truth: str | None
    """What is really there, where that is known: "suspicious" or "clear"."""
    frames: int
    alines: int
    blocks: int
    width_mm: float
    height_mm: float
    counts: StateCounts
    lost_frames: dict[str, int]
    """By cause."""
    failures: list[str]
    """Why frames could not be judged, where that is how they were lost."""
    clusters: list[ClusterRecord]
    """The most suspicious first."""
    grid: list[str]
    """A row per frame, a letter per block: . not scanned, L lost, P poor, N nothing suspicious, S suspicious."""
    evidence_map: Rows
    """Gathered over neighbouring blocks and frames: what the verdict rests on."""
    suspicion_map: Rows
    """As each frame alone shows it."""
    distance_map_mm: Rows
    """From the surface to the nearest suspicious feature."""
    visualised_depth_map_mm: Rows


class Assessment(Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema: int = SCHEMA
    notice: str = NOTICE
    software_version: str
    assessed_at: datetime
    source: str
    synthetic: bool
    model: ModelRecord
    calibration_hash: str
    axial_um: float
    alines_per_block: int = ALINES_PER_BLOCK
    policy: dict[str, Any]
    faces: list[FaceRecord]

    def to_json(self) -> bytes:
        """UTF-8, on one line: indented, each number of a map would take one."""
        return msgspec.json.encode(self) + b"\n"


def face_record(assessed: AssessedFace, classes: tuple[str, ...], truth: str | None) -> FaceRecord:
    """One face for the document; `classes` name the columns of its probabilities."""
    plan, verdict, sweep_map = assessed.plan, assessed.verdict, assessed.map
    return FaceRecord(
        face=plan.face,
        verdict=verdict.outcome.value,
        reasons=list(verdict.reasons),
        coverage=round(verdict.coverage, 4),
        visualised_depth_mm=known(verdict.visualised_depth_mm),
        distance_mm=known(verdict.nearest_distance_mm),
        truth=truth,
        frames=plan.frames,
        alines=plan.alines,
        blocks=plan.blocks,
        width_mm=plan.width_mm,
        height_mm=plan.height_mm,
        counts=count_states(assessed.state),
        lost_frames={cause.value: count for cause, count in assessed.lost.items()},
        failures=list(assessed.failures),
        clusters=[_cluster_record(finding, classes) for finding in assessed.findings],
        grid=grid_letters(assessed.state),
        evidence_map=_rows(sweep_map.evidence, 3),
        suspicion_map=_rows(sweep_map.suspicion, 3),
        distance_map_mm=_rows(
            np.where(assessed.state == BlockState.SUSPICIOUS, sweep_map.feature_mm, np.float32(np.nan)), 3
        ),
        visualised_depth_map_mm=_rows(sweep_map.visualised_depth_mm, 2),
    )


def known(value: float) -> float | None:
    """A value to three decimals; None for NaN."""
    return rounded([value], 3)[0]


def _cluster_record(finding: Finding, classes: tuple[str, ...]) -> ClusterRecord:
    cluster = finding.cluster
    return ClusterRecord(
        number=finding.number,
        blocks=cluster.blocks,
        first_frame=cluster.first_frame,
        last_frame=cluster.last_frame,
        first_block=cluster.first_block,
        last_block=cluster.last_block,
        distance_mm=known(cluster.nearest_distance_mm),
        key_frame=finding.frame,
        evidence=round(cluster.evidence, 3),
        probabilities=dict(zip(classes, rounded(finding.probabilities, 3), strict=True)),
    )


def _rows(values: NDArray[np.float32], digits: int) -> Rows:
    return [rounded(row, digits) for row in values]
