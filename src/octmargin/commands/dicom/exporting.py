"""`octmargin dicom export`: a case's objects as files, with or without who the patient is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from octmargin.case.record.lock import user
from octmargin.case.record.model import SpecimenPhase
from octmargin.commands.attached_report import read_report
from octmargin.commands.case.common import CaseId, RecordFile
from octmargin.commands.case.common import record as open_record
from octmargin.commands.dicom.common import Depth, ReportFile, tell_left_out
from octmargin.config import load_config
from octmargin.dicom.extra import require_dicom
from octmargin.dicom.settings import DicomSection
from octmargin.errors import InputError
from octmargin.words import counted


def export(
    record: RecordFile,
    case_id: CaseId,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the files.")],
    specimen: Annotated[
        list[str] | None, typer.Option(help="Only this specimen; once for each. All without it.")
    ] = None,
    pseudonym: Annotated[
        str | None, typer.Option(help="De-identify: what the patient is called instead. Without the report.")
    ] = None,
    report: ReportFile = None,
    depth: Depth = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="For institution and UID root of [dicom].")
    ] = None,
) -> None:
    """Write a case's volumes, maps, findings and report as DICOM files."""
    require_dicom()
    settings = (load_config(config).dicom if config else None) or DicomSection()
    if pseudonym is not None and report is not None:
        raise InputError("--report: names people on its pages, and is not part of a de-identified export")
    if report is not None and len(specimen or ()) != 1:
        raise InputError("--report: is of one specimen; name it with --specimen")
    from octmargin.dicom.deidentify import deidentified_objects  # noqa: PLC0415 - an extra
    from octmargin.dicom.finishing import encoded  # noqa: PLC0415
    from octmargin.dicom.objects import objects_of  # noqa: PLC0415

    with open_record(record) as store:
        what = "exported as DICOM" if pseudonym is None else "exported as DICOM, de-identified"
        case = store.consult(case_id, actor=user(), what=what)
    pdf = read_report(report, case, specimen[0]) if specimen else None
    specimens = specimen or [
        one.specimen_id for one in case.specimens if one.phase is not SpecimenPhase.WITHDRAWN
    ]
    number = 0
    with _whole_or_absent(output) as folder:
        for specimen_id in specimens:
            made = (
                objects_of(case, specimen_id, settings, pdf=pdf, depth=depth, on_left_out=tell_left_out)
                if pseudonym is None
                else deidentified_objects(
                    case, specimen_id, pseudonym, depth=depth, on_left_out=tell_left_out
                )
            )
            for one in made:
                number += 1
                (folder / f"{number:03d}-{one.Modality}.dcm").write_bytes(encoded(one))
    typer.echo(f"{output}: {counted(number, 'object')} of {counted(len(specimens), 'specimen')}")
    if pseudonym is not None:
        typer.echo(f"de-identified, patient {pseudonym}; reports name people and are left out")


@contextmanager
def _whole_or_absent(output: Path) -> Iterator[Path]:
    """A hidden folder beside `output` that takes its name at the end, and goes where that is not reached."""
    if output.exists():
        raise InputError(f"{output}: exists already; name a new folder with --output")
    folder = output.with_name(f".{output.name}.new")
    try:
        # What was killed left it behind.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Without a pseudonym the objects name the patient.
        folder.mkdir(mode=0o700)
        yield folder
        folder.rename(output)
    except OSError as error:
        raise InputError(
            f"{output}: cannot be written ({error.strerror}); check the disk and the folder"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
