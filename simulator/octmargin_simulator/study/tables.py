"""Everything that the report prints, as numbers: flow, endpoints, strata, worlds, artefacts, misses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from octmargin.margin import Outcome
from octmargin_simulator.study import strata
from octmargin_simulator.study.blocks import BlockMetrics, Confusion, Curve, block_metrics, confusion
from octmargin_simulator.study.plan import ARTEFACT_PART, StudyPlan
from octmargin_simulator.study.records import FaceRecord, StudyResults
from octmargin_simulator.study.rows import Group, Row, Table, faces_of, group_of, rates, specimens_of
from octmargin_simulator.study.statistics import (
    Estimate,
    auroc,
    auroc_of_counts,
    estimate,
    roc,
    score_counts,
    share,
)
from octmargin_simulator.study.worlds import REFERENCE, load_world

_ALWAYS_SAID = re.compile("cannot be certified")


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """A face with a lesion that was not called suspicious: seed and face make it again."""

    seed: int
    sort: str
    face: str
    lesion: str
    width_mm: float
    top_mm: float
    outcome: str
    coverage: float
    visualised_depth_mm: float | None
    artefacts: tuple[str, ...]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one study; SYNTHETIC tissue throughout."""

    synthetic: bool
    octmargin: str
    plan: StudyPlan
    flow: Table
    endpoints: Table
    reasons: dict[str, int]
    confusion: Confusion
    subgroups: list[Table]
    worlds: Table | None
    artefacts: list[Table]
    missed: list[Missed]
    face_roc: Curve | None
    face_operating_point: tuple[float, float] | None
    blocks: BlockMetrics


def summarise(results: StudyResults) -> Summary:
    """Compute all tables."""
    reference = [face for face in results.faces if face.part == REFERENCE]
    metrics = block_metrics(results, REFERENCE)
    face_roc, area = _face_roc(reference)
    return Summary(
        synthetic=True,
        octmargin=results.octmargin,
        plan=results.plan,
        flow=_flow(reference, metrics),
        endpoints=_endpoints(reference, metrics, area),
        reasons=_reasons(reference),
        confusion=confusion(results, REFERENCE),
        subgroups=strata.subgroups(reference),
        worlds=_worlds(results),
        artefacts=_artefacts(results),
        missed=_missed(reference),
        face_roc=face_roc,
        face_operating_point=_operating_point(reference),
        blocks=metrics,
    )


def _flow(faces: Sequence[FaceRecord], metrics: BlockMetrics) -> Table:
    groups = Counter(group_of(face) for face in faces)
    rows = [
        Row("specimens", len({face.seed for face in faces}), {}),
        Row("faces examined", len(faces), {}),
        Row(
            "with a lesion of 0.5 mm or more within 1 mm below the surface: primary, positive",
            groups[Group.POSITIVE],
            {},
        ),
        Row("without malignant tissue in any frame: primary, negative", groups[Group.CLEAR], {}),
        Row("apart: lesion within 1 mm, but less than 0.5 mm wide", groups[Group.SMALL], {}),
        Row("apart: lesion deeper than 1 mm", groups[Group.DEEP], {}),
        Row("left out: a lesion was drawn, but lies between the frames", groups[Group.BETWEEN], {}),
        Row("blocks", metrics.blocks, {}),
        Row("left out of block metrics: lost or poor", metrics.unusable, {}),
        Row(
            "left out of block metrics: touched by less than 0.01 mm² of malignant tissue",
            metrics.touched,
            {},
        ),
        Row("blocks judged, malignant", metrics.positive, {}),
        Row("blocks judged, not malignant", metrics.negative, {}),
    ]
    return Table("Flow", "Reference world. No face was left out for its verdict or its quality.", rows)


def _endpoints(faces: Sequence[FaceRecord], metrics: BlockMetrics, area: Estimate) -> Table:
    primary = faces_of(faces, Group.POSITIVE, Group.CLEAR)
    positive, clear = faces_of(faces, Group.POSITIVE), faces_of(faces, Group.CLEAR)
    called = [face for face in primary if face.outcome == Outcome.SUSPICIOUS]
    cleared = [face for face in primary if face.outcome == Outcome.NOTHING_SUSPICIOUS]
    undecided = Outcome.INDETERMINATE
    values = {
        "sensitivity, strict: positive faces called suspicious": rates(positive, {Outcome.SUSPICIOUS}),
        "not missed: positive faces suspicious or indeterminate": rates(
            positive, {Outcome.SUSPICIOUS, undecided}
        ),
        "specificity, strict: negative faces with nothing suspicious": rates(
            clear, {Outcome.NOTHING_SUSPICIOUS}
        ),
        "negative faces not called suspicious": rates(clear, {Outcome.NOTHING_SUSPICIOUS, undecided}),
        "indeterminate": rates(primary, {undecided}),
        "prevalence of positive faces": _positive_share(primary),
        "positive predictive value of suspicious": _positive_share(called),
        "negative predictive value of nothing suspicious": _positive_share(cleared, wanted=False),
        "AUROC of faces": area,
        "AUROC of blocks": metrics.auroc,
        "AUROC of blocks, their frame alone": metrics.auroc_of_frames,
        "expected calibration error of blocks, 15 bins of equal mass": metrics.ece_equal_mass,
        "expected calibration error of blocks, 15 bins of equal width": metrics.ece_equal_width,
        "Brier score of blocks": metrics.brier,
    }
    rows = [Row(name, value.of, {"estimate": value}) for name, value in values.items()]
    return Table("Primary endpoints", "95 % intervals by resampling specimens, not faces or blocks.", rows)


