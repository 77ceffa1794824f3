"""What a new run of the daemon says of an earlier one: of each face its newest sweep, never an older one instead."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests import example_case
from tests.unit.case.examples import sweep as plain_sweep

from octmargin.case.record.model import StateCounts
from octmargin.record_entries import BEING_SCANNED, OTHERWISE_JUDGED, newest_again, swept_of
from octmargin.stage.readings import Swept

ABOUT = {"case_id": "case-31", "specimen_id": "lump-1"}


def test_a_rescan_that_was_cut_short_takes_the_place_of_nothing_suspicious() -> None:
    whole = example_case.sweep("medial", 1, None)
    begun = replace(
        plain_sweep("medial", 2, provisional=True, verdict="indeterminate", reasons=(BEING_SCANNED,)),
        coverage=0.0, visualised_depth_mm=None, counts=StateCounts(not_scanned=12), frames=4, grid=(),
    )  # fmt: skip
    [(before, final)] = newest_again(example_case.specimen(sweeps=(whole,)), example_case.VERSIONS, **ABOUT)
    assert (final.verdict, final.provisional, before.grid) == ("nothing_suspicious", False, ["NNN"] * 4)
    [(after, said)] = newest_again(
        example_case.specimen(sweeps=(whole, begun)), example_case.VERSIONS, **ABOUT
    )
    assert (said.sweep, said.verdict, said.provisional) == (2, "indeterminate", True)
    assert BEING_SCANNED in said.reasons
    assert after.grid == ["..."] * 4
    assert swept_of(begun) == Swept(2, "medial", 4, 3, key_views=None, is_whole=False)


def test_what_cannot_be_relied_on_is_not_said_again_as_final() -> None:
    whole = example_case.sweep("medial", 1, None, trouble="its log was changed")
    [(_, said)] = newest_again(example_case.specimen(sweeps=(whole,)), example_case.VERSIONS, **ABOUT)
    assert (said.verdict, said.provisional) == ("indeterminate", True)
    assert said.reasons[0] == "its log was changed"


@pytest.mark.parametrize("what", ["model_hash", "calibration_hash", "configuration_hash"])
def test_what_something_else_judged_does_not_stand_under_this_run_s_description(what: str) -> None:
    whole = example_case.sweep("medial", 1, None)
    now = replace(example_case.VERSIONS, **{what: "another"})
    [(again, said)] = newest_again(example_case.specimen(sweeps=(whole,)), now, **ABOUT)
    assert not any("N" in row for row in again.grid), "no block stays cleared either"
    assert again.counts.nothing_suspicious == 0
    assert (said.verdict, said.provisional, said.reasons[0]) == ("indeterminate", True, OTHERWISE_JUDGED)
