"""One row per planned face: what algorithm and interpreter said of it, what pathology found, what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from octmargin.case.record.model import (
    CaseSnapshot,
    Interpretation,
    PathologyFinding,
    SpecimenKind,
    SpecimenPhase,
    SpecimenRecord,
    SweepRecord,
    Verdict,
)

WORST_FIRST: Final[tuple[PathologyFinding, ...]] = ("positive", "close", "negative", "not_assessed")


class FaceRow(Struct, frozen=True, kw_only=True):
    """A face; ids are opaque. `algorithm` of the newest sweep, `indeterminate` where that has no final verdict.

    `interpreter` is "" without a final interpretation, `pathology` "" without a result, and the worst of several.
    """

    case_id: str
    specimen_id: str
    kind: SpecimenKind
    face: str
    opened_on: date
    synthetic: bool
    algorithm: Verdict | Literal["not_scanned"]
    interpreter: Verdict | Literal["not_assessed", ""]
    reader: Literal["agree", "disagree", "unsure", ""]
    """The newest word of anybody on the algorithm's verdict on the face."""
    pathology: PathologyFinding | Literal[""]
    coverage: float | None
    visualised_depth_mm: float | None
    lost_frames: int | None
    re_excised: bool
    """In the same operation."""
    re_operated: bool
    """In another one."""


class SpecimenRow(Struct, frozen=True, kw_only=True):
    """A specimen and how long things took, in minutes; None where one end is not known."""

    case_id: str
    specimen_id: str
    kind: SpecimenKind
    opened_on: date
    scanning_min: float | None
    """From the begin of its first sweep to the end of its last."""
    excision_to_final_min: float | None
    """From excision to the final interpretation, where that was made in real time."""
    excision_to_formalin_min: float | None
    faces: tuple[FaceRow, ...]


def specimen_rows(
    cases: Iterable[CaseSnapshot], first: date | None, last: date | None, *, synthetic: bool
) -> list[SpecimenRow]:
    """Specimens of cases that were opened from `first` to `last`, both included, local days; None is no end.

    Either those of cases with synthetic spectra alone or all others: never both. Withdrawn ones are none.
    """
    rows = []
    for case in cases:
        opened_on = case.opened_at.astimezone().date()
        is_in = (first is None or opened_on >= first) and (last is None or opened_on <= last)
        if is_in and any(specimen.is_synthetic for specimen in case.specimens) == synthetic:
            rows += [
                _row(case, specimen, opened_on)
                for specimen in case.specimens
                if specimen.phase is not SpecimenPhase.WITHDRAWN
            ]
    return rows


def _row(case: CaseSnapshot, specimen: SpecimenRecord, opened_on: date) -> SpecimenRow:
    final = _final(specimen)
    real_time = final.at if final is not None and final.mode == "real-time" else None
    ends = [sweep.ended_at for sweep in specimen.sweeps if sweep.ended_at is not None]
    began = min((sweep.started_at for sweep in specimen.sweeps), default=None)
    return SpecimenRow(
        case_id=case.case_id,
        specimen_id=specimen.specimen_id,
        kind=specimen.kind,
        opened_on=opened_on,
        scanning_min=_minutes(began, max(ends, default=None)),
        excision_to_final_min=_minutes(specimen.excised_at, real_time),
        excision_to_formalin_min=_minutes(specimen.excised_at, specimen.formalin_at),
        faces=tuple(_faces(case, specimen, opened_on)),
    )


def _faces(case: CaseSnapshot, specimen: SpecimenRecord, opened_on: date) -> Iterator[FaceRow]:
    final = _final(specimen)
    said = {finding.face: finding.finding for finding in final.faces} if final is not None else {}
    for face in specimen.faces:
        sweep = specimen.newest_sweep(face)
        found = {result.finding for result in specimen.pathology if result.face == face}
        more = [one for one in specimen.re_excisions if one.face == face]
        words = [
            decision.word
            for decision in specimen.decisions
            if decision.subject == "face"
            and sweep is not None
            and (decision.session, decision.sweep, decision.face) == sweep.key
        ]
        yield FaceRow(
            case_id=case.case_id,
            specimen_id=specimen.specimen_id,
            kind=specimen.kind,
            face=face,
            opened_on=opened_on,
            synthetic=specimen.is_synthetic,
            algorithm=_algorithm(sweep),
            interpreter=said.get(face, ""),
            reader=words[-1] if words else "",
            pathology=next((finding for finding in WORST_FIRST if finding in found), ""),
            coverage=sweep.coverage if sweep is not None else None,
            visualised_depth_mm=sweep.visualised_depth_mm if sweep is not None else None,
            lost_frames=sweep.lost_frames if sweep is not None else None,
            re_excised=any(one.immediate for one in more),
            re_operated=any(not one.immediate for one in more),
        )


def _algorithm(sweep: SweepRecord | None) -> Verdict | Literal["not_scanned"]:
    if sweep is None:
        return "not_scanned"
    # Before its end a sweep has proven nothing, whatever it says.
    return "indeterminate" if sweep.provisional else sweep.verdict


def _final(specimen: SpecimenRecord) -> Interpretation | None:
    said = specimen.interpretation
    return said if said is not None and said.state == "final" else None


def _minutes(begin: datetime | None, end: datetime | None) -> float | None:
    return (end - begin) / timedelta(minutes=1) if begin is not None and end is not None else None
