"""Diagnosis codes as the record keeps them: with what the official set said of them when they were entered."""

from __future__ import annotations

from collections.abc import Iterable

from octmargin.case.record.model import DiagnosisCode
from octmargin.errors import CaseRefusedError
from octmargin.icd10cm import look_up, nearest_existing, release


def as_ordered(codes: Iterable[str]) -> tuple[DiagnosisCode, ...]:
    """Codes as they came with an order, whatever they are: one that does not exist has the side `unknown`."""
    found = map(look_up, codes)
    return tuple(
        DiagnosisCode(code=one.code, side=one.side, title=one.title, checked_with=release()) for one in found
    )


def as_entered(codes: Iterable[str]) -> tuple[DiagnosisCode, ...]:
    """Codes that a person enters; CaseRefusedError where one does not exist or is not billable, with its children."""
    for code in codes:
        found = look_up(code)
        if not found.exists:
            nearest = nearest_existing(code)
            near = f"; {nearest.code} has {', '.join(nearest.children)}" if nearest is not None else ""
            raise CaseRefusedError(f'diagnosis "{code}": is not in {release()}{near}')
        if not found.billable:
            raise CaseRefusedError(
                f"diagnosis {found.code} ({found.title}): is not billable; give one below it: "
                f"{', '.join(found.children)}"
            )
    return as_ordered(codes)
