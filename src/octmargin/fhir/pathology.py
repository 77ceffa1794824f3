"""What pathology found at each margin, as the record has it: an Observation each, and a DiagnosticReport per accession.

`octmargin.case.pathology_fhir` reads the same Observations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from octmargin import terminology
from octmargin.case.record.model import PathologyResult, SpecimenRecord
from octmargin.fhir.elements import Element, instant, own, quantity, reference, site, without_nothing
from octmargin.fhir.observations import About

Add = Callable[..., str]
"""Takes a resource and the names that tell it from others of its kind; gives its URL."""
_OBSERVED = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": "laboratory",
            "display": "Laboratory",
        }
    ]
}
_REPORTED = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
            "code": "SP",
            "display": "Surgical Pathology",
        }
    ]
}
_COPY = "As it was entered into the record of the margin assessment; what counts is pathology's own report."


def add_pathology(add: Add, about: About) -> None:
    """Add whatever pathology said of the specimen."""
    numbered = sorted(enumerate(about.specimen.pathology), key=lambda one: (one[1].accession, one[0]))
    for accession, group in groupby(numbered, key=lambda one: one[1].accession):
        names = (about.specimen.specimen_id, accession)
        results = list(group)
        urls = [add(_observation(about, result), "pathology", *names, number) for number, result in results]
        add(_report(about, accession, [result for _, result in results], urls), "pathology", *names)


def _observation(about: About, result: PathologyResult) -> Element:
    return without_nothing(
        {
            "resourceType": "Observation",
            "identifier": _identifier(result.accession),
            "status": "final",
            "category": [_OBSERVED],
            "code": own(terminology.PATHOLOGY),
            "subject": reference(about.patient_url, "Patient"),
            "specimen": reference(about.specimen_url, "Specimen"),
            "bodySite": _margin(about.specimen, result.face),
            "issued": instant(result.reported_at) if result.reported_at else "",
            "performer": [{"display": result.by}] if result.by else [],
            "valueCodeableConcept": own(terminology.OF_PATHOLOGY[result.finding], result.finding),
            "component": list(_components(result)),
            "note": [{"text": result.text}] if result.text else [],
        }
    )


def _components(result: PathologyResult) -> Iterator[Element]:
    if result.distance_mm is not None:
        yield {"code": own(terminology.INK_DISTANCE), "valueQuantity": quantity(result.distance_mm, "mm")}
    if result.entity:
        yield {"code": own(terminology.ENTITY), "valueCodeableConcept": {"text": result.entity}}


def _margin(specimen: SpecimenRecord, face: str) -> Element:
    """Coded is the site that the specimen came from, named is its margin."""
    return site(specimen.kind, specimen.laterality) | {"text": face}


def _report(about: About, accession: str, results: list[PathologyResult], urls: list[str]) -> Element:
    reported = [result.reported_at for result in results if result.reported_at]
    people = dict.fromkeys(result.by for result in results if result.by)
    synthetic = f"{terminology.SYNTHETIC.display}. " if about.specimen.is_synthetic else ""
    return without_nothing(
        {
            "resourceType": "DiagnosticReport",
            "identifier": _identifier(accession),
            "status": "final",
            "category": [_REPORTED],
            "code": own(terminology.PATHOLOGY_REPORT),
            "subject": reference(about.patient_url, "Patient"),
            "issued": instant(max(reported)) if reported else "",
            "performer": [{"display": name} for name in people],
            "specimen": [reference(about.specimen_url, "Specimen")],
            "result": [reference(url, "Observation") for url in urls],
            "conclusion": f"{synthetic}{_COPY}",
        }
    )


def _identifier(accession: str) -> list[Element]:
    return [{"value": accession}] if accession else []
