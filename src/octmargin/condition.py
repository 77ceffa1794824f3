"""From the daemon's condition to what is said of it: lifecycle, alarms, health, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import structlog

from octmargin.acquisition import CONSOLE_ALARM
from octmargin.bus import Description, LatencyMs, Publisher, RecordingCounts, State
from octmargin.decisions_file import DECISIONS_FAULT
from octmargin.errors import OrderRefusedError, first_cause
from octmargin.face_scan import SWEEP_ALARM, FaceScanner
from octmargin.lifecycle import Lifecycle, LifecycleMachine
from octmargin.live_record import RECORD_FAULT, REFUSED_BY_RECORD
from octmargin.metrics import BUCKETS_S, Latencies, MetricsPage
from octmargin.places import Places
from octmargin.recorder import RECORDER_FAULT, Recorder
from octmargin.results import ResultDesk
from octmargin.systemd import notify
from octmargin.totals import Totals

HEALTH_INTERVAL_S = 0.5
"""A display greys out within two seconds, and one message that comes late must not be enough for that."""

DISPLAY_FAULT = "display"
_BROKER_FAULT = "broker"
_OUTBOX_FAULT = "outbox"
_REFUSED_FAULT = "refused"
_REMEDIES = {
    CONSOLE_ALARM: "check cable and power; scanning goes on by itself when the console is back",
    SWEEP_ALARM: "the face is scanned again; where that fails too, see the log",
    _OUTBOX_FAULT: "make room on the disk; what waits for the broker is lost where the daemon ends meanwhile",
    _REFUSED_FAULT: "see the broker's log and limits; what it refused is gone",
    DISPLAY_FAULT: "see the log; results go on over the broker, and another display may show them",
    DECISIONS_FAULT: "make room on the disk; what readers say is said until the daemon ends",
    RECORD_FAULT: "make room on the disk of the record; what is to be written waits, and is lost where the daemon ends",
    REFUSED_BY_RECORD: "look at the case with `octmargin case show`; the recording has what the record refused",
    RECORDER_FAULT: "make room on the disk, or record to another one; the next pass is recorded again",
}
_CONSOLE_FAULT_REMEDY = "see the console's manual; frames that it spoiled count as lost"
_BUS_STATES: dict[Lifecycle, State] = {
    Lifecycle.READY: "ready",
    Lifecycle.ACQUIRING: "ready",
    Lifecycle.DEGRADED: "ready",
    # Not ready: displays grey out what they show until the console is back.
    Lifecycle.FAULTED: "alert",
}

log = structlog.get_logger()


class ConditionDesk:
    """Knows what the daemon is at and says it: on the bus, to Prometheus, to systemd, in the log.

    `synthetic`, `description`, `frame_ms`, what a frame takes to be scanned, and `recorder` are set as soon as they are
    known.
    """

    def __init__(self, publisher: Publisher, totals: Totals, metrics: MetricsPage, places: Places) -> None:
        self._publisher = publisher
        self._places = places
        self._totals = totals
        self._metrics = metrics
        self._say_now: Callable[[], None] | None = None
        self.lifecycle = LifecycleMachine(self._changed)
        self.synthetic = True
        self.description: Description | None = None
        self.frame_ms = math.inf
        self.recorder: Recorder | None = None
        self.look_further: Callable[[], None] = lambda: None
        """Called with each health: looks at what is not known here."""
        self._store_failures = 0
        self._was = Lifecycle.STARTING
        self._is_stopping = False
        self._is_end_told = True

    def raise_alarm(self, alarm_id: str, text: str) -> None:
        """A technical fault is there."""
        remedy = _REMEDIES.get(alarm_id, _CONSOLE_FAULT_REMEDY)
        log.warning("alarm", id=alarm_id, text=text, remedy=remedy)
        said = self._places.without(text)
        self.lifecycle.fault(alarm_id, said, disables=alarm_id == CONSOLE_ALARM)
        self._publisher.raise_alarm(alarm_id, "medium", said, remedy, synthetic=self.synthetic)
        self._note({"id": alarm_id, "text": text, "active": True})

    def clear_alarm(self, alarm_id: str) -> None:
        """It is over."""
        if alarm_id in self.lifecycle.fault_ids:
            log.info("alarm over", id=alarm_id)
            self._note({"id": alarm_id, "active": False})
        self._publisher.clear_alarm(alarm_id)
        self.lifecycle.over(alarm_id)

    def acknowledge(self, alarm_id: str, by: str) -> None:
        """Somebody knows of an alarm, which stays; `OrderRefusedError` where there is none of this id."""
        if alarm_id not in self.lifecycle.fault_ids or not self._publisher.acknowledge_alarm(alarm_id, by):
            active = ", ".join(sorted(self.lifecycle.fault_ids - {_BROKER_FAULT})) or "none"
            raise OrderRefusedError(f"there is no alarm of this id; active: {active}")

    def stopping(self, *, is_told: bool = True) -> None:
        """The end begins, be it for an error; told once, in the log only where `is_told`."""
        if not self._is_stopping:
            self._is_stopping = True
            self._is_end_told = is_told
            self.lifecycle.stopping()
            notify("STOPPING=1")

    def _note(self, alarm: dict[str, Any]) -> None:
        if self.recorder is not None:
            self.recorder.note("alarm", alarm)

    @contextlib.asynccontextmanager
    async def health_said(self, desk: ResultDesk, scanner: FaceScanner) -> AsyncIterator[None]:
        """Say health at its interval while entered; where that fails, fail with it: silence looks like death."""
        self._say_now = partial(self.say_health, desk, scanner)
        self._look_at_the_broker()
        try:
            async with asyncio.TaskGroup() as tasks:
                saying = tasks.create_task(self._keep_saying_health(desk, scanner), name="health")
                yield
                saying.cancel()
        except BaseExceptionGroup as group:
            # A person reads what went wrong, not that it did so in a group.
            raise first_cause(group) from group

    def say_health(self, desk: ResultDesk, scanner: FaceScanner) -> None:
        """Say health once."""
        latency, recorder = desk.latency, self.recorder
        p50_ms, p99_ms = (round(latency.quantile_ms(q), 3) for q in (0.5, 0.99))
        health = self._publisher.publish_health(
            self._totals.frames(scanner.book),
            rate_alines_per_s=round(self._totals.rate_alines_per_s(desk.alines_judged), 1),
            latency_ms=LatencyMs(p50=p50_ms, p99=p99_ms) if latency.count else None,
            over_budget=round(1 - latency.at_most(self.frame_ms) / latency.count, 4)
            if latency.count
            else None,
            recording=RecordingCounts(frames=recorder.written, missed=recorder.missed) if recorder else None,
            uptime_s=round(time.monotonic() - self._totals.started_s, 1),
            lifecycle=self.lifecycle.state.value,
            reasons=list(self.lifecycle.reasons),
            synthetic=self.synthetic,
        )
        at_most = {edge_s: latency.at_most(1000 * edge_s) for edge_s in (*BUCKETS_S, math.inf)}
        self._metrics.update(health, Latencies(at_most, latency.total_ms / 1000), self.description)

    def recording_began(self) -> None:
        """How the last recording failed is not this one's fault."""
        self.clear_alarm(RECORDER_FAULT)

    def _tell_of_missed_frames(self) -> None:
        """A disk that is too slow is a fault until the next recording begins."""
        if self.recorder is None or RECORDER_FAULT in self.lifecycle.fault_ids:
            return
        missed = self.recorder.missed_of_pass
        if missed:
            text = (
                f"{missed} frames of this pass came and were not recorded: the disk is too slow, or "
                "they have no place in the plan"
            )
            self.raise_alarm(RECORDER_FAULT, text)

    def _tell_of_the_outbox(self) -> None:
        """A disk that cannot keep what waits is a fault while that goes on; a message refused, from then on."""
        store, trouble = self._publisher.store, ""
        if store is not None:
            # Also one that came and went since the last look.
            trouble = store.trouble or (store.failure if store.failures > self._store_failures else "")
            self._store_failures = store.failures
        if trouble and _OUTBOX_FAULT not in self.lifecycle.fault_ids:
            self.raise_alarm(_OUTBOX_FAULT, f"what waits for the broker cannot be kept: {trouble}")
        elif not trouble and _OUTBOX_FAULT in self.lifecycle.fault_ids:
            self.clear_alarm(_OUTBOX_FAULT)
        if self._publisher.refusal and _REFUSED_FAULT not in self.lifecycle.fault_ids:
            self.raise_alarm(_REFUSED_FAULT, self._publisher.refusal)

    def _look_at_the_broker(self) -> None:
        """A broker that is gone is no alarm, for nobody would hear it."""
        is_there, was_there = self._publisher.connected, _BROKER_FAULT not in self.lifecycle.fault_ids
        if is_there and not was_there:
            log.info("broker is back", reconnects=self._publisher.reconnects)
            self.lifecycle.over(_BROKER_FAULT)
        elif was_there and not is_there:
            log.warning("broker gone; what is said waits", reason=self._publisher.last_failure)
            self.lifecycle.fault(_BROKER_FAULT, f"broker gone: {self._publisher.last_failure}")

    def _changed(self, state: Lifecycle, reasons: tuple[str, ...]) -> None:
        """Say it everywhere; `$state` has fewer words, and displays show results as good only while it is ready."""
        # That a face has ended says its own entry.
        was, self._was = self._was, state
        is_between_faces = (was, state) == (Lifecycle.ACQUIRING, Lifecycle.READY)
        is_quiet = is_between_faces or not self._is_end_told
        (log.debug if is_quiet else log.info)("lifecycle", state=state.value, reasons=list(reasons))
        notify(f"STATUS={state.value}" + "".join(f"; {reason}" for reason in reasons))
        word = _BUS_STATES.get(state)
        if word is not None and word != self._publisher.state:
            self._publisher.set_state(word)
        if self._say_now is not None:
            self._say_now()

    async def _keep_saying_health(self, desk: ResultDesk, scanner: FaceScanner) -> None:
        while True:
            self._tell_of_missed_frames()
            self._tell_of_the_outbox()
            self.look_further()
            self.say_health(desk, scanner)
            # From the event loop, where everything is supervised: a loop that stands still is found out.
            notify("WATCHDOG=1")
            self._look_at_the_broker()
            await asyncio.sleep(HEALTH_INTERVAL_S)
