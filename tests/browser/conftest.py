"""A room as it is in use: broker, simulated console, daemon with `[display]`, and a real browser at its page.

Every part is what a user runs, the console and the daemon as processes of their own; each can be killed, frozen and
started again. Everything that starts something is an async context manager that ends it.

Starting a room takes longer than looking at it. The tests of a file share one, and all of them one browser; each has a
page of its own. What a test took out of the room is put back after it.

    async def test_something(page: Page, room: Room) -> None: ...          # the file's room, a page of the test's own
    async with room_of(folder, scan={"passes": 0}) as room: ...            # a room with a configuration of its own
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright
from tests.conftest import needs_program
from tests.ports import free_port

from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Topics
from octmargin.bus.events import Event
from octmargin.bus.tally import Tally
from octmargin.demo_processes import DaemonProcess, Simulator

SITE, CONSOLE = "north", "or-3"
SCREENS = {"wide": (1920, 1080), "small": (1280, 800), "tablet": (820, 1180)}
"""Screens that the page is made for, width and height in pixels."""

# As root and without a network: without these it refuses to start, or tries to reach its maker.
CHROMIUM_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SMALL_PHANTOM = ("--source", "phantom", "--samples", "1024", "--alines", "64", "--frames", "12")
"""Rendered within a second; scanned in about two seconds a face at `LINE_RATE_HZ`."""
LINE_RATE_HZ = 400.0
# Guards against what hangs, for machines on which everything takes long.
_READY_S = 200.0
_TEST_S = 400.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all of them, since rooms and browser outlive a test."""
    shared = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TEST_S))
            if pytest_asyncio.is_async_test(item):
                item.add_marker(shared, append=False)


class Room:
    """Broker, console and daemon of one room. What is `None` does not run now."""

    def __init__(self, folder: Path, simulate: tuple[str, ...], tables: dict[str, Any]) -> None:
        self.folder = folder
        self._simulate = simulate
        self._tables = tables
        self._display_port = free_port()
        self._console_port = free_port()
        self._broker_port = free_port()
        self._broker: EmbeddedBroker | None = None
        self._console: tuple[AsyncExitStack, Simulator] | None = None
        self._daemon: tuple[AsyncExitStack, DaemonProcess] | None = None
        self._starts = 0
        self._is_frozen = False
        self.truth: dict[str, str] = {}
        """Of each face, what the simulated specimen has there."""

    # -- where things are -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self._display_port}/"

    @property
    def topics(self) -> Topics:
        return Topics(SITE, CONSOLE)

    @property
    def broker_settings(self) -> BrokerSettings:
        return BrokerSettings(port=self._broker_port, reconnect_min_s=0.05, reconnect_max_s=0.2)

    @property
    def daemon_pid(self) -> int:
        assert self._daemon is not None, "the daemon does not run"
        return self._daemon[1].pid

    @property
    def log(self) -> str:
        """What the daemon that was started last has logged."""
        return self._log_file.read_text(errors="replace")

    @property
    def _log_file(self) -> Path:
        return self.folder / f"daemon-{self._starts}.log"

    # -- parts that come and go -----------------------------------------------------------------------

    async def start_broker(self) -> None:
        broker = EmbeddedBroker(port=self._broker_port)
        await asyncio.to_thread(broker.__enter__)
        self._broker = broker

    async def stop_broker(self) -> None:
        if self._broker is not None:
            await asyncio.to_thread(self._broker.close)
            self._broker = None

    async def plug_console(self) -> None:
        """Start the console's process, or plug in its cable again."""
        stack = AsyncExitStack()
        # A machine that stands still for seconds costs no frame.
        lenient = self.folder / "personality.toml"
        lenient.write_text("fifo_frames = 64\nheartbeat_timeout_ms = 60000\n")
        options = ["--console", "usb", "--port", str(self._console_port), "--personality", str(lenient)]
        options += self._simulate
        simulator = await stack.enter_async_context(Simulator.started(options))
        self._console = stack, simulator
        self.truth = simulator.ready["truth"]

    async def unplug_console(self) -> None:
        """Kill the console's process: as when its cable is pulled."""
        if self._console is not None:
            stack, simulator = self._console
            os.kill(simulator.pid, signal.SIGKILL)
            self._console = None
            await stack.aclose()

    async def start_daemon(self) -> None:
        """Start the daemon; it is ready when this returns."""
        self._starts += 1
        path = self.folder / "room.toml"
        path.write_bytes(msgspec.toml.encode(self._configuration()))
        stack = AsyncExitStack()
        daemon = await stack.enter_async_context(DaemonProcess.started(path, self._log_file))
        self._daemon = stack, daemon
        await self._until_ready(daemon)

    async def stop_daemon(self) -> None:
        """Ask it to end as Ctrl-C does."""
        if self._daemon is not None:
            stack, daemon = self._daemon
            self._daemon = None
            async with stack:
                await daemon.stop()

    async def kill_daemon(self) -> None:
        if self._daemon is not None:
            stack, daemon = self._daemon
            os.kill(daemon.pid, signal.SIGKILL)
            self._daemon = None
            self._is_frozen = False
            await stack.aclose()

    def freeze_daemon(self) -> None:
        """Stand still: it answers nothing, and its connections stay."""
        os.kill(self.daemon_pid, signal.SIGSTOP)
        self._is_frozen = True

    def thaw_daemon(self) -> None:
        os.kill(self.daemon_pid, signal.SIGCONT)
        self._is_frozen = False

    async def mend(self) -> None:
        """Put back what is missing."""
        if self._is_frozen:
            self.thaw_daemon()
        if self._broker is None:
            await self.start_broker()
        if self._console is None:
            await self.plug_console()
        if self._daemon is None:
            await self.start_daemon()

    async def close(self) -> None:
        if self._daemon is not None:
            with contextlib.suppress(ProcessLookupError):
                self.thaw_daemon()
        await self.kill_daemon()
        await self.unplug_console()
        await self.stop_broker()

    # -- what is said on the bus ----------------------------------------------------------------------

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Tally]:
        """What a display must know: the tally of an independent subscriber, filled while entered."""
        tally = Tally()

        async def listen() -> None:
            async for event in subscriber:
                tally.add(event)

        async with Subscriber(self.broker_settings, self.topics) as subscriber:
            task = asyncio.create_task(listen())
            try:
                yield tally
            finally:
                subscriber.stop()
                await task

    @asynccontextmanager
    async def events(self) -> AsyncIterator[asyncio.Queue[Event]]:
        """Every event of an independent subscriber, in order, while entered."""
        heard: asyncio.Queue[Event] = asyncio.Queue()

        async def listen() -> None:
            async for event in subscriber:
                heard.put_nowait(event)

        async with Subscriber(self.broker_settings, self.topics) as subscriber:
            task = asyncio.create_task(listen())
            try:
                yield heard
            finally:
                subscriber.stop()
                await task

    def _configuration(self) -> dict[str, Any]:
        tables: dict[str, Any] = {
            "site": SITE,
            "console": CONSOLE,
            "device": {"driver": "usb", "address": f"usbip://127.0.0.1:{self._console_port}"},
            "broker": {"port": self._broker_port, "reconnect_min_s": 0.05, "reconnect_max_s": 0.2},
            "scan": {"line_rate_hz": LINE_RATE_HZ, "passes": 0},
            "engine": {"depth": 320},
            "case": {"case_id": "case-7", "specimen_id": "specimen-1"},
            # What was set on the phantom's layers.
            "model": {"name": "rule-1"},
            "display": {"port": self._display_port},
        }
        for name, table in self._tables.items():
            tables[name] = {**tables.get(name, {}), **table} if isinstance(table, dict) else table
        return tables

    async def _until_ready(self, daemon: DaemonProcess) -> None:
        async def ready() -> None:
            # Another process' log: there is no event to await.
            while not re.search(r"lifecycle.*state=(ready|acquiring|degraded)", self.log):
                daemon.raise_if_failed()
                await asyncio.sleep(0.02)

        exited = asyncio.ensure_future(daemon.exited())
        try:
            async with asyncio.timeout(_READY_S):
                await ready()
        except TimeoutError:
            pytest.fail(f"the daemon was not ready within {_READY_S:g} s:\n{self.log}")
        finally:
            exited.cancel()


