"""How long a specimen has been out of the body and not in formalin: within an hour, or pathology suffers.

The hour is that of the ASCO/CAP guidelines on receptor testing in breast cancer, as in East et al., Ann Diagn Pathol
2018, doi 10.1016/j.anndiagpath.2018.02.010.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from octmargin.case.record.model import SpecimenPhase, SpecimenRecord

LIMIT: Final = timedelta(hours=1)
SOON: Final = timedelta(minutes=45)

ClockState = Literal["unknown", "running", "soon", "over", "kept", "exceeded"]
"""`unknown` without an excision time; `running`, `soon` from 45 min and `over` from an hour on while it is not in
formalin; `kept` or `exceeded` when it is."""


@dataclass(frozen=True, slots=True)
class FormalinClock:
    """Where a specimen's clock stands; `minutes` since excision, up to the formalin, None where that is not known."""

    state: ClockState
    minutes: float | None
    warning: str
    """In words, with what to do; empty where nothing is to be done."""


def formalin_clock(specimen: SpecimenRecord, now: datetime) -> FormalinClock:
    """The clock of one specimen."""
    name = specimen.specimen_id
    if specimen.excised_at is None:
        asked = specimen.phase is not SpecimenPhase.WITHDRAWN
        warning = f"specimen {name}: nobody said when it was excised; the hour to formalin cannot be watched"
        return FormalinClock("unknown", None, warning if asked else "")
    took = (specimen.formalin_at or now) - specimen.excised_at
    minutes = took / timedelta(minutes=1)
    if specimen.formalin_at is not None:
        if took > LIMIT:
            return FormalinClock(
                "exceeded",
                minutes,
                f"specimen {name}: in formalin {minutes:.0f} min after excision, more than {_MINUTES}; tell pathology",
            )
        return FormalinClock("kept", minutes, "")
    if took > LIMIT:
        text = f"out of the body for {minutes:.0f} min, more than {_MINUTES}; put it into formalin, and tell pathology"
        return FormalinClock("over", minutes, f"specimen {name}: {text}")
    if took >= SOON:
        text = f"out of the body for {minutes:.0f} min; it must be in formalin within {_MINUTES}"
        return FormalinClock("soon", minutes, f"specimen {name}: {text}")
    return FormalinClock("running", minutes, "")


_MINUTES: Final = f"{LIMIT / timedelta(minutes=1):.0f} min"
