"""Pathology's results from FHIR R4: Observations on margins, alone or in a Bundle. Needs the extra `fhir`.

docs/case.md says which fields are read. What is no result on a margin is counted, never taken for one; what is of
another patient is refused with its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.specimen import Specimen
from pydantic import ValidationError

from octmargin import terminology
from octmargin.case.pathology_file import ResultOf
from octmargin.case.record.model import PathologyFinding, PathologyResult, PatientIdentity
from octmargin.errors import InputError

_DONE: Final = ("final", "amended", "corrected")
_MM: Final = {"mm": 1.0, "cm": 10.0}
_DISTANCE: Final = frozenset(
    {
        terminology.INK_DISTANCE.code, terminology.INK_DISTANCE.display, "ink distance", "distance to ink",
        "distance from ink", "margin distance", "distance to margin", "distance from margin",
    }
)  # fmt: skip
"""What a component is called, or its code, that says how far the tumour is from the ink; no other length is one."""
_ENTITY: Final = frozenset({"entity", "histologic type", "histological type", "tumour type", "tumor type"})


@dataclass(frozen=True, slots=True)
class FoundInFhir:
    """Results on margins, and what else was left out and why, in words."""

    results: list[ResultOf]
    left_out: list[str]


def read_fhir(path: Path, case_id: str, patient: PatientIdentity) -> FoundInFhir:
    """Every result in the file, as of `case_id`, whose patient is `patient`.

    InputError where it is no valid FHIR R4, or has a result of another patient.
    """
    try:
        content = msgspec.json.decode(path.read_bytes())
        kind = content.get("resourceType") if isinstance(content, dict) else None
        if kind == "Bundle":
            bundle = Bundle.model_validate(content)
        elif kind == "Observation":
            bundle = Bundle.model_validate(
                {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": content}]}
            )
        else:
            raise InputError(f"{path}: is no Bundle and no Observation of FHIR R4; export one of these")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its path") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: is no valid FHIR R4 ({where}: {first['msg']}); export it anew") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({error}); export it anew") from error
    return _found(path, bundle, case_id, patient)


def _found(path: Path, bundle: Bundle, case_id: str, patient: PatientIdentity) -> FoundInFhir:
    entries = [entry for entry in bundle.entry or () if entry.resource is not None]
    specimens = {url: numbers[0] for url, numbers in _numbered(entries, Specimen) if numbers}
    patients = dict(_numbered(entries, Patient))
    found = FoundInFhir([], [])
    for number, entry in enumerate(entries):
        observation = entry.resource
        if not isinstance(observation, Observation):
            continue
        name = observation.id or f"entry {number}"
        try:
            specimen_id, result = _result(observation, specimens, path.name)
            whose = _patient_of(observation.subject, patients)
        except ValueError as error:
            found.left_out.append(f"{name}: {error}")
            continue
        if patient.patient_id not in whose:
            raise InputError(
                f"{path}: {name} is of patient {', '.join(whose)}, and case {case_id} is of {patient.patient_id}; "
                "nothing of the file was entered: name its own case"
            )
        found.results.append(ResultOf(case_id, specimen_id, result))
        found.left_out.extend(f"{name}: its {what}, which is not read" for what in _unread(observation))
    return found


def _numbered(entries: list[Any], kind: type[Any]) -> Iterator[tuple[str, list[str]]]:
    """Identifiers of the resources of a kind, by the references that lead to them."""
    for entry in entries:
        if isinstance(entry.resource, kind):
            numbers = [str(one.value) for one in entry.resource.identifier or () if one.value]
            if entry.resource.id:
                yield f"{kind.__name__}/{entry.resource.id}", numbers
            if entry.fullUrl:
                yield str(entry.fullUrl), numbers


def _patient_of(subject: Any, patients: dict[str, list[str]]) -> list[str]:
    """The patient's numbers; ValueError where none is said: without one nobody knows whose result it is."""
    numbers = list(patients.get(str(subject.reference), ())) if subject is not None else []
    if subject is not None and subject.identifier is not None and subject.identifier.value:
        numbers.append(str(subject.identifier.value))
    if not numbers:
        raise ValueError("it does not say by number of which patient it is")
    return numbers


