"""Values as DICOM takes them: dates and times in UTC, names, and text that fits."""

from __future__ import annotations

from datetime import UTC, date, datetime

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from octmargin.case.record.model import PersonName
from octmargin.errors import InputError

UTC_OFFSET = "+0000"
"""Of every date and time in what is written here."""
CHARACTER_SET = "ISO_IR 192"
_SEPARATORS = str.maketrans({"\\": " ", "^": " ", "=": " "})


def da(instant: datetime | date | None) -> str:
    """A date; empty where it is not known."""
    if instant is None:
        return ""
    if isinstance(instant, datetime):
        instant = instant.astimezone(UTC)
    return instant.strftime("%Y%m%d")


def tm(instant: datetime | None) -> str:
    """A time of day; empty where it is not known."""
    return "" if instant is None else instant.astimezone(UTC).strftime("%H%M%S.%f")


def dt(instant: datetime) -> str:
    """Date and time."""
    return instant.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f") + UTC_OFFSET


def ds(value: float) -> str:
    """A decimal of at most 16 characters."""
    return f"{value:.10g}"


def short(text: str, most: int) -> str:
    """Text for people in one line of at most `most` characters; what is cut off is seen to be."""
    line = " ".join(text.replace("\\", "/").split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def exactly(text: str, most: int, what: str) -> str:
    """An identifier, which must not be changed; InputError where DICOM cannot hold it."""
    if "\\" in text or len(text) > most or text != " ".join(text.split()):
        raise InputError(
            f"{what} {text!r} cannot be said in DICOM (at most {most} characters, no backslash, single spaces); "
            "correct it"
        )
    return text


def pn(name: PersonName | str) -> str:
    """A person's name; one text is all in the first component: where a family name begins is not guessed."""
    if isinstance(name, str):
        return f"{short(name.translate(_SEPARATORS), 63)}^"
    parts = [" ".join(part.translate(_SEPARATORS).split()) for part in name.components]
    while len(parts) > 2 and not parts[-1]:
        del parts[-1]
    if len("^".join(parts)) > 64:
        raise InputError(
            f"the patient's name {name} is too long for DICOM (64 characters); shorten it as its owner does"
        )
    return "^".join(parts)


def code_item(code: Code) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
