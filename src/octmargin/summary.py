"""The summary of a demonstration: what an independent subscriber received, beside what the console sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from octmargin.bus import Event, State, Tally, VerdictMessage, VerdictReceived
from octmargin.words import percent


class FrameSummary(msgspec.Struct, frozen=True):
    """Frames that the console numbered, and what became of them; sent = processed + lost."""

    sent: int
    received: int
    processed: int
    lost: int
    lost_by_reason: dict[str, int]


class FlagSummary(msgspec.Struct, frozen=True):
    """Block flags and the messages that carried them, as published and as received."""

    published: int
    received: int
    messages_published: int
    messages_received: int


class LatencySummary(msgspec.Struct, frozen=True):
    """From the last byte of a frame at the host to its flags at the subscriber, ms."""

    p50: float | None
    p99: float | None


class FaceSummary(msgspec.Struct, frozen=True):
    """The last verdict on a face beside what the source knows of it (None where nobody knows)."""

    face: str
    verdict: str | None
    truth: str | None
    coverage: float | None
    visualised_depth_mm: float | None
    reasons: list[str]


class DemoSummary(msgspec.Struct, frozen=True):
    """Everything, as it is written to the JSON file."""

    console: str
    source: str
    synthetic: bool
    depth_scale_is_nominal: bool
    """True where the depth pixel was not measured: lengths are then only proportional."""
    frames: FrameSummary
    flags: FlagSummary
    rate_alines_per_s: float
    latency_ms: LatencySummary
    faces: list[FaceSummary]
    last_word_heard: bool = True
    """False where the daemon's goodbye did not arrive: counts are then those of its last word that did."""
    notice: str = "Research use only."

    @property
    def comparison(self) -> str | None:
        """Verdicts beside the truth, in words; None where nobody knows the truth."""
        known = [face for face in self.faces if face.truth is not None and face.verdict is not None]
        if not known:
            return None
        truth_of = {"suspicious": "suspicious", "nothing_suspicious": "clear"}
        agree = sum(truth_of.get(face.verdict or "") == face.truth for face in known)
        open_ = sum(face.verdict == "indeterminate" for face in known)
        missed = sum(face.verdict == "nothing_suspicious" and face.truth == "suspicious" for face in known)
        false = sum(face.verdict == "suspicious" and face.truth == "clear" for face in known)
        return (
            f"{agree} of {len(known)} verdicts agree with the truth; {open_} indeterminate, "
            f"{missed} missed, {false} falsely suspicious"
        )

    @property
    def adds_up(self) -> bool:
        """Whether every frame that the console sent is accounted for."""
        return self.frames.sent == self.frames.processed + self.frames.lost

    @property
    def unheard(self) -> str:
        """What did not arrive at the subscriber, in words; empty where the daemon's last word did."""
        if self.last_word_heard:
            return ""
        frames = self.frames
        missing = frames.sent - frames.processed - frames.lost
        return (
            f"the daemon's last word did not arrive, and what became of {missing} of {frames.sent} frames is not known "
            "here; is the machine very busy?"
        )

    def lines(self) -> Iterator[str]:
        """The summary for people."""
        frames, flags, latency = self.frames, self.flags, self.latency_ms
        origin = "SYNTHETIC" if self.synthetic else "measured"
        yield f"{self.source} over {self.console} ({origin} spectra; research use only)"
        counts = {n: getattr(frames, n) for n in ("sent", "received", "processed", "lost")}
        yield "frames   " + "  ".join(f"{name} {count}" for name, count in counts.items())
        if not self.last_word_heard:
            yield f"{'':<8} {self.unheard}"
        for reason, count in frames.lost_by_reason.items():
            yield f"           lost {count}: {reason}"
        yield f"flags    published {flags.published}  received {flags.received}"
        p50 = "-" if latency.p50 is None else f"{latency.p50:.1f}"
        p99 = "-" if latency.p99 is None else f"{latency.p99:.1f}"
        yield f"rate     {self.rate_alines_per_s:,.0f} A-lines/s    latency p50 {p50} ms, p99 {p99} ms"
        for face in self.faces:
            if face.verdict is None:
                yield f"{face.face:<10} not scanned"
                continue
            truth = f"truth: {face.truth}" if face.truth else "truth unknown"
            scale = " (nominal scale)" if self.depth_scale_is_nominal else ""
            depth = "-" if face.visualised_depth_mm is None else f"{face.visualised_depth_mm:.2f} mm{scale}"
            verdict = face.verdict.replace("_", " ")
            coverage = percent(face.coverage or 0.0)
            yield f"{face.face:<10} {verdict:<19} coverage {coverage}  visualised depth {depth}  ({truth})"
            if face.verdict == "indeterminate":
                yield f"{'':<10} {'; '.join(face.reasons)}"
        if self.comparison is not None:
            yield f"{'truth':<10} {self.comparison} ({origin} tissue)"


class Record:
    """What the subscriber of a demonstration heard: the tally, and each face's last verdict on a whole sweep."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.whole_verdicts: dict[str, VerdictMessage] = {}
        self._heard = asyncio.Event()
        self._finals: asyncio.Queue[VerdictMessage] = asyncio.Queue()

    def add(self, event: Event) -> None:
        """Take note of an event."""
        self.tally.add(event)
        self._heard.set()
        if isinstance(event, VerdictReceived):
            verdict = event.message
            # A pass that the end of the demonstration cut short does not replace the one before it.
            if not verdict.provisional and not verdict.counts.not_scanned:
                self.whole_verdicts[verdict.face] = verdict
                self._finals.put_nowait(verdict)

    async def final_verdict(self) -> VerdictMessage:
        """The next final verdict on a whole sweep, in their order; each is given once."""
        return await self._finals.get()

    async def until(self, state: State) -> None:
        """Wait until the daemon has said that it is in `state`."""
        while self.tally.state != state:
            self._heard.clear()
            await self._heard.wait()


def summarise(
    record: Record, ready: dict[str, Any], ended: dict[str, Any], *, wire: str, nominal_scale: bool
) -> DemoSummary:
    """Put together what the subscriber heard and the simulator's first and last word."""
    tally = record.tally
    health = tally.health
    truth = ready["truth"]
    faces = []
    for face in ready["faces"]:
        verdict = record.whole_verdicts.get(face)
        faces.append(
            FaceSummary(
                face=face,
                verdict=verdict.verdict if verdict else None,
                truth=truth.get(face),
                coverage=verdict.coverage if verdict else None,
                visualised_depth_mm=verdict.visualised_depth_mm if verdict else None,
                reasons=verdict.reasons if verdict else [],
            )
        )
    counted = health.frames if health else None
    latency = tally.latency_ms
    return DemoSummary(
        console=wire,
        source=ready["source"],
        synthetic=ready["synthetic"],
        depth_scale_is_nominal=nominal_scale,
        frames=FrameSummary(
            sent=ended["frames_numbered"],
            received=counted.received if counted else 0,
            processed=counted.processed if counted else 0,
            lost=counted.lost if counted else 0,
            lost_by_reason=counted.lost_by_reason if counted else {},
        ),
        flags=FlagSummary(
            published=health.flags.published if health else 0,
            received=tally.flags.blocks,
            messages_published=health.flags.messages if health else 0,
            messages_received=tally.flags.messages,
        ),
        rate_alines_per_s=health.rate_alines_per_s if health else 0.0,
        latency_ms=LatencySummary(latency.p50, latency.p99) if latency else LatencySummary(None, None),
        faces=faces,
        # It comes behind everything else.
        last_word_heard=tally.state == "disconnected",
    )
