"""The hour from excision to formalin: watched, and said when it is nearly or quite over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.case.examples import NOW

from octmargin.case.record.formalin import formalin_clock
from octmargin.case.record.model import SpecimenPhase, SpecimenRecord


def specimen(excised_min_ago: float | None, formalin_after_min: float | None = None) -> SpecimenRecord:
    excised_at = None if excised_min_ago is None else NOW - timedelta(minutes=excised_min_ago)
    formalin_at = None
    if formalin_after_min is not None and excised_at is not None:
        formalin_at = excised_at + timedelta(minutes=formalin_after_min)
    return SpecimenRecord(
        specimen_id="s-1",
        phase=SpecimenPhase.SCANNED,
        kind="lumpectomy",
        laterality="left",
        registered_at=NOW,
        excised_at=excised_at,
        formalin_at=formalin_at,
        faces=("medial",),
    )


@pytest.mark.parametrize(
    ("excised_min_ago", "formalin_after_min", "state", "warning"),
    [
        (None, None, "unknown", "nobody said when it was excised"),
        (0, None, "running", ""),
        (44.9, None, "running", ""),
        (45, None, "soon", "out of the body for 45 min; it must be in formalin within 60 min"),
        (60, None, "soon", "out of the body for 60 min"),
        (61, None, "over", "out of the body for 61 min, more than 60 min; put it into formalin"),
        (600, 60, "kept", ""),
        (600, 12, "kept", ""),
        (600, 61, "exceeded", "in formalin 61 min after excision, more than 60 min; tell pathology"),
    ],
)
def test_the_clock(
    excised_min_ago: float | None, formalin_after_min: float | None, state: str, warning: str
) -> None:
    clock = formalin_clock(specimen(excised_min_ago, formalin_after_min), NOW)
    assert clock.state == state
    assert (warning in clock.warning) if warning else not clock.warning


def test_it_runs_from_excision_to_formalin() -> None:
    assert formalin_clock(specimen(90), NOW).minutes == 90
    assert formalin_clock(specimen(90, 30), NOW).minutes == 30
    assert formalin_clock(specimen(None), NOW).minutes is None
