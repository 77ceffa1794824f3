"""`octmargin fhir`: reports as FHIR R4 resources."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from octmargin.case.record.lock import user
from octmargin.case.record.model import SpecimenPhase
from octmargin.cold_start import compiling_told
from octmargin.commands.attached_report import read_report
from octmargin.commands.case.common import CaseId, RecordFile
from octmargin.commands.case.common import record as open_record
from octmargin.errors import InputError
from octmargin.fhir.extra import require_fhir
from octmargin.report.building import file_stem
from octmargin.report.faces import KEY_VIEWS_SHOWN
from octmargin.report.pictures import draw_pictures

fhir = typer.Typer(no_args_is_help=True, help="Reports as FHIR R4 resources.")


@fhir.callback()
def _group() -> None:
    """Reports as FHIR R4 resources."""


@fhir.command()
def export(
    record: RecordFile,
    case_id: CaseId,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path(),
    specimen: Annotated[
        list[str] | None,
        typer.Option(help="Of this specimen alone; once for each. [default: of every specimen]"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="The report as PDF, as `octmargin report` writes it; of one specimen."),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(help="Draw en-face pictures and key views from the recordings; maps are always there."),
    ] = True,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of the recordings, where they are not where the record says.")
    ] = None,
) -> None:
    """Write the report of each specimen of a case as a Bundle: DiagnosticReport, Observations, Specimen, Media."""
    require_fhir()
    if report is not None and len(specimen or ()) != 1:
        raise InputError("--report: is of one specimen; name it with --specimen")
    from octmargin.fhir.checking import checked_json  # noqa: PLC0415 - an extra
    from octmargin.fhir.report import bundle_of  # noqa: PLC0415

    with open_record(record) as store:
        case = store.consult(case_id, actor=user(), what="exported as FHIR")
    chosen = specimen or [
        one.specimen_id for one in case.specimens if one.phase is not SpecimenPhase.WITHDRAWN
    ]
    pdf = read_report(report, case, chosen[0])
    for specimen_id in chosen:
        found = case.specimen(specimen_id)
        drawn = {}
        if found is not None:
            with compiling_told(lambda line: typer.echo(line, err=True)):
                drawn = draw_pictures(
                    found, key_views=KEY_VIEWS_SHOWN, recordings=recordings, from_recordings=pictures
                )
        content = checked_json(bundle_of(case, specimen_id, pictures=drawn, pdf=pdf))
        assert found is not None  # noqa: S101 - `bundle_of` has refused it otherwise
        file = output / f"{file_stem(found)}.fhir.json"
        _write(file, content)
        typer.echo(str(file))


@fhir.command()
def codes() -> None:
    """Print our code system as a CodeSystem resource."""
    require_fhir()
    from octmargin.fhir.checking import checked_json  # noqa: PLC0415 - an extra
    from octmargin.fhir.report import code_system  # noqa: PLC0415

    sys.stdout.write(checked_json(code_system()))


def _write(file: Path, content: str) -> None:
    """Whole or not at all, and for its owner alone: it names a patient."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as new:
                new.write(content.encode())
            # Fails where the file is there already, other than a rename.
            os.link(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    except FileExistsError as error:
        raise InputError(f"{file}: exists already; name another folder with --output") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror}); check the folder") from error
