"""Pathology's results as FHIR: what is exported is what the record has, and what is read again is the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.example_case import PATIENT, case, specimen
from typer.testing import CliRunner

from octmargin.case.pathology_fhir import read_fhir
from octmargin.case.record.model import PathologyResult
from octmargin.case.record.store import CaseStore
from octmargin.cli import app
from octmargin.fhir.checking import checked_json
from octmargin.fhir.report import bundle_of

from .test_report import of, recorded

RESULTS = (
    PathologyResult(
        face="superior",
        finding="positive",
        distance_mm=0.0,
        entity="DCIS",
        text="Focal, at blue ink.",
        accession="P-4471",
        reported_at=datetime(2031, 5, 9, 8, 30, tzinfo=UTC),
        by="Dr. Vukovic",
    ),
    PathologyResult(face="medial", finding="close", distance_mm=0.8, accession="P-4471", by="Dr. Vukovic"),
    PathologyResult(face="lateral", finding="negative", accession="P-4490"),
    PathologyResult(face="lateral", finding="not_assessed"),
)


@pytest.fixture(scope="module")
def content() -> str:
    return checked_json(bundle_of(case(specimen(pathology=RESULTS)), "lump-1"))


def reports(content: str) -> list[dict[str, Any]]:
    found = of(json.loads(content), "DiagnosticReport")
    return [one for one in found if one["code"]["coding"][0]["code"] == "pathology-report"]


def test_every_result_is_read_again_as_it_was_and_nothing_else_is_taken_for_one(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "bundle.json"
    file.write_text(content, encoding="utf-8")
    found = read_fhir(file, "case-31", PATIENT)
    assert {one.specimen_id for one in found.results} == {"lump-1"}
    assert sorted((one.result for one in found.results), key=lambda one: (one.face, one.finding)) == sorted(
        (msgspec.structs.replace(one, source="bundle.json") for one in RESULTS),
        key=lambda one: (one.face, one.finding),
    )
    # What the interpreter and the algorithm did not assess is no result of pathology.
    assert all(text.endswith("it says what OCT found, not pathology") for text in found.left_out)


def test_results_are_reported_by_accession_of_the_specimen_and_whose_they_are(content: str) -> None:
    bundle = json.loads(content)
    kinds = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    by_accession = {one.get("identifier", [{"value": ""}])[0]["value"]: one for one in reports(content)}
    assert sorted(by_accession) == ["", "P-4471", "P-4490"]
    report = by_accession["P-4471"]
    assert report["issued"] == "2031-05-09T08:30:00Z"
    assert report["performer"] == [{"display": "Dr. Vukovic"}]
    assert report["conclusion"].startswith("SYNTHETIC")
    results = [kinds[one["reference"]] for one in report["result"]]
    assert [one["bodySite"]["text"] for one in results] == ["superior", "medial"]
    assert results[0]["bodySite"]["coding"][0]["display"] == "Left breast structure"
    for one in (report["specimen"][0], *(result["specimen"] for result in results)):
        assert kinds[one["reference"]]["identifier"] == [{"value": "lump-1"}]


def test_without_pathology_there_is_no_report_of_it() -> None:
    assert reports(checked_json(bundle_of(case(), "lump-1"))) == []


def test_the_same_result_from_another_file_is_known_already(tmp_path: Path) -> None:
    record = recorded(tmp_path)
    arguments = ["case", "pathology", "case-31", "lump-1", "superior", "positive", "--entity", "DCIS"]
    environment = {"OCTMARGIN_RECORD": str(record)}
    assert CliRunner().invoke(app, arguments, env=environment).exit_code == 0
    exported = ["fhir", "export", "case-31", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(app, exported, env=environment).exit_code == 0
    (file,) = (tmp_path / "out").iterdir()
    read = CliRunner().invoke(
        app, ["case", "import-pathology", str(file), "--case", "case-31"], env=environment
    )
    assert "0 results new, 1 known already" in read.output
    with CaseStore.open(record) as store:
        found = store.case("case-31").specimen("lump-1")
        assert found is not None
        assert len(found.pathology) == 1
