"""`--report FILE` of the commands that give a report out beside other things."""

from __future__ import annotations

from pathlib import Path

import typer

from octmargin.case.record.model import CaseSnapshot
from octmargin.errors import InputError
from octmargin.report.attached import check_attached


def read_report(file: Path | None, case: CaseSnapshot, specimen_id: str) -> bytes | None:
    """The PDF in `file`; InputError where it cannot be read, or is not the report of the specimen as it stands."""
    if file is None:
        return None
    try:
        pdf = file.read_bytes()
    except OSError as error:
        raise InputError(f"--report {file}: cannot be read ({error.strerror}); check its path") from error
    doubt = check_attached(pdf, case, specimen_id, str(file))
    if doubt:
        typer.echo(f"  ! {doubt}", err=True)
    return pdf
