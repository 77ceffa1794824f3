"""`octmargin report`: the reports of a case as files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from octmargin.case.record.lock import user
from octmargin.case.record.model import CaseSnapshot, SpecimenPhase, SpecimenRecord
from octmargin.case.record.store import CaseStore
from octmargin.cold_start import compiling_told
from octmargin.commands.case.common import RECORD_VARIABLE
from octmargin.errors import InputError
from octmargin.report.building import build_report, file_stem
from octmargin.report.coding import SiteCoding, load_site, load_tables
from octmargin.report.document import ReportDocument
from octmargin.report.exported import read_export
from octmargin.report.faces import KEY_VIEWS_SHOWN
from octmargin.report.html import render_html
from octmargin.report.pdf import Paper, render_pdf
from octmargin.report.pictures import draw_pictures
from octmargin.report.text import render_text
from octmargin.words import counted


class Form(StrEnum):
    """What is written."""

    PDF = "pdf"
    HTML = "html"
    TEXT = "text"
    CODING_JSON = "coding-json"
    CODING_CSV = "coding-csv"


class PaperSize(StrEnum):
    """Of the PDF."""

    A4 = "a4"
    LETTER = "letter"


_PAPERS: dict[PaperSize, Paper] = {PaperSize.A4: "a4", PaperSize.LETTER: "us-letter"}
_ENDINGS = {
    Form.PDF: ".pdf",
    Form.HTML: ".html",
    Form.TEXT: ".txt",
    Form.CODING_JSON: "-coding.json",
    Form.CODING_CSV: "-coding.csv",
}


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CASE|FILE", help="A case of the record, or a file of `octmargin case export`."
        ),
    ],
    record: Annotated[
        Path | None,
        typer.Option("--record", envvar=RECORD_VARIABLE, help="The record, where a CASE is named."),
    ] = None,
    specimen: Annotated[
        list[str] | None,
        typer.Option(help="Of this specimen alone; once for each. [default: of every specimen]"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path(),
    form: Annotated[
        list[Form] | None, typer.Option("--format", "-f", help="What to write; once for each. [default: pdf]")
    ] = None,
    paper: Annotated[PaperSize, typer.Option(help="Of the PDF.")] = PaperSize.A4,
    pictures: Annotated[
        bool,
        typer.Option(help="Draw en-face pictures and key views from the recordings; maps are always there."),
    ] = True,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of the recordings, where they are not where the record says.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="In which times are told, such as Europe/Berlin.")] = "UTC",
    coding_site: Annotated[
        Path | None, typer.Option(help="The site's coding data: payers, rooms, descriptors (docs/coding.md).")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Frames that are drawn from at a time.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
) -> None:
    """Write the report of each specimen of a case. What is not signed is marked preliminary. Research use only."""
    forms = list(dict.fromkeys(form or [Form.PDF]))
    zone, site = _zone(time_zone), load_site(coding_site, load_tables())
    found = _case(source, record, specimen)
    chosen = _chosen(found.case, specimen)
    setting = _Setting(forms, paper, zone, site, output, overwrite)
    for one in chosen:
        setting.check_free(file_stem(one))
    with compiling_told(lambda line: typer.echo(line, err=True)):
        for one in chosen:
            drawn = draw_pictures(
                one,
                key_views=KEY_VIEWS_SHOWN,
                recordings=recordings,
                from_recordings=pictures,
                threads=threads,
                on_progress=_show_progress if sys.stderr.isatty() else None,
            )
            now = datetime.now(UTC)
            document = build_report(
                found.case,
                one.specimen_id,
                pictures=drawn,
                site=site,
                zone=zone,
                now=now,
                source=found.made_from,
                signed=found.at_signature[one.specimen_id],
            )
            setting.write(document, now)
            _tell(document, asked_for_pictures=pictures)


@dataclass(frozen=True, slots=True)
class _Source:
    """A case, how it was when each report was signed, and in words where it is from."""

    case: CaseSnapshot
    at_signature: dict[str, CaseSnapshot | None]
    made_from: str


@dataclass(frozen=True, slots=True)
class _Setting:
    """How reports are set and where they go."""

    forms: list[Form]
    paper: PaperSize
    zone: tzinfo
    site: SiteCoding
    output: Path
    overwrite: bool

    def path(self, stem: str, form: Form) -> Path:
        """Of a file."""
        return self.output / f"{stem}{_ENDINGS[form]}"

    def check_free(self, stem: str) -> None:
        """InputError where a file is there already, or none can be: before minutes are spent on pictures."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--output {self.output}: {error.strerror}; name a folder that can be written"
            ) from error
        for form in self.forms:
            path = self.path(stem, form)
            if path.exists() and not self.overwrite:
                raise InputError(f"{path}: is there already; name another folder, or give --overwrite")

    def write(self, document: ReportDocument, now: datetime) -> None:
        """Write every form, and say which."""
        make: dict[Form, Callable[[], bytes]] = {
            Form.PDF: lambda: render_pdf(document, paper=_PAPERS[self.paper], now=now),
            Form.HTML: lambda: render_html(document).encode(),
            Form.TEXT: lambda: render_text(document).encode(),
            Form.CODING_JSON: document.coding.to_json,
            Form.CODING_CSV: lambda: document.coding.to_csv().encode(),
        }
        for form in self.forms:
            path = self.path(document.file_stem, form)
            _write(path, make[form](), overwrite=self.overwrite)
            typer.echo(f"{path}: {document.state}{', SYNTHETIC' if document.synthetic_notice else ''}")


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"--time-zone {name}: is not known here; give one such as Europe/Berlin") from error


