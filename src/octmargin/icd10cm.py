"""ICD-10-CM as CMS releases it: whether a code exists, is billable, and which breast it names.

The release is the one that the library simple-icd-10-cm brings; nothing of it is copied here.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

Side = Literal["left", "right", "bilateral", "unspecified", "none", "unknown"]
"""`unspecified` a breast or axilla of either side, `none` nothing with a side, `unknown` no such code."""

_PACKAGE = "simple-icd-10-cm"
_SIDE = re.compile(r"\b(right|left|bilateral|unspecified) (?:(?:female|male) )?(?:breasts?|axilla)\b")
_OTHER = {"right": "left", "left": "right"}


@dataclass(frozen=True, slots=True)
class IcdCode:
    """A code as the set has it; `code` with its dot, `title` "" and `side` "unknown" where it does not exist."""

    code: str
    exists: bool
    billable: bool
    title: str
    side: Side
    children: tuple[str, ...]
    """Directly below it: none where it is billable."""


def look_up(code: str) -> IcdCode:
    """A code, however it is written: with or without its dot, in capitals or not."""
    library = _library()
    wanted = re.sub(r"[\s.]", "", code).upper()
    if not (wanted.isascii() and wanted.isalnum() and library.is_category_or_subcategory(wanted)):
        return IcdCode(code.strip().upper(), False, False, "", "unknown", ())
    title = str(library.get_description(wanted))
    return IcdCode(
        code=str(library.add_dot(wanted)),
        exists=True,
        billable=bool(library.is_leaf(wanted)),
        title=title,
        side=_side_of(title),
        children=tuple(library.get_children(wanted)),
    )


def billable_below(code: str) -> tuple[IcdCode, ...]:
    """Every billable code below a code that exists, in the order of the set."""
    below = map(look_up, _library().get_descendants(look_up(code).code))
    return tuple(one for one in below if one.billable)


def other_side(code: str) -> IcdCode | None:
    """The code that says the same of the other breast; None where there is none."""
    found = look_up(code)
    place = _SIDE.search(found.title.lower())
    if place is None or place[1] not in _OTHER:
        return None
    wanted = found.title.lower()
    wanted = wanted[: place.start(1)] + _OTHER[place[1]] + wanted[place.end(1) :]
    of_category = _library().get_descendants(found.code[:3])
    return next((one for one in map(look_up, of_category) if one.title.lower() == wanted), None)


def nearest_existing(code: str) -> IcdCode | None:
    """The longest beginning of a code that exists, such as N63.1 for N63.1Q; None where there is none."""
    wanted = re.sub(r"[\s.]", "", code).upper()
    beginnings = (look_up(wanted[:length]) for length in range(len(wanted) - 1, 2, -1))
    return next((found for found in beginnings if found.exists), None)


@cache
def release() -> str:
    """Name and version of the set that is looked up in."""
    return f"ICD-10-CM of {_PACKAGE} {version(_PACKAGE)}"


def _side_of(title: str) -> Side:
    found = _SIDE.search(title.lower())
    if found is None:
        return "none"
    side: Side = found[1]  # type: ignore[assignment]
    return side


@cache
def _library() -> Any:
    # Reading the set takes half a second, which nothing but a look-up should cost; and the library reads it in a way
    # that Python calls deprecated.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import simple_icd_10_cm  # noqa: PLC0415
    return simple_icd_10_cm
