"""Words, times and numbers as a report prints them."""

from __future__ import annotations

import unicodedata
from datetime import datetime, tzinfo
from enum import Enum
from typing import Any, TypeVar

from msgspec import Struct

from octmargin.report.document import Tone, Word

_Document = TypeVar("_Document", bound=Struct)

_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Characters that turn the order of others around: "left" must not be made to read as something else."""
_BREAKS = ("\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\r\n", "\r")
_VERDICTS: dict[str, tuple[str, Tone]] = {
    "suspicious": ("suspicious", "suspicious"),
    "nothing_suspicious": ("nothing suspicious", "nothing_suspicious"),
    "indeterminate": ("indeterminate", "indeterminate"),
    "not_assessed": ("not assessed", "open"),
}
NOT_SCANNED = Word(text="not scanned", tone="open")
NOT_STATED = Word(text="not stated", tone="open")
NOT_RECORDED = "not recorded"


def verdict_word(verdict: str) -> Word:
    """A verdict as it is printed."""
    text, tone = _VERDICTS[verdict]
    return Word(text=text, tone=tone)


def when(at: datetime, zone: tzinfo) -> str:
    """An instant in the report's time zone, to the minute, with the zone's name."""
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M} {local.tzname()}"


def between(start: datetime, end: datetime | None, zone: tzinfo) -> str:
    """From when to when, to the second; the day once where it is one."""
    first = start.astimezone(zone)
    if end is None:
        return f"{first:%Y-%m-%d %H:%M:%S} {first.tzname()}, no end was told"
    last = end.astimezone(zone)
    until = f"{last:%H:%M:%S}" if last.date() == first.date() else f"{last:%Y-%m-%d %H:%M:%S}"
    return f"{first:%Y-%m-%d %H:%M:%S} to {until} {last.tzname()}"


def millimetres(value: float | None, otherwise: str = "not known") -> str:
    """A distance to hundredths."""
    return otherwise if value is None else f"{value:.2f} mm"


def sentence(text: str) -> str:
    """A text that begins with a capital and ends with a stop."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def listed(items: list[str]) -> str:
    """Items in one line: a, b and c."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1]))) if items else ""


def cleaned(document: _Document) -> _Document:
    """The same document, of which every text can be printed: see `printable`."""
    clean: _Document = _clean(document)
    return clean


def printable(text: str) -> str:
    """A text without what cannot be seen on paper: control characters are shown by their number, never dropped."""
    for line_break in _BREAKS:
        text = text.replace(line_break, "\n")
    text = unicodedata.normalize("NFC", text).replace("\t", " ")
    return "".join(_seen(character) for character in text)


def _seen(character: str) -> str:
    if character == "\n":
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Cn", "Co") or ord(character) in _BIDI:
        return code_point(character)
    return character


def code_point(character: str) -> str:
    """What stands in the place of a character that cannot be shown."""
    return f"[U+{ord(character):04X}]"


def _clean(value: Any) -> Any:
    # Made anew rather than converted: what is written out for paper may be longer than an identifier may be.
    if isinstance(value, Struct):
        return type(value)(**{name: _clean(getattr(value, name)) for name in value.__struct_fields__})
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_clean, value))
    return value
