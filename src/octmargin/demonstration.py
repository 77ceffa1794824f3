"""The demonstration: real processes on real wires, and a summary made by an independent subscriber."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from octmargin import demo_scene
from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Topics, utc_now
from octmargin.bus.rights import Role, Sender
from octmargin.commanding import give
from octmargin.demo_processes import START_TIMEOUT_S, STOP_TIMEOUT_S, DaemonProcess, Simulator
from octmargin.display import DisplaySection
from octmargin.errors import BrokerError, CalibrationError, DeviceError, InputError, OctMarginError
from octmargin.frames import FACES
from octmargin.mirrors import calibration_beside
from octmargin.spectra import SpectraFile
from octmargin.summary import DemoSummary, Record, summarise
from octmargin.watch import render

SITE, CONSOLE = "demo", "simulator"
_SPECIMEN_ID = "demo-1"
NOMINAL_AXIAL_UM = 5.0
FILE_LINE_RATE_HZ = 10_000.0
"""Files bring no rate of their own; small frames at this rate are judged without haste."""
STAGED = "lumpectomy"
"""The source that is staged, where no seed is asked for: see `octmargin.demo_scene`."""
_WATCHED_LINE_RATE_HZ = 5_000.0
"""Ten frames a second: slow enough to watch a map fill."""
SIMULATED = (STAGED, "shave", "node", "phantom")
"""Sources that the simulator draws from a seed; anything else is a file."""
_SEED = 7
_SENDER = Sender(Role.OPERATOR, "demo")
_SPECIMEN = {
    "kind": "lumpectomy",
    "laterality": "left",
    "orientation": "short suture superior, long suture lateral",
    "label": "simulated",
}
_ORIENTATION = {
    "ink": {
        "superior": "red",
        "inferior": "blue",
        "medial": "green",
        "lateral": "orange",
        "anterior": "yellow",
        "posterior": "black",
    },
    "sutures": "short superior, long lateral",
}
REFRESH_PER_S = 5
RELAY_INTERVAL_S = 0.2


class WireKind(Enum):
    """How the simulated console is connected."""

    USB = "usb"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True)
class _Pace:
    """Scan geometry that suits a wire: `simulate` options of what is drawn, A-lines per second, frames per sweep."""

    options: tuple[str, ...]
    line_rate_hz: float
    frames: int


_PACES = {
    WireKind.USB: _Pace(("--frames", "40"), 25_000.0, 40),
    # 12 Mbit/s carry about 580 spectra of 1024 samples in a second. A-lines as far apart as on USB: margin-1 was
    # validated for that distance.
    WireKind.SERIAL: _Pace(
        ("--samples", "1024", "--alines", "128", "--frames", "12", "--width-mm", "2.0", "--height-mm", "2.4"),
        540.0,
        12,
    ),
}


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demonstration is asked to do; see `octmargin demo --help`."""

    wire: WireKind
    source: str = STAGED
    seed: int | None = None
    calibration: Path | None = None
    axial_um: float | None = None
    headless: bool = False
    seconds: float | None = None
    passes: int = 0
    pictures: Path | None = None


