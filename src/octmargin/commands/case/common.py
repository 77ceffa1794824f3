"""What the commands of `octmargin case` have in common: the record, times, people, and what is said after each."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from octmargin.case.record.events import CaseBody
from octmargin.case.record.formalin import formalin_clock
from octmargin.case.record.lock import user
from octmargin.case.record.model import CasePhase, CaseSnapshot, Interpreter, SpecimenPhase
from octmargin.case.record.store import CaseStore
from octmargin.errors import InputError

RECORD_VARIABLE = "OCTMARGIN_RECORD"

RecordFile = Annotated[
    Path,
    typer.Option("--record", envvar=RECORD_VARIABLE, help="The record; `octmargin case init` makes one."),
]
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="The case.")]
SpecimenId = Annotated[str, typer.Argument(metavar="SPECIMEN", help="The specimen.")]
By = Annotated[str, typer.Option("--by", help="Who says it, by name.")]

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)


class Side(StrEnum):
    """Of a specimen."""

    LEFT = "left"
    RIGHT = "right"
    UNKNOWN = "unknown"


class KnownSide(StrEnum):
    """Of a specimen of which somebody says it."""

    LEFT = "left"
    RIGHT = "right"


class Role(StrEnum):
    """In which somebody interprets."""

    SURGEON = "surgeon"
    RADIOLOGIST = "radiologist"

    @property
    def in_the_report(self) -> str:
        """As reports have it."""
        return "operating surgeon" if self is Role.SURGEON else "radiologist"


_Choice = TypeVar("_Choice", bound=StrEnum)


def record(path: Path) -> CaseStore:
    """The record, to be written."""
    return CaseStore.open(path, writable=True, what="octmargin case")


def tell(path: Path, case_id: str, *bodies: CaseBody) -> CaseSnapshot:
    """Record what happened, and say what the case is then and what it waits for."""
    with record(path) as store:
        case = store.append(case_id, *bodies, actor=user())
    say(case)
    return case


def say(case: CaseSnapshot) -> None:
    """One line on the case, one on each of its specimens, and what somebody should know."""
    echo(f"case {case.case_id}: {case.phase}")
    for specimen in case.specimens:
        echo(f"  {specimen.specimen_id}: {specimen.kind}, {specimen.laterality}, {specimen.phase}")
    for warning in warnings(case, datetime.now(UTC)):
        echo(f"  ! {warning}")


def echo(line: str) -> None:
    """Print a line; what came from elsewhere moves no cursor and changes no colour."""
    typer.echo("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line))


def warnings(case: CaseSnapshot, now: datetime) -> list[str]:
    """What somebody should do or know, in words."""
    said = [f"to be confirmed: {conflict.text}" for conflict in case.conflicts]
    for specimen in case.specimens:
        if specimen.phase is SpecimenPhase.WITHDRAWN:
            continue
        clock = formalin_clock(specimen, now)
        # Of a closed case nobody can do anything any more but know of it.
        if clock.warning and (case.phase is not CasePhase.CLOSED or clock.state == "exceeded"):
            said.append(clock.warning)
        said += [
            f"specimen {specimen.specimen_id}: sweep {one.sweep} over {one.face} cannot be relied on: {one.trouble}"
            for one in specimen.sweeps
            if one.trouble
        ]
    return said


def interpreter(name: str, role: Role, taxonomy: str) -> Interpreter:
    """Who interprets or signs; InputError without a name."""
    if not name.strip():
        raise InputError("--by: give the name of who says it")
    return Interpreter(name=name.strip(), role=role.in_the_report, taxonomy=taxonomy.strip())  # type: ignore[arg-type]


def moment(text: str, option: str) -> datetime:
    """A time as people write it: `now`, `HH:MM` of today, or ISO 8601; local where it names no zone."""
    if text == "now":
        return datetime.now(UTC)
    try:
        if found := _CLOCK.fullmatch(text):
            today = datetime.now().astimezone()
            return today.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        # Without a zone it is local, by the rules of its own day.
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise InputError(
            f'{option} "{text}": no time; give now, HH:MM of today, or a date and time such as 2031-05-06T12:00'
        ) from error


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """`FACE=WORD`, each face once; InputError otherwise."""
    found: dict[str, str] = {}
    for text in given or ():
        face, equals, word = text.partition("=")
        if not equals or not face:
            raise InputError(f'{option} "{text}": give FACE=WORD, such as medial=suspicious')
        if face in found:
            raise InputError(f"{option}: {face} is named twice; say one thing of it")
        found[face] = word
    return found
