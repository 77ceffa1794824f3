"""Numbers as people read them, and what must be said everywhere."""

from __future__ import annotations

import math

NOTICE = "Research use only. Not a medical device."


_MEANS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet_text(text: str) -> str:
    """Text for a cell of a CSV file, marked where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_MEANS_A_FORMULA) else text


def percent(share: float) -> str:
    """A share as a percentage, rounded down: 0.9971 is 99.7 %, never 100 %."""
    return f"{math.floor(share * 1000) / 10:g}%"


def counted(n: int, what: str, many: str = "") -> str:
    """How many of something: 1 recording, 2 recordings; `many` where its plural has another ending."""
    return f"{n} {what if n == 1 else many or f'{what}s'}"


def size(n_bytes: int) -> str:
    """A size in a unit of which something is left to read: 950 bytes, 12.3 kB, 4.5 MB, 1234.5 GB."""
    if n_bytes < 1000:
        return counted(n_bytes, "byte")
    if n_bytes < 1_000_000:
        return f"{n_bytes / 1e3:.1f} kB"
    if n_bytes < 1_000_000_000:
        return f"{n_bytes / 1e6:.1f} MB"
    return f"{n_bytes / 1e9:.1f} GB"
