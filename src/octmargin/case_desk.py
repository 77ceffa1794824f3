"""Where people's orders meet the daemon: carries them out on the case, says what is on the stage, keeps who asked."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from octmargin.acquisition import CONSOLE_ALARM
from octmargin.bus import CaseMessage, DecisionMessage, Publisher, Specimen, utc_from_ns
from octmargin.bus.commands import Promise, Request
from octmargin.bus.decisions import Decision, Mark
from octmargin.bus.orders import (
    Acknowledge,
    Close,
    Command,
    Decide,
    MarkRegion,
    Pause,
    Register,
    Reply,
    Rescan,
    Resume,
    Select,
    Start,
    Stop,
)
from octmargin.bus.rights import Role, Sender
from octmargin.case_recordings import CaseRecordings
from octmargin.condition import ConditionDesk
from octmargin.config import OrientationSection
from octmargin.decisions_file import DecisionsFile, KeptReading
from octmargin.errors import OrderRefusedError
from octmargin.lifecycle import Lifecycle
from octmargin.live_record import LiveRecord, OnStage
from octmargin.log import on_stage
from octmargin.record_entries import newest_again, said_again, swept_of, versions_of
from octmargin.stage import CaseSession, Stage

PEDAL = Sender(Role.OPERATOR, "pedal")
PEDAL_REST_S = 0.6
"""So long after a change of phase a press counts for nothing: it was meant for what was before, or is a double one."""

log = structlog.get_logger()


class CaseDesk:
    """Carries out orders on `case`; lives on the event loop.

    `on_stage(case_id, specimen_id)` is told which specimen results are of; `on_change`, once it is set, whenever
    something may be wished of the scan.
    """

    def __init__(
        self,
        publisher: Publisher,
        condition: ConditionDesk,
        case: CaseSession,
        orientation: OrientationSection,
        *,
        synthetic: bool,
        on_stage: Callable[[str, str], None],
        recordings: CaseRecordings | None,
        decisions: DecisionsFile | None,
        record: LiveRecord | None = None,
    ) -> None:
        self._publisher = publisher
        self._condition = condition
        self._orientation = orientation
        self._synthetic = synthetic
        self._turn_to = on_stage
        self._said: Stage | None = None
        self.recordings = recordings
        self._decisions = decisions
        self._record = record
        self._resumed: OnStage | None = None
        """Of an earlier run, where the record had it on the stage."""
        self.on_change: Callable[[], None] = lambda: None
        self.case = case
        self._phase, self._phase_since_s = case.phase, -math.inf
        case.on_change = self._changed
        self._say()

    # -- orders -----------------------------------------------------------------------------------------

    def go_on(self, was: OnStage) -> int:
        """Go on with what an earlier run left on the stage; gives the number of its newest sweep."""
        specimen, stage = was.specimen, self.case.stage
        if specimen is None or specimen.staging is None or self._record is None:
            if not stage.specimen_id:
                self.case.go_on(Stage(was.case_id), ())
            return 0
        staging = specimen.staging
        what = Specimen(
            kind=specimen.kind,
            laterality=staging.laterality,
            orientation=staging.orientation,
            label=staging.label,
        )
        self._resumed = was
        self._record.goes_on(specimen)
        self.case.go_on(
            Stage(was.case_id, specimen.specimen_id, what, staging.faces), map(swept_of, specimen.sweeps)
        )
        about = {"case_id": was.case_id, "specimen_id": specimen.specimen_id}
        assert self._condition.description is not None  # noqa: S101 - said before anything is on the stage
        faces, judge = [], versions_of(self._condition.description)
        for face_map, verdict in newest_again(specimen, judge, **about):
            self._publisher.publish_map(face_map)
            self._publisher.publish_verdict(verdict)
            faces.append(verdict.face)
        log.info("the record had a specimen on the stage; it goes on", **about, faces=sorted(faces))
        return max((one.sweep for one in specimen.sweeps), default=0)

    def carry_out(self, request: Request) -> str | Promise:
        """Do what is asked for; gives what was done, `OrderRefusedError` where it cannot be.

        What the record is to keep is a promise until it is on its disk.
        """
        self._must_not_end()
        self._must_be_meant_for_this(request.command)
        return self._carry_out(request)

    def press_pedal(self) -> None:
        """The console's foot pedal was pressed: start, pause or go on, whatever is next."""
        order: Start | Pause | Resume = Start()
        if self.case.phase in ("scanning", "paused"):
            order = Resume() if self.case.phase == "paused" else Pause()
        name = type(order).__name__.lower()
        try:
            self._must_not_end()
            self._must_be_meant_for_this_phase()
            outcome, reason = "done", self._scan(order)
        except OrderRefusedError as refusal:
            outcome, reason = "refused", str(refusal)
        at = utc_from_ns(time.time_ns())
        self._log(PEDAL, name, {"answered_at": at, "outcome": outcome, "reason": reason})

    def _must_be_meant_for_this_phase(self) -> None:
        if time.monotonic() - self._phase_since_s < PEDAL_REST_S:
            raise OrderRefusedError("something else was going on just before; press again")

    def note(self, sender: Sender, name: str, command: Command, reply: Reply) -> None:
        """Keep who asked for what, and what became of it.

        Of what was refused no arguments are kept: they may be what must not be, a patient's name or number.
        """
        arguments = command.arguments if reply.outcome == "done" else {}
        about = {"id": command.id, "arguments": arguments, "answered_at": reply.at}
        self._log(sender, name, {**about, "outcome": reply.outcome, "reason": reply.reason})

    def _log(self, sender: Sender, name: str, content: dict[str, Any]) -> None:
        entry = {"command": name, "role": sender.role.value, "user": sender.user, **content}
        log.info("command", **{**entry, "answered_at": content["answered_at"].isoformat()})
        stage = self.case.stage
        if self.recordings is not None:
            about = {"case_id": stage.case_id, "specimen_id": stage.specimen_id}
            self.recordings.note("command", entry | about, stage)

    def _must_not_end(self) -> None:
        if self._condition.lifecycle.state is Lifecycle.STOPPING:
            raise OrderRefusedError("octmargin ends; start it again first")

    def _must_be_meant_for_this(self, command: Command) -> None:
        stage = self.case.stage
        if (command.case_id, command.specimen_id) != (stage.case_id, stage.specimen_id):
            here = f"specimen {stage.specimen_id} of {stage.case_id}" if stage.specimen_id else "no specimen"
            raise OrderRefusedError(f"{here} is on the stage, and it is meant for another; look again")

    def _carry_out(self, request: Request) -> str | Promise:
        case, order = self.case, request.order
        match order:
            case Register():
                done = f"specimen {case.register(order)} is on the stage"
                return self._promised(
                    done, lambda record, by: record.registered(case.stage, by), request.sender
                )
            case Select():
                case.select(order.face)
                return f"{order.face} is selected"
            case Acknowledge():
                self._condition.acknowledge(order.alarm_id, request.sender.user)
                return f"alarm {order.alarm_id} is acknowledged"
            case Decide() | MarkRegion():
                return self._read(order, request.sender)
            case Close():
                case.close()
                done = f"specimen {case.stage.specimen_id} is closed"
                return self._promised(done, lambda record, by: record.closed(case.stage, by), request.sender)
            case _:
                return self._scan(order)

    def _promised(
        self,
        done: str,
        keep: Callable[[LiveRecord, str], asyncio.Future[str]],
        sender: Sender,
    ) -> str | Promise:
        if self._record is None:
            return done
        return Promise(done, keep(self._record, f"{sender.role.value}/{sender.user}"))

    def _scan(self, order: Start | Pause | Resume | Stop | Rescan) -> str:
        if (
            isinstance(order, Start | Resume | Rescan)
            and CONSOLE_ALARM in self._condition.lifecycle.fault_ids
        ):
            # Begun by itself when it is back, it would scan whatever lies there by then.
            raise OrderRefusedError("the console is away; check it, and repeat this when it is back")
        match order:
            case Start():
                return f"scanning {', '.join(self.case.start(order))}"
            case Rescan():
                self.case.rescan(order.face)
                return f"scanning {order.face} anew"
            case Pause():
                self.case.pause()
                return "the sweep is being paused"
            case Resume():
                self.case.resume()
                return "the sweep goes on"
            case Stop():
                self.case.stop()
                return "the sweep is being ended"

    def _read(self, order: Decide | MarkRegion, sender: Sender) -> str | Promise:
        at = utc_from_ns(time.time_ns())
        case = self.case
        kept = case.decide(order, sender, at) if isinstance(order, Decide) else case.mark(order, sender, at)
        self._say_readings(order.face)
        done, in_file = f"kept as {kept.id} on {order.face}", None
        if self._decisions is not None:
            stage = case.stage
            reading = KeptReading(
                case_id=stage.case_id,
                specimen_id=stage.specimen_id,
                face=order.face,
                synthetic=self._synthetic,
                decision=kept if isinstance(kept, Decision) else None,
                mark=kept if isinstance(kept, Mark) else None,
            )
            in_file = self._decisions.keep(reading, self._how_long())
        if self._record is not None:
            return self._promised(
                done, lambda record, by: record.read(case.stage, order.face, kept, by), sender
            )
        return done + self._how_long() if in_file is None else Promise(done, in_file)

    def _how_long(self) -> str:
        """What is to be said beside "kept" where it is not on the disk for the next run."""
        left = ", then in the recording alone" if self.recordings is not None else ""
        return f" until the daemon ends{left}"

    def _say_readings(self, face: str) -> None:
        case = self.case
        self._publisher.publish_decision(
            DecisionMessage(
                acquired_at=utc_from_ns(time.time_ns()),
                synthetic=self._synthetic,
                case_id=case.stage.case_id,
                specimen_id=case.stage.specimen_id,
                face=face,
                decisions=list(case.readings.decisions(face)),
                marks=list(case.readings.marks(face)),
            )
        )

    def _recall(self) -> None:
        """Say again what an earlier run of the daemon heard of this specimen."""
        readings = self.case.readings
        for face, said in self._of_earlier_runs():
            readings.remember(face, said)
        for face in readings.faces:
            self._say_readings(face)

    def _of_earlier_runs(self) -> Iterator[tuple[str, Decision | Mark]]:
        stage, resumed = self.case.stage, self._resumed
        specimen = None if resumed is None or resumed.case_id != stage.case_id else resumed.specimen
        # Specimens of different cases may have the same name.
        if specimen is not None and specimen.specimen_id == stage.specimen_id:
            for decision in specimen.decisions:
                yield decision.face, said_again(decision)
            for mark in specimen.marks:
                yield mark.face, said_again(mark)
        elif self._decisions is not None:
            for kept in self._decisions.of(stage.case_id, stage.specimen_id):
                said = kept.decision or kept.mark
                if said is not None and kept.synthetic == self._synthetic:
                    yield kept.face, said

    # -- what is on the stage ---------------------------------------------------------------------------

    def _say(self) -> None:
        case, stage = self.case, self.case.stage
        self._publisher.publish_case(
            CaseMessage(
                acquired_at=utc_from_ns(time.time_ns()),
                synthetic=self._synthetic,
                case_id=stage.case_id,
                specimen_id=stage.specimen_id,
                specimen=stage.specimen,
                faces=list(stage.faces),
                phase=case.phase,
                face=case.face,
                sweeps=dict(case.sweeps),
                ink=self._orientation.ink,
                sutures=self._orientation.sutures,
            )
        )
        if stage != self._said:
            if self._said is not None:
                # Of another specimen: nothing of it is about this one.
                self._publisher.forget_results()
            self._said = stage
            self._turn_to(stage.case_id, stage.specimen_id)
            on_stage(case=stage.case_id, specimen=stage.specimen_id or None, face=None, sweep=None)
            self._recall()

    def _changed(self) -> None:
        if self.case.phase != self._phase:
            self._phase, self._phase_since_s = self.case.phase, time.monotonic()
        self._say()
        self.on_change()
