"""What goes on the bus for case and specimen: opaque, and nothing by which a person could be found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from octmargin.errors import ConfigError

_DIGITS_OF_A_NUMBER = 6
"""From so many digits in a row on it may be a hospital's number of a patient, or a date."""
_NUMBER = re.compile(rf"\d{{{_DIGITS_OF_A_NUMBER},}}")
_DATE = re.compile(r"(?<!\d)(\d{1,2}([-./])\d{1,2}\2(\d{4}|\d{2})|\d{4}([-./])\d{1,2}\4\d{1,2})(?!\d)")


@dataclass(frozen=True, slots=True)
class IdentifierScheme:
    """What identifiers of cases and specimens look like at a site: as `pattern` says, or opaque at first sight.

    `ConfigError` where the pattern is no regular expression.
    """

    pattern: str | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ConfigError(
                f"case.id_pattern {self.pattern!r} is no regular expression: {error}; correct it"
            ) from None

    def why_not(self, identifier: str) -> str:
        """Why an identifier may not go on the bus, and what to do; empty where it may."""
        if self.pattern is not None:
            fits = re.fullmatch(self.pattern, identifier)
            return (
                "" if fits else f"is not of the site's scheme, case.id_pattern ({self.pattern}); correct it"
            )
        if reason := why_not_opaque(identifier):
            return (
                f"may be a patient's: {reason}; give an opaque identifier such as case-17, "
                "or the site's scheme as case.id_pattern"
            )
        return ""


OPAQUE = IdentifierScheme()
"""Of a site that has no scheme of its own."""


def why_not_opaque(identifier: str) -> str:
    """Why an identifier may be a patient's name, number or date of birth; empty where it does not look like one.

    It cannot know: "smith-2" passes. What it finds is what a person types who was not told.
    """
    if found := number_of_a_person(identifier):
        return found
    if not any(character.isdigit() for character in identifier):
        return "it has no digit, as a name has none"
    return ""


def why_not_said(what: str, text: str) -> str:
    """Why a text that people read may not go on the bus, and what to do; empty where it may."""
    found = number_of_a_person(text)
    return f"{what} goes on the bus: {found}; leave out what names a person" if found else ""


def number_of_a_person(text: str) -> str:
    """Why a text may hold a patient's number or date of birth; empty where it does not look like it.

    It does not repeat what it found: the answer goes on the bus and into logs.
    """
    if _DATE.search(text):
        return "part of it reads as a date"
    if _NUMBER.search(text):
        return "part of it reads as a number of a patient, or a date"
    return ""
