"""The summary of a demonstration, as people read it."""

from __future__ import annotations

from octmargin.summary import DemoSummary, FaceSummary, FlagSummary, FrameSummary, LatencySummary

REASONS = ["suspicious blocks in clusters of 1 at most, below 4", "coverage 0.12 is below 0.95 (9 too dark)"]


def said_of(verdict: str) -> str:
    summary = DemoSummary(
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
    return "\n".join(summary.lines())


def test_a_face_that_is_indeterminate_says_every_reason() -> None:
    assert "; ".join(REASONS) in said_of("indeterminate")
    assert REASONS[0] not in said_of("nothing_suspicious")
