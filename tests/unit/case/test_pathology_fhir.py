"""Pathology's results from FHIR R4: what is a result on a margin is read, everything else is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from octmargin.case.pathology_fhir import FoundInFhir, read_fhir
from octmargin.case.record.model import PathologyResult, PatientIdentity, PersonName
from octmargin.errors import InputError

IDENTITY = PatientIdentity(name=PersonName(family="Test"), patient_id="0001")
INK = {"text": "distance to ink"}


def length(code: dict[str, Any], value_mm: float) -> dict[str, Any]:
    return {"code": code, "valueQuantity": {"value": value_mm, "unit": "mm"}}


def observation(**changes: Any) -> dict[str, Any]:
    said = {
        "resourceType": "Observation",
        "id": "margin-1",
        "status": "final",
        "code": {"text": "surgical margin"},
        "identifier": [{"value": "P-31-17"}],
        "subject": {"reference": "Patient/her"},
        "specimen": {"reference": "Specimen/one"},
        "bodySite": {"text": "medial"},
        "valueCodeableConcept": {"coding": [{"system": "urn:site", "code": "positive"}]},
        "issued": "2031-05-09T08:00:00Z",
        "performer": [{"display": "Dr. Path"}],
        "note": [{"text": "Focal."}],
        "component": [
            {"code": {"text": "Distance to ink"}, "valueQuantity": {"value": 0.12, "unit": "cm"}},
            {"code": {"text": "entity"}, "valueCodeableConcept": {"text": "DCIS"}},
        ],
    }
    return {key: value for key, value in (said | changes).items() if value is not None}


PATIENT = {"resourceType": "Patient", "id": "her", "identifier": [{"value": "77"}, {"value": "0001"}]}
SPECIMEN = {"resourceType": "Specimen", "id": "one", "identifier": [{"value": "s-1"}]}


def read(folder: Path, *resources: dict[str, Any]) -> FoundInFhir:
    file = folder / "pathology.json"
    entries = [{"resource": resource} for resource in (PATIENT, *resources)]
    file.write_text(
        json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}), encoding="utf-8"
    )
    return read_fhir(file, "case-7", IDENTITY)


def test_an_observation_on_a_margin_is_a_result(tmp_path: Path) -> None:
    found = read(tmp_path, SPECIMEN, observation())
    ((case_id, specimen_id, result),) = [(one.case_id, one.specimen_id, one.result) for one in found.results]
    assert (case_id, specimen_id, found.left_out) == ("case-7", "s-1", [])
    assert result == PathologyResult(
        face="medial",
        finding="positive",
        distance_mm=pytest.approx(1.2),
        entity="DCIS",
        text="Focal.",
        accession="P-31-17",
        reported_at=datetime(2031, 5, 9, 8, tzinfo=UTC),
        by="Dr. Path",
        source="pathology.json",
    )


def test_one_alone_may_name_its_specimen_by_identifier(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    alone = observation(specimen={"identifier": {"value": "s-2"}}, subject={"identifier": {"value": "0001"}})
    file.write_text(json.dumps(alone), encoding="utf-8")
    (result,) = read_fhir(file, "case-7", IDENTITY).results
    assert result.specimen_id == "s-2"


def test_a_specimen_is_found_by_the_url_of_its_entry(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    entries = [
        {"resource": PATIENT},
        {"fullUrl": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a", "resource": SPECIMEN},
        {"resource": observation(specimen={"reference": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"})},
    ]
    file.write_text(
        json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}), encoding="utf-8"
    )
    assert [one.specimen_id for one in read_fhir(file, "case-7", IDENTITY).results] == ["s-1"]


def test_the_size_of_a_tumour_is_no_distance_and_its_grade_no_entity_and_both_are_told(
    tmp_path: Path,
) -> None:
    grade = {"code": {"text": "grade"}, "valueCodeableConcept": {"text": "G2"}}
    found = read(
        tmp_path,
        SPECIMEN,
        observation(component=[length({"text": "tumour size"}, 15), grade, length(INK, 0.5)]),
    )
    ((distance_mm, entity),) = [(one.result.distance_mm, one.result.entity) for one in found.results]
    assert (distance_mm, entity) == (0.5, "")
    assert found.left_out == [
        "margin-1: its tumour size, which is not read",
        "margin-1: its grade, which is not read",
    ]


def test_a_result_of_another_patient_refuses_the_whole_file(tmp_path: Path) -> None:
    hers = observation(subject={"identifier": {"value": "0002"}}, id="other")
    with pytest.raises(InputError, match=r"other is of patient 0002, and case case-7 is of 0001; nothing"):
        read(tmp_path, SPECIMEN, observation(), hers)


@pytest.mark.parametrize("text", ["not assessed", "Not-Assessed", "not_assessed"])
def test_a_finding_is_told_in_words_too(tmp_path: Path, text: str) -> None:
    (one,) = read(tmp_path, SPECIMEN, observation(valueCodeableConcept={"text": text})).results
    assert one.result.finding == "not_assessed"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "preliminary"}, "margin-1: its status is preliminary"),
        ({"status": "entered-in-error"}, "margin-1: its status is entered-in-error"),
        ({"valueCodeableConcept": {"text": "ER 90 %"}}, "its value is none of positive, close"),
        ({"valueCodeableConcept": None}, "its value is none of"),
        ({"bodySite": None}, "it names no bodySite"),
        ({"specimen": None}, "it names no specimen"),
        ({"specimen": {"reference": "Specimen/unknown"}}, "it names no specimen"),
        (
            {"component": [{"code": INK, "valueQuantity": {"value": 1, "unit": "in"}}]},
            "its distance is 1 in",
        ),
        (
            {"component": [{"code": INK, "valueQuantity": {"value": 1, "unit": "mm", "comparator": "<"}}]},
            "its distance is <1 mm",
        ),
        ({"component": [length(INK, 1), length(INK, 2)]}, "its distance is said 2 times, differently"),
        ({"subject": None}, "it does not say by number of which patient it is"),
        ({"subject": {"reference": "Patient/elsewhere"}}, "it does not say by number of which patient it is"),
    ],
)
def test_what_is_no_result_on_a_margin_is_left_out_and_told(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    found = read(tmp_path, SPECIMEN, observation(**changes))
    assert found.results == []
    (text,) = found.left_out
    assert why in text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is no JSON"),
        ("[]", "is no Bundle and no Observation"),
        ('{"resourceType": "Patient"}', "is no Bundle and no Observation"),
        ('{"resourceType": "Observation", "status": "final"}', "is no valid FHIR R4"),
        ('{"resourceType": "Bundle", "type": 7}', "is no valid FHIR R4"),
    ],
)
def test_what_is_no_fhir_is_refused_in_a_line(tmp_path: Path, content: str, why: str) -> None:
    file = tmp_path / "pathology.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=why) as refused:
        read_fhir(file, "case-7", IDENTITY)
    assert "\n" not in str(refused.value)
