"""Whom and what a report is about: patient, order, specimen, and the clock of its fixation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

from octmargin.case.record.formalin import LIMIT, formalin_clock
from octmargin.case.record.model import CaseSnapshot, SpecimenRecord, Statement
from octmargin.report.document import Field
from octmargin.report.wording import NOT_RECORDED, when

_KINDS = {"lumpectomy": "lumpectomy specimen", "shave": "cavity shave", "node": "axillary node"}
_SEXES = {"F": "female", "M": "male", "O": "other", "U": "not known"}


def patient_line(snapshot: CaseSnapshot) -> str:
    """Who the report is about, in one line."""
    patient = snapshot.patient
    if patient is None:
        return "no patient recorded"
    born = f" · born {patient.birth_date}" if patient.birth_date is not None else ""
    return f"{patient.name} · {patient.patient_id}{born}"


def patient_fields(snapshot: CaseSnapshot) -> Iterator[Field]:
    """Who the patient is."""
    patient = snapshot.patient
    if patient is None:
        yield Field(label="Patient", value=NOT_RECORDED, alert=True)
        return
    issuer = f" ({patient.issuer})" if patient.issuer else ""
    yield Field(label="Patient", value=str(patient.name))
    yield Field(label="Number", value=f"{patient.patient_id}{issuer}")
    yield Field(label="Born", value=str(patient.birth_date or NOT_RECORDED))
    yield Field(label="Sex", value=_SEXES[patient.sex])


def case_fields(snapshot: CaseSnapshot, zone: tzinfo) -> Iterator[Field]:
    """The case and what was ordered."""
    order = snapshot.order
    yield Field(label="Case", value=snapshot.case_id)
    yield Field(label="Opened", value=when(snapshot.opened_at, zone))
    if order is None:
        yield Field(label="Order", value=NOT_RECORDED, alert=True)
        return
    yield Field(label="Accession", value=order.accession or NOT_RECORDED)
    yield Field(label="Procedure", value=order.procedure or NOT_RECORDED)
    yield Field(label="Side ordered", value=order.laterality, alert=order.laterality == "unknown")


def specimen_fields(specimen: SpecimenRecord, zone: tzinfo) -> Iterator[Field]:
    """Which specimen, of which side, and when it was taken and fixed."""
    yield Field(label="Specimen", value=specimen.specimen_id)
    yield Field(label="Kind", value=_KINDS.get(specimen.kind, specimen.kind))
    yield Field(label="Side", value=specimen.laterality.upper(), alert=specimen.laterality == "unknown")
    yield Field(
        label="Orientation", value=specimen.orientation or NOT_RECORDED, alert=not specimen.orientation
    )
    marks = " / ".join(filter(None, (specimen.label, specimen.container)))
    yield Field(label="Label / container", value=marks or NOT_RECORDED)
    excised = when(specimen.excised_at, zone) if specimen.excised_at else NOT_RECORDED
    yield Field(label="Excised", value=excised, alert=specimen.excised_at is None)
    yield _formalin(specimen, zone)
    for statement in specimen.statements:
        if statement.source == "confirmation":
            yield _confirmed(statement, zone)


def _confirmed(statement: Statement, zone: tzinfo) -> Field:
    """What a person confirmed, and what said otherwise."""
    overruled = [name for name in ("side", "orientation", "time") if _is_about(statement, name)] or ["side"]
    what = [statement.laterality, *([statement.orientation] if "orientation" in overruled else [])]
    value = f"{', '.join(filter(None, what))}, by {statement.by}, {when(statement.at, zone)}"
    value += f": {statement.why}" if statement.why else ""
    value += f"; overruled: {'; '.join(statement.despite)}" if statement.despite else ""
    return Field(label=f"{' and '.join(overruled)} confirmed".capitalize(), value=value)


def _is_about(statement: Statement, name: str) -> bool:
    return any(f", {name}: " in source for source in statement.despite)


def _formalin(specimen: SpecimenRecord, zone: tzinfo) -> Field:
    if specimen.formalin_at is None:
        return Field(label="In formalin", value=NOT_RECORDED, alert=True)
    value = when(specimen.formalin_at, zone)
    if specimen.excised_at is None:
        return Field(label="In formalin", value=value)
    after = specimen.formalin_at - specimen.excised_at
    return Field(
        label="In formalin",
        value=f"{value}, {_minutes(after)} min after excision",
        alert=not timedelta() <= after <= LIMIT,
    )


def formalin_late(specimen: SpecimenRecord, now: datetime) -> str:
    """A warning where fixation came later than an hour after excision, or is not recorded by then; "" else."""
    clock = formalin_clock(specimen, now)
    if clock.state == "exceeded":
        return f"In formalin {clock.minutes:.0f} min after excision, later than 1 hour."
    if clock.state == "over":
        return "More than 1 hour after excision no time in formalin is recorded."
    return ""


def _minutes(duration: timedelta) -> int:
    return round(duration.total_seconds() / 60)