def _result(observation: Any, specimens: dict[str, str], source: str) -> tuple[str, PathologyResult]:
    """ValueError says why it is no result on a margin."""
    if _is_of_oct(observation):
        raise ValueError("it says what OCT found, not pathology")
    if observation.status not in _DONE:
        raise ValueError(f"its status is {observation.status}")
    findings = [
        word for word in _words(observation.valueCodeableConcept) if word in get_args(PathologyFinding)
    ]
    if not findings:
        raise ValueError(f"its value is none of {', '.join(get_args(PathologyFinding))}")
    faces = list(_texts(observation.bodySite))
    if not faces:
        raise ValueError("it names no bodySite")
    specimen_id = _specimen_of(observation.specimen, specimens)
    if not specimen_id:
        raise ValueError("it names no specimen")
    components = list(observation.component or ())
    at = observation.issued or observation.effectiveDateTime
    return specimen_id, PathologyResult(
        face=faces[0],
        finding=findings[0],  # type: ignore[arg-type] # it is one of them
        distance_mm=_distance_mm(components),
        entity=next(
            (text for one in components if _is(one, _ENTITY) for text in _texts(one.valueCodeableConcept)), ""
        ),
        text=" ".join(str(note.text) for note in observation.note or ()),
        accession=next((str(one.value) for one in observation.identifier or () if one.value), ""),
        reported_at=at if getattr(at, "tzinfo", None) is not None else None,
        by=next((str(one.display) for one in observation.performer or () if one.display), ""),
        source=source,
    )


def _is_of_oct(observation: Any) -> bool:
    """Of what `octmargin fhir export` writes, pathology's results alone are read."""
    ours = [one.code for one in observation.code.coding or () if str(one.system) == terminology.URL]
    return bool(ours) and terminology.PATHOLOGY.code not in ours


def _is(component: Any, names: frozenset[str]) -> bool:
    return any(" ".join(text.lower().split()) in names for text in _texts(component.code))


def _unread(observation: Any) -> Iterator[str]:
    """What else its components say, by name."""
    for component in observation.component or ():
        if not _is(component, _DISTANCE | _ENTITY):
            yield next(_texts(component.code), "component without a name")


def _distance_mm(components: list[Any]) -> float | None:
    """None where it is not said; ValueError where it is no length, or said differently twice."""
    told = set()
    for component in components:
        if not _is(component, _DISTANCE):
            continue
        quantity = component.valueQuantity
        if quantity is None:
            raise ValueError("its distance is no quantity")
        unit = str(quantity.code or quantity.unit)
        if quantity.value is None or unit not in _MM or quantity.comparator is not None:
            raise ValueError(f"its distance is {quantity.comparator or ''}{quantity.value} {unit}")
        told.add(float(quantity.value) * _MM[unit])
    if len(told) > 1:
        raise ValueError(f"its distance is said {len(told)} times, differently")
    return told.pop() if told else None


def _specimen_of(reference: Any, specimens: dict[str, str]) -> str:
    if reference is None:
        return ""
    if reference.identifier is not None and reference.identifier.value:
        return str(reference.identifier.value)
    return specimens.get(str(reference.reference), "")


def _texts(concept: Any) -> Iterator[str]:
    """What a concept is called, its own text first."""
    if concept is None:
        return
    if concept.text:
        yield str(concept.text)
    for coding in concept.coding or ():
        yield from (str(name) for name in (coding.display, coding.code) if name)


def _words(concept: Any) -> Iterator[str]:
    return (text.strip().lower().replace(" ", "_").replace("-", "_") for text in _texts(concept))
