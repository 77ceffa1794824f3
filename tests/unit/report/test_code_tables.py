"""Every row of the source document's tables: it is known, its conflict is raised, the official meaning is the one used.

The rows are written here by hand from the comparison of the source document with the official sets.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import msgspec
import pytest

from octmargin.errors import ConfigError
from octmargin.icd10cm import look_up
from octmargin.report.coding import Certainty, CodeRow, Conflict, Tables, check_taxonomy, load_tables
from octmargin.report.coding.tables import Service, Subject, check


class Row(NamedTuple):
    """`official` are words that its meaning must have, `never` words that only the source uses."""

    code: str
    conflict: Conflict
    official: tuple[str, ...]
    never: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    meant: tuple[str, ...] = ()
    certainty: Certainty = Certainty.SEEN


NONE, NOTE, WORDING, PARTIAL, CONFLICT = Conflict

PROCEDURES = (
    Row("0351T", PARTIAL, ("excised breast or axillary node", "per specimen", "acquisition"), ("report",)),
    Row("0352T", PARTIAL, ("per specimen", "interpretation and report", "real time or referred")),
    Row("0353T", NONE, ("cavity", "acquisition"), ("interpretation",)),
    Row("0354T", NONE, ("cavity", "interpretation and report"), ("acquisition",)),
)
DIAGNOSES = (
    Row("C50.912", CONFLICT, ("left female breast",), ("right",), ("right female breast",), ("C50.911",)),
    Row("C50.911", CONFLICT, ("right female breast",), ("left",), ("left female breast",), ("C50.912",)),
    Row(
        "D05.90",
        WORDING,
        ("unspecified type", "unspecified breast"),
        (),
        ("carcinoma in situ of breast",),
        ("D05.91", "D05.92", "D05.11", "D05.12"),
    ),
    Row("C77.3", NONE, ("secondary", "axilla", "upper limb"), (), ("secondary",)),
    Row(
        "N63",
        CONFLICT,
        ("not billable", "parent"),
        (),
        ("lump",),
        ("N63.0", "N63.1", "N63.2", "N63.3", "N63.4"),
    ),
)
MODIFIERS = (
    Row("22", NONE, ("more work",), (), ("increased",)),
    Row("23", NOTE, ("anesthesia",), (), ("unusual anesthesia",)),
    Row("52", NONE, ("reduced",), (), ("partially completed",)),
    Row("53", NONE, ("begun", "given up"), (), ("discontinued",)),
    Row("62", NOTE, ("two surgeons", "distinct part"), (), ("two surgeons",)),
    Row(
        "AS",
        CONFLICT,
        ("physician assistant", "nurse practitioner"),
        ("ambulatory", "facility"),
        ("ambulatory",),
    ),
    Row("CO", CONFLICT, ("occupational therapy assistant",), ("catastrophic", "workers"), ("catastrophic",)),
    Row("CQ", CONFLICT, ("physical therapist assistant",), ("network",), ("not in network",)),
    Row("QK", CONFLICT, ("two, three or four", "concurrent anesthesia"), ("assistants",), ("assistants",)),
    Row("QX", PARTIAL, ("CRNA", "medical direction by a physician"), ("present",), ("physician present",)),
    Row("QY", PARTIAL, ("one nurse anesthetist", "by an anesthesiologist"), (), ("direction of one",)),
    Row("SH", CONFLICT, ("second infusion",), ("surgery", "assistant"), ("physician assistant at surgery",)),
    Row("SJ", CONFLICT, ("third or further infusion",), ("surgery", "assistant"), ("non-physician",)),
)
TAXONOMY = (
    Row("207Q00000X", CONFLICT, ("Family Medicine",), ("Surgery",), ("General Surgery",), ("208600000X",)),
    Row("207XS0100X", CONFLICT, ("no such code",), ("Oncology",), ("Surgical Oncology",), ("2086X0206X",)),
    Row(
        "207K00000X", CONFLICT, ("Allergy and Immunology",), ("Obstetrics",), ("Obstetrics",), ("207V00000X",)
    ),
    Row("207L00000X", CONFLICT, ("Anesthesiology",), ("Plastic",), ("Plastic Surgery",), ("208200000X",)),
    Row("2084P0800X", CONFLICT, ("Psychiatry",), ("Radiology",), ("Diagnostic Radiology",), ("2085R0202X",)),
)
RELATED = (
    Row("19301", WORDING, ("part of the breast",), (), ("partial mastectomy",)),
    Row("38525", WORDING, ("deep axillary",), (), ("open deep axillary",)),
    Row(
        "88305", CONFLICT, ("margins are not examined",), ("correlation",), ("final correlation",), ("88307",)
    ),
    Row("88342", NONE, ("immunohistochemistry", "single antibody"), (), ("immunohistochemistry",)),
    Row("76942", NOTE, ("ultrasound guidance", "needle"), (), ("ultrasound",), (), Certainty.MEMORY),
    Row(
        "77046",
        CONFLICT,
        ("one breast", "without contrast"),
        ("computer",),
        ("computer",),
        ("77048", "77049"),
    ),
)
EVERY_ROW = (*PROCEDURES, *DIAGNOSES, *MODIFIERS, *TAXONOMY, *RELATED)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return load_tables()


def row_of(tables: Tables, code: str) -> CodeRow:
    found = tables.find(code)
    assert found is not None, f"{code} is in no table"
    return found[1]


@pytest.mark.parametrize("expected", EVERY_ROW, ids=lambda row: row.code)
def test_a_row_of_the_source_document(tables: Tables, expected: Row) -> None:
    row = row_of(tables, expected.code)
    assert row.conflict is expected.conflict
    for words in expected.official:
        assert words in row.official
    for words in expected.never:
        assert words not in row.official
    for words in expected.source:
        assert words in row.source
    assert tuple(row.meant) == expected.meant
    assert row.certainty is expected.certainty


@pytest.mark.parametrize("expected", EVERY_ROW, ids=lambda row: row.code)
def test_a_conflict_is_a_warning_that_tells_both_meanings_apart(tables: Tables, expected: Row) -> None:
    row = row_of(tables, expected.code)
    if expected.conflict in (PARTIAL, CONFLICT):
        assert f"{row.code} is: {row.official}." in row.warning
        assert f"The source document says otherwise ({row.source}); that meaning is not used." in row.warning
        assert row in tables.conflicts
    else:
        assert row.warning == ""
        assert row not in tables.conflicts


@pytest.mark.parametrize("expected", EVERY_ROW, ids=lambda row: row.code)
def test_what_the_source_meant_is_in_a_table_or_in_the_official_set(tables: Tables, expected: Row) -> None:
    for code in expected.meant:
        found = tables.find(code)
        assert look_up(code).exists if found is None else found[1].conflict in (NONE, CONFLICT)


def test_nothing_of_the_source_is_missing_and_nothing_was_added_in_its_name(tables: Tables) -> None:
    from_source = {row.code for table in tables for row in table.rows if row.source}
    # The cavity codes stand in the comparison, not in the source document's tables.
    assert from_source == {row.code for row in EVERY_ROW} - {"0353T", "0354T"}


@pytest.mark.parametrize("expected", DIAGNOSES, ids=lambda row: row.code)
def test_the_official_meaning_of_a_diagnosis_agrees_with_the_release(tables: Tables, expected: Row) -> None:
    released = look_up(expected.code)
    official = row_of(tables, expected.code).official
    assert released.exists
    assert released.billable is (expected.code != "N63")
    assert [side for side in ("left", "right") if side in official] == [
        side for side in ("left", "right") if side in released.title
    ]


@pytest.mark.parametrize(
    ("meant", "label"),
    [
        ("208600000X", "Surgery"),
        ("2086X0206X", "Surgical Oncology"),
        ("207V00000X", "Obstetrics and Gynecology"),
        ("208200000X", "Plastic Surgery"),
        ("2085R0202X", "Diagnostic Radiology"),
    ],
)
def test_the_taxonomy_code_that_the_source_meant(tables: Tables, meant: str, label: str) -> None:
    role = "radiologist" if meant == "2085R0202X" else "operating surgeon"
    found = check_taxonomy(meant, role, tables)
    assert (found.label, found.warning) == (label, "")


@pytest.mark.parametrize("expected", TAXONOMY, ids=lambda row: row.code)
def test_a_provider_is_never_labelled_as_the_source_would(tables: Tables, expected: Row) -> None:
    found = check_taxonomy(expected.code, "operating surgeon", tables)
    assert all(words in found.label for words in expected.official)
    assert expected.meant[0] in found.warning


def test_a_taxonomy_code_that_does_not_fit_the_role_is_told(tables: Tables) -> None:
    assert "interprets as radiologist" in check_taxonomy("208600000X", "radiologist", tables).warning
    assert (
        "interprets as operating surgeon" in check_taxonomy("2085R0202X", "operating surgeon", tables).warning
    )


def test_a_taxonomy_code_that_is_not_in_the_table_or_not_given_is_told(tables: Tables) -> None:
    assert "a coder checks it" in check_taxonomy("207ZP0101X", "radiologist", tables).warning
    assert "does not look like one" in check_taxonomy("surgeon", "radiologist", tables).warning
    assert check_taxonomy("", "radiologist", tables).shown == "data not available"


def test_the_codes_of_our_own_are_told_apart_by_service_and_subject(tables: Tables) -> None:
    for service, subject, code in (
        (Service.ACQUISITION, Subject.SPECIMEN, "0351T"),
        (Service.INTERPRETATION, Subject.SPECIMEN, "0352T"),
        (Service.ACQUISITION, Subject.CAVITY, "0353T"),
        (Service.INTERPRETATION, Subject.CAVITY, "0354T"),
    ):
        assert tables.procedures.row_of(service, subject).code == code


def test_every_table_says_when_it_was_compared_and_dates_from_memory_are_called_so(tables: Tables) -> None:
    for table in tables:
        assert date(2026, 1, 1) <= table.as_of
    for row in tables.procedures.rows:
        assert row.dates_certainty is Certainty.MEMORY
        assert row.sunset is None


def changed(tables: Tables, code: str, values: dict[str, object]) -> Tables:
    rows = [
        msgspec.structs.replace(row, **values) if row.code == code else row for row in tables.modifiers.rows
    ]
    return msgspec.structs.replace(tables, modifiers=msgspec.structs.replace(tables.modifiers, rows=rows))


@pytest.mark.parametrize(
    ("code", "values", "message"),
    [
        ("AS", {"code": "CO"}, "stands twice"),
        ("AS", {"official": ""}, "no official meaning"),
        ("AS", {"source": ""}, "a conflict needs"),
        ("AS", {"explanation": ""}, "a conflict needs"),
        ("22", {"exists": False}, "does not exist is a conflict"),
        ("AS", {"code": "as"}, "written in capitals"),
    ],
)
def test_a_table_that_would_let_a_wrong_meaning_through_is_refused(
    tables: Tables, code: str, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check(changed(tables, code, values))
