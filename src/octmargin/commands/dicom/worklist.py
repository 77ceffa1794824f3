"""`octmargin dicom worklist`: what is scheduled, and taking one of it as a case's patient and order."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from octmargin.case.record import events
from octmargin.case.record.diagnosis import as_ordered, troubles
from octmargin.case.record.store import CaseStore
from octmargin.commands.case.common import RECORD_VARIABLE, echo, tell
from octmargin.commands.dicom.common import ConfigFile, load_settings
from octmargin.errors import InputError
from octmargin.words import counted

if TYPE_CHECKING:
    from octmargin.dicom.worklist import Scheduled


def worklist(
    config: ConfigFile,
    day: Annotated[str, typer.Option(help="today, any, or a date such as 2031-05-06.")] = "today",
    accession: Annotated[str, typer.Option(help="The accession number.")] = "",
    patient_id: Annotated[str, typer.Option(help="The patient's number.")] = "",
    name: Annotated[str, typer.Option(help="The patient's name, FAMILY^GIVEN; * stands for anything.")] = "",
    modality: Annotated[str, typer.Option(help="Such as OCT.")] = "",
    ours: Annotated[bool, typer.Option("--ours", help="Only what is scheduled for our title.")] = False,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="CASE", help="Take the entry of --accession as this case's patient and order; opens it."
        ),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(envvar=RECORD_VARIABLE, help="The record of cases, for --into.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what the worklist has; with --into, take one entry into the record of cases."""
    settings = load_settings(config)
    if into is not None and (record is None or not accession):
        raise InputError("--into: give --accession, and --record or OCTMARGIN_RECORD, too")
    from octmargin.dicom.worklist import Filters, chosen, query  # noqa: PLC0415 - an extra

    asked = Filters(
        day=None if accession and day == "today" else _day(day),
        patient_id=patient_id,
        accession=accession,
        name=name,
        modality=modality,
        for_us_alone=ours,
    )
    found = query(settings, asked)
    if into is not None and record is not None:
        _take(chosen(found, accession), into, record)
        return
    if json_output:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for one in found:
        typer.echo(_line(one))
    typer.echo(counted(len(found), "entry", "entries"))


def _take(scheduled: Scheduled, case_id: str, record: Path) -> None:
    if scheduled.patient is None:
        raise InputError(
            f"the entry {scheduled.order.accession} has no patient id; enter the patient by hand"
        )
    with CaseStore.open(record) as store:
        is_new = case_id not in store.case_ids()
    order = msgspec.structs.replace(scheduled.order, diagnoses=as_ordered(scheduled.diagnosis_codes))
    bodies: list[events.CaseBody] = [events.Opened()] if is_new else []
    tell(record, case_id, *bodies, events.Identified(patient=scheduled.patient), events.Ordered(order=order))
    for problem in scheduled.problems:
        echo(f"  ! {problem}; put it right by hand")
    for trouble in troubles(scheduled.diagnosis_codes):
        echo(f"  ! {trouble}")


def _line(one: Scheduled) -> str:
    order = one.order
    who = f"{one.patient.name} ({one.patient.patient_id})" if one.patient else "no patient id"
    when = f"{one.at:%Y-%m-%d %H:%M}" if one.at else "no time"
    what = order.procedure or one.step or "no description"
    parts = [when, order.accession or "no accession number", who, order.laterality, what, *one.problems]
    return "  ".join(parts)


def _day(text: str) -> date | None:
    if text == "any":
        return None
    if text == "today":
        return date.today()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f'--day "{text}": give today, any, or a date such as 2031-05-06') from error
