"""Who and what a report is about: patient, interpreter, device and specimen."""

from __future__ import annotations

from datetime import datetime

from octmargin import __version__
from octmargin.case.record.model import Interpreter, PatientIdentity, SpecimenRecord, Versions
from octmargin.fhir.elements import NUCC, SNOMED, Element, coded, instant, reference, site, without_nothing
from octmargin.report.coding import check_taxonomy, load_tables

_GENDERS = {"F": "female", "M": "male", "O": "other", "U": "unknown"}
_SPECIMEN_TYPES = {
    "lumpectomy": ("309546004", "Lumpectomy breast sample"),
    "shave": ("397199005", "Specimen from breast obtained by excision"),
}


def patient(identity: PatientIdentity) -> Element:
    """The patient; the issuer of the number is named, since its system is the hospital's to know."""
    number: Element = {"value": identity.patient_id}
    if identity.issuer:
        number["assigner"] = {"display": identity.issuer}
    said = identity.name
    name = without_nothing(
        {
            "family": said.family,
            "given": [part for part in (said.given, said.middle) if part],
            "prefix": [said.prefix] if said.prefix else [],
            "suffix": [said.suffix] if said.suffix else [],
        }
    )
    return without_nothing(
        {
            "resourceType": "Patient",
            "identifier": [number],
            "name": [name] if name else [],
            "gender": _GENDERS[identity.sex],
            "birthDate": identity.birth_date.isoformat() if identity.birth_date else "",
        }
    )


def practitioner(interpreter: Interpreter) -> Element:
    """Who interprets; a taxonomy code of which there is a warning is left out: it would say another profession."""
    checked = check_taxonomy(interpreter.taxonomy, interpreter.role, load_tables())
    is_sound = bool(checked.code) and not checked.warning
    code = coded(NUCC, checked.code, text=interpreter.role) if is_sound else {"text": interpreter.role}
    return without_nothing(
        {
            "resourceType": "Practitioner",
            "name": [{"text": interpreter.name}],
            "qualification": [{"code": code}],
        }
    )


def device(versions: Versions) -> Element:
    """The console, with the software and model that judged."""
    told = {
        "octmargin": versions.software or __version__,
        "console firmware": versions.console_firmware,
        f"model {versions.model}".strip(): " ".join(
            part for part in (versions.model_version, versions.model_hash) if part
        ),
        "calibration": versions.calibration_hash or versions.calibration,
        "configuration": versions.configuration_hash,
    }
    name = " ".join(part for part in (versions.console_maker, versions.console_model) if part)
    return without_nothing(
        {
            "resourceType": "Device",
            "manufacturer": versions.console_maker,
            "modelNumber": versions.console_model,
            "serialNumber": versions.console_serial,
            "deviceName": [{"name": name or "OCT console", "type": "model-name"}],
            "type": {"text": "optical coherence tomography console with octmargin"},
            "version": [{"type": {"text": what}, "value": value} for what, value in told.items() if value],
        }
    )


def specimen(record: SpecimenRecord, patient_url: str) -> Element:
    """The specimen: where it came from, when it was taken and fixed, how it lay."""
    kind = _SPECIMEN_TYPES.get(record.kind)
    notes = [f"Orientation: {record.orientation}" if record.orientation else "Orientation: not recorded"]
    if record.label:
        notes.append(f"Label: {record.label}")
    return without_nothing(
        {
            "resourceType": "Specimen",
            "identifier": [{"value": record.specimen_id}],
            "type": coded(SNOMED, *kind, text=record.kind) if kind else {"text": f"axillary {record.kind}"},
            "subject": reference(patient_url, "Patient"),
            "receivedTime": instant(record.registered_at),
            "collection": without_nothing(
                {
                    "collectedDateTime": _at(record.excised_at),
                    "bodySite": site(record.kind, record.laterality),
                }
            ),
            "processing": [{"description": "put into formalin", "timeDateTime": instant(record.formalin_at)}]
            if record.formalin_at
            else [],
            "container": [{"identifier": [{"value": record.container}]}] if record.container else [],
            "note": [{"text": note} for note in notes],
        }
    )


def _at(moment: datetime | None) -> str:
    return instant(moment) if moment else ""
