"""For how long cases are kept: which of them are over their time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from octmargin.case.record.model import CasePhase, CaseSnapshot
from octmargin.case.record.store import CaseStore


@dataclass(frozen=True, slots=True)
class Expired:
    """A closed case to which nothing was added for longer than cases are kept."""

    case_id: str
    last_event_at: datetime
    recordings: tuple[str, ...]
    """Where its spectra are; they have rules of their own."""


def expired(store: CaseStore, older_than: timedelta, now: datetime) -> list[Expired]:
    """Closed cases whose last event is that old, the oldest case first. One that is not closed is never among them."""
    return [
        Expired(case.case_id, last_at, _recordings(case))
        for case in store.cases()
        if case.phase is CasePhase.CLOSED
        and now - (last_at := _last_event_at(store, case.case_id)) > older_than
    ]


def _last_event_at(store: CaseStore, case_id: str) -> datetime:
    return max(event.instant for event in store.events(case_id))


def _recordings(case: CaseSnapshot) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_paths(case)))


def _paths(case: CaseSnapshot) -> Iterable[str]:
    return (sweep.recording for specimen in case.specimens for sweep in specimen.sweeps if sweep.recording)
