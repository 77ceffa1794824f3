"""`octmargin case pathology | import-pathology`: what pathology found."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from octmargin.case.pathology_file import ResultOf, read_pathology
from octmargin.case.record import events
from octmargin.case.record.lock import user
from octmargin.case.record.model import PathologyResult
from octmargin.case.record.store import CaseStore
from octmargin.commands.case.common import CaseId, RecordFile, SpecimenId, moment, tell
from octmargin.commands.case.common import record as open_record
from octmargin.errors import EXIT_REFUSED, CaseRefusedError, ConfigError, InputError
from octmargin.words import counted


class Finding(StrEnum):
    """Of a margin, or of a node."""

    POSITIVE = "positive"
    CLOSE = "close"
    NEGATIVE = "negative"
    NOT_ASSESSED = "not_assessed"


def pathology(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    face: Annotated[str, typer.Argument(help="The margin.")],
    finding: Annotated[Finding, typer.Argument(help="Tumour at ink, close to it, or neither.")],
    distance_mm: Annotated[float | None, typer.Option(min=0, help="From ink to tumour.")] = None,
    entity: Annotated[str, typer.Option(help='Such as "DCIS".')] = "",
    text: Annotated[str, typer.Option(help="In words.")] = "",
    accession: Annotated[str, typer.Option(help="Pathology's number.")] = "",
    by: Annotated[str, typer.Option(help="The pathologist.")] = "",
    reported: Annotated[str, typer.Option(help="When it was reported: a date and time.")] = "",
) -> None:
    """Enter what pathology found at one margin."""
    result = PathologyResult(
        face=face,
        finding=finding.value,
        distance_mm=distance_mm,
        entity=entity,
        text=text,
        accession=accession,
        by=by,
        reported_at=moment(reported, "--reported") if reported else None,
    )
    tell(record, case_id, events.Correlated(specimen_id=specimen_id, results=(result,)))


def import_pathology(
    record: RecordFile,
    file: Annotated[Path, typer.Argument(help="CSV, or FHIR R4 as .json; docs/case.md says what is read.")],
    case_id: Annotated[str, typer.Option("--case", help="Of this case; needed for FHIR.")] = "",
) -> None:
    """Enter what pathology found from a file; results that the record has already are passed over."""
    by_specimen: dict[tuple[str, str], list[ResultOf]] = {}
    for one in _read(file, case_id, record):
        by_specimen.setdefault((one.case_id, one.specimen_id), []).append(one)
    new = known = 0
    refusals: list[str] = []
    with open_record(record) as store:
        for (of_case, specimen_id), results in by_specimen.items():
            try:
                fresh = _enter(store, of_case, specimen_id, results)
            except CaseRefusedError as refusal:
                refusals.append(str(refusal))
                continue
            new += fresh
            known += len(results) - fresh
    typer.echo(f"{file}: {counted(new, 'result')} new, {known} known already")
    for text in refusals:
        typer.echo(f"octmargin: {text}", err=True)
    if refusals:
        sys.exit(EXIT_REFUSED)


def _read(file: Path, case_id: str, record: Path) -> list[ResultOf]:
    if file.suffix.lower() != ".json":
        if case_id:
            raise InputError(f"{file}: names its cases itself; leave out --case, or give FHIR as .json")
        return read_pathology(file)
    if not case_id:
        raise InputError(f"{file}: FHIR does not name the case; give it as --case")
    if find_spec("fhir") is None:
        raise ConfigError(f"{file}: the package fhir.resources is missing; pip install 'octmargin[fhir]'")
    from octmargin.case.pathology_fhir import read_fhir  # noqa: PLC0415 - an extra: only this file needs it

    with CaseStore.open(record) as store:
        patient = store.case(case_id).patient
    if patient is None:
        raise InputError(
            f"{file}: nobody said who the patient of case {case_id} is, so it cannot be compared; "
            "`octmargin case identify` says it"
        )
    found = read_fhir(file, case_id, patient)
    for text in found.left_out:
        typer.echo(f"{file}: left out {text}", err=True)
    return found.results


def _without_source(result: PathologyResult) -> PathologyResult:
    """The same result is the same one whatever file it came in."""
    return msgspec.structs.replace(result, source="")


def _enter(store: CaseStore, case_id: str, specimen_id: str, results: list[ResultOf]) -> int:
    """How many of them were new."""
    specimen = store.case(case_id).specimen(specimen_id)
    told = [_without_source(one) for one in specimen.pathology] if specimen is not None else []
    fresh = tuple(one.result for one in results if _without_source(one.result) not in told)
    if fresh:
        store.append(case_id, events.Correlated(specimen_id=specimen_id, results=fresh), actor=user())
    return len(fresh)
