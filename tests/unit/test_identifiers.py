"""Identifiers that go on the bus: what a person types who was not told is found; what is drawn at random passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.identifiers import number_of_a_person, why_not_opaque


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
    ],
)
def test_what_looks_like_a_person_is_found_with_the_reason(identifier: str, reason: str) -> None:
    why = why_not_opaque(identifier)
    assert reason in why
    assert identifier not in why, "a reason is said where the identifier itself may not be"


@pytest.mark.parametrize("text", ["born 12.5.1954", "MRN 00123456", "dob 5/12/54", "1954-05-12"])
def test_a_number_in_a_text_is_found(text: str) -> None:
    assert number_of_a_person(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short stitch superior, long stitch lateral",
        "clip at 3.5 mm, 12:30",
        "see frames 60-64 of sweep 3",
        "10 20 30",
        "3.5/2.5/10 mm",
    ],
)
def test_what_a_surgeon_writes_of_a_specimen_is_taken(text: str) -> None:
    assert not number_of_a_person(text)


@given(st.from_regex(r"[a-z]{1,8}-[0-9]{1,5}", fullmatch=True))
def test_a_counted_identifier_is_always_taken(identifier: str) -> None:
    assert not why_not_opaque(identifier)


@given(st.text(), st.integers(100_000, 10**12), st.text())
def test_six_digits_are_found_wherever_they_stand(before: str, number: int, after: str) -> None:
    assert number_of_a_person(f"{before}{number}{after}")
