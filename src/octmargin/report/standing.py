"""Where a report stands: preliminary, final, amended or withdrawn, and what holds it up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from octmargin.case.record.model import CasePhase, CaseSnapshot, SpecimenPhase, SpecimenRecord
from octmargin.report.coding.suggest import NOT_INTERPRETED
from octmargin.report.document import State
from octmargin.report.faces import face_names
from octmargin.report.identity import formalin_late
from octmargin.report.wording import sentence, verdict_word, when
from octmargin.words import counted

WATERMARKS: dict[State, str] = {
    "preliminary": "PRELIMINARY",
    "withdrawn": "WITHDRAWN",
    "final": "",
    "amended": "",
}


def state_of(specimen: SpecimenRecord) -> State:
    """What the report is at: nothing that is not signed is more than preliminary."""
    if specimen.phase is SpecimenPhase.WITHDRAWN:
        return "withdrawn"
    if specimen.signature is None:
        return "preliminary"
    return "amended" if specimen.addenda else "final"


def state_text(specimen: SpecimenRecord, zone: tzinfo) -> str:
    """What that means, with names and times."""
    signature, interpretation = specimen.signature, specimen.interpretation
    if specimen.phase is SpecimenPhase.WITHDRAWN:
        return sentence(f"The specimen was withdrawn: {specimen.withdrawn_why or 'no reason is recorded'}")
    if signature is not None:
        text = f"Signed by {signature.by.name} on {when(signature.at, zone)}."
        if specimen.addenda:
            last = specimen.addenda[-1]
            corrections = sum(one.corrects for one in specimen.addenda)
            what = counted(len(specimen.addenda), "addendum", "addenda")
            among = f" ({counted(corrections, 'correction')})" if corrections else ""
            text += f" Amended by {what}{among}, last on {when(last.at, zone)}."
        return text
    if interpretation is None:
        return "Not interpreted: what stands here is said by the algorithm alone."
    by = f"{interpretation.by.name} on {when(interpretation.at, zone)}"
    if specimen.phase in NOT_INTERPRETED:
        return f"The interpretation by {by} is older than what was scanned since, and is to be made again. Not signed."
    if interpretation.state == "preliminary":
        return f"Preliminary interpretation by {by}. Not signed."
    return f"Interpreted by {by}. Not signed."


def alerts(snapshot: CaseSnapshot, specimen: SpecimenRecord, now: datetime) -> Iterator[str]:
    """What must be seen before anything else."""
    if snapshot.phase is CasePhase.CONFIRM:
        for conflict in snapshot.conflicts_about(specimen.specimen_id):
            yield sentence(f"Confirm: {conflict.text}")
    if specimen.laterality == "unknown":
        yield "The side of the specimen is not known."
    if snapshot.patient is None:
        yield "No patient is recorded with this case."
    for addendum in specimen.addenda:
        if addendum.corrects:
            yield f"Addendum {addendum.number} corrects what was signed; read it with the findings."
    if specimen.discontinued is not None:
        why = specimen.discontinued.why or "no reason is recorded"
        yield sentence(f"The acquisition was discontinued: {why}")
    yield from _of_sweeps(specimen)
    # Of the newest that the record knows: a time that came after signing is no time that is missing.
    if late := formalin_late(snapshot.specimen(specimen.specimen_id) or specimen, now):
        yield late


def _of_sweeps(specimen: SpecimenRecord) -> Iterator[str]:
    missing = [face for face in specimen.faces if specimen.newest_sweep(face) is None]
    if missing:
        yield f"Not scanned: {', '.join(missing)}."
    for sweep in filter(None, map(specimen.newest_sweep, face_names(specimen))):
        if sweep.trouble:
            yield sentence(f"{sweep.face}: what is said of it cannot be relied on: {sweep.trouble}")
    for face in face_names(specimen):
        newest = specimen.newest_sweep(face)
        earlier = [one for one in specimen.sweeps if one.face == face and one is not newest]
        if (
            newest is not None
            and newest.verdict != "suspicious"
            and any(one.verdict == "suspicious" for one in earlier)
        ):
            yield sentence(
                f"{face}: an earlier sweep was suspicious, the newest is {verdict_word(newest.verdict).text}"
            )
