"""The daemon: meets broker and console, and lets go of them in reverse.

What is behind the console, from the ring to the results, is `octmargin.console_rooms`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

import structlog

from octmargin.acquisition import ConsoleLink
from octmargin.broker_words import say_broker, say_what_waits
from octmargin.bus import Publisher, Topics, utc_now
from octmargin.bus.commands import CommandDoor, Promise, Request
from octmargin.bus.orders import Command, Reply
from octmargin.bus.rights import Sender
from octmargin.case_desk import CaseDesk
from octmargin.condition import DISPLAY_FAULT, ConditionDesk
from octmargin.config import Config
from octmargin.console_rooms import ConsoleRooms
from octmargin.device import driver_class
from octmargin.displaying import OwnDisplay
from octmargin.errors import OrderRefusedError
from octmargin.frames import ConsoleInfo
from octmargin.holding import holding
from octmargin.interruptible import StandstillError, StoppedError, unless_stopping
from octmargin.log import on_stage
from octmargin.metrics import MetricsPage, serving
from octmargin.places import Places
from octmargin.record_check import check_record
from octmargin.signal import Calibration
from octmargin.startup import (
    check_folder,
    load_calibration,
    make_assessor,
)
from octmargin.totals import Totals

log = structlog.get_logger()


class Daemon:
    """One console, one engine, one publisher. `run` returns when all passes are done or `stop` is called."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._totals = Totals()
        self._metrics = MetricsPage()
        self._metrics_port = 0
        self._publisher: Publisher
        self._calibration: Calibration | None = None
        self._condition: ConditionDesk | None = None
        self._display = OwnDisplay(config, config.display) if config.display is not None else None
        self._rooms: ConsoleRooms | None = None
        """Once a console was found."""

    def stop(self) -> None:
        """Ask the daemon to end; the present sweep is closed and said first."""
        self._stop.set()
        if self._rooms is not None:
            self._rooms.stop()
        if self._condition is not None:
            self._condition.stopping()

    async def run(self) -> None:
        """Start everything, scan, stop everything. Errors before `ready` are raised; later ones are alarms."""
        # Before anything is connected: what the configuration names must be there.
        self._calibration = load_calibration(self._config.calibration)
        make_assessor(self._config)
        device, what = self._config.device, f"octmargin run for {self._config.console}"
        if self._config.recording is not None:
            # A disk that stands still may come back; until then there is an alarm.
            with contextlib.suppress(StandstillError):
                await asyncio.to_thread(check_folder, self._config.recording.folder, "recording.folder")
        if self._config.record is not None:
            with contextlib.suppress(StandstillError):
                await asyncio.to_thread(check_record, self._config.record)
        with contextlib.ExitStack() as held:
            if driver_class(device.driver).exclusive:
                held.enter_context(holding(device.driver, device.address, what))
            if self._config.metrics is not None:
                self._metrics_port = held.enter_context(serving(self._metrics, self._config.metrics))
            try:
                await self._run()
            finally:
                # A run that never met a broker has nothing to say of it.
                if self._condition is not None:
                    say_what_waits(self._publisher)

    async def _run(self) -> None:
        config = self._config
        on_stage(case=config.case.case_id, specimen=None, face=None, sweep=None)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        topics = Topics(config.site, config.console)
        publisher = self._publisher = Publisher(config.broker, topics)
        publisher.commands = CommandDoor(
            topics,
            publisher.session,
            carry_out=self._carry_out,
            answer=publisher.answer,
            note=self._note_command,
            clock=utc_now,
        )
        async with contextlib.AsyncExitStack() as stack:
            if self._display is not None:
                # First, and last at the end: a page shows also how the daemon starts, and that it has ended.
                await stack.enter_async_context(self._display.served(self._display_ended))
            with contextlib.suppress(StoppedError):
                # A broker that does not answer must not hold up an end that is asked for meanwhile.
                await unless_stopping(stack.enter_async_context(self._publisher), self._stop)
                await self._meet_the_console()

    @property
    def _case_desk(self) -> CaseDesk | None:
        """Once commands can be carried out."""
        return self._rooms.desk if self._rooms is not None else None

    def _carry_out(self, request: Request) -> str | Promise:
        if self._case_desk is None:
            raise OrderRefusedError("octmargin is starting; wait until it is ready")
        return self._case_desk.carry_out(request)

    def _press_pedal(self) -> None:
        if self._case_desk is not None:
            self._case_desk.press_pedal()
        else:
            log.warning("the foot pedal was pressed, and octmargin is not ready yet")

    def _note_command(self, sender: Sender, name: str, command: Command, reply: Reply) -> None:
        if self._case_desk is not None:
            self._case_desk.note(sender, name, command, reply)
        else:
            log.warning("command", command=name, user=sender.user, outcome=reply.outcome, reason=reply.reason)

    def _display_ended(self, reason: str) -> None:
        log.error("display ended", reason=reason)
        if self._condition is not None:
            self._condition.raise_alarm(DISPLAY_FAULT, reason)

    async def _meet_the_console(self) -> None:
        config = self._config
        condition = self._condition = ConditionDesk(
            self._publisher, self._totals, self._metrics, Places(config)
        )
        link = ConsoleLink(
            lambda: driver_class(config.device.driver)(config.device.address),
            on_fault=condition.raise_alarm,
            on_recovered=condition.clear_alarm,
            on_pedal=self._press_pedal,
        )
        is_found = False
        try:
            info = await link.open()
            is_found = True
            self._say_what_is_there(info)
            try:
                self._rooms = ConsoleRooms(
                    config,
                    self._publisher,
                    condition,
                    self._totals,
                    calibration=self._calibration,
                    display=self._display,
                    stop=self._stop,
                )
                await self._rooms.serve(link, info)
            finally:
                await link.close()
        finally:
            # That there is no console is told alone, in one line: nothing has begun that could stop.
            condition.stopping(is_told=is_found)

    def _say_what_is_there(self, info: ConsoleInfo) -> None:
        """Once the console is found: until then an error is the only line that a person reads."""
        log.info("console found", maker=info.maker, model=info.model, serial=info.serial)
        if self._config.metrics is not None:
            log.info("metrics served", host=self._config.metrics.host, port=self._metrics_port)
        if self._display is not None:
            log.info("display served", url=self._display.url_here)
        say_broker(self._publisher, self._config.broker)