class Demonstration:
    """One run; its files (configuration, logs) live in `folder`."""

    def __init__(self, plan: DemoPlan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._record = Record()
        self._say = Console(stderr=True)
        self._scanning = False
        self._nominal_scale = False
        self._port = 0
        """Of the display."""

    async def run(self) -> DemoSummary | None:
        """Start everything, scan, stop everything; None where it was stopped before the first frame.

        OctMarginError says in one line what went wrong.
        """
        stop = asyncio.Event()
        working = asyncio.create_task(self._work(stop))

        def stop_asked() -> None:
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
            self._progress("starting the simulated console (it renders its specimen first) ...")
            simulator = await stack.enter_async_context(Simulator.started(self._simulate_options()))
            self._port = await asyncio.to_thread(free_port, DisplaySection().port)
            config = self._write_config(simulator.ready, settings)
            listener = await stack.enter_async_context(_listening(settings, self._record))
            daemon = await stack.enter_async_context(
                DaemonProcess.started(config, self._folder / "daemon.log")
            )
            self._progress("starting the daemon ...")
            await self._until_ready(daemon)
            self._progress(f"[bold]the display: {self._url}[/bold]")
            self._scanning = True
            if self._is_on_command:
                await self._begin(settings)
            await self._scan(daemon, stop)
            await daemon.stop()
            await self._until_quiet(listener)
            ended = await simulator.stop()
        return summarise(
            self._record,
            simulator.ready,
            ended,
            wire=self._plan.wire.value,
            nominal_scale=self._nominal_scale,
        )

    # -- steps ----------------------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        """Of the display."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def _is_on_command(self) -> bool:
        """Whether it scans once, as somebody at the display would have it do, and then waits for people there."""
        plan = self._plan
        return not plan.headless and not plan.passes and plan.source in SIMULATED

    async def _begin(self, settings: BrokerSettings) -> None:
        """Register the specimen and have all of it scanned, by the commands that the display gives too."""
        kind = "lumpectomy" if self._plan.source == "phantom" else self._plan.source
        specimen = {**_SPECIMEN, "specimen_id": _SPECIMEN_ID, "kind": kind}
        for name, arguments in (("register", specimen), ("start", {"all": True})):
            reply = await give(settings, Topics(SITE, CONSOLE), _SENDER, name, arguments)
            if reply.outcome != "done":
                raise OctMarginError(f"the daemon refuses to {name}: {reply.reason}")

    async def _scan(self, daemon: DaemonProcess, stop: asyncio.Event) -> None:
        """Watch for the given time, or until Ctrl-C."""
        watching = None if self._plan.headless else asyncio.create_task(self._watch())
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
        with Live(console=Console(), refresh_per_second=REFRESH_PER_S, screen=False) as live:
            while True:
                seen = render(self._record.tally, utc_now(), Topics(SITE, CONSOLE))
                live.update(Group(seen, Text(f"the display: {self._url}", "bold")))
                await asyncio.sleep(1 / REFRESH_PER_S)

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

    def _simulate_options(self) -> list[str]:
        plan = self._plan
        options = ["--console", plan.wire.value, "--source", plan.source, "--port", "0"]
        pace = _PACES[plan.wire]
        if plan.source == STAGED and plan.seed is None:
            options += ["--seed", str(demo_scene.SEED), *pace.options]
            options += demo_scene.write(self._folder, FACES, pace.frames)
        elif plan.source in SIMULATED:
            options += ["--seed", str(_SEED if plan.seed is None else plan.seed), *pace.options]
        elif not Path(plan.source).exists():
            raise InputError(f"--source {plan.source}: no such file; or one of {', '.join(SIMULATED)}")
        return options

    def _write_config(self, ready: dict[str, Any], broker: BrokerSettings) -> Path:
        is_simulated = self._plan.source in SIMULATED
        line_rate_hz = _PACES[self._plan.wire].line_rate_hz
        if self._is_on_command:
            line_rate_hz = min(line_rate_hz, _WATCHED_LINE_RATE_HZ)
        if not is_simulated:
            line_rate_hz = min(line_rate_hz, FILE_LINE_RATE_HZ)
        config: dict[str, Any] = {
            "site": SITE,
            "console": CONSOLE,
            "device": {"driver": self._plan.wire.value, "address": ready["address"]},
            "broker": {"host": broker.host, "port": broker.port, "retained_expiry": False},
            "scan": {
                "faces": ready["faces"],
                "line_rate_hz": line_rate_hz,
                "passes": self._plan.passes,
                "begin": "on-command" if self._is_on_command else "at-once",
            },
            "case": {"case_id": "demo-1", "specimen_id": _SPECIMEN_ID},
            "orientation": _ORIENTATION,
            "display": {"port": self._port},
        }
        if not is_simulated:
            config["calibration"] = self._file_calibration()
        if self._plan.source == "phantom":
            # Its layers are what rule-1 was set on; margin-1 has never seen the like.
            config["model"] = {"name": "rule-1"}
        if self._plan.pictures is not None:
            config["pictures"] = {"folder": str(self._plan.pictures)}
        path = self._folder / "demo.toml"
        path.write_bytes(msgspec.toml.encode(config))
        return path

    def _file_calibration(self) -> dict[str, Any]:
        """A file brings no factory calibration: take the given one, or the mirrors that lie beside it."""
        source = Path(self._plan.source)
        axial_um = self._plan.axial_um
        if axial_um is None:
            axial_um = NOMINAL_AXIAL_UM
            self._nominal_scale = True
            self._progress(
                f"no depth scale given: {axial_um:g} µm per pixel is taken as a nominal one (--axial-um)"
            )
        path = self._plan.calibration
        if path is None:
            try:
                with SpectraFile.open(source) as spectra:
                    calibration = calibration_beside(spectra)
            except CalibrationError as error:
                raise CalibrationError(f"{error}; or give --calibration FILE") from error
            path = self._folder / "calibration.npz"
            calibration.save(path)
        return {"file": str(path), "axial_um": axial_um}

    def _progress(self, text: str) -> None:
        self._say.print(text, highlight=False)


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
