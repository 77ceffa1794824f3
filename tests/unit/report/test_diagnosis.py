"""A diagnosis code stands beside a specimen only where it exists, is billable and names the specimen's side."""

from __future__ import annotations

import pytest

from octmargin.icd10cm import billable_below, look_up, other_side
from octmargin.report.coding import DiagnosisCheck, check_diagnosis, load_tables


def checked(code: str, laterality: str) -> DiagnosisCheck:
    return check_diagnosis(code, laterality, load_tables())


def test_c50_912_on_a_right_breast_specimen_is_refused_with_the_explanation() -> None:
    found = checked("C50.912", "right")
    assert found.state == "refused"
    assert "C50.912 is the left side" in found.reasons[0]
    assert "the specimen is right" in found.reasons[0]
    assert "swaps the sides" in found.warning
    assert [one.code for one in found.offered] == ["C50.911"]


def test_c50_912_on_a_left_breast_specimen_is_accepted_and_the_source_contradicted() -> None:
    found = checked("C50.912", "left")
    assert (found.state, found.reasons) == ("accepted", ())
    assert found.title == "Malignant neoplasm of unspecified site of left female breast"
    assert "C50.912 is the left breast" in found.warning


def test_c50_911_is_the_right_breast() -> None:
    assert checked("C50.911", "right").state == "accepted"
    assert checked("C50.911", "left").state == "refused"


@pytest.mark.parametrize("laterality", ["left", "right", "unknown"])
def test_n63_is_refused_as_not_billable_and_its_children_are_offered(laterality: str) -> None:
    found = checked("N63", laterality)
    assert (found.state, found.billable) == ("refused", False)
    assert "not billable" in found.reasons[0]
    assert [one.code for one in found.offered] == ["N63.0", "N63.1", "N63.2", "N63.3", "N63.4"]


def test_below_n63_only_the_billable_codes_that_do_not_contradict_the_side_are_offered() -> None:
    codes = [one.code for one in checked("N63", "right").billable_instead]
    assert codes == ["N63.0", "N63.10", "N63.11", "N63.12", "N63.13", "N63.14", "N63.15", "N63.31", "N63.41"]


def test_a_code_that_names_no_side_waits_for_a_person() -> None:
    found = checked("D05.90", "right")
    assert found.state == "confirm"
    assert [one.code for one in found.offered] == ["D05.91", "D05.11"]


def test_a_code_of_a_side_waits_where_the_specimens_side_is_not_known() -> None:
    found = checked("D05.11", "unknown")
    assert found.state == "confirm"
    assert "specimen's side is not known" in found.reasons[0]


@pytest.mark.parametrize("laterality", ["left", "right", "unknown"])
def test_axillary_nodes_have_no_side_of_their_own(laterality: str) -> None:
    assert checked("C77.3", laterality).state == "accepted"


def test_a_code_that_is_not_in_the_set_is_refused_and_what_comes_near_is_offered() -> None:
    found = checked("N63.1Q", "right")
    assert (found.state, found.side, found.title) == ("refused", "unknown", "")
    assert [one.code for one in found.offered][:2] == ["N63.10", "N63.11"]
    assert checked("", "right").state == "refused"
    assert checked("Krebs", "right").offered == ()


@pytest.mark.parametrize("written", ["c50.912", "C50912", " C50.912 "])
def test_a_code_is_found_however_it_is_written(written: str) -> None:
    assert look_up(written).code == "C50.912"
    assert checked(written, "right").state == "refused"


@pytest.mark.parametrize("block", ["C50-C50", "2", "N60-N65"])
def test_a_chapter_or_a_block_is_no_code(block: str) -> None:
    assert not look_up(block).exists


def test_a_side_that_is_not_of_the_breast_is_none() -> None:
    # Left ventricular failure: nothing that a specimen's side could contradict.
    assert look_up("I50.1").side == "none"


def test_every_billable_breast_code_of_a_side_has_its_counterpart_on_the_other() -> None:
    for parent in ("C50", "D05", "N63", "D24"):
        for code in billable_below(parent):
            if code.side in ("left", "right"):
                counterpart = other_side(code.code)
                assert counterpart is not None
                assert {code.side, counterpart.side} == {"left", "right"}
                back = other_side(counterpart.code)
                assert back is not None
                assert back.code == code.code
