"""Sweeps on a console: start, follow, close the books; and get the console back when it goes away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from octmargin.device import ConsoleFault, Disconnected, Driver, LinkTrouble, SweepEnded
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

    `on_fault(id, text)` is told of technical faults, `on_recovered(id)` of their end.
    """

    def __init__(
        self,
        make_driver: Callable[[], Driver],
        *,
        on_fault: Callable[[str, str], None],
        on_recovered: Callable[[str], None],
    ) -> None:
        self._make_driver = make_driver
        self._driver = make_driver()
        self._on_fault = on_fault
        self._on_recovered = on_recovered
        self._sweep_ended = asyncio.Event()
        self._gone = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._identity: ConsoleInfo | None = None

    async def open(self) -> ConsoleInfo:
        """Connect and identify; DeviceError says what to do where that fails."""
        await self._driver.open()
        info = await self._driver.identify()
        if self._identity is not None and info.serial != self._identity.serial:
            await self._driver.close()
            raise DeviceError(
                f"{info.address}: another console answers (serial number {info.serial}, before it was "
                f"{self._identity.serial}); connect the first one again, or restart octmargin for this one"
            )
        self._identity = info
        self._gone.clear()
        self._following = asyncio.create_task(self._follow_events(), name="console-events")
        return info

    async def close(self) -> None:
        """Let go of the console."""
        await self._driver.close()
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
            self._following = None

    async def sweep(self, book: SweepBook, ring: FrameRing, stop: asyncio.Event) -> None:
        """One sweep over the face of `book`; ends with it, with `stop`, or with the console's disappearance.

        Afterwards `book.numbered` says how many frames the console numbered.
        """
        self._sweep_ended.clear()
        await self._driver.configure(book.plan)
        book.started = await self._driver.start(ring)
        await _first_of(self._sweep_ended, self._gone, stop)
        account = await self._driver.stop()
        book.close(account.numbered)

    async def recover(self, stop: asyncio.Event) -> bool:
        """Open the console again, however long it takes; False where `stop` came first."""
        await self.close()
        told = ""
        while not stop.is_set():
            self._driver = self._make_driver()
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
            self._on_recovered(CONSOLE_ALARM)
            return True
        return False

    @property
    def is_gone(self) -> bool:
        """Whether the console has disappeared since it was opened."""
        return self._gone.is_set()

    async def _follow_events(self) -> None:
        async for event in self._driver.events():
            match event:
                case SweepEnded():
                    self._sweep_ended.set()
                case Disconnected(text):
                    log.error("console gone", reason=text)
                    self._on_fault(CONSOLE_ALARM, text)
                    self._gone.set()
                case ConsoleFault(name, text):
                    log.warning("console fault", fault=name, text=text)
                    self._on_fault(f"console-{name.replace('_', '-')}", text)
                case LinkTrouble(text, count):
                    log.warning("trouble on the link", text=text, count=count)


async def _first_of(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
