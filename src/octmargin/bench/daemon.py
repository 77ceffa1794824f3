"""`octmargin bench daemon`: console, daemon, broker and subscriber, each a process of its own, at a pace.

What comes of every frame, how long its flags take to a subscriber, beside bare MQTT round trips of a message of that
size in the same run, and what the processes cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import aiomqtt
import tomli_w

from octmargin.bench.link import cpu_s
from octmargin.bench.machine import Machine, describe_machine
from octmargin.bus import BrokerSettings, EmbeddedBroker, Health, Subscriber, Tally, Topics
from octmargin.bus.connection import Connector
from octmargin.demo_processes import DaemonProcess, Simulator
from octmargin.errors import BrokerError, DeviceError, InputError, first_cause
from octmargin.margin import DEFAULT_MODEL

SITE, CONSOLE = "bench", "console"
_PROBE_TOPIC = "octmargin-bench/round-trip"
_PROBE_BYTES = 1_500
"""As long as the flags of 32 blocks."""
_PROBES_BEFORE, _PROBE_EVERY_S = 500, 0.05
_SETTLED_S = 60.0
"""From when on memory is to stay as it is; half of the time where that is shorter."""
_WARM_FRAMES = 50
_DISK_BLOCK, _DISK_BYTES = 8_000_000, 2_000_000_000
_START_TIMEOUT_S, _END_TIMEOUT_S = 240.0, 30.0


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    """What is scanned, and for how long; `record` keeps the spectra in a folder of that disk."""

    samples: int = 2048
    alines: int = 512
    frames: int = 60
    rate_hz: float = 50_000.0
    seconds: float = 30.0
    threads: int = 1
    model: str = DEFAULT_MODEL
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> Quantiles | None:
        """Exact, by nearest rank; None of nothing."""
        ordered = sorted(values_ms)
        if not ordered:
            return None
        p50, p99 = (ordered[ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
        return cls(p50, p99)


@dataclass(slots=True)
class DaemonReport:
    """What came of it; numbered = processed + lost where all is accounted for."""

    machine: Machine
    plan: DaemonPlan
    source: str = ""
    numbered_by_console: int = 0
    processed: int = 0
    lost: int = 0
    lost_by_cause: dict[str, int] = field(default_factory=dict)
    mb_per_s: float = 0.0
    """Spectra over the time, with the pauses between sweeps."""
    frame_ms: float = 0.0
    flags_heard: int = 0
    raw_to_flag_ms: Quantiles | None = None
    """From a frame's last byte at the host to its flags at the subscriber."""
    over_budget: float | None = None
    round_trip_idle_ms: Quantiles | None = None
    """Publish to receipt of a message of that size through the same broker, before the daemon runs."""
    round_trip_ms: Quantiles | None = None
    """The same while it runs."""
    daemon_cpu_share: float = 0.0
    console_cpu_share: float = 0.0
    rss_settled_mb: float = 0.0
    rss_end_mb: float = 0.0
    recorded: int | None = None
    unrecorded: int | None = None
    disk_mb_per_s: float | None = None
    """Of incompressible bytes written one after the other and flushed, to the same folder, before."""

    @property
    def is_accounted_for(self) -> bool:
        """Whether every frame that the console numbered was judged or counted as lost."""
        return self.numbered_by_console == self.processed + self.lost


def measure_daemon(plan: DaemonPlan, say: Callable[[str], None]) -> DaemonReport:
    """Run everything once; InputError where the disk has no room, DeviceError where a process fails."""
    report = DaemonReport(describe_machine(), plan, frame_ms=1000 * plan.alines / plan.rate_hz)
    with tempfile.TemporaryDirectory(prefix="octmargin-bench-") as folder:
        recordings = None
        if plan.record is not None:
            recordings = Path(tempfile.mkdtemp(prefix="octmargin-bench-", dir=plan.record))
        try:
            if recordings is not None:
                say("the bare disk ...")
                report.disk_mb_per_s = _disk_mb_per_s(recordings)
            asyncio.run(_measure(report, Path(folder), recordings, say))
        finally:
            if recordings is not None:
                shutil.rmtree(recordings, ignore_errors=True)
    return report


async def _measure(
    report: DaemonReport, folder: Path, recordings: Path | None, say: Callable[[str], None]
) -> None:
    plan = report.plan
    say("rendering a specimen (SYNTHETIC) ...")
    options = [
        "--console", "usb", "--port", "0", "--source", "lumpectomy", "--samples", str(plan.samples),
        "--alines", str(plan.alines), "--frames", str(plan.frames),
    ]  # fmt: skip
    with EmbeddedBroker() as broker:
        settings = BrokerSettings(host=broker.host, port=broker.port)
        async with Simulator.started(options) as simulator:
            report.source = str(simulator.ready["source"])
            idle_ms: list[float] = []
            await _round_trips(settings, idle_ms, _PROBES_BEFORE)
            report.round_trip_idle_ms = Quantiles.of(idle_ms)
            config = folder / "daemon.toml"
            config.write_text(tomli_w.dumps(_config(plan, settings, simulator, recordings)), encoding="utf-8")
            tally = Tally()
            async with Subscriber(settings, Topics(SITE, CONSOLE)) as events:
                listening = asyncio.create_task(_listen(events, tally))
                async with DaemonProcess.started(config, folder / "daemon.log") as daemon:
                    await _observe(report, tally, settings, daemon, simulator, say)
                    await daemon.stop()
                    await _until(lambda: tally.state == "disconnected", _END_TIMEOUT_S, daemon)
                events.stop()
                await listening
            report.numbered_by_console = int((await simulator.stop())["frames_numbered"])
    _take_final(report, tally)


