"""What may be done with a case and with a specimen, and what they are after it: tables alone. docs/case.md draws them.

What is not in a table is refused. An action on the case as a whole that changes what reports say, or that
ends it, must be allowed by every specimen too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from octmargin.case.record import events
from octmargin.case.record.events import CaseBody
from octmargin.case.record.model import CasePhase, SpecimenPhase


class Action(StrEnum):
    """What somebody, or the daemon, does with a case or a specimen."""

    OPEN = "open"
    IDENTIFY = "identify"
    ORDER = "order"
    INDICATE = "indicate"
    REGISTER = "register"
    CLOSE = "close"
    ERASE = "erase"
    DESCRIBE = "describe"
    FIX = "fix"
    STATE = "state"
    CONFIRM = "confirm"
    DIAGNOSE = "diagnose"
    STAGE = "stage"
    SWEEP = "sweep"
    DECIDE = "decide"
    MARK = "mark"
    RE_EXCISE = "re-excise"
    RE_OPERATE = "re-operate"
    DISCONTINUE = "discontinue"
    WITHDRAW = "withdraw"
    INTERPRET = "interpret"
    FINALISE = "finalise"
    SIGN = "sign"
    ADDEND = "addend"
    CORRELATE = "correlate"


OF_EVERY_SPECIMEN: Final = frozenset({Action.IDENTIFY, Action.ORDER, Action.INDICATE, Action.CLOSE})
"""Actions on the case that every one of its specimens must allow."""

_ALWAYS_ADDED: Final = frozenset(
    {Action.ADDEND, Action.CORRELATE, Action.FIX, Action.RE_OPERATE, Action.STAGE}
)
_OF_OPEN: Final = frozenset(Action) - {Action.OPEN, Action.ERASE}

CASE_ALLOWS: Final[Mapping[CasePhase | None, frozenset[Action]]] = {
    None: frozenset({Action.OPEN}),
    CasePhase.OPEN: _OF_OPEN,
    CasePhase.CONFIRM: _OF_OPEN - {Action.FINALISE, Action.SIGN, Action.CLOSE},
    CasePhase.CLOSED: _ALWAYS_ADDED | {Action.ERASE},
}
"""What each phase of a case allows; None is a case that is not there yet."""

CASE_AFTER: Final[Mapping[CasePhase, frozenset[CasePhase]]] = {
    CasePhase.OPEN: frozenset({CasePhase.CONFIRM, CasePhase.CLOSED}),
    CasePhase.CONFIRM: frozenset({CasePhase.OPEN}),
    CasePhase.CLOSED: frozenset(),
}
"""What may follow: contradictions lead to `confirm` and back, closing leads to `closed`."""


def _staying(phase: SpecimenPhase, *actions: Action) -> dict[Action, SpecimenPhase]:
    return dict.fromkeys(actions, phase)


_UNSIGNED_STAY: Final = (
    Action.IDENTIFY,
    Action.ORDER,
    Action.INDICATE,
    Action.DESCRIBE,
    Action.FIX,
    Action.STATE,
    Action.CONFIRM,
    Action.DIAGNOSE,
    Action.STAGE,
    Action.DECIDE,
    Action.MARK,
    Action.RE_EXCISE,
    Action.RE_OPERATE,
    Action.CORRELATE,
)


def _unsigned(phase: SpecimenPhase) -> dict[Action, SpecimenPhase]:
    """What is possible until a report is signed: a sweep outdates whatever was interpreted before."""
    return _staying(phase, *_UNSIGNED_STAY) | {
        Action.SWEEP: SpecimenPhase.SCANNED,
        Action.DISCONTINUE: SpecimenPhase.DISCONTINUED,
        Action.WITHDRAW: SpecimenPhase.WITHDRAWN,
        Action.INTERPRET: SpecimenPhase.PRELIMINARY,
        Action.FINALISE: SpecimenPhase.FINAL,
    }


def _signed(phase: SpecimenPhase) -> dict[Action, SpecimenPhase]:
    """What is possible after it: nothing that changes what was signed."""
    return _staying(phase, Action.CLOSE, Action.FIX, Action.RE_OPERATE, Action.CORRELATE, Action.STAGE) | {
        Action.ADDEND: SpecimenPhase.AMENDED
    }


def _without(table: dict[Action, SpecimenPhase], *actions: Action) -> dict[Action, SpecimenPhase]:
    return {action: after for action, after in table.items() if action not in actions}


SPECIMEN_AFTER: Final[Mapping[SpecimenPhase | None, Mapping[Action, SpecimenPhase]]] = {
    None: {Action.REGISTER: SpecimenPhase.REGISTERED},
    SpecimenPhase.REGISTERED: _without(
        _unsigned(SpecimenPhase.REGISTERED), Action.INTERPRET, Action.FINALISE
    ),
    SpecimenPhase.SCANNED: _unsigned(SpecimenPhase.SCANNED),
    SpecimenPhase.DISCONTINUED: _without(_unsigned(SpecimenPhase.DISCONTINUED), Action.DISCONTINUE),
    SpecimenPhase.PRELIMINARY: _unsigned(SpecimenPhase.PRELIMINARY),
    SpecimenPhase.FINAL: _unsigned(SpecimenPhase.FINAL)
    | {
        # What faces are called rests on side and orientation: the interpreter says again that it is final.
        Action.CONFIRM: SpecimenPhase.PRELIMINARY,
        Action.SIGN: SpecimenPhase.SIGNED,
    },
    SpecimenPhase.SIGNED: _signed(SpecimenPhase.SIGNED),
    SpecimenPhase.AMENDED: _signed(SpecimenPhase.AMENDED),
    SpecimenPhase.WITHDRAWN: _staying(
        SpecimenPhase.WITHDRAWN,
        Action.IDENTIFY,
        Action.ORDER,
        Action.INDICATE,
        Action.CLOSE,
        Action.STAGE,
    ),
}
"""What each phase of a specimen allows, and the phase after it; None is a specimen that is not there yet."""

_ACTIONS: Final[Mapping[type[CaseBody], Action]] = {
    events.Opened: Action.OPEN,
    events.Identified: Action.IDENTIFY,
    events.Ordered: Action.ORDER,
    events.Indicated: Action.INDICATE,
    events.Closed: Action.CLOSE,
    events.Erased: Action.ERASE,
    events.Registered: Action.REGISTER,
    events.Described: Action.DESCRIBE,
    events.Fixed: Action.FIX,
    events.Stated: Action.STATE,
    events.Confirmed: Action.CONFIRM,
    events.Diagnosed: Action.DIAGNOSE,
    events.Staged: Action.STAGE,
    events.Swept: Action.SWEEP,
    events.Decided: Action.DECIDE,
    events.Marked: Action.MARK,
    events.Discontinued: Action.DISCONTINUE,
    events.Withdrawn: Action.WITHDRAW,
    events.Signed: Action.SIGN,
    events.Addended: Action.ADDEND,
    events.Correlated: Action.CORRELATE,
}


def action_of(body: CaseBody) -> Action:
    """What an event does."""
    if isinstance(body, events.Interpreted):
        return Action.FINALISE if body.interpretation.state == "final" else Action.INTERPRET
    if isinstance(body, events.ReExcised):
        return Action.RE_EXCISE if body.re_excision.immediate else Action.RE_OPERATE
    return _ACTIONS[type(body)]
