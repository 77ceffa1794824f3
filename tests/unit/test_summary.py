"""The summary of a demonstration, as people read it."""

from __future__ import annotations

import msgspec
import pytest

from octmargin.bus import State
from octmargin.bus.events import StateChanged
from octmargin.summary import (
    DemoSummary,
    FaceSummary,
    FlagSummary,
    FrameSummary,
    LatencySummary,
    Record,
    summarise,
)

REASONS = ["suspicious blocks in clusters of 1 at most, below 4", "coverage 12.5% is below 95% (9 too dark)"]


def summary_of(verdict: str = "suspicious") -> DemoSummary:
    return DemoSummary(
        console="usb",
        source="a phantom",
        synthetic=True,
        depth_scale_is_nominal=False,
        frames=FrameSummary(4, 4, 4, 0, {}),
        flags=FlagSummary(8, 8, 4, 4),
        rate_alines_per_s=1000.0,
        latency_ms=LatencySummary(1.0, 2.0),
        faces=[FaceSummary("superior", verdict, None, 0.12, 0.9, REASONS)],
    )


def said_of(verdict: str) -> str:
    return "\n".join(summary_of(verdict).lines())


def test_a_face_that_is_indeterminate_says_every_reason() -> None:
    assert "; ".join(REASONS) in said_of("indeterminate")
    assert REASONS[0] not in said_of("nothing_suspicious")


def test_a_last_word_that_did_not_arrive_is_no_imbalance() -> None:
    """What the daemon counted is not known then; where it was heard, a frame that is missing is one."""
    heard = msgspec.structs.replace(summary_of(), frames=FrameSummary(40, 25, 24, 1, {}))
    assert not heard.adds_up
    assert not heard.unheard
    unheard = msgspec.structs.replace(heard, last_word_heard=False)
    assert "last word did not arrive, and what became of 15 of 40 frames is not known here" in unheard.unheard
    assert unheard.unheard in "\n".join(unheard.lines())


@pytest.mark.parametrize(("state", "is_heard"), [("ready", False), ("disconnected", True)])
def test_the_daemon_s_last_word_is_its_goodbye(state: State, *, is_heard: bool) -> None:
    record = Record()
    record.add(StateChanged(received_at_ns=1, retained=False, state=state))
    ready = {"truth": {}, "faces": [], "source": "a phantom", "synthetic": True}
    summary = summarise(record, ready, {"frames_numbered": 3}, wire="usb", nominal_scale=False)
    assert summary.last_word_heard is is_heard
    assert ("last word did not arrive" in "\n".join(summary.lines())) is not is_heard
