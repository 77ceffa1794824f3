"""Whether a diagnosis code may stand beside a specimen: it exists, it is billable, and it names the specimen's side."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from octmargin.icd10cm import IcdCode, billable_below, look_up, nearest_existing, other_side
from octmargin.report.coding.tables import CodeRow, Tables

State = Literal["accepted", "confirm", "refused"]


class OfferedCode(Struct, frozen=True, kw_only=True):
    """A code that may be meant."""

    code: str
    title: str
    billable: bool


class DiagnosisCheck(Struct, frozen=True, kw_only=True):
    """What is said of one code beside one specimen. `confirm` waits for a person; `refused` is never used."""

    code: str
    state: State
    title: str
    """Of the official set; "" where there is no such code."""
    side: str
    billable: bool
    reasons: tuple[str, ...] = ()
    warning: str = ""
    """What the source document says otherwise."""
    offered: tuple[OfferedCode, ...] = ()
    """What to choose from instead: of a code that is not billable, its children."""
    billable_instead: tuple[OfferedCode, ...] = ()
    """Of these and below, the billable ones that do not contradict the specimen's side."""


def check_diagnosis(code: str, laterality: str, tables: Tables) -> DiagnosisCheck:
    """Check a code beside a specimen of this laterality ("left", "right" or "unknown")."""
    found = look_up(code)
    row = tables.diagnoses.find(found.code)
    state, reasons, offered = _judge(found, laterality, row)
    below = offered if found.exists and found.billable else _below(offered)
    return DiagnosisCheck(
        code=found.code,
        state=state,
        title=found.title,
        side=found.side,
        billable=found.billable,
        reasons=tuple(reasons),
        warning=row.warning if row is not None else "",
        offered=tuple(map(_offer, offered)),
        billable_instead=tuple(
            _offer(one) for one in below if one.billable and _agrees(one.side, laterality) is not False
        ),
    )


def _judge(
    found: IcdCode, laterality: str, row: CodeRow | None
) -> tuple[State, list[str], tuple[IcdCode, ...]]:
    if not found.exists:
        nearest = nearest_existing(found.code)
        children = (_children(nearest) or (nearest,)) if nearest is not None else ()
        return "refused", [f"{found.code or 'an empty code'} is not in ICD-10-CM"], children
    if not found.billable:
        listed = ", ".join(found.children)
        return (
            "refused",
            [f"{found.code} ({found.title}) is not billable; choose below it: {listed}"],
            _children(found),
        )
    agrees = _agrees(found.side, laterality)
    if agrees is None:
        return "confirm", [_undecided(found, laterality)], _of_side(row, laterality)
    if not agrees:
        counterpart = other_side(found.code)
        reason = f"{found.code} is the {found.side} side ({found.title}); the specimen is {laterality}"
        return "refused", [reason], () if counterpart is None else (counterpart,)
    return "accepted", [], ()


def _agrees(side: str, laterality: str) -> bool | None:
    """Whether a code's side is that of the specimen; None where one of both does not say."""
    if side in ("none", "bilateral"):
        return True
    if side == "unspecified" or laterality not in ("left", "right"):
        return None
    return side == laterality


def _undecided(found: IcdCode, laterality: str) -> str:
    if found.side == "unspecified":
        beside = (
            f"the specimen is {laterality}" if laterality in ("left", "right") else "nor does the specimen"
        )
        return f"{found.code} ({found.title}) names no side; {beside}"
    return f"{found.code} is the {found.side} side ({found.title}); the specimen's side is not known"


def _children(parent: IcdCode) -> tuple[IcdCode, ...]:
    return tuple(look_up(child) for child in parent.children)


def _below(codes: tuple[IcdCode, ...]) -> tuple[IcdCode, ...]:
    return tuple(one for code in codes for one in ((code,) if code.billable else billable_below(code.code)))


def _of_side(row: CodeRow | None, laterality: str) -> tuple[IcdCode, ...]:
    meant = map(look_up, row.meant if row is not None else ())
    return tuple(one for one in meant if _agrees(one.side, laterality) is not False)


def _offer(code: IcdCode) -> OfferedCode:
    return OfferedCode(code=code.code, title=code.title, billable=code.billable)
