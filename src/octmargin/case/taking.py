"""Entering what a recording tells into the record: once, however often it is taken."""

from __future__ import annotations

from dataclasses import dataclass

from octmargin.case.record.events import Decided, Marked, SpecimenBody, Stated, Swept
from octmargin.case.record.model import Decision, Mark, SpecimenRecord, Statement
from octmargin.case.record.store import CaseStore
from octmargin.case.recorded import Recorded
from octmargin.errors import CaseRefusedError


@dataclass(frozen=True, slots=True)
class Taken:
    """What was entered, and what readers said of sweeps that neither recording nor record knows: left out."""

    entered: tuple[SpecimenBody, ...]
    left_out: tuple[Decision | Mark, ...]


def take(store: CaseStore, recorded: Recorded, *, case_id: str, specimen_id: str, actor: str) -> Taken:
    """Enter what the record does not know yet, all of it or nothing.

    CaseRefusedError where there is no such specimen, or where it takes nothing more.
    """
    specimen = store.case(case_id).specimen(specimen_id)
    if specimen is None:
        raise CaseRefusedError(
            f"case {case_id}, specimen {specimen_id}: is not registered; register it, or name another with --specimen"
        )
    taken = _new_to(specimen, recorded)
    if taken.entered:
        store.append(case_id, *taken.entered, actor=actor)
    return taken


def _new_to(known: SpecimenRecord, recorded: Recorded) -> Taken:
    name = known.specimen_id
    final = {sweep.key for sweep in known.sweeps if not sweep.provisional}
    scanned = {sweep.key for sweep in (*known.sweeps, *recorded.sweeps)}
    told = {(one.session, one.id) for one in known.decisions}
    told |= {(one.session, one.id) for one in known.marks}
    said_before = {_content(one) for one in known.statements}
    entered: list[SpecimenBody] = []
    for one in recorded.statements:
        # Said again, also in another recording, it is nothing new.
        if _content(one) not in said_before:
            said_before.add(_content(one))
            entered.append(Stated(specimen_id=name, statement=one))
    entered += [
        Swept(specimen_id=name, sweep=one)
        for one in recorded.sweeps
        if one.key not in final and one not in known.sweeps
    ]
    left_out: list[Decision | Mark] = []
    sayings: tuple[Decision | Mark, ...] = (*recorded.decisions, *recorded.marks)
    for said in sayings:
        if (said.session, said.sweep, said.face) not in scanned:
            left_out.append(said)
        elif (said.session, said.id) not in told:
            entered.append(
                Decided(specimen_id=name, decision=said)
                if isinstance(said, Decision)
                else Marked(specimen_id=name, mark=said)
            )
    return Taken(tuple(entered), tuple(left_out))


def _content(statement: Statement) -> tuple[str, str, str]:
    return statement.source, statement.laterality, statement.orientation
