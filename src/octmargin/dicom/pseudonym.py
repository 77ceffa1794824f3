"""A case without anybody in it: what is exported de-identified is made from this, and not from the record."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import msgspec

from octmargin.case.record.model import (
    CaseSnapshot,
    Interpretation,
    Interpreter,
    PatientIdentity,
    PersonName,
    ReExcision,
    SpecimenRecord,
    SweepRecord,
)

REMOVED = "(removed)"
_SHORTEST = 3
"""Letters of what can identify somebody."""


def without_identity(case: CaseSnapshot, pseudonym: str) -> CaseSnapshot:
    """The case of patient `pseudonym`: no names, numbers or free text of anybody; findings stay as they are.

    Instants stay, since everything that is made of them is replaced afterwards.
    """
    names = {one.specimen_id: pseudonym_of_specimen(case, one.specimen_id) for one in case.specimens}
    return msgspec.structs.replace(
        case,
        case_id="C",
        patient=PatientIdentity(name=PersonName(family=pseudonym), patient_id=pseudonym),
        order=None,
        indication="",
        conflicts=(),
        specimens=tuple(_specimen(one, names) for one in case.specimens),
        log_head="",
    )


def pseudonym_of_specimen(case: CaseSnapshot, specimen_id: str) -> str:
    """What the specimen is called in the case without identity."""
    return f"S{1 + [one.specimen_id for one in case.specimens].index(specimen_id)}"


class Identities:
    """What of a record tells who or what somebody or something is: none of it may be in a de-identified file.

    Of names each word counts, of identifiers the whole; the words of `allowed`, such as those of a pseudonym and those
    that are in every such file, do not.
    """

    def __init__(self, case: CaseSnapshot, allowed: Collection[str]) -> None:
        known = {word for name in _names(case) for word in re.findall(r"\w+", name)} | set(_identifiers(case))
        kept = {text.lower() for text in known if len(text) >= _SHORTEST} - set(allowed)
        self._pattern = re.compile(
            "|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in sorted(kept)) or "(?!)"
        )

    def found_in(self, text: str) -> set[str]:
        """Those that are in a text."""
        return set(self._pattern.findall(text.lower()))


def _specimen(specimen: SpecimenRecord, names: dict[str, str]) -> SpecimenRecord:
    return msgspec.structs.replace(
        specimen,
        specimen_id=names[specimen.specimen_id],
        orientation=REMOVED if specimen.orientation else "",
        label="",
        container="",
        statements=(),
        diagnoses=(),
        sweeps=tuple(_sweep(sweep) for sweep in specimen.sweeps),
        decisions=tuple(
            msgspec.structs.replace(one, by=reader, note="")
            for one, reader in zip(specimen.decisions, _readers(specimen), strict=True)
        ),
        marks=(),
        re_excisions=tuple(_re_excision(one) for one in specimen.re_excisions),
        discontinued=None,
        interpretation=None if specimen.interpretation is None else _interpretation(specimen.interpretation),
        signature=None
        if specimen.signature is None
        else msgspec.structs.replace(specimen.signature, by=_nobody(specimen.signature.by), log_head=""),
        addenda=tuple(
            msgspec.structs.replace(one, by=_nobody(one.by), text=REMOVED) for one in specimen.addenda
        ),
        pathology=(),
        withdrawn_why=REMOVED if specimen.withdrawn_why else "",
    )


def _readers(specimen: SpecimenRecord) -> list[str]:
    """A number for each reader: whose opinion is whose is kept, who it was is not."""
    known: dict[str, str] = {}
    return [known.setdefault(one.by, f"reader-{len(known) + 1}") for one in specimen.decisions]


def _sweep(sweep: SweepRecord) -> SweepRecord:
    versions = msgspec.structs.replace(
        sweep.versions, calibration="", calibration_hash="", configuration_hash="", console_serial="",
        console_source="",
    )  # fmt: skip
    return msgspec.structs.replace(sweep, versions=versions, trouble=REMOVED if sweep.trouble else "")


def _re_excision(taken: ReExcision) -> ReExcision:
    return msgspec.structs.replace(taken, why=REMOVED, by=REMOVED, specimen_id="")


def _interpretation(interpretation: Interpretation) -> Interpretation:
    return msgspec.structs.replace(
        interpretation,
        by=_nobody(interpretation.by),
        text="",
        faces=tuple(msgspec.structs.replace(face, action="") for face in interpretation.faces),
    )


def _nobody(interpreter: Interpreter) -> Interpreter:
    return Interpreter(name=interpreter.role, role=interpreter.role)


def _names(case: CaseSnapshot) -> Iterator[str]:
    if case.patient is not None:
        yield from case.patient.name.components
    for specimen in case.specimens:
        people = (specimen.interpretation, specimen.signature, *specimen.addenda)
        yield from (said.by.name for said in people if said is not None)
        yield from (taken.by for taken in specimen.re_excisions)
        yield from (result.by for result in specimen.pathology)


def _identifiers(case: CaseSnapshot) -> Iterator[str]:
    patient, order = case.patient, case.order
    yield case.case_id
    if patient is not None:
        yield from (patient.patient_id, patient.issuer)
        if patient.birth_date is not None:
            yield from (
                patient.birth_date.strftime(form) for form in ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y")
            )
    if order is not None:
        yield from (order.accession, order.requested_procedure_id, order.scheduled_step_id, order.study_uid)
    for specimen in case.specimens:
        yield from (specimen.specimen_id, specimen.container)
        yield from (decision.by for decision in specimen.decisions)
        yield from (sweep.versions.console_serial for sweep in specimen.sweeps)
        yield from (result.accession for result in specimen.pathology)
