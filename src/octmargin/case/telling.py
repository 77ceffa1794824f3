"""What is told to the hospital of a specimen, in whatever format: faces, opinions, and whether anything may be told.

No input or output.
"""

from __future__ import annotations

from datetime import datetime

from octmargin.case.record.model import (
    CaseSnapshot,
    Decision,
    ReExcision,
    SpecimenPhase,
    SpecimenRecord,
    SweepRecord,
)
from octmargin.errors import InputError


def specimen_to_tell(case: CaseSnapshot, specimen_id: str) -> SpecimenRecord:
    """The specimen; InputError where nothing may be told of it: not there, withdrawn, a contradiction, no patient."""
    specimen = case.specimen(specimen_id)
    if specimen is None:
        known = ", ".join(one.specimen_id for one in case.specimens) or "none"
        raise InputError(f"case {case.case_id} has no specimen {specimen_id}; it has {known}")
    if specimen.phase == SpecimenPhase.WITHDRAWN:
        raise InputError(
            f"specimen {specimen_id} was withdrawn ({specimen.withdrawn_why}); nothing is told of it"
        )
    # What contradicts another specimen holds back nothing of this one.
    if conflicts := case.conflicts_about(specimen_id):
        told = "; ".join(conflict.text for conflict in conflicts)
        raise InputError(f"case {case.case_id} is to be confirmed first: {told}")
    if case.patient is None:
        raise InputError(f"case {case.case_id} has no patient; register who it is, nothing is told of nobody")
    return specimen


def faces_of(specimen: SpecimenRecord) -> list[str]:
    """Planned faces, and those that were scanned or interpreted without a plan."""
    interpreted = specimen.interpretation.faces if specimen.interpretation else ()
    named = (*specimen.faces, *(one.face for one in specimen.sweeps), *(one.face for one in interpreted))
    return list(dict.fromkeys(named))


def at_once(specimen: SpecimenRecord) -> list[ReExcision]:
    """Re-excisions of the same operation; another operation comes after the report, and is none of its findings."""
    return [taken for taken in specimen.re_excisions if taken.immediate]


def opinions(specimen: SpecimenRecord, sweep: SweepRecord) -> list[Decision]:
    """What each reader said of the sweep's face last."""
    newest: dict[tuple[str, str], Decision] = {}
    for decision in specimen.decisions:
        if decision.subject == "face" and (decision.session, decision.sweep, decision.face) == sweep.key:
            newest[decision.role, decision.by] = decision
    return list(newest.values())


def told_at(specimen: SpecimenRecord) -> datetime:
    """When the newest of what is known of it was said."""
    told = [sweep.ended_at or sweep.started_at for sweep in specimen.sweeps]
    told += [addendum.at for addendum in specimen.addenda]
    told += [one.at for one in (specimen.interpretation, specimen.signature, specimen.discontinued) if one]
    return max(told, default=specimen.registered_at)
