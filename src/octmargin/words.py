"""Numbers as people read them, and what must be said everywhere."""

from __future__ import annotations

import math

NOTICE = "Research use only. Not a medical device."


def percent(share: float) -> str:
    """A share as a percentage, rounded down: 0.9971 is 99.7 %, never 100 %."""
    return f"{math.floor(share * 1000) / 10:g}%"