@asynccontextmanager
async def room_of(
    folder: Path, *, simulate: tuple[str, ...] = SMALL_PHANTOM, **tables: Any
) -> AsyncIterator[Room]:
    """A room that runs while entered; `tables` go over the daemon's configuration, key by key."""
    room = Room(folder, simulate, tables)
    try:
        await asyncio.gather(room.start_broker(), room.plug_console())
        await room.start_daemon()
        yield room
    finally:
        await room.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    """A room whose console scans the faces of a small phantom, one after the other, as long as the file is tested."""
    async with room_of(tmp_path_factory.mktemp("room")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a profile from before."""
    path = needs_program("chromium")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        try:
            yield running
        finally:
            await running.close()


@asynccontextmanager
async def screen(
    browser: Browser, name: str = "wide", *, reduced_motion: Literal["reduce"] | None = None
) -> AsyncIterator[BrowserContext]:
    """A browser's context of one of `SCREENS`: nothing of another one is in it."""
    width, height = SCREENS[name]
    size: ViewportSize = {"width": width, "height": height}
    context = await browser.new_context(viewport=size, reduced_motion=reduced_motion)
    try:
        yield context
    finally:
        await context.close()


@asynccontextmanager
async def blank_page(browser: Browser, size: str = "wide") -> AsyncIterator[Page]:
    """A page that has opened nothing yet. What goes wrong in it fails the test."""
    async with screen(browser, size) as context:
        opened = await context.new_page()
        complaints: list[str] = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        yield opened
        assert not complaints, f"the page failed: {complaints}"


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, room: Room) -> AsyncIterator[Page]:
    """The room's page, open on a wide screen; what is missing in the room afterwards is put back."""
    try:
        async with blank_page(browser) as opened:
            await opened.goto(room.url)
            yield opened
    finally:
        await room.mend()
