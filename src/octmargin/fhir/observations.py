"""What was found on each face: the algorithm's verdict, the readers' opinions and the interpreter's reading, apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from octmargin import terminology
from octmargin.case.record.model import Decision, FaceFinding, Interpretation, SpecimenRecord, SweepRecord
from octmargin.case.telling import at_once
from octmargin.fhir.elements import (
    Element,
    count,
    face_name,
    instant,
    own,
    quantity,
    reference,
    site,
    without_nothing,
)
from octmargin.words import NOTICE

_IMAGING = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": "imaging",
            "display": "Imaging",
        }
    ]
}
_NOT_PERFORMED = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
            "code": "not-performed",
            "display": "Not Performed",
        }
    ],
    "text": "the face was not scanned",
}


@dataclass(frozen=True, slots=True)
class About:
    """What every observation of a specimen has: URLs of patient, specimen, device and interpreter, and its status."""

    specimen: SpecimenRecord
    patient_url: str
    specimen_url: str
    device_url: str
    interpreter_url: str
    is_final: bool

    def begin(self, face: str, code: Element, *, is_final: bool) -> Element:
        """The frame of an observation of a face, which says where what was looked at was computed."""
        sweep = self.specimen.newest_sweep(face)
        is_synthetic = self.specimen.is_synthetic if sweep is None else sweep.synthetic
        notes = {"note": [{"text": terminology.SYNTHETIC.display}]} if is_synthetic else {}
        return notes | {
            "resourceType": "Observation",
            "status": "final" if is_final else "preliminary",
            "category": [_IMAGING],
            "code": code,
            "subject": reference(self.patient_url, "Patient"),
            "specimen": reference(self.specimen_url, "Specimen"),
            "bodySite": site(self.specimen.kind, self.specimen.laterality),
            "component": [{"code": own(terminology.FACE_NAME), "valueCodeableConcept": face_name(face)}],
        }


def verdict(about: About, face: str, sweep: SweepRecord | None) -> Element:
    """What the algorithm says of a face; not performed where it was not scanned."""
    code = own(terminology.VERDICT, f"OCT of the {face} face, verdict of the algorithm")
    if sweep is None:
        observation = about.begin(face, code, is_final=about.is_final)
        return observation | {"dataAbsentReason": _NOT_PERFORMED}
    observation = about.begin(face, code, is_final=not sweep.provisional)
    observation["component"] += list(_components(sweep))
    observation |= {
        "valueCodeableConcept": own(terminology.OF_VERDICT[sweep.verdict]),
        "effectivePeriod": without_nothing(
            {"start": instant(sweep.started_at), "end": instant(sweep.ended_at) if sweep.ended_at else ""}
        ),
        "device": reference(about.device_url, "Device") if about.device_url else None,
        "method": {"text": "optical coherence tomography, judged by an algorithm"},
        "note": [{"text": note} for note in _notes(sweep)],
    }
    return without_nothing(observation)


def reading(about: About, finding: FaceFinding, interpretation: Interpretation, verdict_url: str) -> Element:
    """What the interpreter says of a face, and what was done."""
    code = own(terminology.READING, f"OCT of the {finding.face} face, reading of the interpreter")
    observation = about.begin(finding.face, code, is_final=about.is_final)
    if any(taken.face == finding.face for taken in at_once(about.specimen)):
        action = {
            "code": own(terminology.ACTION),
            "valueCodeableConcept": own(terminology.RE_EXCISION, finding.action),
        }
        observation["component"].append(action)
    elif finding.action:
        observation["component"].append({"code": own(terminology.ACTION), "valueString": finding.action})
    return observation | {
        "valueCodeableConcept": own(terminology.OF_VERDICT[finding.finding]),
        "effectiveDateTime": instant(interpretation.at),
        "performer": [reference(about.interpreter_url, "Practitioner", interpretation.by.name)],
        "derivedFrom": [reference(verdict_url, "Observation")],
    }


def opinion(about: About, decision: Decision, verdict_url: str) -> Element:
    """What a reader says of the verdict, while the patient was on the table."""
    code = own(terminology.OPINION, f"OCT of the {decision.face} face, reader's opinion of the verdict")
    observation = about.begin(decision.face, code, is_final=True)
    notes = [*observation.get("note", ()), *([{"text": decision.note}] if decision.note else [])]
    return without_nothing(
        observation
        | {
            "valueCodeableConcept": own(terminology.OF_DECISION[decision.word]),
            "effectiveDateTime": instant(decision.at),
            "performer": [{"display": f"{decision.role} {decision.by}"}],
            "derivedFrom": [reference(verdict_url, "Observation")],
            "note": notes,
        }
    )


def _components(sweep: SweepRecord) -> Iterator[Element]:
    yield {"code": own(terminology.COVERAGE), "valueQuantity": quantity(round(100 * sweep.coverage, 2), "%")}
    for term, millimetres in (
        (terminology.VISUALISED_DEPTH, sweep.visualised_depth_mm),
        (terminology.DISTANCE, sweep.distance_mm),
    ):
        if millimetres is not None:
            yield {"code": own(term), "valueQuantity": quantity(millimetres, "mm")}
    yield {"code": own(terminology.CLUSTERS), "valueQuantity": count(sweep.clusters)}
    yield {"code": own(terminology.LOST_FRAMES), "valueQuantity": count(sweep.lost_frames)}
    origin = terminology.SYNTHETIC if sweep.synthetic else terminology.MEASURED
    yield {"code": own(terminology.DATA_ORIGIN), "valueCodeableConcept": own(origin)}


def _notes(sweep: SweepRecord) -> Iterator[str]:
    if sweep.synthetic:
        yield terminology.SYNTHETIC.display
    yield NOTICE
    yield from sweep.reasons
    if sweep.provisional:
        yield "The sweep was cut short, and its verdict is provisional."
    if sweep.trouble:
        yield f"What is said of the sweep cannot be relied on: {sweep.trouble}"
