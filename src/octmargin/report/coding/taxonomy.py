"""What a provider's taxonomy code says, held against the role in which the person interprets."""

from __future__ import annotations

import re

from msgspec import Struct

from octmargin.report.coding.site import NOT_AVAILABLE
from octmargin.report.coding.tables import Tables

_SHAPE = re.compile(r"[0-9]{3}[0-9A-Z]{6}X")
_RADIOLOGY = "2085R0202X"


class TaxonomyCheck(Struct, frozen=True, kw_only=True):
    """A code with its official label; `warning` is "" where nothing speaks against it."""

    code: str
    label: str
    warning: str = ""

    @property
    def shown(self) -> str:
        """The code with its label."""
        return f"{self.code} ({self.label})" if self.code else NOT_AVAILABLE


def check_taxonomy(code: str, role: str, tables: Tables) -> TaxonomyCheck:
    """Check the taxonomy code of an interpreter ("operating surgeon" or "radiologist"); "" is not known."""
    code = code.strip().upper()
    if not code:
        return TaxonomyCheck(code="", label=NOT_AVAILABLE)
    row = tables.taxonomy.find(code)
    if row is not None and row.conflict.is_warning:
        beside = "" if not row.exists else f" It stands beside a person who interprets as {role}."
        return TaxonomyCheck(code=code, label=row.official, warning=row.warning + beside)
    if row is None:
        shape = (
            "" if _SHAPE.fullmatch(code) else ", and does not look like one (ten characters, the last an X)"
        )
        return TaxonomyCheck(
            code=code,
            label="not in octmargin's table",
            warning=f"{code} is in none of octmargin's taxonomy rows{shape}: a coder checks it",
        )
    if (row.code == _RADIOLOGY) != (role == "radiologist"):
        return TaxonomyCheck(
            code=code,
            label=row.official,
            warning=f"{code} is {row.official}; the person interprets as {role}",
        )
    return TaxonomyCheck(code=code, label=row.official)
