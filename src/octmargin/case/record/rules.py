"""Whether something may happen to a case now: what the tables allow, and what an action needs besides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from octmargin.case.record import events
from octmargin.case.record.events import CaseBody, SpecimenBody
from octmargin.case.record.model import CasePhase, CaseSnapshot, SpecimenPhase
from octmargin.case.record.needs import (
    check_identified,
    check_identifier,
    check_needs,
    check_registered,
    check_sayable,
)
from octmargin.case.record.transitions import (
    CASE_ALLOWS,
    OF_EVERY_SPECIMEN,
    SPECIMEN_AFTER,
    Action,
    action_of,
)
from octmargin.errors import CaseRefusedError


def check(case: CaseSnapshot | None, case_id: str, body: CaseBody, now: datetime) -> None:
    """CaseRefusedError says why it may not happen, and what may; `case` is None where there is none of that id."""
    check_transition(case, case_id, body)
    check_sayable(body)
    if case is None:
        check_identifier("case", case_id)
    elif isinstance(body, events.Identified):
        check_identified(case, body)
    elif isinstance(body, events.Registered):
        check_registered(body, now)
    elif isinstance(body, SpecimenBody):
        specimen = case.specimen(body.specimen_id)
        if specimen is not None:  # it is, or its transition had been refused
            check_needs(case, specimen, body, now)


def check_transition(case: CaseSnapshot | None, case_id: str, body: CaseBody) -> None:
    """CaseRefusedError where the tables do not have it."""
    action = action_of(body)
    if case is None and action is not Action.OPEN:
        raise CaseRefusedError(f"case {case_id}: there is none; `octmargin case list` names those that are")
    if action not in CASE_ALLOWS[None if case is None else case.phase]:
        raise CaseRefusedError(f"case {case_id}: {_why_not(case, action)}")
    if case is None:
        return
    if isinstance(body, SpecimenBody):
        _check_specimen(case, body.specimen_id, action)
    elif action in OF_EVERY_SPECIMEN:
        for specimen in case.specimens:
            _check_specimen(case, specimen.specimen_id, action)


def _why_not(case: CaseSnapshot | None, action: Action) -> str:
    if case is None or action is Action.OPEN:
        return "is there already; give another identifier"
    if case.phase is CasePhase.CONFIRM:
        contradictions = "; ".join(conflict.text for conflict in case.conflicts)
        return f"`{action}` waits until this is confirmed: {contradictions}"
    return f"is {case.phase}, where `{action}` is not possible; possible: {_listed(CASE_ALLOWS[case.phase])}"


def _check_specimen(case: CaseSnapshot, specimen_id: str, action: Action) -> None:
    where = f"case {case.case_id}, specimen {specimen_id}"
    specimen = case.specimen(specimen_id)
    possible = SPECIMEN_AFTER[None if specimen is None else specimen.phase]
    if action in possible:
        return
    if specimen is None:
        known = ", ".join(one.specimen_id for one in case.specimens) or "none yet"
        raise CaseRefusedError(f"{where}: is not registered; registered are: {known}")
    if action is Action.REGISTER:
        raise CaseRefusedError(f"{where}: is registered already; give another identifier")
    raise CaseRefusedError(
        f"{where}: is {specimen.phase}, where `{action}` is not possible{_first(specimen.phase, action)}; "
        f"possible: {_listed(possible)}"
    )


def _first(phase: SpecimenPhase, action: Action) -> str:
    """What comes before a signature."""
    if action not in (Action.INTERPRET, Action.FINALISE, Action.SIGN):
        return ""
    if phase is SpecimenPhase.REGISTERED:
        return " before it was scanned: take a recording first"
    is_to_be_made_final = action is Action.SIGN and SpecimenPhase.FINAL in SPECIMEN_AFTER[phase].values()
    return " before its interpretation is final: `interpret --final` first" if is_to_be_made_final else ""


_COMMANDS = {
    Action.OPEN: "new",
    Action.FIX: "formalin",
    Action.SWEEP: "take",
    Action.RE_OPERATE: "re-excise --later",
    Action.FINALISE: "interpret --final",
    Action.CORRELATE: "pathology",
    Action.ERASE: "prune",
}
"""Of `octmargin case`, where they have another name than what they do."""
_OF_THE_STAGE = (Action.STATE, Action.STAGE, Action.DECIDE, Action.MARK)
"""Which nobody does by a command of `octmargin case`."""


def _listed(actions: Iterable[Action]) -> str:
    return ", ".join(sorted(_COMMANDS.get(one, one.value) for one in actions if one not in _OF_THE_STAGE))
