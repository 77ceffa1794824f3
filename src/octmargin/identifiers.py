"""What goes on the bus for case and specimen: opaque, and nothing by which a person could be found."""

from __future__ import annotations

import re

_DIGITS_OF_A_NUMBER = 6
"""From so many digits in a row on it may be a hospital's number of a patient, or a date."""
_NUMBER = re.compile(rf"\d{{{_DIGITS_OF_A_NUMBER},}}")
_DATE = re.compile(r"(?<!\d)(\d{1,2}[-./ ]\d{1,2}[-./ ](\d{4}|\d{2})|\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2})(?!\d)")


def why_not_opaque(identifier: str) -> str:
    """Why an identifier may be a patient's name, number or date of birth; empty where it does not look like one.

    It cannot know: "smith-2" passes. What it finds is what a person types who was not told.
    """
    if found := number_of_a_person(identifier):
        return found
    if not any(character.isdigit() for character in identifier):
        return "it has no digit, as a name has none"
    return ""


def number_of_a_person(text: str) -> str:
    """Why a text may hold a patient's number or date of birth; empty where it does not look like it."""
    if found := _DATE.search(text):
        return f'"{found[0]}" reads as a date'
    if found := _NUMBER.search(text):
        return f'"{found[0]}" reads as a number of a patient, or a date'
    return ""
