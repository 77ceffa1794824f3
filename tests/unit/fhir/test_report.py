"""A specimen's report as FHIR R4: valid, about the right patient, and saying what the record says."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.codesystem import CodeSystem
from tests.example_case import ADDENDUM, PATIENT, START, case, specimen, sweep
from typer.testing import CliRunner

from octmargin import terminology
from octmargin.case.record import events
from octmargin.case.record.model import Conflict, PersonName, SpecimenRecord
from octmargin.case.record.store import CaseStore
from octmargin.cli import app
from octmargin.errors import InputError
from octmargin.fhir.checking import checked_json
from octmargin.fhir.report import bundle_of, code_system
from octmargin.report.outcome import margin_status, status_by
from octmargin.report.pictures import draw_pictures

PDF = b"%PDF-1.7 the report"
R4 = {
    "Bundle": "type timestamp entry",
    "DiagnosticReport": (
        "identifier basedOn status category code subject encounter effectiveDateTime effectivePeriod issued performer "
        "resultsInterpreter specimen result imagingStudy media conclusion conclusionCode presentedForm"
    ),
    "Observation": (
        "identifier basedOn partOf status category code subject focus encounter effectiveDateTime effectivePeriod "
        "issued performer valueQuantity valueCodeableConcept valueString dataAbsentReason interpretation note bodySite "
        "method specimen device referenceRange hasMember derivedFrom component"
    ),
    "Specimen": (
        "identifier accessionIdentifier status type subject receivedTime parent request collection processing "
        "container condition note"
    ),
    "Media": (
        "identifier basedOn partOf status type modality view subject encounter createdDateTime createdPeriod issued "
        "operator reasonCode bodySite deviceName device height width frames duration content note"
    ),
    "Patient": "identifier active name telecom gender birthDate address contact",
    "Practitioner": "identifier active name telecom address gender birthDate photo qualification communication",
    "Device": (
        "identifier definition udiCarrier status statusReason distinctIdentifier manufacturer manufactureDate "
        "expirationDate lotNumber serialNumber deviceName modelNumber partNumber type specialization version property"
    ),
    "CodeSystem": (
        "url identifier version name title status experimental date publisher contact description caseSensitive "
        "valueSet hierarchyMeaning compositional versionNeeded content supplements count filter property concept"
    ),
}
"""Elements of the resources that are used, from the pages of FHIR R4 (4.0.1), https://hl7.org/fhir/R4."""


def report_of(**changes: Any) -> dict[str, Any]:
    return json.loads(checked_json(bundle_of(case(specimen(**changes)), "lump-1")))


