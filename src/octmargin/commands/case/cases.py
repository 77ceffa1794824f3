"""`octmargin case new | identify | order | indicate | close`: the case as a whole."""

from __future__ import annotations

import secrets
from datetime import date
from enum import StrEnum
from typing import Annotated

import typer

from octmargin.case.record import events
from octmargin.case.record.diagnosis import as_entered
from octmargin.case.record.model import Order, PatientIdentity, PersonName
from octmargin.commands.case.common import CaseId, RecordFile, tell
from octmargin.errors import InputError


class Sex(StrEnum):
    """As DICOM has it."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"
    UNKNOWN = "U"


class OrderSide(StrEnum):
    """Of an order."""

    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"
    UNKNOWN = "unknown"


def new(
    record: RecordFile,
    case_id: Annotated[
        str | None, typer.Argument(metavar="CASE", help="Opaque, for it goes on the bus; drawn unless given.")
    ] = None,
    indication: Annotated[str, typer.Option(help="Why margins are assessed.")] = "",
) -> None:
    """Open a case, and print its identifier."""
    said: list[events.CaseBody] = [events.Opened()]
    if indication:
        said.append(events.Indicated(indication=indication))
    tell(record, f"case-{secrets.token_hex(4)}" if case_id is None else case_id, *said)


def identify(
    record: RecordFile,
    case_id: CaseId,
    family: Annotated[str, typer.Option(help="Family name.")],
    patient_id: Annotated[str, typer.Option(help="The patient's number.")],
    given: Annotated[str, typer.Option(help="Given name.")] = "",
    issuer: Annotated[str, typer.Option(help="Who gave the number.")] = "",
    birth_date: Annotated[str, typer.Option(help="Such as 1970-01-31.")] = "",
    sex: Annotated[Sex, typer.Option(help="As DICOM has it.")] = Sex.UNKNOWN,
    why: Annotated[
        str, typer.Option(help="Why it is another patient than was recorded before; needed then.")
    ] = "",
) -> None:
    """Say who the patient is. It stays in the record, and goes into reports and DICOM, never on the bus."""
    patient = PatientIdentity(
        name=PersonName(family=family, given=given),
        patient_id=patient_id,
        issuer=issuer,
        birth_date=_day(birth_date) if birth_date else None,
        sex=sex.value,
    )
    tell(record, case_id, events.Identified(patient=patient, why=why))


def order(
    record: RecordFile,
    case_id: CaseId,
    laterality: Annotated[OrderSide, typer.Option(help="The side that was ordered.")],
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    procedure: Annotated[str, typer.Option(help="What was ordered, in words.")] = "",
    orientation: Annotated[str, typer.Option(help="What it says of sutures or ink.")] = "",
    diagnosis: Annotated[
        list[str] | None, typer.Option(help="An ICD-10-CM code of the order; once for each.")
    ] = None,
) -> None:
    """Enter the order by hand; it replaces what was known of it."""
    ordered = Order(
        accession=accession,
        laterality=laterality.value,
        orientation=orientation,
        procedure=procedure,
        diagnoses=as_entered(diagnosis or ()),
    )
    tell(record, case_id, events.Ordered(order=ordered))


def indicate(
    record: RecordFile,
    case_id: CaseId,
    text: Annotated[str, typer.Argument(help="Why margins are assessed.")],
) -> None:
    """Give the indication."""
    tell(record, case_id, events.Indicated(indication=text))


def close(record: RecordFile, case_id: CaseId) -> None:
    """Close a case of which every specimen is signed or withdrawn."""
    tell(record, case_id, events.Closed())


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f'--birth-date "{text}": no date; give one such as 1970-01-31') from error
