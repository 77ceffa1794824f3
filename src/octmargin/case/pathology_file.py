"""Pathology's results from a CSV file: one line per margin or node."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from octmargin.case.record.model import PathologyResult
from octmargin.errors import InputError

REQUIRED: Final = ("case_id", "specimen_id", "face", "finding")
OPTIONAL: Final = ("distance_mm", "entity", "text", "accession", "reported_at", "by")


@dataclass(frozen=True, slots=True)
class ResultOf:
    """A result, and the specimen that it is of."""

    case_id: str
    specimen_id: str
    result: PathologyResult


def read_pathology(path: Path) -> list[ResultOf]:
    """Every line of the file; InputError names the first line that cannot be used, and then nothing is."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_lines(path, csv.DictReader(file, strict=True)))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV file in UTF-8 ({error}); export it anew") from error


def _lines(path: Path, reader: csv.DictReader[str]) -> Iterator[ResultOf]:
    columns = list(reader.fieldnames or ())
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(map(str, unknown))}"
        raise InputError(f"{path}: {wrong}; its first line names {', '.join((*REQUIRED, *OPTIONAL))}")
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if None in row or None in row.values():
            raise InputError(f"{where}: has not as many fields as the first line; correct it")
        given = {name: value.strip() for name, value in row.items() if value.strip()}
        if lacking := [name for name in REQUIRED if name not in given]:
            raise InputError(f"{where}: {lacking[0]} is empty; fill it in")
        case_id, specimen_id = given.pop("case_id"), given.pop("specimen_id")
        try:
            result = msgspec.convert({**given, "source": path.name}, PathologyResult, strict=False)
        except msgspec.ValidationError as error:
            raise InputError(f"{where}: {error}; correct it") from error
        yield ResultOf(case_id, specimen_id, result)
