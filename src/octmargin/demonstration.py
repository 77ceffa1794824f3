"""The demonstration: real processes on real wires, and a summary made by an independent subscriber."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from octmargin import demo_case
from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Topics, utc_now
from octmargin.bus.rights import Role, Sender
from octmargin.commanding import give
from octmargin.demo_plan import (
    CONSOLE,
    NOMINAL_AXIAL_UM,
    SITE,
    SPECIMEN,
    SPECIMEN_ID,
    DemoPlan,
    file_calibration,
    kind_of,
    simulate_options,
    write_config,
)
from octmargin.demo_processes import START_TIMEOUT_S, STOP_TIMEOUT_S, DaemonProcess, Simulator
from octmargin.display import DisplaySection
from octmargin.errors import BrokerError, DeviceBusyError, DeviceError, OctMarginError
from octmargin.holding import holding
from octmargin.summary import DemoSummary, Record, summarise
from octmargin.watch import render

_SENDER = Sender(Role.OPERATOR, "demo")
REFRESH_PER_S = 5
RELAY_INTERVAL_S = 0.2


class Demonstration:
    """One run; its files (configuration, logs) live in `folder`."""

    def __init__(self, plan: DemoPlan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._record = Record()
        self._say = Console(stderr=True, soft_wrap=True)
        self._screen = Console()
        self._scanning = False
        self._port = 0
        """Of the display."""
        self.reports: list[str] = []
        """Files of the report that was signed at the end, a line each; nothing of a file of spectra."""

    async def run(self) -> DemoSummary | None:
        """Start everything, scan, stop everything; None where it was stopped before the first frame.

        OctMarginError says in one line what went wrong.
        """
        stop = asyncio.Event()
        working = asyncio.create_task(self._work(stop))

        def stop_asked() -> None:
            if not stop.is_set():
                self._progress("stopping ...")
            stop.set()
            if not self._scanning:
                working.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop_asked)
        try:
            return await working
        except asyncio.CancelledError:
            if stop.is_set():
                return None
            raise

    async def _work(self, stop: asyncio.Event) -> DemoSummary:
        async with contextlib.AsyncExitStack() as stack:
            broker = EmbeddedBroker()
            stack.callback(broker.close)
            await asyncio.to_thread(broker.__enter__)
            settings = BrokerSettings(host=broker.host, port=broker.port)
            await asyncio.to_thread(demo_case.open_case, self._folder)
            self._progress("starting the simulated console (it renders its specimen first) ...")
            simulator = await stack.enter_async_context(
                Simulator.started(simulate_options(self._plan, self._folder))
            )
            wanted = DisplaySection().port
            try:
                stack.enter_context(holding("display", f"127.0.0.1:{wanted}", "octmargin demo"))
            except DeviceBusyError:
                # Another demonstration has it, or is about to.
                wanted = 0
            self._port = await asyncio.to_thread(free_port, wanted)
            config = self._configure(simulator.ready, settings)
            listener = await stack.enter_async_context(_listening(settings, self._record))
            daemon = await stack.enter_async_context(
                DaemonProcess.started(config, self._folder / "daemon.log")
            )
            self._progress("starting the daemon ...")
            await self._until_ready(daemon)
            self._progress(f"[bold]the display: {self._url}[/bold]")
            self._scanning = True
            if self._plan.is_on_command:
                await self._begin(settings)
            with _in_background(demo_case.decide(settings, Topics(SITE, CONSOLE), self._record)):
                await self._scan(daemon, stop)
                await daemon.stop()
            await self._until_quiet(listener)
            ended = await simulator.stop()
        await self._report()
        return summarise(
            self._record,
            simulator.ready,
            ended,
            wire=self._plan.wire.value,
            nominal_scale=self._plan.has_nominal_scale,
        )

    # -- steps ----------------------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        """Of the display."""
        return f"http://127.0.0.1:{self._port}/"

    async def _begin(self, settings: BrokerSettings) -> None:
        """Register the specimen and have all of it scanned, by the commands that the display gives too."""
        specimen = {**SPECIMEN, "specimen_id": SPECIMEN_ID, "kind": kind_of(self._plan)}
        for name, arguments in (("register", specimen), ("start", {"all": True})):
            reply = await give(settings, Topics(SITE, CONSOLE), _SENDER, name, arguments)
            if reply.outcome != "done":
                raise OctMarginError(f"the daemon refuses to {name}: {reply.reason}")

    async def _report(self) -> None:
        """What the simulated surgeon says of it, signed, as every file that a report is."""
        if not self._plan.is_simulated:
            return
        record = self._folder / demo_case.RECORD
        if await asyncio.to_thread(demo_case.interpret_and_sign, record, SPECIMEN_ID):
            self._progress("writing the report of the simulated surgeon ...")
            self.reports = await demo_case.write_report(self._folder)

    async def _scan(self, daemon: DaemonProcess, stop: asyncio.Event) -> None:
        """Watch for the given time, or until Ctrl-C."""
        # What is drawn anew all the time is for a terminal; a pipe or a file gets a line for what matters.
        is_watched = not self._plan.headless
        watch = self._watch if self._screen.is_terminal else self._tell
        watching = asyncio.create_task(watch()) if is_watched else None
        try:
            async with asyncio.timeout(self._plan.seconds):
                await _first_done(stop.wait(), daemon.exited())
        except TimeoutError:
            pass
        finally:
            if watching is not None:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
        daemon.raise_if_failed()

    async def _watch(self) -> None:
        with Live(console=self._screen, refresh_per_second=REFRESH_PER_S, screen=False) as live:
            while True:
                seen = render(self._record.tally, utc_now(), Topics(SITE, CONSOLE))
                live.update(Group(seen, Text(f"the display: {self._url}", "bold")))
                await asyncio.sleep(1 / REFRESH_PER_S)

    async def _tell(self) -> None:
        """A line for each final verdict, and for each state of the daemon."""
        told: dict[str, str] = {}
        while True:
            for subject, words in self._news():
                if told.get(subject) != words:
                    told[subject] = words
                    self._progress(words)
            await asyncio.sleep(1 / REFRESH_PER_S)

    def _news(self) -> Iterator[tuple[str, str]]:
        tally = self._record.tally
        if tally.state is not None:
            yield "", f"the daemon is {tally.state}"
        for face, seen in tally.faces.items():
            verdict = seen.verdict
            if verdict is not None and not verdict.provisional:
                words = f"{face}, sweep {verdict.sweep}: {verdict.verdict.replace('_', ' ')}"
                yield face, f"{words}{' (SYNTHETIC)' if verdict.synthetic else ''}"

    async def _until_ready(self, daemon: DaemonProcess) -> None:
        """Wait until the subscriber hears `ready`; the daemon's own words where it never will."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await _first_done(self._record.until("ready"), daemon.exited(), self._relay_compiling(daemon))
        except TimeoutError:
            raise DeviceError(
                f"the daemon was not ready within {START_TIMEOUT_S:g} s: {daemon.last_words()}"
            ) from None
        daemon.raise_if_failed()

    async def _relay_compiling(self, daemon: DaemonProcess) -> None:
        """Say what the daemon's log says of compiling, for as long as this is awaited."""
        said = 0
        while True:
            lines = daemon.compiling()
            for line in lines[said:]:
                self._progress(line)
            said = len(lines)
            await asyncio.sleep(RELAY_INTERVAL_S)

    async def _until_quiet(self, listener: asyncio.Task[None]) -> None:
        """The daemon has said goodbye after its last flag: when that arrived, everything has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await _first_done(self._record.until("disconnected"), _until_done(listener))

    def _configure(self, ready: dict[str, Any], broker: BrokerSettings) -> Path:
        plan, calibration = self._plan, {}
        if plan.has_nominal_scale:
            self._progress(
                f"no depth scale given: {NOMINAL_AXIAL_UM:g} µm per pixel is taken as a nominal one (--axial-um)"
            )
        if not plan.is_simulated:
            calibration = file_calibration(plan, self._folder)
        return write_config(plan, self._folder, ready, broker, self._port, calibration)

    def _progress(self, text: str) -> None:
        self._say.print(text, highlight=False)


@contextlib.contextmanager
def _in_background(work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Have it done while entered, and no longer."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def _listening(settings: BrokerSettings, record: Record) -> AsyncIterator[asyncio.Task[None]]:
    """An independent subscriber that fills the record; entered when it is subscribed."""
    subscribed = asyncio.Event()

    async def listen() -> None:
        async with Subscriber(settings, Topics(SITE, CONSOLE)) as subscriber:
            subscribed.set()
            async for event in subscriber:
                record.add(event)

    task = asyncio.create_task(listen(), name="subscriber")
    try:
        await _first_done(subscribed.wait(), _until_done(task))
        if task.done():
            raise BrokerError(f"the subscriber could not start: {task.exception()}")
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _until_done(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


async def _first_done(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def free_port(wanted: int) -> int:
    """The port that is wanted, or where another program has it any free one, on this machine alone."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            found: int = probe.getsockname()[1]
            return found
    raise BrokerError("no port on 127.0.0.1 is free; close some programs")
