"""Sweeps on a console: start, follow, close the books; and get the console back when it goes away."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable

import structlog

from octmargin.device import (
    ConsoleFault,
    DeviceEvent,
    Disconnected,
    Driver,
    LinkTrouble,
    PedalPressed,
    SweepEnded,
)
from octmargin.errors import DeviceError
from octmargin.frames import ConsoleInfo
from octmargin.ring import FrameRing
from octmargin.sweeps import SweepBook

RETRY_S = 2.0
CONSOLE_ALARM = "console"
"""Raised while the console is gone."""

log = structlog.get_logger()


class ConsoleLink:
    """A driver with its events followed, and opened again when the console comes back.

    `on_fault(id, text)` is told of technical faults, `on_recovered(id)` of their end, `on_pedal` of the foot pedal.
    """

    def __init__(
        self,
        make_driver: Callable[[], Driver],
        *,
        on_fault: Callable[[str, str], None],
        on_recovered: Callable[[str], None],
        on_pedal: Callable[[], None],
    ) -> None:
        self._make_driver = make_driver
        self._driver = make_driver()
        self._on_fault = on_fault
        self._on_recovered = on_recovered
        self._on_pedal = on_pedal
        self._sweep_ended = asyncio.Event()
        self._gone = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._identity: ConsoleInfo | None = None
        self._faults: set[str] = set()

    async def open(self) -> ConsoleInfo:
        """Connect and identify; DeviceError says what to do where that fails."""
        await self._driver.open()
        try:
            info = await self._driver.identify()
            self._check_identity(info)
        except BaseException:
            # Left open, it would keep the console from every later attempt.
            await self._driver.close()
            raise
        self._identity = info
        self._gone.clear()
        self._following = asyncio.create_task(self._follow_events(), name="console-events")
        return info

    def _check_identity(self, info: ConsoleInfo) -> None:
        if self._identity is not None and info.serial != self._identity.serial:
            raise DeviceError(
                f"{info.address}: another console answers (serial number {info.serial}, before it was "
                f"{self._identity.serial}); connect the first one again, or restart octmargin for this one"
            )

    async def close(self) -> None:
        """Let go of the console."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
            self._following = None
        await self._driver.close()

    async def sweep(self, book: SweepBook, ring: FrameRing, stop: asyncio.Event) -> int:
        """Scan what `book` has not scanned yet; ends with it, with `stop`, or with the console's disappearance.

        Gives how many frames the console numbered. Whatever happens, each of them was given to the ring, or
        reported to it as lost. CommandRefusedError where the console cannot begin within a sweep.
        """
        self._sweep_ended.clear()
        book.wait()
        plan = book.remaining or book.plan
        await self._driver.configure(plan)
        started = await self._driver.start(ring)
        book.begin(started, plan.first_frame)
        self._forget_faults()
        await _first_of(self._sweep_ended, self._gone, stop)
        return (await self._driver.stop()).numbered

    def _forget_faults(self) -> None:
        """A console clears its faults when a sweep begins; those that persist it reports again."""
        for fault in self._faults:
            self._on_recovered(fault)
        self._faults.clear()

    async def recover(self, stop: asyncio.Event) -> bool:
        """Open the console again, however long it takes; False where `stop` came first."""
        await self.close()
        told = ""
        while not stop.is_set():
            accounted_until = self._driver.accounted_until
            self._driver = self._make_driver()
            self._driver.accounted_until = accounted_until
            try:
                await self.open()
            except DeviceError as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("console not back yet", reason=told)
                    self._on_fault(CONSOLE_ALARM, told)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await stop.wait()
                continue
            log.info("console is back")
            self._on_recovered(CONSOLE_ALARM)
            return True
        return False

    async def gone_or(self, stop: asyncio.Event, seconds: float | None = None) -> None:
        """Wait until the console is known to be gone, or `stop`, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _first_of(self._gone, stop)

    @property
    def is_gone(self) -> bool:
        """Whether the console has disappeared since it was opened."""
        return self._gone.is_set()

    async def _follow_events(self) -> None:
        reason = "its driver reports nothing any more"
        try:
            async for event in self._driver.events():
                self._take(event)
        except Exception as error:  # noqa: BLE001 - a foreign driver may fail in any way
            reason = f"its driver failed: {type(error).__name__}: {error}"
        if not self._gone.is_set():
            self._lose(f"{self._driver.address}: {reason}")

    def _take(self, event: DeviceEvent) -> None:
        match event:
            case SweepEnded():
                self._sweep_ended.set()
            case Disconnected(text):
                self._lose(text)
            case ConsoleFault(name, text):
                log.warning("console fault", fault=name, text=text)
                fault = "console-" + re.sub("[^a-z0-9]+", "-", name.lower())
                self._faults.add(fault)
                self._on_fault(fault, text)
            case PedalPressed():
                self._on_pedal()
            case LinkTrouble(text, count):
                log.warning("trouble on the link", text=text, count=count)

    def _lose(self, text: str) -> None:
        log.error("console gone", reason=text)
        self._gone.set()
        self._on_fault(CONSOLE_ALARM, text)


async def _first_of(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
