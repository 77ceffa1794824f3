"""What goes on the bus for case and specimen: opaque, and nothing by which a person could be found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from octmargin.errors import ConfigError

# Six digits in a row, or eight in groups, may be a hospital's number of a patient; fewer in groups are sizes or frames.
_NUMBER = re.compile(r"\d{6,}|\d(?:[-./ ]?\d){7,}")
_MONTH = (
    "(?:jan(?:uary?|vier)?|feb(?:ruary?)?|février|mar(?:ch|s)?|märz|mrz|apr(?:il)?|avril|may|mai|june?|juni|juin"
    "|july?|juli|juillet|aug(?:ust)?|août|sept?(?:emb(?:er|re))?|o[ck]t(?:ob(?:er|re))?|nov(?:emb(?:er|re))?"
    "|de[cz](?:ember)?|décembre)"
)
_DATES = (
    r"\d{1,2}([-./])\d{1,2}\1(?:\d{4}|\d{2})",
    r"\d{4}([-./])\d{1,2}\2\d{1,2}",
    # With spaces a year must look like one: three numbers in a row may be frames.
    r"\d{1,2} ?[-./ ] ?\d{1,2} ?[-./ ] ?(?:19|20)\d{2}",
    r"(?:19|20)\d{2} ?[-./ ] ?\d{1,2} ?[-./ ] ?\d{1,2}",
    rf"\d{{1,2}}(?:st|nd|rd|th)?[-., /]{{0,2}}{_MONTH}[-., /]{{0,2}}(?:\d{{4}}|\d{{2}})",
    rf"{_MONTH}[-., /]{{0,2}}\d{{1,2}}(?:st|nd|rd|th)?[-., /]{{1,2}}\d{{4}}",
    rf"\d{{4}}[-., /]{{0,2}}{_MONTH}[-., /]{{0,2}}\d{{1,2}}",
)
_DATE = re.compile(rf"(?<!\d)(?:{'|'.join(_DATES)})(?!\d)", re.IGNORECASE)


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
