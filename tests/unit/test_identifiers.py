"""Identifiers that go on the bus: what a person types who was not told is found; what is drawn at random passes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import needs_program

import octmargin.display
from octmargin.identifiers import number_of_a_person, why_not_opaque

PAGE = Path(octmargin.display.__file__).parent / "static" / "identifiers.js"


@pytest.mark.parametrize(
    "identifier", ["case-0", "c-7", "s-1", "specimen-0", "demo-1", "or3-2031-17", "a1b2c3d4"]
)
def test_an_opaque_identifier_is_taken(identifier: str) -> None:
    assert not why_not_opaque(identifier)


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        ("jane-doe", "no digit"),
        ("doe", "no digit"),
        ("0412345", "reads as a number"),
        ("p-123456-b", "reads as a number"),
        ("19540512", "reads as a number of a patient, or a date"),
        ("c-1954-05-12", "reads as a date"),
        ("doe-12-5-54", "reads as a date"),
        ("943-476-5919", "reads as a number"),
        ("123-45-6789", "reads as a number"),
    ],
)
def test_what_looks_like_a_person_is_found_with_the_reason(identifier: str, reason: str) -> None:
    why = why_not_opaque(identifier)
    assert reason in why
    assert identifier not in why, "a reason is said where the identifier itself may not be"


OF_A_PERSON = (
    "born 12.5.1954",
    "MRN 00123456",
    "dob 5/12/54",
    "1954-05-12",
    "NHS 943 476 5919",
    "943.476.5919",
    "0123/4567",
    "123-45-6789",
    "12. 3. 1958",
    "12 03 1958",
    "1958 03 12",
    "12 / 3 / 1958",
    "12 Mar 1958",
    "12-MAR-58",
    "12th March, 1958",
    "March 12, 1958",
    "1958-Dec-3",
    "12. März 1958",
    "3. Okt. 1958",
    "12 août 1958",
)
OF_A_SPECIMEN = (
    "",
    "short stitch superior, long stitch lateral",
    "clip at 3.5 mm, 12:30",
    "see frames 60-64 of sweep 3",
    "10 20 30",
    "3.5/2.5/10 mm",
    "clip 12 margin 10",
    "2 marked, 10 may be cautery",
    "frames 100-110, 200-210",
    "at 3.5. 10 mm beyond",
)


@pytest.mark.parametrize("text", OF_A_PERSON)
def test_a_number_in_a_text_is_found(text: str) -> None:
    assert number_of_a_person(text)


@pytest.mark.parametrize("text", OF_A_SPECIMEN)
def test_what_a_surgeon_writes_of_a_specimen_is_taken(text: str) -> None:
    assert not number_of_a_person(text)


def test_the_page_finds_what_the_daemon_finds() -> None:
    texts = (*OF_A_PERSON, *OF_A_SPECIMEN)
    script = (
        f"import {{ whyNotSaid }} from {json.dumps(PAGE.as_uri())};"
        f"const found = {json.dumps(texts)}.map((note) => whyNotSaid({{ note }}) !== '');"
        "console.log(JSON.stringify(found));"
    )
    done = subprocess.run(
        [needs_program("node"), "--input-type=module", "-e", script],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == [bool(number_of_a_person(text)) for text in texts]


@given(st.from_regex(r"[a-z]{1,8}-[0-9]{1,5}", fullmatch=True))
def test_a_counted_identifier_is_always_taken(identifier: str) -> None:
    assert not why_not_opaque(identifier)


@given(st.text(), st.integers(100_000, 10**12), st.text())
def test_six_digits_are_found_wherever_they_stand(before: str, number: int, after: str) -> None:
    assert number_of_a_person(f"{before}{number}{after}")
