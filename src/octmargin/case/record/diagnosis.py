"""Diagnosis codes as the record keeps them: with what the official set said of them when they were entered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from octmargin.case.record.model import DiagnosisCode
from octmargin.errors import CaseRefusedError
from octmargin.icd10cm import IcdCode, look_up, nearest_existing, release


def as_ordered(codes: Iterable[str]) -> tuple[DiagnosisCode, ...]:
    """Codes as they came, whatever they are: one that does not exist has the side `unknown`."""
    found = map(look_up, codes)
    return tuple(
        DiagnosisCode(code=one.code, side=one.side, title=one.title, checked_with=release()) for one in found
    )


def as_entered(codes: Iterable[str]) -> tuple[DiagnosisCode, ...]:
    """Codes that a person enters; CaseRefusedError where one does not exist or is not billable, with its children."""
    codes = list(codes)
    for trouble in troubles(codes):
        raise CaseRefusedError(trouble)
    return as_ordered(codes)


def troubles(codes: Iterable[str]) -> Iterator[str]:
    """What is wrong with codes, in words: they do not exist, or are not billable, with their children."""
    for code in codes:
        found = look_up(code)
        if not found.exists:
            nearest = nearest_existing(code)
            yield f'diagnosis "{code}": is not in {release()}{_near(nearest)}'
        elif not found.billable:
            yield (
                f"diagnosis {found.code} ({found.title}): is not billable; give one below it: "
                f"{', '.join(found.children)}"
            )


def _near(found: IcdCode | None) -> str:
    """The longest beginning of a code that does not exist, and what is below it."""
    if found is None:
        return ""
    return (
        f"; {found.code} has {', '.join(found.children)}"
        if found.children
        else f"; {found.code} is the nearest"
    )
