"""What the record of a specimen supports is suggested with its reason; what it cannot know never is."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path

import msgspec
import pytest
from tests.unit.report.cases import (
    CUT_SHORT,
    SURGEON,
    SWEEPS,
    WHOLE,
    case,
    interpretation,
    minutes,
    signature,
    signed_specimen,
    specimen,
    synthetic,
)

from octmargin.case.record.model import CaseSnapshot, Conflict, DiagnosisCode, Discontinuation, SpecimenRecord
from octmargin.errors import ConfigError, InputError
from octmargin.report.building import build_report
from octmargin.report.coding import (
    NOT_AVAILABLE,
    CodingSheet,
    SiteCoding,
    Suggestion,
    coding_sheet,
    load_site,
    load_tables,
    suggest,
)
from octmargin.report.printed import plain


def suggested(
    one: SpecimenRecord, of: CaseSnapshot | None = None, site: SiteCoding | None = None
) -> dict[str, Suggestion]:
    tables = load_tables()
    found = suggest(of or case(one), one, site or load_site(None, tables), tables)
    return {suggestion.code: suggestion for suggestion in found}


def sheet_of(one: SpecimenRecord, **values: object) -> CodingSheet:
    tables = load_tables()
    return coding_sheet(case(one, **values), one, load_site(None, tables), tables)


def test_acquisition_and_signed_report_are_each_one_unit_for_the_specimen() -> None:
    found = suggested(signed_specimen(sweeps=WHOLE))
    assert list(found) == ["0351T", "0352T"]
    assert [(one.state, one.units, one.modifiers) for one in found.values()] == [("suggested", 1, ())] * 2
    assert "6 sweeps, 6 of 6 planned faces scanned" in found["0351T"].reasons
    assert "signed by Dr. Amina Okafor (operating surgeon), real-time" in found["0352T"].reasons[0]


def test_a_specimen_that_was_scanned_thrice_is_still_one_unit() -> None:
    assert suggested(signed_specimen(sweeps=WHOLE * 3))["0351T"].units == 1


def test_52_is_suggested_where_a_planned_face_was_not_covered_at_close() -> None:
    found = suggested(signed_specimen())["0351T"]
    assert (found.state, found.modifiers) == ("suggested", ("52",))
    assert any(
        reason.startswith("modifier 52") and "lateral: the sweep was cut short" in reason
        for reason in found.reasons
    )


def test_52_names_the_faces_that_were_never_scanned_and_those_with_too_little_coverage() -> None:
    low = msgspec.structs.replace(WHOLE[0], coverage=0.9499)
    found = suggested(signed_specimen(sweeps=(low, *WHOLE[1:4])))["0351T"]
    reason = found.reasons[-1]
    assert "superior: 94.9% covered" in reason
    assert "anterior: not scanned; posterior: not scanned" in reason
    assert "inferior" not in reason


def test_before_the_specimen_is_closed_52_is_announced_and_not_suggested() -> None:
    found = suggested(specimen())["0351T"]
    assert (found.state, found.units, found.modifiers) == ("not yet", 0, ())
    assert "modifier 52 would follow" in found.reasons[-1]


def test_a_closed_case_settles_what_was_covered_without_a_signature() -> None:
    one = specimen()
    assert suggested(one, case(one, phase="closed"))["0351T"].modifiers == ("52",)


def test_53_is_suggested_with_the_reason_where_the_acquisition_was_begun_and_given_up() -> None:
    given_up = Discontinuation(at=minutes(5), by="okafor", why="bleeding had to be treated first")
    found = suggested(specimen(phase="discontinued", sweeps=SWEEPS[:2], discontinued=given_up))["0351T"]
    assert (found.state, found.modifiers) == ("suggested", ("53",))
    assert "bleeding had to be treated first" in found.reasons[0]


def test_what_was_given_up_before_it_began_is_not_suggested() -> None:
    given_up = Discontinuation(at=minutes(5), by="okafor", why="console not ready")
    found = suggested(specimen(phase="discontinued", sweeps=(), discontinued=given_up))
    assert [(one.state, one.units) for one in found.values()] == [("not suggested", 0)] * 2
    assert "before it began: console not ready" in found["0351T"].reasons[0]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (specimen(), "not interpreted"),
        (
            specimen(phase="preliminary", interpretation=interpretation(state="preliminary")),
            "preliminary and not signed",
        ),
        (specimen(phase="final", interpretation=interpretation()), "final and not signed"),
        (specimen(phase="scanned", interpretation=interpretation()), "a sweep is newer"),
    ],
)
def test_a_report_that_is_not_signed_is_not_suggested_yet(one: SpecimenRecord, reason: str) -> None:
    found = suggested(one)["0352T"]
    assert (found.state, found.units) == ("not yet", 0)
    assert reason in found.reasons[0]


def test_while_a_contradiction_waits_no_report_is_suggested() -> None:
    one = specimen(phase="final", interpretation=interpretation())
    found = suggested(one, case(one, phase="confirm"))["0352T"]
    assert found.state == "not yet"
    assert "must be confirmed" in found.reasons[0]


def test_a_withdrawn_specimen_and_one_without_a_sweep_support_nothing() -> None:
    for one in (specimen(phase="withdrawn", withdrawn_why="registered twice"), specimen(sweeps=())):
        assert {found.state for found in suggested(one).values()} == {"not suggested"}


def test_synthetic_spectra_are_an_example_and_never_a_suggestion() -> None:
    found = suggested(synthetic(signed_specimen(sweeps=WHOLE)))
    assert {one.state for one in found.values()} == {"example"}
    assert all("SYNTHETIC" in one.reasons[0] for one in found.values())


@pytest.mark.parametrize("one", [specimen(), signed_specimen(), specimen(phase="discontinued", sweeps=SWEEPS[:1],
    discontinued=Discontinuation(at=minutes(3), by="x", why="y"))])  # fmt: skip
def test_22_and_the_codes_of_the_cavity_are_never_suggested(one: SpecimenRecord) -> None:
    for of in (case(one), case(one, phase="closed")):
        found = suggested(one, of)
        assert set(found) == {"0351T", "0352T"}
        assert all("22" not in suggestion.modifiers for suggestion in found.values())


# ---- what a site fills in


def site_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "coding.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_coverage_that_nobody_filled_in_is_shown_as_not_available() -> None:
    payers = sheet_of(signed_specimen()).payers
    assert [payer.name for payer in payers] == [
        "Aetna", "Blue Cross Blue Shield", "Cigna Health", "UnitedHealthcare", "Medicare",
    ]  # fmt: skip
    assert {payer.shown_coverage for payer in payers} == {"data not available"}


def test_the_three_sites_of_service_are_there_and_their_codes_are_not_guessed() -> None:
    rooms = sheet_of(signed_specimen()).sites_of_service
    assert [room.name for room in rooms] == [
        "operating room or surgical suite", "ambulatory surgical centre", "adjacent imaging or pathology suite",
    ]  # fmt: skip
    assert {room.shown_code for room in rooms} == {NOT_AVAILABLE}


def test_a_sites_own_data_replace_the_holes_and_leave_the_others(tmp_path: Path) -> None:
    path = site_file(
        tmp_path,
        """
        as_of = 2026-10-01
        site_of_service = "operating room or surgical suite"
        payers = [{name = "Aetna", coverage = "investigational", as_of = 2026-09-01}, {name = "Local Plan"}]
        descriptors = {"0352T" = "the licensed words"}
        """,
    )
    tables = load_tables()
    site = load_site(path, tables)
    by_name = {payer.name: payer.shown_coverage for payer in site.payers}
    assert by_name["Aetna"] == "investigational"
    assert by_name["Medicare"] == NOT_AVAILABLE
    assert "Local Plan" in by_name
    assert suggested(signed_specimen(), site=site)["0352T"].meaning == "the licensed words"


def test_a_code_that_the_site_says_has_ended_is_not_suggested(tmp_path: Path) -> None:
    path = site_file(tmp_path, 'as_of = 2026-10-01\n[dates."0351T"]\nsunset = 2026-11-11\n')
    site = load_site(path, load_tables())
    found = suggested(signed_specimen(), site=site)
    assert (found["0351T"].state, found["0351T"].units) == ("not suggested", 0)
    assert "valid up to 2026-11-11; the service was given on 2026-11-12" in found["0351T"].reasons[0]
    assert found["0352T"].state == "suggested"


def test_dates_from_memory_are_shown_as_such_and_refuse_nothing() -> None:
    sheet = sheet_of(signed_specimen())
    assert sheet.dates["0352T"] == (
        "effective 2014-01-01, sunset data not available (from memory; a coder checks them)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("as_of = 2026-10-01\npayerz = []", "payerz"),
        ("as_of = ", "docs/coding.md"),
        ('as_of = 2026-10-01\ndescriptors = {"99999" = "x"}', "99999 is in no code table"),
        ('as_of = 2026-10-01\nsite_of_service = "kitchen"', "none of: operating room"),
        ("as_of = 2026-10-01\nfull_coverage = 0", "full_coverage"),
    ],
)
def test_a_sites_file_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_site(site_file(tmp_path, text), load_tables())


def test_a_sites_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_site(tmp_path / "none.toml", load_tables())


# ---- the sheet


def test_the_sheet_says_that_it_is_a_suggestion_for_a_coder_in_every_form() -> None:
    sheet = sheet_of(signed_specimen())
    assert "suggestion for a coder" in sheet.notice
    assert json.loads(sheet.to_json())["notice"] == sheet.notice
    first = next(csv.DictReader(io.StringIO(sheet.to_csv())))
    assert (first["kind"], first["meaning"]) == ("notice", sheet.notice)


def test_the_sheet_names_no_patient() -> None:
    sheet = sheet_of(signed_specimen())
    for form in (sheet.to_json().decode(), sheet.to_csv()):
        assert "Müller" not in form
        assert "MRN-0099123" not in form


def test_every_conflict_is_on_the_sheet_and_no_wrong_meaning_stands_as_the_meaning() -> None:
    sheet = sheet_of(signed_specimen())
    assert {row.code for row in sheet.conflicts} == {
        "0351T", "0352T", "C50.912", "C50.911", "N63", "AS", "CO", "CQ", "QK", "QX", "QY", "SH", "SJ",
        "207Q00000X", "207XS0100X", "207K00000X", "207L00000X", "2084P0800X", "88305", "77046",
    }  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(sheet.to_csv())))
    meanings = {line["code"]: line["meaning"] for line in lines}
    assert "infusion" in meanings["SH"]
    assert "right" in meanings["C50.911"]


OF_THE_SOURCE = {
    "0351T", "0352T", "0353T", "0354T", "C50.912", "C50.911", "D05.90", "C77.3", "N63",
    "22", "23", "52", "53", "62", "AS", "CO", "CQ", "QK", "QX", "QY", "SH", "SJ",
    "207Q00000X", "207XS0100X", "207K00000X", "207L00000X", "2084P0800X",
    "19301", "38525", "88305", "88342", "76942", "77046",
}  # fmt: skip


def test_every_code_of_the_source_document_is_in_every_form_of_the_sheet_once() -> None:
    one = signed_specimen(sweeps=WHOLE)
    sheet = sheet_of(one)
    used = {"0351T", "0352T", "C50.911", "208600000X"}
    cells = [line["code"] for line in csv.DictReader(io.StringIO(sheet.to_csv()))]
    printed = plain(build_report(case(one), one.specimen_id))["coding"]
    listed = [row["code"] for row in printed["others"]]
    told = [row["code"] for rows in json.loads(sheet.to_json())["others"].values() for row in rows]
    assert sorted(listed) == sorted(told) == sorted(OF_THE_SOURCE - used)
    assert {code: cells.count(code) for code in OF_THE_SOURCE} == dict.fromkeys(OF_THE_SOURCE, 1)
    (wide,) = [row for row in csv.DictReader(io.StringIO(sheet.to_csv())) if row["code"] == "D05.90"]
    assert wide["source"] == "carcinoma in situ of breast"
    assert "names neither type nor side" in wide["reason"]


def test_a_contradicting_diagnosis_is_refused_on_the_sheet_and_warned_of() -> None:
    sheet = sheet_of(signed_specimen(diagnoses=(DiagnosisCode(code="C50.912", side="left"),)))
    assert {one.code: one.state for one in sheet.diagnoses} == {"C50.912": "refused"}
    assert any("C50.912 is the left side" in warning for warning in sheet.warnings)


def test_a_specimen_without_codes_of_its_own_has_those_of_the_order() -> None:
    sheet = sheet_of(signed_specimen(diagnoses=()))
    assert {one.code: one.state for one in sheet.diagnoses} == {"C50.911": "accepted"}


def test_a_case_without_a_diagnosis_is_warned_of() -> None:
    sheet = sheet_of(signed_specimen(diagnoses=()), order=None)
    assert any("no diagnosis code" in warning for warning in sheet.warnings)


def test_what_holds_up_the_case_is_warned_of() -> None:
    conflict = Conflict(specimen_id="s-7h2k", what="laterality", text="order left, specimen right: confirm")
    assert sheet_of(specimen(), conflicts=(conflict,)).warnings[0] == "order left, specimen right: confirm"


def test_what_holds_up_another_specimen_is_no_warning_of_this_one() -> None:
    conflict = Conflict(specimen_id="s-9", what="laterality", text="order left, specimen s-9 right")
    assert sheet_of(signed_specimen(), conflicts=(conflict,)).warnings == sheet_of(signed_specimen()).warnings


def test_an_interpreter_with_a_code_that_means_something_else_is_warned_of() -> None:
    by = msgspec.structs.replace(SURGEON, taxonomy="207L00000X")
    one = signed_specimen(interpretation=interpretation(by=by), signature=signature(by=by))
    sheet = sheet_of(one)
    assert [line.taxonomy.label for line in sheet.providers] == ["Anesthesiology"]
    assert any("208200000X" in warning for warning in sheet.warnings)


def test_text_that_a_spreadsheet_would_calculate_is_made_text() -> None:
    given_up = Discontinuation(at=minutes(5), by="x", why="gone")
    one = specimen(specimen_id="=1+1", phase="discontinued", sweeps=(CUT_SHORT,), discontinued=given_up)
    cells = [cell for line in csv.reader(io.StringIO(sheet_of(one).to_csv())) for cell in line]
    assert "'=1+1" in cells
    assert not any(cell.startswith("=") for cell in cells)


def test_the_date_of_service_is_the_day_of_the_first_sweep() -> None:
    assert sheet_of(signed_specimen()).date_of_service == date(2026, 11, 12)
