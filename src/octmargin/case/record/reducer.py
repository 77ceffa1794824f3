"""From events to what is known: a pure fold. It refuses nothing: what is in the log has happened."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from octmargin.case.record import events
from octmargin.case.record.conflicts import conflicts_of, contradicted
from octmargin.case.record.events import CaseBody, Event, SpecimenBody
from octmargin.case.record.model import (
    Addendum,
    CasePhase,
    CaseSnapshot,
    Order,
    Signature,
    SpecimenPhase,
    SpecimenRecord,
    Statement,
    SweepRecord,
)
from octmargin.case.record.transitions import SPECIMEN_AFTER, Action, action_of
from octmargin.errors import RecordError

_OUTDATE_INTERPRETATION = (Action.SWEEP, Action.DISCONTINUE, Action.CONFIRM)


def fold(log: Iterable[Event]) -> CaseSnapshot | None:
    """What the events of one case make, in their order; None without any, and of a case that was erased."""
    snapshot: CaseSnapshot | None = None
    for event in log:
        if event.payload is None or event.kind == "erased":
            return None
        snapshot = evolve(snapshot, event, event.body())
    return snapshot


def evolve(case: CaseSnapshot | None, event: Event, body: CaseBody) -> CaseSnapshot:
    """The case after one more event, which says `body`; RecordError where it cannot follow in any way."""
    if case is None:
        case = CaseSnapshot(
            case_id=event.case_id,
            phase=CasePhase.OPEN,
            opened_at=event.instant,
            log_seq=event.seq,
            log_head=event.hash,
        )
    elif isinstance(body, SpecimenBody):
        case = _with_specimen(case, event, body)
    else:
        case = _of_case(case, event, body)
    conflicts = conflicts_of(case.order, case.specimens)
    phase = CasePhase.CONFIRM if conflicts else CasePhase.OPEN
    if case.closed_at is not None:
        phase = CasePhase.CLOSED
    return replace(case, phase=phase, conflicts=conflicts, log_seq=event.seq, log_head=event.hash)


def _of_case(case: CaseSnapshot, event: Event, body: CaseBody) -> CaseSnapshot:
    match body:
        case events.Identified(patient=patient):
            is_another = case.patient is not None and case.patient != patient
            specimens = tuple(map(_outdated, case.specimens)) if is_another else case.specimens
            return replace(case, patient=patient, specimens=specimens)
        case events.Ordered(order=order):
            return replace(case, order=order)
        case events.Indicated(indication=indication):
            return replace(case, indication=indication)
        case events.Closed():
            return replace(case, closed_at=event.instant)
        case _:
            return case


def _with_specimen(case: CaseSnapshot, event: Event, body: SpecimenBody) -> CaseSnapshot:
    if isinstance(body, events.Registered):
        return replace(case, specimens=(*case.specimens, _registered(event, body)))
    before = case.specimen(body.specimen_id)
    if before is None:
        raise RecordError(
            f"event {event.seq} is about specimen {body.specimen_id}, which was not registered; "
            "restore the record from a copy"
        )
    action = action_of(body)
    after = (
        _reported(before, event, body)
        or _scanned(before, body)
        or _described(before, body)
        or _placed(case.order, before, event, body)
    )
    after = replace(after, phase=SPECIMEN_AFTER[before.phase].get(action, before.phase))
    is_elsewhere = (after.laterality, after.orientation) != (before.laterality, before.orientation)
    if action in _OUTDATE_INTERPRETATION or is_elsewhere:
        after = _outdated(after)
    return replace(
        case,
        specimens=tuple(after if one.specimen_id == body.specimen_id else one for one in case.specimens),
    )


def _outdated(specimen: SpecimenRecord) -> SpecimenRecord:
    """Its interpretation, where it has one, is no more than preliminary: it was about something else."""
    if specimen.interpretation is None:
        return specimen
    is_final = specimen.phase is SpecimenPhase.FINAL
    return replace(
        specimen,
        phase=SpecimenPhase.PRELIMINARY if is_final else specimen.phase,
        interpretation=replace(specimen.interpretation, state="preliminary"),
    )


def _registered(event: Event, body: events.Registered) -> SpecimenRecord:
    return SpecimenRecord(
        specimen_id=body.specimen_id,
        phase=SpecimenPhase.REGISTERED,
        kind=body.specimen_kind,
        laterality=body.laterality,
        orientation=body.orientation,
        label=body.label,
        container=body.container,
        registered_at=event.instant,
        excised_at=body.excised_at,
        faces=body.faces,
        statements=(
            Statement(
                source="registration",
                at=event.instant,
                by=event.actor,
                laterality=body.laterality,
                orientation=body.orientation,
            ),
        ),
    )


def _reported(specimen: SpecimenRecord, event: Event, body: SpecimenBody) -> SpecimenRecord | None:
    """Of interpretation and what comes after it; None where the event is about something else."""
    match body:
        case events.Interpreted(interpretation=interpretation):
            return replace(specimen, interpretation=interpretation)
        case events.Signed(by=by):
            signature = Signature(by=by, at=event.instant, log_seq=event.seq - 1, log_head=event.previous)
            return replace(specimen, signature=signature)
        case events.Addended(by=by, text=text, corrects=corrects):
            addendum = Addendum(
                number=len(specimen.addenda) + 1, by=by, at=event.instant, text=text, corrects=corrects
            )
            return replace(specimen, addenda=(*specimen.addenda, addendum))
        case events.Correlated(results=results):
            return replace(specimen, pathology=(*specimen.pathology, *results))
        case events.ReExcised(re_excision=re_excision):
            return replace(specimen, re_excisions=(*specimen.re_excisions, re_excision))
        case _:
            return None


def _scanned(specimen: SpecimenRecord, body: SpecimenBody) -> SpecimenRecord | None:
    """Of the acquisition and what readers said during it; None where the event is about something else."""
    match body:
        case events.Staged(staging=staging):
            return replace(specimen, staging=staging)
        case events.Swept(sweep=sweep):
            faces = specimen.faces if sweep.face in specimen.faces else (*specimen.faces, sweep.face)
            given_up = specimen.discontinued
            is_resumed = given_up is not None and not sweep.provisional and sweep.started_at >= given_up.at
            return replace(
                specimen,
                faces=faces,
                sweeps=_with_sweep(specimen.sweeps, sweep),
                discontinued=None if is_resumed else given_up,
            )
        case events.Decided(decision=decision):
            return replace(specimen, decisions=(*specimen.decisions, decision))
        case events.Marked(mark=mark):
            return replace(specimen, marks=(*specimen.marks, mark))
        case events.Discontinued(discontinuation=discontinuation):
            return replace(specimen, discontinued=discontinuation)
        case _:
            return None


def _with_sweep(sweeps: tuple[SweepRecord, ...], sweep: SweepRecord) -> tuple[SweepRecord, ...]:
    """With the newest that is known of each: a provisional one gives way to what came of it."""
    return (*(one for one in sweeps if one.key != sweep.key), sweep)


def _described(specimen: SpecimenRecord, body: SpecimenBody) -> SpecimenRecord | None:
    """Of what the specimen is; None where the event is about something else."""
    match body:
        case events.Described():
            said = {
                name: value
                for name in ("label", "container", "excised_at")
                if (value := getattr(body, name)) is not None
            }
            return replace(specimen, **said)
        case events.Fixed(formalin_at=formalin_at):
            return replace(specimen, formalin_at=formalin_at)
        case events.Diagnosed(diagnoses=diagnoses):
            return replace(specimen, diagnoses=diagnoses)
        case events.Withdrawn(why=why):
            return replace(specimen, withdrawn_why=why)
        case _:
            return None


def _placed(
    order: Order | None, specimen: SpecimenRecord, event: Event, body: SpecimenBody
) -> SpecimenRecord:
    """Of where the specimen came from."""
    match body:
        case events.Stated(statement=statement):
            # What nobody had said before is no contradiction: it is taken from whoever says it first.
            is_first = specimen.laterality == "unknown"
            return replace(
                specimen,
                statements=(*specimen.statements, statement),
                laterality=statement.laterality if is_first else specimen.laterality,
                orientation=specimen.orientation or statement.orientation,
            )
        case events.Confirmed(by=by, laterality=laterality, orientation=orientation, why=why):
            confirmation = Statement(
                source="confirmation",
                at=event.instant,
                by=by,
                laterality=laterality,
                orientation=orientation,
                why=why,
                despite=contradicted(order, specimen, laterality, orientation),
            )
            return replace(
                specimen,
                laterality=laterality,
                orientation=orientation,
                statements=(*specimen.statements, confirmation),
            )
        case _:
            return specimen
