"""Parts of resources, as FHIR's JSON has them: codes, quantities, references, instants."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final

from octmargin import terminology
from octmargin.case.record.model import CaseSnapshot
from octmargin.terminology import Term

Element = dict[str, Any]

SNOMED: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
CPT: Final = "http://www.ama-assn.org/go/cpt"
NUCC: Final = "http://nucc.org/provider-taxonomy"
DICOM_UID: Final = "urn:dicom:uid"
_NAMESPACE = uuid.UUID("6d0b5b0e-0a43-4a36-9e58-3a5b2f0a8c77")

BREAST = {"left": ("80248007", "Left breast structure"), "right": ("73056007", "Right breast structure")}
_SITES = {"breast": ("76752008", "Breast structure"), "node": ("68171009", "Axillary lymph node structure")}
_FACES = {
    "superior": ("264217000", "Superior"),
    "inferior": ("261089000", "Inferior"),
    "medial": ("255561001", "Medial"),
    "lateral": ("49370004", "Lateral"),
    "anterior": ("255549009", "Anterior"),
    "posterior": ("255551008", "Posterior"),
}


def own(term: Term, text: str = "") -> Element:
    """A concept of our own code system."""
    coding = {
        "system": terminology.URL,
        "version": terminology.VERSION,
        "code": term.code,
        "display": term.display,
    }
    return {"coding": [coding], "text": text or term.display}


def coded(system: str, code: str, display: str = "", text: str = "") -> Element:
    """A concept of a public code system; without `display` where that is its owner's."""
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]} | ({"text": text or display} if text or display else {})


def site(kind: str, laterality: str) -> Element:
    """Where in the body a specimen came from."""
    if kind == "node":
        side = "" if laterality == "unknown" else f"{laterality} "
        return coded(SNOMED, *_SITES["node"], text=f"{side}axillary node")
    if laterality in BREAST:
        return coded(SNOMED, *BREAST[laterality], text=f"{laterality} breast")
    return coded(SNOMED, *_SITES["breast"], text="breast, side unknown")


def face_name(face: str) -> Element:
    """A face of a specimen; a shave or node has a name alone."""
    return coded(SNOMED, *_FACES[face], text=face) if face in _FACES else {"text": face}


def quantity(value: float, unit: str) -> Element:
    """A number in a unit of UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def count(number: int) -> Element:
    """A number of things."""
    return {"value": number, "unit": "1", "system": UCUM, "code": "1"}


def instant(at: datetime) -> str:
    """An instant in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def identity(case: CaseSnapshot, *names: object) -> str:
    """`urn:uuid:` of something in a case: it follows from the names, so that the same thing has it again."""
    text = "\0".join(str(name) for name in (case.case_id, case.opened_at.isoformat(), *names))
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, text)}"


def reference(url: str, kind: str, display: str = "") -> Element:
    """A reference to another resource of the bundle."""
    return {"reference": url, "type": kind} | ({"display": display} if display else {})


def without_nothing(resource: Element) -> Element:
    """Without what is empty: FHIR has no empty elements."""
    return {key: value for key, value in resource.items() if value not in (None, "", [], {})}
