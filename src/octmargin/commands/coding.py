"""`octmargin coding list | show | check`: codes with what they officially mean, before anybody uses one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from octmargin.errors import InputError
from octmargin.icd10cm import look_up, release
from octmargin.report.coding import CodeRow, DiagnosisCheck, check_diagnosis, load_tables

coding = typer.Typer(
    no_args_is_help=True, help="Say what codes mean, where the source document says otherwise, and what fits."
)


class Side(StrEnum):
    """Of a specimen."""

    LEFT = "left"
    RIGHT = "right"
    UNKNOWN = "unknown"


@coding.command("list")
def list_(
    conflicts: Annotated[
        bool,
        typer.Option("--conflicts", help="Only those to which the source document gives another meaning."),
    ] = False,
) -> None:
    """List every code of the tables."""
    for table in load_tables():
        rows = [row for row in table.rows if row.conflict.is_warning or not conflicts]
        if rows:
            typer.echo(f"{table.title} ({table.set}, compared {table.as_of})")
        for row in rows:
            typer.echo(f"  {row.code:<11} {row.conflict.value:<9} {row.official}")


@coding.command()
def show(code: Annotated[str, typer.Argument(help="A code of any table, or of ICD-10-CM.")]) -> None:
    """Say what a code officially means, and what the source document says of it."""
    diagnosis = look_up(code)
    tables = load_tables()
    found = tables.find(code) or tables.find(diagnosis.code)
    if found is not None:
        table, row = found
        typer.echo("\n".join(_lines(row, table.set)))
        return
    if not diagnosis.exists:
        raise InputError(f"{code}: is in no table of octmargin's, and not in {release()}; check it")
    billable = (
        "billable" if diagnosis.billable else f"not billable; below it: {', '.join(diagnosis.children)}"
    )
    typer.echo(f"{diagnosis.code} ({release()}): {diagnosis.title}; {billable}; side: {diagnosis.side}")


@coding.command()
def check(
    codes: Annotated[list[str], typer.Argument(help="Diagnosis codes, ICD-10-CM.")],
    laterality: Annotated[Side, typer.Option(help="Of the specimen.")],
) -> None:
    """Check diagnosis codes beside a specimen; exit with 1 where one is refused or waits for a person."""
    found = [check_diagnosis(code, laterality.value, load_tables()) for code in codes]
    for one in found:
        typer.echo("\n".join(_verdict(one)))
    if any(one.state != "accepted" for one in found):
        sys.exit(1)


def _lines(row: CodeRow, table: str) -> Iterator[str]:
    known = "" if row.certainty.value == "S" else " (from memory: a coder checks it)"
    yield f"{row.code} ({table}): {row.official}{known}"
    if row.source:
        used = "; that meaning is not used" if row.conflict.is_warning else ""
        yield f"  the source document says: {row.source}{used}"
    if row.explanation:
        yield f"  {row.explanation}"


def _verdict(one: DiagnosisCheck) -> Iterator[str]:
    yield f"{one.code}: {one.state}" + (f" ({one.title})" if one.title else "")
    for reason in one.reasons:
        yield f"  {reason}"
    if one.warning:
        yield f"  {one.warning}"
    for offered in one.offered:
        yield f"  offered: {offered.code} {offered.title}{'' if offered.billable else ' (not billable itself)'}"
    beyond = [code for code in one.billable_instead if code not in one.offered]
    if beyond:
        yield f"  billable, and not of the other side: {', '.join(code.code for code in beyond)}"
