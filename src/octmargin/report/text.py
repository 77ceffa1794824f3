"""The report as plain text for the operative note: no table that a proportional font would break, 78 columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from octmargin.report.document import FaceSection, Field, ReportDocument, Word

COLUMNS = 78
_RULE = "-" * COLUMNS
_INDENT = 2


def render_text(document: ReportDocument) -> str:
    """What belongs into an operative note; pictures, versions in full and the coding sheet are in the other forms."""
    return "\n".join(_lines(document)) + "\n"


def _lines(d: ReportDocument) -> Iterator[str]:
    yield from _notices(d)
    yield _RULE
    yield from wrapped(f"{d.title.upper()} - {d.state.upper()}")
    yield from wrapped(d.state_text)
    for alert in d.alerts:
        yield from wrapped(f"! {alert}", hanging=2)
    yield ""
    yield from _fields((*d.patient, *d.case, *d.specimen))
    yield from _heading("Indication")
    yield from _paragraphs(d.indication)
    yield from _heading(f"Margin status, {d.status_by}")
    yield from _fields(d.margin_status)
    yield from _paragraphs(d.interpretation)
    yield from _heading("Face by face")
    for face in d.faces:
        yield from wrapped(_face(face), indent=_INDENT, hanging=_INDENT)
    yield from _heading("Re-excision")
    yield from _fields(d.re_excisions) if d.re_excisions else _paragraphs(d.no_re_excision)
    if d.addenda:
        yield from _heading("Addenda")
        for addendum in d.addenda:
            yield from wrapped(addendum.title, indent=_INDENT)
            yield from _paragraphs(addendum.text, indent=2 * _INDENT)
    if d.later:
        yield from _heading("Recorded after signing")
        yield from _fields(d.later)
    yield from _heading("Where reader and algorithm disagree")
    for one in d.disagreements:
        text = f"{one.face}: algorithm {_said(one.algorithm)}; {one.by}: {_said(one.reader)}"
        yield from wrapped(f"{text}. {one.note}" if one.note else text, indent=_INDENT, hanging=_INDENT)
    if not d.disagreements:
        yield from _paragraphs(d.no_disagreement)
    yield from _heading("What was not seen")
    yield from _fields(d.not_seen)
    for limit in d.limits:
        yield from wrapped(limit, indent=_INDENT, hanging=_INDENT)
    yield from _heading("Correlation with pathology")
    for row in d.pathology:
        text = f"{row.face}: {row.pathology.upper() if row.missed else row.pathology}"
        text += f", {row.detail}" if row.detail else ""
        yield from wrapped(
            f"{text}. Reader: {_said(row.reader)}; algorithm: {_said(row.algorithm)}. {row.missed}",
            indent=_INDENT,
            hanging=_INDENT,
        )
    if not d.pathology:
        yield from _paragraphs(d.no_pathology)
    yield from _heading("Interpretation and signature")
    yield from _fields((*d.signing.interpreter, *d.signing.signed))
    yield from _paragraphs(d.signing.statement)
    yield from _heading("Versions and record")
    for versions in d.versions:
        yield from wrapped(f"Judged {versions.of}", indent=_INDENT, hanging=_INDENT)
        yield from _fields(versions.fields, indent=2 * _INDENT)
    yield from _fields(d.record)
    yield from wrapped(f"{d.created}. {d.subject}.", indent=_INDENT)
    yield _RULE
    yield from _notices(d)


def _notices(d: ReportDocument) -> Iterator[str]:
    if d.synthetic_notice:
        yield from wrapped(d.synthetic_notice)
    yield from wrapped(d.notice)


def _heading(title: str) -> Iterator[str]:
    yield ""
    yield from wrapped(title.upper())


def _paragraphs(text: str, indent: int = _INDENT) -> Iterator[str]:
    for paragraph in filter(None, map(str.strip, text.split("\n"))):
        yield from wrapped(paragraph, indent=indent)


def _fields(fields: Sequence[Field], indent: int = _INDENT) -> Iterator[str]:
    for field in fields:
        yield from wrapped(f"{field.label}: {field.value}", indent=indent, hanging=_INDENT)


def _face(face: FaceSection) -> str:
    said = f"reader {_said(face.reader)}, algorithm {_said(face.algorithm)}"
    differ = ", WHICH DIFFER" if face.differs else ""
    action = f" Action: {face.action}" if face.action else ""
    seen = f"{face.coverage} seen, depth seen {face.depth}, nearest {face.distance}"
    return f"{face.face}: {said}{differ}; {seen}.{action}"


def _said(word: Word) -> str:
    return word.text.upper() if word.tone == "suspicious" else word.text


def wrapped(text: str, *, indent: int = 0, hanging: int = 0, columns: int = COLUMNS) -> Iterator[str]:
    """Break a text into lines of so many columns at most; what is longer than a line is broken within.

    `hanging` more columns of indent from the second line on. A wide character takes two columns.
    """
    prefix, line = " " * indent, ""
    for whole in text.split():
        word = whole
        if line and _width(prefix + line) + 1 + _width(word) <= columns:
            line += f" {word}"
            continue
        if line:
            yield prefix + line
            prefix = " " * (indent + hanging)
        while _width(prefix + word) > columns:
            part = _beginning(word, columns - len(prefix))
            yield prefix + part
            word = word[len(part) :]
            prefix = " " * (indent + hanging)
        line = word
    if line:
        yield prefix + line


def _width(text: str) -> int:
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _beginning(word: str, columns: int) -> str:
    """As much of a word as fits, at least one character."""
    width = 0
    for index, character in enumerate(word):
        width += _columns_of(character)
        if width > columns:
            return word[: max(index, 1)]
    return word
