"""How well single blocks are judged: discrimination, calibration and confusion of tissue kinds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from octmargin.frames import BlockState
from octmargin_simulator.study import statistics
from octmargin_simulator.study.records import Blocks, StudyResults
from octmargin_simulator.study.statistics import Estimate, Floats
from octmargin_simulator.study.truth import KINDS, Malignant

_POINTS = 400
UNUSABLE = "not judged"


class Curve(msgspec.Struct, frozen=True):
    """Points of a curve."""

    x: list[float]
    y: list[float]

    @classmethod
    def of(cls, x: Floats, y: Floats) -> Self:
        """Thin out what has more points than a picture shows."""
        at = np.unique(np.linspace(0, len(x) - 1, _POINTS).round().astype(int))
        return cls(x[at].round(5).tolist(), y[at].round(5).tolist())


class BlockMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks of one part of the study; curves and estimates are of the judged ones.

    `reliability` is the share of malignant blocks over the mean suspicion, per bin of equal mass.
    """

    blocks: int
    unusable: int
    touched: int
    positive: int
    negative: int
    auroc: Estimate
    auroc_of_frames: Estimate
    """Of what each frame alone shows, before evidence is gathered."""
    ece_equal_mass: Estimate
    ece_equal_width: Estimate
    brier: Estimate
    roc: Curve | None
    operating_point: tuple[float, float] | None
    reliability: Curve


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks by what they are (rows) and by what they were called (columns); touched blocks left out."""

    truth: list[str]
    called: list[str]
    blocks: list[list[int]]


def block_metrics(results: StudyResults, part: str, seeds: Collection[int] | None = None) -> BlockMetrics:
    """Metrics of all blocks of a part, or of those of the specimens `seeds`."""
    blocks, seed = _of(results, part, seeds)
    judged = _is_judged(blocks)
    counted = judged & (blocks.malignant != Malignant.TOUCHED)
    names, specimen = np.unique(seed[counted], return_inverse=True)
    probability = blocks.evidence[counted].astype(np.float64)
    positive = blocks.malignant[counted] == Malignant.YES
    called = blocks.state[counted] == BlockState.SUSPICIOUS
    of, specimens = len(positive), len(names)
    unknown = Estimate(None, None, None, of)
    area, of_frames, roc, point = unknown, unknown, None, None
    if positive.any() and not positive.all():
        counts = statistics.score_counts(probability, positive, specimen, specimens)
        exact = statistics.auroc(probability, positive)
        area = statistics.estimate(counts, statistics.auroc_of_counts, of, exact)
        alone = blocks.suspicion[counted].astype(np.float64)
        of_frames = statistics.estimate(
            statistics.score_counts(alone, positive, specimen, specimens),
            statistics.auroc_of_counts,
            of,
            statistics.auroc(alone, positive),
        )
        roc = Curve.of(*statistics.roc(probability, positive))
        point = float(called[~positive].mean()), float(called[positive].mean())
    mass, width, brier, reliability = unknown, unknown, unknown, Curve([], [])
    if of:
        of_mass, of_width = (
            statistics.calibration_sums(probability, positive, specimen, specimens, equal_mass=equal)
            for equal in (True, False)
        )
        mass = statistics.estimate(of_mass, statistics.expected_calibration_error, of)
        width = statistics.estimate(of_width, statistics.expected_calibration_error, of)
        squared = statistics.squared_error_sums(probability, positive, specimen, specimens)
        brier = statistics.estimate(squared, statistics.ratio, of)
        number, expected, there = of_mass.sum(axis=0)[:, of_mass.sum(axis=0)[0] > 0]
        reliability = Curve.of(expected / number, there / number)
    return BlockMetrics(
        blocks=len(judged),
        unusable=int((~judged).sum()),
        touched=int((judged & ~counted).sum()),
        positive=int(positive.sum()),
        negative=int((~positive).sum()),
        auroc=area,
        auroc_of_frames=of_frames,
        ece_equal_mass=mass,
        ece_equal_width=width,
        brier=brier,
        roc=roc,
        operating_point=point,
        reliability=reliability,
    )


def confusion(results: StudyResults, part: str) -> Confusion:
    """Count what every block of a part was taken for: its most probable class."""
    blocks, _ = _of(results, part, None)
    blocks = blocks.where(blocks.malignant != Malignant.TOUCHED)
    called = np.full(len(blocks.kind), len(results.classes))
    judged = _is_judged(blocks)
    called[judged] = blocks.probabilities[judged].argmax(axis=1)
    columns = len(results.classes) + 1
    counted = np.bincount(blocks.kind * columns + called, minlength=len(KINDS) * columns)
    return Confusion(
        truth=[kind.value for kind in KINDS],
        called=[*results.classes, UNUSABLE],
        blocks=counted.reshape(-1, columns).tolist(),
    )


def _of(results: StudyResults, part: str, seeds: Collection[int] | None) -> tuple[Blocks, NDArray[np.int64]]:
    """Blocks of a part, and the seed of each."""
    chosen = np.array(
        [f.part == part and (seeds is None or f.seed in seeds) for f in results.faces], np.bool_
    )
    seed = np.array([face.seed for face in results.faces], np.int64)
    face = results.face_of_block
    return results.blocks.where(chosen[face]), seed[face[chosen[face]]]


def _is_judged(blocks: Blocks) -> NDArray[np.bool_]:
    return np.isin(blocks.state, (BlockState.NOTHING_SUSPICIOUS, BlockState.SUSPICIOUS))
