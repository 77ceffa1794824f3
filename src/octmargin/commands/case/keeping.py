"""`octmargin case init | verify | head | export | accesses | prune | migrate`: the record as a file."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from octmargin.case.record.lock import user
from octmargin.case.record.retention import expired
from octmargin.case.record.store import CaseStore
from octmargin.case.record.verification import parse_head
from octmargin.case.record.verification import verify as verify_record
from octmargin.commands.case.common import CaseId, RecordFile
from octmargin.commands.case.common import record as open_record
from octmargin.errors import InputError
from octmargin.report.exported import export_of
from octmargin.words import counted


def init(record: RecordFile) -> None:
    """Make a new, empty record that only its owner can read."""
    CaseStore.create(record)
    typer.echo(f"{record}: made; docs/case.md says how to keep it encrypted, and its head elsewhere")


def verify(
    record: RecordFile,
    head: Annotated[
        list[str] | None, typer.Option(help="SEQ:HASH that was written down elsewhere; once for each.")
    ] = None,
) -> None:
    """Check that nothing in the record was changed, taken out or cut off; exit with 1 where something was."""
    found = verify_record(record, [parse_head(text) for text in head or ()])
    for trouble in found.troubles:
        typer.echo(f"{record}: {trouble}")
    held = f"{counted(found.events, 'event')} on {counted(found.cases, 'case')}"
    erased = f", {found.erased} erased" if found.erased else ""
    if found.troubles:
        typer.echo(f"{record}: {held}{erased}: NOT as it was written; restore it from a copy")
        sys.exit(1)
    against = f", with {counted(len(head), 'head')} written down elsewhere" if head else ""
    typer.echo(f"{record}: {held}{erased}, as they were written{against}; head {found.head}")
    if not head:
        typer.echo(
            "without a head that was written down elsewhere, a log that was cut off at its end looks whole"
        )


def head(record: RecordFile) -> None:
    """Print the head of the record, SEQ:HASH: written down elsewhere, it proves the whole log up to there."""
    with CaseStore.open(record) as store:
        typer.echo(str(store.head()))


def export(
    record: RecordFile,
    case_id: CaseId,
    output: Annotated[Path, typer.Option(help="A file that is not there yet.")],
) -> None:
    """Write a case with all its events as JSON, patient and all; that somebody did is noted in the record.

    Of other cases it has who did what when since this one began, by case, and not what.
    """
    with open_record(record) as store:
        store.consult(case_id, actor=user(), what=f"exported to {output}")
        content = export_of(store, case_id)
    try:
        descriptor = os.open(output, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise InputError(
            f"{output}: cannot be written ({error.strerror}); name a new file in a folder"
        ) from error
    typer.echo(f"{output}: case {case_id}, with the patient's identity")


def accesses(
    record: RecordFile,
    case_id: Annotated[str, typer.Option("--case", help="Of this case alone.")] = "",
) -> None:
    """Print who looked at which case when, and what for."""
    with CaseStore.open(record) as store:
        found = [one for one in store.accesses() if case_id in ("", one.case_id)]
    for one in found:
        typer.echo(f"{one.at}  {one.actor}  {one.case_id}  {one.what}")
    typer.echo(counted(len(found), "access", "accesses"))


def prune(
    record: RecordFile,
    older_than_days: Annotated[int, typer.Option(min=1, help="Closed cases that rested for so many days.")],
    erase: Annotated[bool, typer.Option("--erase", help="Erase them; without, only say which.")] = False,
) -> None:
    """Erase what the record says of cases that are over their time; that they were there stays."""
    with open_record(record) as store:
        now = datetime.now(UTC)
        over = expired(store, timedelta(days=older_than_days), now)
        for one in over:
            line = f"{one.case_id}: last event {one.last_event_at.date()}"
            if erase:
                rule = f"older than {older_than_days} days"
                is_overwritten = store.erase(one.case_id, rule, actor=user(), at=now)
                line += ", erased"
                if not is_overwritten:
                    line += "; it is overwritten when whoever reads the record has closed it"
            typer.echo(line)
            for recording in one.recordings:
                typer.echo(f"  its spectra are still in {recording}")
    verb = "erased" if erase else "would be erased with --erase"
    typer.echo(f"{counted(len(over), 'case')} {verb}")


def migrate(record: RecordFile) -> None:
    """Bring a record of an earlier octmargin up to date."""
    with open_record(record):
        typer.echo(f"{record}: up to date")
