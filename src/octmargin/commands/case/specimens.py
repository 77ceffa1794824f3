"""`octmargin case register | describe | formalin | confirm | diagnose | take | discontinue | withdraw`: a specimen."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from octmargin.archive import Recording
from octmargin.case.record import events
from octmargin.case.record.diagnosis import as_ordered
from octmargin.case.record.lock import user
from octmargin.case.record.model import Discontinuation
from octmargin.case.recorded import read_recorded
from octmargin.case.taking import take as take_recorded
from octmargin.commands.case.common import (
    By,
    CaseId,
    KnownSide,
    RecordFile,
    Side,
    SpecimenId,
    echo,
    moment,
    say,
    tell,
)
from octmargin.commands.case.common import record as open_record
from octmargin.errors import CaseRefusedError, InputError
from octmargin.frames import FACES
from octmargin.report.coding import DiagnosisCheck, check_diagnosis, load_tables
from octmargin.words import counted


class Kind(StrEnum):
    """Of a specimen."""

    LUMPECTOMY = "lumpectomy"
    SHAVE = "shave"
    NODE = "node"


At = Annotated[str, typer.Option("--at", help="now, HH:MM of today, or a date and time.")]


def register(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    kind: Annotated[Kind, typer.Option(help="What it is.")],
    laterality: Annotated[Side, typer.Option(help="Its side.")],
    orientation: Annotated[str, typer.Option(help="What its sutures or ink say.")] = "",
    label: Annotated[str, typer.Option(help="What people call it; no patient's name.")] = "",
    container: Annotated[str, typer.Option(help="What it is in.")] = "",
    face: Annotated[
        list[str] | None,
        typer.Option(
            help="A planned face, once for each; six of a lumpectomy, one of the rest unless given."
        ),
    ] = None,
    excised: Annotated[str, typer.Option(help="When it left the body: now, HH:MM, or a date and time.")] = "",
) -> None:
    """Register a specimen."""
    faces = tuple(face) if face else FACES if kind is Kind.LUMPECTOMY else (kind.value,)
    body = events.Registered(
        specimen_id=specimen_id,
        specimen_kind=kind.value,
        laterality=laterality.value,
        orientation=orientation,
        label=label,
        container=container,
        faces=faces,
        excised_at=moment(excised, "--excised") if excised else None,
    )
    tell(record, case_id, body)


def describe(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    excised: Annotated[str, typer.Option(help="When it left the body: now, HH:MM, or a date and time.")] = "",
    label: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    container: Annotated[str | None, typer.Option(help="What it is in.")] = None,
) -> None:
    """Say what was not known of a specimen, or was wrong: its excision, label and container."""
    if not excised and label is None and container is None:
        raise InputError(f"specimen {specimen_id}: give --excised, --label or --container")
    body = events.Described(
        specimen_id=specimen_id,
        label=label,
        container=container,
        excised_at=moment(excised, "--excised") if excised else None,
    )
    tell(record, case_id, body)


def formalin(record: RecordFile, case_id: CaseId, specimen_id: SpecimenId, at: At = "now") -> None:
    """Say when a specimen went into formalin, which is to be within an hour."""
    tell(record, case_id, events.Fixed(specimen_id=specimen_id, formalin_at=moment(at, "--at")))


def confirm(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    laterality: Annotated[KnownSide, typer.Option(help="The side that is right.")],
    by: By,
    why: Annotated[str, typer.Option(help="What it was found out by.")],
    orientation: Annotated[
        str | None, typer.Option(help="The orientation that is right; as registered unless given.")
    ] = None,
) -> None:
    """Confirm side and orientation of a specimen, against whatever said otherwise but a diagnosis code."""
    if orientation is None:
        with open_record(record) as store:
            known = store.case(case_id).specimen(specimen_id)
        orientation = known.orientation if known is not None else ""
    body = events.Confirmed(
        specimen_id=specimen_id, by=by, laterality=laterality.value, orientation=orientation, why=why
    )
    tell(record, case_id, body)


def diagnose(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    codes: Annotated[list[str], typer.Argument(help="ICD-10-CM codes, all of this specimen's.")],
) -> None:
    """Give the diagnosis codes of a specimen; they replace those that it had."""
    with open_record(record) as store:
        known = store.case(case_id).specimen(specimen_id)
    side = known.laterality if known is not None else "unknown"
    for found in (check_diagnosis(code, side, load_tables()) for code in codes):
        if found.state == "refused":
            raise CaseRefusedError(f"specimen {specimen_id}: {_refusal(found)}")
    tell(record, case_id, events.Diagnosed(specimen_id=specimen_id, diagnoses=as_ordered(codes)))


def _refusal(found: DiagnosisCheck) -> str:
    """Why a code is refused, what the source document has to do with it, and which code may be meant."""
    is_above_others = bool(found.title) and not found.billable
    why = f"{found.code} ({found.title}) is not billable" if is_above_others else "; ".join(found.reasons)
    instead = ", ".join(one.code for one in found.billable_instead)
    return "; ".join(filter(None, (why, found.warning.rstrip("."), instead and f"give {instead}")))


def take(
    record: RecordFile,
    recording: Annotated[Path, typer.Argument(help="A recording that `octmargin run` made.")],
    case_id: Annotated[str, typer.Option("--case", help="Of this case, whatever it was scanned as.")] = "",
    specimen_id: Annotated[str, typer.Option("--specimen", help="Of this specimen.")] = "",
    although: Annotated[
        str, typer.Option(help="Why sweeps that another specimen has are to be in this one too.")
    ] = "",
) -> None:
    """Take sweeps, verdicts and readers' decisions from a recording into the record; what it knows is passed over."""
    found = read_recorded(Recording.open(recording))
    with open_record(record) as store:
        into = {"case_id": case_id or found.case_id, "specimen_id": specimen_id or found.specimen_id}
        taken = take_recorded(store, found, actor=user(), although=although, **into)
        case = store.case(into["case_id"])
    if tuple(into.values()) != (found.case_id, found.specimen_id):
        echo(
            f"{recording}: was scanned as specimen {found.specimen_id} of case {found.case_id}, "
            f"and is taken as specimen {into['specimen_id']} of case {into['case_id']}"
        )
    swept = sum(isinstance(body, events.Swept) for body in taken.entered)
    rest = len(taken.entered) - swept
    typer.echo(f"{recording}: {counted(swept, 'sweep')} and {counted(rest, 'other event')} are new")
    if taken.left_out:
        entries = counted(len(taken.left_out), "decision or mark", "decisions and marks")
        typer.echo(f"{recording}: left out {entries} on sweeps that nobody knows")
    say(case)


def discontinue(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    by: By,
    why: Annotated[str, typer.Option(help="Why.")],
    at: At = "now",
) -> None:
    """Note that the acquisition of a specimen was given up."""
    given_up = Discontinuation(at=moment(at, "--at"), by=by, why=why)
    tell(record, case_id, events.Discontinued(specimen_id=specimen_id, discontinuation=given_up))


def withdraw(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    why: Annotated[str, typer.Option(help="Why it is none of this case.")],
) -> None:
    """Withdraw a specimen that was registered by mistake; what was said of it stays in the log."""
    tell(record, case_id, events.Withdrawn(specimen_id=specimen_id, why=why))