def _positive_share(faces: Sequence[FaceRecord], *, wanted: bool = True) -> Estimate:
    return share([face.is_positive == wanted for face in faces], specimens_of(faces))


def _face_roc(faces: Sequence[FaceRecord]) -> tuple[Curve | None, Estimate]:
    primary = faces_of(faces, Group.POSITIVE, Group.CLEAR)
    positive = np.array([face.is_positive for face in primary], np.bool_)
    if not positive.any() or positive.all():
        return None, Estimate(None, None, None, len(primary))
    scores = np.array([face.score for face in primary])
    names, number = np.unique(specimens_of(primary), return_inverse=True)
    counts = score_counts(scores, positive, number, len(names))
    area = estimate(counts, auroc_of_counts, len(primary), auroc(scores, positive))
    return Curve.of(*roc(scores, positive)), area


def _operating_point(faces: Sequence[FaceRecord]) -> tuple[float, float] | None:
    false = rates(faces_of(faces, Group.CLEAR), {Outcome.SUSPICIOUS}).value
    true = rates(faces_of(faces, Group.POSITIVE), {Outcome.SUSPICIOUS}).value
    return None if false is None or true is None else (false, true)


def _reasons(faces: Sequence[FaceRecord]) -> dict[str, int]:
    """How often an indeterminate verdict gave which reason, whatever the numbers in it."""
    counted = Counter(
        re.sub(r"\d+(\.\d+)?", "…", reason)
        for face in faces
        if face.outcome == Outcome.INDETERMINATE
        for reason in face.reasons
        if not _ALWAYS_SAID.search(reason)
    )
    return dict(counted.most_common())


def _worlds(results: StudyResults) -> Table | None:
    names = list(dict.fromkeys(f.part for f in results.faces if f.part not in {REFERENCE, ARTEFACT_PART}))
    if not names:
        return None
    paired = set(results.plan.paired_seeds)
    rows = []
    for name in (REFERENCE, *names):
        faces = [face for face in results.faces if face.part == name and face.seed in paired]
        metrics = block_metrics(results, name, paired)
        rows.append(
            Row(
                load_world(name).title,
                len(faces),
                {
                    **strata.both_rates(faces),
                    "AUROC of blocks": metrics.auroc,
                    "AUROC of blocks, their frame alone": metrics.auroc_of_frames,
                    "calibration error of blocks": metrics.ece_equal_mass,
                },
            )
        )
    note = f"The same {len(paired)} specimens in every world: what a row changes is all that changes."
    return Table("Worlds other than the reference", note, rows)


def _artefacts(results: StudyResults) -> list[Table]:
    faces = [face for face in results.faces if face.part == ARTEFACT_PART]
    if not faces:
        return []
    names = list(dict.fromkeys(face.condition for face in faces))
    healthy, tumour = faces_of(faces, Group.CLEAR), faces_of(faces, Group.POSITIVE)
    undecided, found, clear = Outcome.INDETERMINATE, Outcome.SUSPICIOUS, Outcome.NOTHING_SUSPICIOUS
    by_name: Callable[[Sequence[FaceRecord], str], list[FaceRecord]] = lambda of, name: [  # noqa: E731
        face for face in of if face.condition == name
    ]
    columns = {"suspicious": found, "indeterminate": undecided, "nothing suspicious": clear}
    return [
        Table(
            f"Each artefact alone on {what}",
            "The same faces in every row, one of each specimen, with no other artefact.",
            [
                Row(
                    name.replace("_", " "),
                    len(by_name(of, name)),
                    {column: rates(by_name(of, name), {outcome}) for column, outcome in columns.items()},
                )
                for name in names
            ],
        )
        for what, of in (("healthy tissue", healthy), ("tumour within 1 mm", tumour))
    ]


def _missed(faces: Sequence[FaceRecord]) -> list[Missed]:
    return [
        Missed(
            seed=face.seed,
            sort=face.sort,
            face=face.face,
            lesion=face.drawn_lesion,
            width_mm=face.lesion_width_mm or 0.0,
            top_mm=face.lesion_top_mm or 0.0,
            outcome=face.outcome,
            coverage=face.coverage,
            visualised_depth_mm=face.visualised_depth_mm,
            artefacts=face.artefacts,
        )
        for face in faces_of(faces, Group.POSITIVE)
        if face.outcome != Outcome.SUSPICIOUS
    ]
