"""Entering what a recording tells into the record: once, however often it is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

from msgspec import structs

from octmargin.case.record.events import Decided, Marked, SpecimenBody, Stated, Swept
from octmargin.case.record.model import Decision, Mark, SpecimenPhase, SpecimenRecord, Statement, SweepRecord
from octmargin.case.record.store import CaseStore
from octmargin.case.recorded import Recorded
from octmargin.errors import CaseRefusedError


@dataclass(frozen=True, slots=True)
class Taken:
    """What was entered, and what readers said of sweeps that neither recording nor record knows: left out."""

    entered: tuple[SpecimenBody, ...]
    left_out: tuple[Decision | Mark, ...]


def take(
    store: CaseStore, recorded: Recorded, *, case_id: str, specimen_id: str, actor: str, although: str = ""
) -> Taken:
    """Enter what the record does not know yet, all of it or nothing.

    CaseRefusedError where there is no such specimen, where it takes nothing more, or where another specimen has one of
    the sweeps: unless somebody says why it is to be here `although` it is there, which each such sweep then tells.
    """
    specimen = store.case(case_id).specimen(specimen_id)
    if specimen is None:
        raise CaseRefusedError(
            f"case {case_id}, specimen {specimen_id}: is not registered; register it, or name another with --specimen"
        )
    taken = _of_one_specimen(store, case_id, _new_to(specimen, recorded), although.strip())
    if taken.entered:
        store.append(case_id, *taken.entered, actor=actor)
    return taken


def _of_one_specimen(store: CaseStore, case_id: str, taken: Taken, although: str) -> Taken:
    """As `taken`, with the trouble of each sweep that is another specimen's; CaseRefusedError where nobody said why."""
    new = [body for body in taken.entered if isinstance(body, Swept)]
    if not new:
        return taken
    keys = {body.sweep.key for body in new}
    there = {
        sweep.key: f"case {case.case_id}, specimen {other.specimen_id}"
        for case in store.cases()
        for other in case.specimens
        if (case.case_id, other.specimen_id) != (case_id, new[0].specimen_id)
        and other.phase is not SpecimenPhase.WITHDRAWN
        for sweep in other.sweeps
        if sweep.key in keys
    }
    if there and not although:
        places = "; ".join(dict.fromkeys(there.values()))
        raise CaseRefusedError(
            f"case {case_id}, specimen {new[0].specimen_id}: the record has sweeps of this recording under {places}; "
            "withdraw that specimen where it is the wrong one, or say with --although why they are to be here too"
        )
    return replace(
        taken,
        entered=tuple(
            Swept(specimen_id=body.specimen_id, sweep=_shared(body.sweep, there[body.sweep.key], although))
            if isinstance(body, Swept) and body.sweep.key in there
            else body
            for body in taken.entered
        ),
    )


def _shared(sweep: SweepRecord, place: str, although: str) -> SweepRecord:
    text = f"it is in the record under {place} too; taken here because: {although}"
    return structs.replace(sweep, trouble="; ".join(filter(None, (sweep.trouble, text))))


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
