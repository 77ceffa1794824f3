"""Diagnosis codes as the record keeps them: with what the official set said of them when they were entered."""

from __future__ import annotations

from collections.abc import Iterable

from octmargin.case.record.model import DiagnosisCode
from octmargin.icd10cm import look_up, release


def as_ordered(codes: Iterable[str]) -> tuple[DiagnosisCode, ...]:
    """Codes as they came, whatever they are: one that does not exist has the side `unknown`."""
    found = map(look_up, codes)
    return tuple(
        DiagnosisCode(code=one.code, side=one.side, title=one.title, checked_with=release()) for one in found
    )