def of(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    return [one for one in resources if one["resourceType"] == kind]


def the_report(bundle: dict[str, Any]) -> dict[str, Any]:
    (report,) = of(bundle, "DiagnosticReport")
    return report


def code_of(concept: dict[str, Any]) -> str:
    return str(concept["coding"][0]["code"])


def observations(bundle: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Observations with that code, by face."""
    return {
        one["component"][0]["valueCodeableConcept"]["text"]: one
        for one in of(bundle, "Observation")
        if code_of(one["code"]) == kind
    }


def everything(value: Any) -> Iterator[Any]:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything(inner)


@pytest.fixture(scope="module")
def bundle() -> dict[str, Any]:
    return report_of()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"phase": "amended", "addenda": (ADDENDUM,)},
        {"phase": "registered", "sweeps": (), "interpretation": None, "signature": None, "decisions": ()},
        {"kind": "node", "faces": ("node",), "sweeps": (), "interpretation": None, "signature": None},
        {"kind": "shave", "laterality": "unknown", "orientation": "", "label": "", "container": ""},
        {"sweeps": (sweep("medial", 1, None, synthetic=False, provisional=True, ended_at=None),)},
    ],
)
def test_it_is_valid_by_the_librarys_models_whatever_the_specimen(changes: dict[str, Any]) -> None:
    content = checked_json(bundle_of(case(specimen(**changes)), "lump-1", pdf=PDF))
    assert Bundle.model_validate_json(content).entry


def test_it_uses_only_elements_that_r4_has(bundle: dict[str, Any]) -> None:
    specimen_record = specimen()
    drawn = draw_pictures(specimen_record, key_views=3, from_recordings=False)
    whole = json.loads(checked_json(bundle_of(case(), "lump-1", pictures=drawn, pdf=PDF)))
    for resource in [whole, *(entry["resource"] for entry in whole["entry"]), code_system()]:
        kind = resource["resourceType"]
        assert set(resource) - {"resourceType"} <= set(R4[kind].split()), kind
    assert {entry["resource"]["resourceType"] for entry in whole["entry"]} == set(R4) - {
        "Bundle",
        "CodeSystem",
    }


def test_every_reference_is_to_a_resource_of_the_bundle_of_the_kind_that_it_says(
    bundle: dict[str, Any],
) -> None:
    kinds = {entry["fullUrl"]: entry["resource"]["resourceType"] for entry in bundle["entry"]}
    references = [one for one in everything(bundle) if isinstance(one, dict) and "reference" in one]
    assert len(kinds) == len(bundle["entry"])
    assert len(references) > 20
    assert all(kinds[one["reference"]] == one["type"] for one in references)


def test_every_component_of_a_name_is_told() -> None:
    whole = PersonName(family="Doe", given="Jane", middle="Mary", prefix="Dr", suffix="PhD")
    hers = msgspec.structs.replace(PATIENT, name=whole)
    (patient,) = of(json.loads(checked_json(bundle_of(case(patient=hers), "lump-1"))), "Patient")
    assert patient["name"] == [
        {"family": "Doe", "given": ["Jane", "Mary"], "prefix": ["Dr"], "suffix": ["PhD"]}
    ]


def test_it_is_about_the_patient_and_the_order(bundle: dict[str, Any]) -> None:
    (patient,) = of(bundle, "Patient")
    assert patient["name"] == [{"family": "Quillfeather", "given": ["Zenobia"]}]
    assert patient["identifier"] == [{"value": "MRN-77310452", "assigner": {"display": "NORTHGEN"}}]
    assert (patient["gender"], patient["birthDate"]) == ("female", "1961-02-28")
    report = the_report(bundle)
    assert report["basedOn"][0]["identifier"]["value"] == "ACC-5512093"
    study = report["imagingStudy"][0]["identifier"]
    assert (study["system"], study["value"]) == (
        "urn:dicom:uid",
        "urn:oid:1.2.826.0.1.3680043.9.7133.551.2093",
    )


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"phase": "registered", "sweeps": (), "interpretation": None, "signature": None}, "registered"),
        ({"phase": "scanned", "interpretation": None, "signature": None}, "partial"),
        ({"phase": "discontinued", "interpretation": None, "signature": None}, "partial"),
        ({"phase": "preliminary", "signature": None}, "preliminary"),
        ({"phase": "final", "signature": None}, "preliminary"),
        ({"phase": "signed"}, "final"),
        ({"phase": "amended", "addenda": (ADDENDUM,)}, "amended"),
        (
            {
                "phase": "amended",
                "addenda": (ADDENDUM, msgspec.structs.replace(ADDENDUM, number=2, corrects=True)),
            },
            "corrected",
        ),
    ],
)
def test_the_status_is_final_when_it_is_signed_and_not_before(changes: dict[str, Any], status: str) -> None:
    assert the_report(report_of(**changes))["status"] == status


def test_the_conclusion_says_the_margin_status_as_the_report_does() -> None:
    found = specimen()
    conclusion = the_report(report_of())["conclusion"].splitlines()
    first = conclusion.index(f"Margin status, {status_by(found)}:") + 1
    told = [f"{one.label}: {one.value}." for one in margin_status(found)]
    assert conclusion[first : first + len(told)] == told
    assert any(line.startswith("Suspicious: ") for line in told)


def test_an_addendum_is_in_the_conclusion_after_what_was_signed() -> None:
    conclusion = the_report(report_of(phase="amended", addenda=(ADDENDUM,)))["conclusion"]
    signed, _, added = conclusion.partition("Addendum 1 by Amara Okafor: ")
    assert "Superior margin suspicious, re-excised." in signed
    assert added == "Shave margin clear on frozen section."


def test_each_planned_face_has_the_algorithms_verdict_also_one_that_was_not_scanned(
    bundle: dict[str, Any],
) -> None:
    verdicts = observations(bundle, "verdict")
    assert list(verdicts) == ["superior", "medial", "lateral"]
    assert code_of(verdicts["superior"]["valueCodeableConcept"]) == "suspicious"
    assert code_of(verdicts["medial"]["valueCodeableConcept"]) == "nothing-suspicious"
    assert "valueCodeableConcept" not in verdicts["lateral"]
    assert code_of(verdicts["lateral"]["dataAbsentReason"]) == "not-performed"


def test_a_verdict_carries_coverage_and_depth_and_says_whether_data_is_synthetic(
    bundle: dict[str, Any],
) -> None:
    verdict = observations(bundle, "verdict")["superior"]
    components = {code_of(one["code"]): one for one in verdict["component"]}
    numbers = {
        code: (one["valueQuantity"]["value"], one["valueQuantity"]["code"])
        for code, one in components.items()
        if "valueQuantity" in one
    }
    assert numbers == {
        "coverage": (75.0, "%"), "visualised-depth": (0.82, "mm"), "distance": (0.105, "mm"),
        "clusters": (1, "1"), "lost-frames": (1, "1"),
    }  # fmt: skip
    assert code_of(components["data-origin"]["valueCodeableConcept"]) == "synthetic"
    assert verdict["note"][0]["text"].startswith("SYNTHETIC")


def test_reader_and_interpreter_are_observations_of_their_own_derived_from_the_verdict(
    bundle: dict[str, Any],
) -> None:
    urls = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    reading, opinion = (
        observations(bundle, "reading")["superior"],
        observations(bundle, "opinion")["superior"],
    )
    assert code_of(reading["valueCodeableConcept"]) == "suspicious"
    assert code_of(opinion["valueCodeableConcept"]) == "agree"
    assert reading["performer"][0]["display"] == "Amara Okafor"
    for one in (reading, opinion):
        assert urls[one["derivedFrom"][0]["reference"]] == observations(bundle, "verdict")["superior"]
    actions = {code_of(one["code"]): one for one in reading["component"]}
    assert code_of(actions["action"]["valueCodeableConcept"]) == "re-excision"


def test_the_specimen_says_where_it_came_from_when_it_was_taken_and_fixed_and_how_it_lay(
    bundle: dict[str, Any],
) -> None:
    (found,) = of(bundle, "Specimen")
    assert found["collection"]["bodySite"]["coding"][0]["display"] == "Left breast structure"
    assert found["collection"]["collectedDateTime"] == "2031-05-06T12:00:05Z"
    assert found["processing"][0]["timeDateTime"] == "2031-05-06T12:30:00Z"
    assert found["note"][0]["text"] == "Orientation: short suture superior, long suture lateral"
    assert found["container"][0]["identifier"][0]["value"] == "POT-31"


def test_the_device_names_software_model_and_calibration(bundle: dict[str, Any]) -> None:
    (device,) = of(bundle, "Device")
    versions = {one["type"]["text"]: one["value"] for one in device["version"]}
    assert versions["model margin-1"] == "1 sha256:0a1b"
    assert versions["calibration"] == "sha256:2c3d"
    assert (device["manufacturer"], device["serialNumber"]) == ("Octmargin", "SN-660187")


def test_pictures_and_the_pdf_are_in_it_to_the_byte() -> None:
    drawn = draw_pictures(specimen(), key_views=3, from_recordings=False)
    made = json.loads(checked_json(bundle_of(case(), "lump-1", pictures=drawn, pdf=PDF)))
    media = of(made, "Media")
    assert drawn["superior"].map is not None
    assert base64.b64decode(media[0]["content"]["data"]) == drawn["superior"].map.data
    assert media[0]["note"][0]["text"].startswith("SYNTHETIC")
    report = the_report(made)
    assert len(report["media"]) == len(media) == 2
    assert base64.b64decode(report["presentedForm"][0]["data"]) == PDF
    assert report["presentedForm"][0]["title"].startswith("SYNTHETIC")


def test_every_code_of_ours_is_in_our_code_system_and_loinc_is_nowhere(bundle: dict[str, Any]) -> None:
    codings = [
        one for one in everything(bundle) if isinstance(one, dict) and "system" in one and "code" in one
    ]
    ours = {one["code"] for one in codings if one["system"] == terminology.URL}
    known = {concept["code"] for concept in code_system()["concept"]}
    assert ours
    assert ours <= known
    assert not any("loinc" in one["system"] for one in codings)
    assert "44669-0" not in json.dumps(bundle)


def test_the_code_of_the_procedure_has_no_descriptor_of_its_owner(bundle: dict[str, Any]) -> None:
    (cpt,) = [one for one in the_report(bundle)["code"]["coding"] if "ama-assn" in one["system"]]
    assert cpt == {"system": "http://www.ama-assn.org/go/cpt", "code": "0352T"}


def test_every_observation_of_synthetic_spectra_says_so(bundle: dict[str, Any]) -> None:
    found = of(bundle, "Observation")
    assert {code_of(one["code"]) for one in found} == {"verdict", "reading", "opinion"}
    for one in found:
        assert {"text": terminology.SYNTHETIC.display} in one["note"]


@pytest.mark.parametrize(
    ("taxonomy", "codes"),
    [("2086X0206X", ["2086X0206X"]), ("2084P0800X", []), ("208X00000X", []), ("", [])],
)
def test_a_taxonomy_code_of_another_profession_is_left_out(taxonomy: str, codes: list[str]) -> None:
    said = specimen().interpretation
    assert said is not None
    by = msgspec.structs.replace(said.by, taxonomy=taxonomy)
    changed = report_of(interpretation=msgspec.structs.replace(said, by=by))
    (person,) = of(changed, "Practitioner")
    (qualification,) = person["qualification"]
    assert [one["code"] for one in qualification["code"].get("coding", ())] == codes
    assert qualification["code"]["text"] == "operating surgeon"


def test_measured_data_is_nowhere_called_synthetic() -> None:
    measured = report_of(sweeps=(sweep("superior", 1, None, synthetic=False),), decisions=())
    assert "SYNTHETIC" not in json.dumps(measured)


def test_made_again_it_is_the_same(bundle: dict[str, Any]) -> None:
    assert report_of() == bundle


def test_the_code_system_is_valid_and_defines_every_code() -> None:
    system = CodeSystem.model_validate_json(checked_json(code_system()))
    assert system.count == len(system.concept)
    assert all(concept.definition for concept in system.concept)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"patient": None}, "has no patient"),
        (
            {"conflicts": (Conflict(specimen_id="lump-1", what="laterality", text="the order says right"),)},
            "is to be confirmed first",
        ),
    ],
)
def test_nothing_is_told_of_nobody_or_of_a_contradiction(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        bundle_of(case(**changes), "lump-1")


def test_a_contradiction_of_another_specimen_holds_back_nothing_of_this_one(bundle: dict[str, Any]) -> None:
    conflict = Conflict(specimen_id="lump-2", what="laterality", text="the order says right")
    assert json.loads(checked_json(bundle_of(case(conflicts=(conflict,)), "lump-1"))) == bundle


def test_what_would_not_be_valid_is_named_and_not_given_out() -> None:
    broken = bundle_of(case(), "lump-1")
    broken["entry"][0]["resource"]["status"] = 7
    with pytest.raises(InputError, match=r"Bundle: .*status is not valid FHIR"):
        checked_json(broken)


def recorded(folder: Path) -> Path:
    path = folder / "record.db"
    CaseStore.create(path)
    example: SpecimenRecord = specimen()
    assert example.interpretation is not None
    with CaseStore.open(path, writable=True) as store:
        store.append(
            "case-31",
            events.Opened(),
            events.Identified(patient=PATIENT),
            events.Registered(
                specimen_id="lump-1", specimen_kind="lumpectomy", laterality="left", faces=example.faces
            ),
            *(events.Swept(specimen_id="lump-1", sweep=one) for one in example.sweeps),
            events.Interpreted(specimen_id="lump-1", interpretation=example.interpretation),
            actor="test",
            at=START,
        )
    return path


def test_the_command_writes_a_bundle_for_each_specimen_and_never_over_another(tmp_path: Path) -> None:
    arguments = [
        "fhir",
        "export",
        "case-31",
        "-o",
        str(tmp_path / "out"),
        "--record",
        str(recorded(tmp_path)),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    (file,) = (tmp_path / "out").iterdir()
    assert str(file) in done.output
    made = Bundle.model_validate_json(file.read_text())
    assert made.entry[0].resource.status == "preliminary"
    again = CliRunner().invoke(app, arguments)
    assert "exists already" in str(again.exception)


def test_the_command_prints_the_code_system() -> None:
    done = CliRunner().invoke(app, ["fhir", "codes"])
    assert json.loads(done.output)["url"] == terminology.URL