async def _observe(
    report: DaemonReport,
    tally: Tally,
    settings: BrokerSettings,
    daemon: DaemonProcess,
    simulator: Simulator,
    say: Callable[[str], None],
) -> None:
    """Look on for the plan's time, once everything is warm."""
    plan = report.plan
    await _until(lambda: _processed(tally.health) >= _WARM_FRAMES, _START_TIMEOUT_S, daemon)
    say(f"{plan.seconds:g} s at {plan.rate_hz:,.0f} A-lines/s ...")
    assert tally.health is not None  # noqa: S101 - it has processed something
    frames_before, began_s = tally.health.frames.sent, time.monotonic()
    cpu_before = cpu_s(daemon.pid), cpu_s(simulator.pid)
    times_ms: list[float] = []
    async with _probing(settings, times_ms):
        settled_s = min(_SETTLED_S, plan.seconds / 2)
        await asyncio.sleep(settled_s)  # what is measured is what happens meanwhile
        report.rss_settled_mb = _rss_mb(daemon.pid)
        await asyncio.sleep(plan.seconds - settled_s)
        report.rss_end_mb = _rss_mb(daemon.pid)
    lasted_s = time.monotonic() - began_s
    cpu_after = cpu_s(daemon.pid), cpu_s(simulator.pid)
    report.daemon_cpu_share, report.console_cpu_share = (
        (after - before) / lasted_s for before, after in zip(cpu_before, cpu_after, strict=True)
    )
    frame_mb = 2 * plan.samples * plan.alines / 1e6
    report.mb_per_s = (tally.health.frames.sent - frames_before) * frame_mb / lasted_s
    latency = tally.latency_ms
    if latency is not None:
        report.raw_to_flag_ms = Quantiles(latency.p50, latency.p99)
    report.round_trip_ms = Quantiles.of(times_ms)


def _take_final(report: DaemonReport, tally: Tally) -> None:
    health = tally.health
    assert health is not None  # noqa: S101 - it was there before
    report.processed, report.lost = health.frames.processed, health.frames.lost
    report.lost_by_cause = dict(health.frames.lost_by_reason)
    report.over_budget = health.over_budget
    report.flags_heard = tally.flags.messages
    if health.recording is not None:
        report.recorded, report.unrecorded = health.recording.frames, health.recording.missed


def _config(
    plan: DaemonPlan, settings: BrokerSettings, simulator: Simulator, recordings: Path | None
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "site": SITE,
        "console": CONSOLE,
        "device": {"driver": "usb", "address": simulator.ready["address"]},
        "broker": {"host": settings.host, "port": settings.port},
        "scan": {"faces": list(simulator.ready["faces"]), "passes": 0, "line_rate_hz": plan.rate_hz},
        "engine": {"threads": plan.threads},
        "model": {"name": plan.model},
    }
    if recordings is not None:
        config["recording"] = {"folder": str(recordings)}
    return config


async def _listen(events: Subscriber, tally: Tally) -> None:
    async for event in events:
        tally.add(event)


async def _until(condition: Callable[[], bool], timeout_s: float, daemon: DaemonProcess) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise DeviceError(f"bench daemon: nothing came of it in {timeout_s:g} s: {daemon.last_words()}")
        daemon.raise_if_failed()
        await asyncio.sleep(0.05)


def _processed(health: Health | None) -> int:
    return health.frames.processed if health is not None else 0


@contextlib.asynccontextmanager
async def _probing(settings: BrokerSettings, times_ms: list[float]) -> AsyncIterator[None]:
    """Measure round trips while entered; where that fails, so does what is entered, at once."""
    try:
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(_round_trips(settings, times_ms, pause_s=_PROBE_EVERY_S))
            yield
            probing.cancel()
    except BaseExceptionGroup as group:
        raise first_cause(group) from group


async def _round_trips(
    settings: BrokerSettings, times_ms: list[float], count: int | None = None, *, pause_s: float = 0.0
) -> None:
    """From publishing a message with QoS 1 to its receipt, one after the other, over one connection.

    Until cancelled without `count`. BrokerError where the broker does not come, or goes away.
    """
    payload = os.urandom(_PROBE_BYTES)
    try:
        async with Connector(settings).client(None) as client:
            await client.subscribe(_PROBE_TOPIC, qos=1)
            messages = aiter(client.messages)
            while count is None or len(times_ms) < count:
                began_s = time.perf_counter()
                await client.publish(_PROBE_TOPIC, payload, qos=1)
                await anext(messages)
                times_ms.append(1000 * (time.perf_counter() - began_s))
                await asyncio.sleep(pause_s)
    except aiomqtt.MqttError as error:
        raise BrokerError(
            f"bench daemon: its broker at {settings.address} is gone ({error}); run it again"
        ) from error


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _disk_mb_per_s(folder: Path) -> float:
    block, path = os.urandom(_DISK_BLOCK), folder / "bare"
    try:
        with path.open("wb", buffering=0) as file:
            began_s = time.perf_counter()
            for _ in range(_DISK_BYTES // _DISK_BLOCK):
                file.write(block)
            os.fsync(file.fileno())
            took_s = time.perf_counter() - began_s
    except OSError as error:
        raise InputError(
            f"--record {folder.parent}: cannot be written ({error.strerror}); name a folder with room"
        ) from error
    finally:
        path.unlink(missing_ok=True)
    return _DISK_BYTES / took_s / 1e6
