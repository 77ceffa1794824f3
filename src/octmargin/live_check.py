"""What a running daemon says of itself within some seconds, as findings of `octmargin doctor --live`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Literal

from octmargin.bus import BrokerSettings, Health, Subscriber, Tally, Topics
from octmargin.device import Finding
from octmargin.words import counted, percent

_SILENT_S = 3.0
"""A daemon says health twice a second."""
_OVER_BUDGET = 0.01
"""Share of frames over budget from which on it is worth a note."""


async def live_findings(settings: BrokerSettings, topics: Topics, seconds: float) -> list[Finding]:
    """Listen for `seconds`; BrokerError where the broker cannot be reached."""
    tally = Tally()
    first: Health | None = None
    heard_at_s = 0.0
    async with Subscriber(settings, topics) as subscriber:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for event in subscriber:
                    before = tally.health
                    tally.add(event)
                    if tally.health is not before:
                        heard_at_s = time.monotonic()
                        if first is None or (tally.health and tally.health.session != first.session):
                            first = tally.health
    is_alive = tally.state in ("init", "ready", "alert") and time.monotonic() - heard_at_s < _SILENT_S
    if tally.health is None or first is None or not is_alive:
        said = f"$state is {tally.state}" if tally.state else "nothing was said"
        return [
            Finding(
                "daemon",
                "problem",
                f"no sign of life {'any more' if tally.health else f'within {seconds:g} s'}; {said}",
                f"is `octmargin run` up, for site {topics.site} and console {topics.console}?",
            )
        ]
    return list(_findings(tally.health, first))


def _findings(health: Health, first: Health) -> Iterator[Finding]:
    level: Literal["ok", "note", "problem"] = "ok"
    if health.lifecycle in ("faulted", "degraded", "stopping"):
        level = "problem" if health.lifecycle == "faulted" else "note"
    yield Finding("daemon", level, health.lifecycle, "; ".join(health.reasons))
    frames = health.frames
    lost_now = frames.lost - first.frames.lost
    causes = ", ".join(f"{count} {cause}" for cause, count in frames.lost_by_reason.items())
    yield Finding(
        "frames",
        "note" if lost_now else "ok",
        f"{frames.sent} numbered, {frames.processed} processed, {frames.lost} lost{f' ({causes})' if causes else ''}",
        f"{lost_now} of them while this was looked at" if lost_now else "",
    )
    if health.latency_ms is not None and health.over_budget is not None:
        late = health.over_budget > _OVER_BUDGET
        yield Finding(
            "latency",
            "note" if late else "ok",
            f"p50 {health.latency_ms.p50:.1f} ms, p99 {health.latency_ms.p99:.1f} ms, "
            f"{percent(health.over_budget)} of the frames over budget",
            "lower scan.line_rate_hz, or raise engine.threads where cores are idle" if late else "",
        )
    yield _bus(health)
    if health.recording is not None:
        missed = health.recording.missed
        yield Finding(
            "recording",
            "note" if missed else "ok",
            f"{counted(health.recording.frames, 'frame')} on disk, {missed} missed",
            "see the alarm; is the disk fast enough, and not full?" if missed else "",
        )


def _bus(health: Health) -> Finding:
    queue = health.queue
    text = (
        f"{counted(queue.waiting, 'message')} waiting, {counted(queue.dropped, 'flag')} dropped, "
        f"{counted(health.reconnects, 'reconnect')}"
    )
    remedy = (
        "the broker is slow or was away; broker.outbox_frames may wait at most, with broker.outbox_file more"
        if queue.dropped
        else ""
    )
    return Finding("bus", "note" if queue.dropped else "ok", text, remedy)
