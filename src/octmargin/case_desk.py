"""Where people's orders meet the daemon: carries them out on the case, says what is on the stage, keeps who asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from octmargin.acquisition import CONSOLE_ALARM
from octmargin.bus import CaseMessage, DecisionMessage, Publisher, utc_from_ns
from octmargin.bus.commands import Request
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
from octmargin.errors import OrderRefusedError
from octmargin.lifecycle import Lifecycle
from octmargin.log import on_stage
from octmargin.stage import CaseSession, Stage

PEDAL = Sender(Role.OPERATOR, "pedal")

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
    ) -> None:
        self._publisher = publisher
        self._condition = condition
        self._orientation = orientation
        self._synthetic = synthetic
        self._turn_to = on_stage
        self._said: Stage | None = None
        self.recordings = recordings
        self.on_change: Callable[[], None] = lambda: None
        self.case = case
        case.on_change = self._changed
        self._say()

    # -- orders -----------------------------------------------------------------------------------------

    def carry_out(self, request: Request) -> str:
        """Do what is asked for; gives what was done, `OrderRefusedError` where it cannot be."""
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
            outcome, reason = "done", self._scan(order)
        except OrderRefusedError as refusal:
            outcome, reason = "refused", str(refusal)
        at = utc_from_ns(time.time_ns())
        self._log(PEDAL, name, {"answered_at": at, "outcome": outcome, "reason": reason})

    def note(self, sender: Sender, name: str, command: Command, reply: Reply) -> None:
        """Keep who asked for what, and what became of it."""
        about = {"id": command.id, "arguments": command.arguments, "answered_at": reply.at}
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
            meant = f"{command.specimen_id or 'none'} of {command.case_id or 'no case'}"
            raise OrderRefusedError(f"it is meant for {meant}, but {here} is on the stage; look again")

    def _carry_out(self, request: Request) -> str:
        case, order = self.case, request.order
        match order:
            case Register():
                return f"specimen {case.register(order)} is on the stage"
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
                return f"specimen {case.stage.specimen_id} is closed"
            case _:
                return self._scan(order)

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

    def _read(self, order: Decide | MarkRegion, sender: Sender) -> str:
        at = utc_from_ns(time.time_ns())
        case = self.case
        kept = case.decide(order, sender, at) if isinstance(order, Decide) else case.mark(order, sender, at)
        self._publisher.publish_decision(
            DecisionMessage(
                acquired_at=at,
                synthetic=self._synthetic,
                case_id=case.stage.case_id,
                specimen_id=case.stage.specimen_id,
                face=order.face,
                decisions=list(case.readings.decisions(order.face)),
                marks=list(case.readings.marks(order.face)),
            )
        )
        return f"kept as {kept.id}"

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

    def _changed(self) -> None:
        self._say()
        self.on_change()
