"""The code tables: for each code what the source document says, what the official set says, and whether they agree.

The official meaning is the one that is used. What the source document says otherwise is only ever shown as that.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from octmargin.errors import ConfigError


class Conflict(StrEnum):
    """How what the source document says stands to the official meaning."""

    NONE = "none"
    NOTE = "note"
    """The same, with something to mind."""
    WORDING = "wording"
    """The same thing, named too narrowly or too widely."""
    PARTIAL = "partial"
    CONFLICT = "conflict"

    @property
    def is_warning(self) -> bool:
        """Whether a person must be told wherever the code appears."""
        return self in (Conflict.PARTIAL, Conflict.CONFLICT)


class Certainty(StrEnum):
    """How the official meaning is known."""

    SEEN = "S"
    """Read in a stored copy of the official set."""
    MEMORY = "M"
    """From memory: a coder checks it."""


class Service(StrEnum):
    """What a procedure code stands for."""

    ACQUISITION = "acquisition"
    INTERPRETATION = "interpretation"


class Subject(StrEnum):
    """What is imaged."""

    SPECIMEN = "specimen"
    CAVITY = "cavity"


class CodeRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One code. `official` is a paraphrase of our own, `source` what the source document says, "" where nothing."""

    code: str
    official: str
    source: str = ""
    conflict: Conflict
    explanation: str = ""
    certainty: Certainty
    exists: bool = True
    """Whether the official set has such a code."""
    meant: list[str] = field(default_factory=list)
    """Codes that have the meaning which the source document gives to this one."""

    @property
    def warning(self) -> str:
        """What a person must be told where this code appears; "" where source and official set agree."""
        if not self.conflict.is_warning:
            return ""
        return (
            f"{self.code} is: {self.official}. The source document says otherwise ({self.source}); "
            f"that meaning is not used. {self.explanation}"
        )


class ProcedureRow(CodeRow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A procedure of octmargin's own. Dates are None where they are not known."""

    service: Service
    subject: Subject
    effective: date | None = None
    sunset: date | None = None
    dates_certainty: Certainty = Certainty.MEMORY


class CodeTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows of one code set; `as_of` is when they were compared with the official set."""

    set: str
    title: str
    licence: str
    as_of: date
    rows: list[CodeRow]

    def find(self, code: str) -> CodeRow | None:
        """The row of a code, however it is written in capitals or not."""
        wanted = code.strip().upper()
        return next((row for row in self.rows if row.code == wanted), None)


class ProcedureTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The procedures of octmargin's own."""

    set: str
    title: str
    licence: str
    as_of: date
    rows: list[ProcedureRow]

    def row_of(self, service: Service, subject: Subject) -> ProcedureRow:
        """The one code of a service; `check` has seen that there is one."""
        return next(row for row in self.rows if (row.service, row.subject) == (service, subject))


_Table = TypeVar("_Table", CodeTable, ProcedureTable)


class Tables(Struct, frozen=True, kw_only=True):
    """All tables."""

    procedures: ProcedureTable
    diagnoses: CodeTable
    modifiers: CodeTable
    taxonomy: CodeTable
    related: CodeTable

    def __iter__(self) -> Iterator[CodeTable | ProcedureTable]:
        """In the order in which they are shown."""
        yield from (self.procedures, self.diagnoses, self.modifiers, self.taxonomy, self.related)

    def find(self, code: str) -> tuple[CodeTable | ProcedureTable, CodeRow] | None:
        """A code of any table, with its table."""
        wanted = code.strip().upper()
        return next(((table, row) for table in self for row in table.rows if row.code == wanted), None)

    @property
    def conflicts(self) -> list[CodeRow]:
        """Every row of which a person must be warned, in the order of the tables."""
        return [row for table in self for row in table.rows if row.conflict.is_warning]


@cache
def load_tables() -> Tables:
    """The tables that come with octmargin, checked. ConfigError where one is not sound."""
    tables = Tables(
        procedures=_read("procedures", ProcedureTable),
        diagnoses=_read("diagnoses", CodeTable),
        modifiers=_read("modifiers", CodeTable),
        taxonomy=_read("taxonomy", CodeTable),
        related=_read("related", CodeTable),
    )
    check(tables)
    return tables


def check(tables: Tables) -> None:
    """Refuse what would let a wrong meaning through: ConfigError names the row."""
    seen: set[str] = set()
    for table in tables:
        for row in table.rows:
            if row.code in seen:
                raise ConfigError(f"code table {table.set}: {row.code} stands twice; keep one row")
            seen.add(row.code)
            _check_row(table.set, row)
    for service in Service:
        for subject in Subject:
            rows = [row for row in tables.procedures.rows if (row.service, row.subject) == (service, subject)]
            if len(rows) != 1:
                raise ConfigError(
                    f"code table {tables.procedures.set}: {len(rows)} codes for the {service.value} of a "
                    f"{subject.value}; give one"
                )


def _check_row(table: str, row: CodeRow) -> None:
    where = f"code table {table}, {row.code or 'a row without a code'}"
    if row.code != row.code.strip().upper() or not row.code:
        raise ConfigError(f"{where}: a code is written in capitals, without blanks; mend it")
    if not row.official:
        raise ConfigError(f"{where}: no official meaning; give a paraphrase")
    if row.conflict.is_warning and not (row.source and row.explanation):
        raise ConfigError(f"{where}: a conflict needs what the source says, and an explanation; give both")
    if not row.exists and row.conflict is not Conflict.CONFLICT:
        raise ConfigError(f"{where}: a code that does not exist is a conflict; say so")


def _read(name: str, kind: type[_Table]) -> _Table:
    path = files("octmargin.report.coding") / "data" / f"{name}.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"code table {name}.toml: {error}; install octmargin again") from error
