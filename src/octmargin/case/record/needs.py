"""What an action needs, besides a phase that allows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from octmargin.case.record import events
from octmargin.case.record.conflicts import CLOCKS_DIFFER, codes_of_other_side
from octmargin.case.record.events import CaseBody, SpecimenBody
from octmargin.case.record.model import (
    CaseSnapshot,
    Interpretation,
    PathologyResult,
    PatientIdentity,
    SpecimenRecord,
)
from octmargin.errors import CaseRefusedError

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SEPARATORS = str.maketrans({"\\": " ", "^": " ", "=": " "})
"""Of names in DICOM, where they stand as spaces."""


def check_identifier(what: str, identifier: str) -> None:
    """CaseRefusedError where it does not fit the bus, where it must be opaque too."""
    if not _IDENTIFIER.fullmatch(identifier):
        raise CaseRefusedError(
            f'{what} "{identifier}": give 1 to 64 letters without accents, digits, ., _ and -, beginning with a letter '
            "or a digit; it goes on the bus, so it must not be a patient's name or number"
        )


def check_sayable(body: CaseBody) -> None:
    """CaseRefusedError where an identifier is none that DICOM can say: after the signature nobody could correct it."""
    match body:
        case events.Identified(patient=patient):
            _check_sayable("the patient's number", patient.patient_id, 64)
            _check_sayable("the issuer of the patient's number", patient.issuer, 64)
            parts = (" ".join(part.translate(_SEPARATORS).split()) for part in patient.name.components)
            _check_sayable("the patient's name", "^".join(parts).rstrip("^"), 64)
        case events.Ordered(order=order):
            _check_sayable("the accession number", order.accession, 16)
            _check_sayable("the requested procedure's id", order.requested_procedure_id, 16)
            _check_sayable("the scheduled step's id", order.scheduled_step_id, 16)
        case events.Registered(container=container) | events.Described(container=container):
            _check_sayable("the container", container or "", 64)
        case _:
            pass


def check_identified(case: CaseSnapshot, body: events.Identified) -> None:
    """CaseRefusedError where it is another patient than was recorded, and nobody says why."""
    before, now = case.patient, body.patient
    if (
        before is None
        or body.why.strip()
        or (before.patient_id, before.issuer) == (now.patient_id, now.issuer)
    ):
        return
    raise CaseRefusedError(
        f"case {case.case_id}: is recorded as of patient {_numbered(before)}, not {_numbered(now)}; find out which is "
        "right, and where this one is, `octmargin case identify` takes it with --why"
    )


def _numbered(patient: PatientIdentity) -> str:
    return f"{patient.patient_id} of {patient.issuer}" if patient.issuer else patient.patient_id


def _check_sayable(what: str, text: str, most: int) -> None:
    if len(text) > most or "\\" in text or text != " ".join(text.split()) or not text.isprintable():
        raise CaseRefusedError(
            f"{what} {text!r}: DICOM takes {most} characters at most, no backslash, and single spaces between words; "
            "correct it"
        )


def check_registered(body: events.Registered, now: datetime) -> None:
    """CaseRefusedError where a specimen cannot be registered so."""
    check_identifier("specimen", body.specimen_id)
    twice = [face for face, count in Counter(body.faces).items() if count > 1]
    if twice or not body.faces:
        raise CaseRefusedError(
            f"specimen {body.specimen_id}: "
            + (f"face {twice[0]} is named twice" if twice else "has no face")
            + "; name each planned face once"
        )
    _check_times(body.specimen_id, body.excised_at, None, now)


def check_needs(case: CaseSnapshot, specimen: SpecimenRecord, body: SpecimenBody, now: datetime) -> None:
    """CaseRefusedError where something is missing or wrong for what its specimen would allow."""
    _check_specimen(specimen, body, now)
    _check_report(case, specimen, body)


def _check_specimen(specimen: SpecimenRecord, body: SpecimenBody, now: datetime) -> None:
    name = specimen.specimen_id
    match body:
        case events.Described():
            _check_times(name, body.excised_at or specimen.excised_at, specimen.formalin_at, now)
        case events.Fixed(formalin_at=formalin_at):
            if specimen.signature is not None and specimen.formalin_at is not None:
                raise CaseRefusedError(
                    f"specimen {name}: its signed report says when it went into formalin; add an addendum"
                )
            _check_times(name, specimen.excised_at, formalin_at, now)
        case events.Confirmed():
            if body.laterality == "unknown":
                raise CaseRefusedError(f"specimen {name}: give the side that is confirmed, left or right")
            _need(name, "who confirms it, and why", body.by, body.why)
        case events.Swept(sweep=sweep):
            if any(one.key == sweep.key and not one.provisional for one in specimen.sweeps):
                raise CaseRefusedError(
                    f"specimen {name}: sweep {sweep.sweep} over {sweep.face} is in the record already"
                )
        case events.Diagnosed(diagnoses=diagnoses):
            if text := codes_of_other_side(specimen, diagnoses):
                raise CaseRefusedError(text)
        case events.Discontinued(discontinuation=discontinuation):
            _need(name, "who gave it up, and why", discontinuation.by, discontinuation.why)
        case events.Withdrawn():
            _need(name, "why it is withdrawn", body.why)
        case _:
            pass


def _check_report(case: CaseSnapshot, specimen: SpecimenRecord, body: SpecimenBody) -> None:
    name = specimen.specimen_id
    match body:
        case events.ReExcised(re_excision=re_excision):
            _check_faces(specimen, [re_excision.face])
            _need(name, "who decided it, and why", re_excision.by, re_excision.why)
        case events.Interpreted(interpretation=interpretation):
            _check_interpretation(specimen, interpretation)
        case events.Signed():
            _check_signature(case, specimen, body)
        case events.Addended():
            _need(name, "by name who adds it", body.by.name)
            _need(name, "the text of the addendum", body.text)
        case events.Correlated(results=results):
            _check_faces(specimen, [result.face for result in results])
            for result in results:
                _check_pathology(name, result)
        case _:
            pass


def _check_pathology(specimen_id: str, result: PathologyResult) -> None:
    distance_mm = result.distance_mm
    if distance_mm is None:
        return
    match result.finding:
        case "positive":
            wrong = "tumour at ink is at 0 mm" if distance_mm > 0 else ""
        case "not_assessed":
            wrong = "what was not assessed has no distance"
        case _:
            wrong = "tumour at 0 mm is at ink, and positive" if distance_mm == 0 else ""
    if wrong:
        raise CaseRefusedError(
            f"specimen {specimen_id}: pathology of {result.face} is {result.finding} at {distance_mm:g} mm, "
            f"and {wrong}; correct the finding or the distance"
        )


def _need(specimen_id: str, what: str, *given: str) -> None:
    if not all(text.strip() for text in given):
        raise CaseRefusedError(f"specimen {specimen_id}: say {what}")


def _check_times(
    specimen_id: str, excised_at: datetime | None, formalin_at: datetime | None, now: datetime
) -> None:
    for what, at in (("excision", excised_at), ("formalin", formalin_at)):
        if at is not None and at > now + CLOCKS_DIFFER:
            raise CaseRefusedError(
                f"specimen {specimen_id}: {what} at {at.isoformat()} is not yet; correct the time, or the clock"
            )
    if excised_at is not None and formalin_at is not None and formalin_at < excised_at:
        raise CaseRefusedError(
            f"specimen {specimen_id}: formalin at {formalin_at.isoformat()} is before its excision at "
            f"{excised_at.isoformat()}; correct one of them"
        )


def _check_faces(specimen: SpecimenRecord, faces: Iterable[str]) -> None:
    for face in faces:
        if face not in specimen.faces:
            raise CaseRefusedError(
                f'specimen {specimen.specimen_id}: has no face "{face}"; its faces: {", ".join(specimen.faces)}'
            )


def _check_interpretation(specimen: SpecimenRecord, interpretation: Interpretation) -> None:
    name = specimen.specimen_id
    _need(name, "by name who interprets", interpretation.by.name)
    named = [finding.face for finding in interpretation.faces]
    _check_faces(specimen, named)
    for face, count in Counter(named).items():
        if count > 1:
            raise CaseRefusedError(f"specimen {name}: face {face} is named twice; say one thing of it")
    for finding in interpretation.faces:
        sweep = specimen.newest_sweep(finding.face)
        if finding.finding == "nothing_suspicious" and (sweep is None or not sweep.coverage):
            raise CaseRefusedError(
                f"specimen {name}: nothing of {finding.face} was seen, so nothing_suspicious cannot be said of it; "
                "say not_assessed"
            )
    missing = [face for face in specimen.faces if face not in named]
    if interpretation.state == "final" and missing:
        raise CaseRefusedError(
            f"specimen {name}: a final interpretation says something of every face; missing: {', '.join(missing)}"
        )


def _check_signature(case: CaseSnapshot, specimen: SpecimenRecord, body: events.Signed) -> None:
    where = f"case {case.case_id}, specimen {specimen.specimen_id}"
    if case.patient is None:
        raise CaseRefusedError(f"{where}: say who the patient is before the report is signed")
    if not case.indication.strip():
        raise CaseRefusedError(f"{where}: give the indication before the report is signed")
    interpretation = specimen.interpretation
    by = interpretation.by if interpretation is not None else body.by
    if (by.name, by.role) != (body.by.name, body.by.role):
        raise CaseRefusedError(
            f"{where}: the interpretation is by {by.name}, {by.role}, who alone can sign it; "
            f"{body.by.name} makes it final first"
        )
