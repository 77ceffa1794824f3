"""The DiagnosticReport of a specimen with everything it refers to, as one Bundle; and our code system."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from octmargin import terminology
from octmargin.case.record.model import CaseSnapshot, SpecimenPhase, SpecimenRecord
from octmargin.case.telling import faces_of, opinions, specimen_to_tell, told_at
from octmargin.fhir.elements import (
    CPT,
    DICOM_UID,
    Element,
    identity,
    instant,
    own,
    reference,
    without_nothing,
)
from octmargin.fhir.observations import About, opinion, reading, verdict
from octmargin.fhir.pathology import add_pathology
from octmargin.fhir.people import device, patient, practitioner, specimen
from octmargin.report.document import FacePictures, Picture
from octmargin.report.outcome import margin_status, status_by
from octmargin.words import NOTICE

_STATUS = {
    SpecimenPhase.REGISTERED: "registered",
    SpecimenPhase.SCANNED: "partial",
    SpecimenPhase.DISCONTINUED: "partial",
    SpecimenPhase.PRELIMINARY: "preliminary",
    # A final interpretation may still be replaced until it is signed.
    SpecimenPhase.FINAL: "preliminary",
    SpecimenPhase.SIGNED: "final",
    SpecimenPhase.AMENDED: "amended",
}
_IMAGING = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
            "code": "IMG",
            "display": "Diagnostic Imaging",
        }
    ]
}

_IMAGE = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/media-type", "code": "image", "display": "Image"}
    ]
}


@dataclass(slots=True)
class _Entries:
    """Resources by their URL, in the order in which they were added."""

    case: CaseSnapshot
    resources: dict[str, Element] = field(default_factory=dict)

    def add(self, resource: Element, *names: object) -> str:
        """Take a resource; gives its URL."""
        url = identity(self.case, resource["resourceType"], *names)
        self.resources[url] = resource
        return url


def bundle_of(
    case: CaseSnapshot,
    specimen_id: str,
    *,
    pictures: Mapping[str, FacePictures] | None = None,
    pdf: bytes | None = None,
) -> Element:
    """The report of a specimen as a Bundle in FHIR's JSON, not checked yet; `pictures` by face become Media.

    InputError where nothing may be said of it: no patient, a contradiction, withdrawn, or not there.
    """
    found = specimen_to_tell(case, specimen_id)
    assert case.patient is not None  # noqa: S101 - `specimen_to_tell` checks it
    entries = _Entries(case)
    patient_url = entries.add(patient(case.patient))
    specimen_url = entries.add(specimen(found, patient_url), specimen_id)
    said = found.interpretation
    interpreter_url = entries.add(practitioner(said.by), said.by.name, said.by.role) if said else ""
    newest = found.sweeps[-1].versions if found.sweeps else None
    about = About(
        specimen=found,
        patient_url=patient_url,
        specimen_url=specimen_url,
        device_url=entries.add(device(newest), specimen_id) if newest else "",
        interpreter_url=interpreter_url,
        is_final=found.signature is not None,
    )
    results = [url for face in faces_of(found) for url in _observe(entries, about, face)]
    media = [
        {"comment": picture.alt, "link": reference(url, "Media")}
        for picture, url in _media(entries, about, pictures or {})
    ]
    add_pathology(entries.add, about)
    report = _report(case, about, results, media, pdf)
    url = identity(case, "DiagnosticReport", specimen_id)
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": instant(told_at(found)),
        "entry": [
            {"fullUrl": one, "resource": resource}
            for one, resource in ({url: report} | entries.resources).items()
        ],
    }


def _observe(entries: _Entries, about: About, face: str) -> list[str]:
    """Observations of a face; gives their URLs."""
    found, sweep = about.specimen, about.specimen.newest_sweep(face)
    names = (found.specimen_id, face)
    verdict_url = entries.add(verdict(about, face, sweep), "verdict", *names)
    urls = [verdict_url]
    if sweep is not None:
        urls += [
            entries.add(opinion(about, decision, verdict_url), "opinion", *names, decision.role, decision.by)
            for decision in opinions(found, sweep)
        ]
    if found.interpretation is not None:
        urls += [
            entries.add(reading(about, one, found.interpretation, verdict_url), "reading", *names)
            for one in found.interpretation.faces
            if one.face == face
        ]
    return urls


def _media(
    entries: _Entries, about: About, pictures: Mapping[str, FacePictures]
) -> list[tuple[Picture, str]]:
    there = [
        (face, picture)
        for face, of_face in pictures.items()
        for picture in (of_face.map, of_face.enface, *of_face.key_views.values())
        if picture is not None
    ]
    return [(picture, entries.add(_medium(about, face, picture), picture.name)) for face, picture in there]


def _medium(about: About, face: str, picture: Picture) -> Element:
    sweep = about.specimen.newest_sweep(face)
    return without_nothing(
        {
            "resourceType": "Media",
            "status": "completed",
            "type": _IMAGE,
            "subject": reference(about.patient_url, "Patient"),
            "createdDateTime": instant(sweep.started_at) if sweep else "",
            "bodySite": {"text": f"{face} of the {about.specimen.laterality} {about.specimen.kind}"},
            "device": reference(about.device_url, "Device") if about.device_url else None,
            "width": picture.width_px,
            "height": picture.height_px,
            "content": {
                "contentType": f"image/{picture.kind}",
                "data": base64.b64encode(picture.data).decode("ascii"),
                "title": picture.alt,
            },
            "note": [{"text": terminology.SYNTHETIC.display if sweep and sweep.synthetic else NOTICE}],
        }
    )


def _report(
    case: CaseSnapshot, about: About, results: list[str], media: list[Element], pdf: bytes | None
) -> Element:
    found, said, order = about.specimen, about.specimen.interpretation, case.order
    code = own(terminology.REPORT)
    # The descriptor of the code is its owner's, so there is none.
    code["coding"].append({"system": CPT, "code": "0352T"})
    starts = [sweep.started_at for sweep in found.sweeps]
    ends = [sweep.ended_at or sweep.started_at for sweep in found.sweeps]
    interpreter = [reference(about.interpreter_url, "Practitioner", said.by.name)] if said else []
    accession = (
        {"value": order.accession, "type": {"text": "accession number"}} if order and order.accession else {}
    )
    return without_nothing(
        {
            "resourceType": "DiagnosticReport",
            "identifier": [{"value": f"{case.case_id}/{found.specimen_id}"}],
            "basedOn": [{"type": "ServiceRequest", "identifier": accession}] if accession else [],
            "status": _status(found),
            "category": [_IMAGING],
            "code": code,
            "subject": reference(about.patient_url, "Patient"),
            "effectivePeriod": {"start": instant(min(starts)), "end": instant(max(ends))} if starts else {},
            "issued": instant(told_at(found)),
            "resultsInterpreter": interpreter,
            "specimen": [reference(about.specimen_url, "Specimen")],
            "result": [reference(url, "Observation") for url in results],
            "imagingStudy": [_study(order.study_uid)] if order and order.study_uid else [],
            "media": media,
            "conclusion": _conclusion(case, found),
            "presentedForm": [_form(pdf, found)] if pdf is not None else [],
        }
    )


def _status(found: SpecimenRecord) -> str:
    if any(addendum.corrects for addendum in found.addenda):
        return "corrected"
    return _STATUS[SpecimenPhase(found.phase)]


def _study(uid: str) -> Element:
    return {"type": "ImagingStudy", "identifier": {"system": DICOM_UID, "value": f"urn:oid:{uid}"}}


def _conclusion(case: CaseSnapshot, found: SpecimenRecord) -> str:
    """What a person reads first: what must be said, the margins, then the interpretation and what was added."""
    said = found.interpretation
    parts = [f"{terminology.SYNTHETIC.display}."] if found.is_synthetic else []
    parts.append(NOTICE)
    if case.indication:
        parts.append(f"Indication: {case.indication}.")
    if found.discontinued is not None:
        parts.append(f"The acquisition was discontinued: {found.discontinued.why}.")
    parts.append(f"Margin status, {status_by(found)}:")
    parts += [f"{one.label}: {one.value}." for one in margin_status(found)]
    if said is not None:
        parts.append(f"Interpretation ({said.mode}, {said.by.role}): {said.text or 'see the faces'}")
    else:
        parts.append("Nobody has interpreted it yet.")
    if said is not None and found.signature is None:
        parts.append("Not signed.")
    for addendum in found.addenda:
        what = "Correction" if addendum.corrects else "Addendum"
        parts.append(f"{what} {addendum.number} by {addendum.by.name}: {addendum.text}")
    return "\n".join(parts)


def _form(pdf: bytes, found: SpecimenRecord) -> Element:
    return {
        "contentType": "application/pdf",
        "data": base64.b64encode(pdf).decode("ascii"),
        "title": f"{'SYNTHETIC ' if found.is_synthetic else ''}OCT margin report of {found.specimen_id}",
        "creation": instant(told_at(found)),
    }


def code_system() -> Element:
    """Our code system as a resource, for servers that want to know what its codes mean."""
    return {
        "resourceType": "CodeSystem",
        "url": terminology.URL,
        "version": terminology.VERSION,
        "name": "OctmarginFindings",
        "title": terminology.NAME,
        "status": "active",
        "experimental": True,
        "description": f"What optical coherence tomography of a surgical margin finds. {NOTICE}",
        "caseSensitive": True,
        "content": "complete",
        "count": len(terminology.TERMS),
        "concept": [
            {"code": term.code, "display": term.display, "definition": term.definition}
            for term in terminology.TERMS.values()
        ],
    }