def _case(source: str, record: Path | None, specimens: list[str] | None) -> _Source:
    path = Path(source)
    if path.is_file():
        export = read_export(path)
        at = {one.specimen_id: _at_signature(one, export.at) for one in export.case.specimens}
        return _Source(export.case, at, f"{path.name}, an export of the record; its events have their hashes")
    if record is None:
        raise InputError(
            f"{source}: no such file; to name a case, say where the record is with --record or {RECORD_VARIABLE}"
        )
    with CaseStore.open(record, writable=True, what="octmargin report") as store:
        of = f" of {', '.join(specimens)}" if specimens else ""
        case = store.consult(source, actor=user(), what=f"report{of}")
        at = {
            one.specimen_id: _at_signature(one, lambda seq: store.case_at(source, seq))
            for one in case.specimens
        }
        return _Source(case, at, "the record")


def _at_signature(
    specimen: SpecimenRecord, case_at: Callable[[int], CaseSnapshot | None]
) -> CaseSnapshot | None:
    """The case as it was when the report was signed; None where it is not."""
    # The signature names the event before it.
    return case_at(specimen.signature.log_seq + 1) if specimen.signature is not None else None


def _chosen(case: CaseSnapshot, named: list[str] | None) -> list[SpecimenRecord]:
    """Those that were named, or all that were not withdrawn; InputError where there is none."""
    if not named:
        chosen = [one for one in case.specimens if one.phase is not SpecimenPhase.WITHDRAWN]
        if not chosen:
            raise InputError(f"case {case.case_id}: has no specimen to report on; register one")
        return chosen
    found = {name: case.specimen(name) for name in named}
    missing = [name for name, one in found.items() if one is None]
    if missing:
        known = ", ".join(one.specimen_id for one in case.specimens) or "none"
        raise InputError(
            f"case {case.case_id}: has no specimen {', '.join(missing)}; registered are: {known}"
        )
    return [one for one in found.values() if one is not None]


def _write(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Whole or not at all, and for its owner alone: a report names a patient."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not overwrite and path.exists():
                raise FileExistsError
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except FileExistsError as error:
        raise InputError(f"{path}: is there already; name another folder, or give --overwrite") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another folder") from error


def _tell(document: ReportDocument, *, asked_for_pictures: bool) -> None:
    """What somebody should know of what was written, on standard error."""
    for alert in document.alerts:
        typer.echo(f"  ! {alert}", err=True)
    for face in document.faces:
        if asked_for_pictures and face.no_pictures:
            typer.echo(f"  ! {face.face}: {face.no_pictures}", err=True)
    if document.coding.warnings:
        typer.echo(f"  ! coding sheet: {counted(len(document.coding.warnings), 'warning')}", err=True)


def _show_progress(face: str, done: int, total: int) -> None:
    end = "\r" if done < total else "\r\033[K"
    print(f"{face}: {done} of {total} frames", end=end, file=sys.stderr, flush=True)  # noqa: T201
