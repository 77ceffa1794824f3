"""`octmargin soak`: the daemon beside a console and a broker that fail at random, and the books afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import tomli_w
import typer
from rich.console import Console as Terminal

from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Tally, Topics
from octmargin.demo_processes import DaemonProcess, Simulator
from octmargin.errors import InputError, OctMarginError

SITE, CONSOLE = "soak", "simulator"
QUIET_S = 15.0
"""At the end: nothing goes wrong any more, and the daemon must be well again."""
FAULTS_PER_S = {
    "drop": 0.2, "vanish": 0.2, "corrupt": 0.2, "wrong_crc": 0.1, "truncate": 0.1, "duplicate": 0.1,
    "noise": 0.1, "delay": 0.1, "saturated": 0.1, "laser_off": 0.1, "shutter_closed": 0.1, "trigger_too_fast": 0.1,
    "clock_jump": 0.05, "hang": 0.05, "silent": 0.02, "late": 0.1, "wrong_answer": 0.05, "stall": 0.05,
    "reset": 0.02, "unplug": 0.02,
}  # fmt: skip
"""Mean rates, in a minute a bad day's worth of most of them."""
_OPTIONS: dict[str, dict[str, Any]] = {
    "hang": {"seconds": 0.5},
    "silent": {"seconds": 0.8},
    "unplug": {"seconds": 1.5},
    "delay": {"seconds": 0.05},
    "clock_jump": {"seconds": -3.0},
}
_BROKER_UP_S, _BROKER_DOWN_S = (8.0, 25.0), (0.5, 4.0)
_PORTS = (15_000, 32_000)
"""Below those that the system gives to connections: one of these could take the broker's port while it is away."""
_SAMPLES, _ALINES, _FRAMES = 1024, 128, 20
_LINE_RATE_HZ = {"usb": 6400.0, "serial": 500.0}
"""What a serial line of 12 Mbit/s carries, and enough of what USB does."""


class SoakResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the books say. `failures` is empty where all is as it must be."""

    seed: int
    seconds: float
    frames_numbered: int
    processed: int
    lost: int
    lost_by_reason: dict[str, int]
    never_known: int
    """Numbered by a console that was reset before the host could know."""
    faults: dict[str, int]
    broker_restarts: int
    daemon_rss_mb: tuple[float, float]
    """After a fifth of the time, and at the end."""
    lifecycle_at_the_end: str
    failures: tuple[str, ...]


def soak(
    seconds: Annotated[float, typer.Option(min=30, help="For how long.")] = 120.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides what goes wrong, and when.")] = 1,
    console: Annotated[str, typer.Option(help='How the console is connected: "usb" or "serial".')] = "usb",
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
) -> None:
    """Run the daemon beside a console and a broker that fail at random; exit with 1 where its books do not balance."""
    if console not in _LINE_RATE_HZ:
        raise InputError(f"--console {console}: give one of {', '.join(_LINE_RATE_HZ)}")
    if json_path is not None and (json_path.is_dir() or not json_path.resolve().parent.is_dir()):
        raise InputError(f"--json {json_path}: cannot be written there; name a file in a folder that exists")
    result = asyncio.run(_run(seconds, seed, console))
    _show(result)
    if json_path is not None:
        try:
            json_path.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
        except OSError as error:
            raise InputError(
                f"--json {json_path}: cannot be written ({error.strerror}); the result stands above"
            ) from error
    if result.failures:
        sys.exit(1)


async def _run(seconds: float, seed: int, wire: str) -> SoakResult:
    rng = np.random.default_rng([seed, 50])
    with tempfile.TemporaryDirectory(prefix="octmargin-soak-") as name:
        folder = Path(name)
        script = folder / "faults.toml"
        script.write_text(tomli_w.dumps(_script(seed, seconds - QUIET_S, wire)))
        async with contextlib.AsyncExitStack() as stack:
            broker = _Broker(rng)
            stack.callback(broker.close)
            simulator = await stack.enter_async_context(
                Simulator.started(
                    [
                        "--console", wire, "--source", "phantom", "--port", "0", "--faults", str(script),
                        "--samples", str(_SAMPLES), "--alines", str(_ALINES), "--frames", str(_FRAMES),
                    ]
                )
            )  # fmt: skip
            config = folder / "soak.toml"
            config.write_text(tomli_w.dumps(_config(simulator.ready, broker.settings, wire)))
            tally = Tally()
            heard = asyncio.Event()
            await stack.enter_async_context(_listening(broker.settings, tally, heard))
            daemon = await stack.enter_async_context(DaemonProcess.started(config, folder / "daemon.log"))
            await _until(lambda: tally.flags.messages > 0, heard, 300.0, "the first flag", daemon)
            failing = asyncio.create_task(broker.fail_for(seconds - QUIET_S))
            await asyncio.sleep(seconds / 5)
            early_mb = _rss_mb(daemon)
            await failing
            failures = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds / 5 + QUIET_S):
                    await _wait(lambda: _is_well(tally), heard)
            lifecycle = tally.health.lifecycle if tally.health is not None else "never heard"
            if not _is_well(tally):
                failures.append(f"the faults are over, and the daemon is {lifecycle}, {tally.state}")
            late_mb = _rss_mb(daemon)
            await daemon.stop()
            await _until(lambda: tally.state == "disconnected", heard, 20.0, "the daemon's last word", None)
            ended = await simulator.stop()
    assert tally.health is not None  # noqa: S101 - the daemon was well, or it was said that it was not
    frames = tally.health.frames
    if ended["frames_numbered"] != frames.processed + frames.lost + ended["never_known"]:
        failures.append(
            f"{ended['frames_numbered']} frames numbered, but {frames.processed} processed, {frames.lost} lost and "
            f"{ended['never_known']} forgotten by the console"
        )
    if frames.sent != frames.processed + frames.lost:
        failures.append(f"the daemon's own books: {frames.sent} sent, {frames.processed} + {frames.lost}")
    if late_mb - early_mb > 20:
        failures.append(f"its memory grew from {early_mb:.0f} to {late_mb:.0f} MB")
    return SoakResult(
        seed=seed,
        seconds=seconds,
        frames_numbered=ended["frames_numbered"],
        processed=frames.processed,
        lost=frames.lost,
        lost_by_reason=dict(frames.lost_by_reason),
        never_known=ended["never_known"],
        faults=ended["faults"],
        broker_restarts=broker.restarts,
        daemon_rss_mb=(round(early_mb, 1), round(late_mb, 1)),
        lifecycle_at_the_end=lifecycle,
        failures=tuple(failures),
    )


def _script(seed: int, until_s: float, wire: str) -> dict[str, Any]:
    frames_per_s = _LINE_RATE_HZ[wire] / _ALINES
    faults = [
        {"kind": kind, "chance": min(1.0, rate / frames_per_s), **_OPTIONS.get(kind, {})}
        for kind, rate in FAULTS_PER_S.items()
    ]
    return {"seed": seed, "until_s": until_s, "fault": faults}


def _config(ready: dict[str, Any], broker: BrokerSettings, wire: str) -> dict[str, Any]:
    return {
        "site": SITE,
        "console": CONSOLE,
        "device": {"driver": wire, "address": ready["address"]},
        "broker": {"host": broker.host, "port": broker.port},
        "scan": {
            "faces": list(ready["faces"]),
            "passes": 0,
            "line_rate_hz": _LINE_RATE_HZ[wire],
        },
        "engine": {"depth": 320},
        "model": {"name": "rule-1"},
    }


def _is_well(tally: Tally) -> bool:
    health = tally.health
    return tally.state == "ready" and health is not None and health.lifecycle in ("ready", "acquiring")


def _free_port() -> int:
    while True:
        port = int(np.random.default_rng().integers(*_PORTS))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class _Broker:
    """An embedded broker that goes away and comes back on the same port."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._broker = EmbeddedBroker(port=_free_port())
        self._broker.__enter__()
        self.settings = BrokerSettings(host=self._broker.host, port=self._broker.port)
        self.restarts = 0

    async def fail_for(self, seconds: float) -> None:
        """Go away and come back until the time is up; it is there at the end."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + seconds
        while True:
            up_s, down_s = self._rng.uniform(*_BROKER_UP_S), self._rng.uniform(*_BROKER_DOWN_S)
            if loop.time() + up_s + down_s > end_s:
                await asyncio.sleep(max(0.0, end_s - loop.time()))
                return
            await asyncio.sleep(up_s)
            await asyncio.to_thread(self._broker.close)
            await asyncio.sleep(down_s)
            self._broker = EmbeddedBroker(port=self.settings.port)
            await asyncio.to_thread(self._broker.__enter__)
            self.restarts += 1

    def close(self) -> None:
        self._broker.close()


@contextlib.asynccontextmanager
async def _listening(settings: BrokerSettings, tally: Tally, heard: asyncio.Event) -> AsyncIterator[None]:
    async def listen() -> None:
        async for event in subscriber:
            tally.add(event)
            heard.set()

    async with Subscriber(settings, Topics(SITE, CONSOLE)) as subscriber:
        task = asyncio.create_task(listen())
        yield
        subscriber.stop()
        await task


async def _wait(condition: Callable[[], bool], heard: asyncio.Event) -> None:
    while not condition():
        heard.clear()
        await heard.wait()


async def _until(
    condition: Callable[[], bool],
    heard: asyncio.Event,
    seconds: float,
    what: str,
    daemon: DaemonProcess | None,
) -> None:
    try:
        async with asyncio.timeout(seconds):
            await _wait(condition, heard)
    except TimeoutError:
        words = f": {daemon.last_words()}" if daemon is not None else ""
        raise OctMarginError(f"soak: {what} did not come within {seconds:g} s{words}") from None


def _rss_mb(daemon: DaemonProcess) -> float:
    """Memory of the daemon; OctMarginError with its last words where it has ended."""
    daemon.raise_if_failed()
    try:
        status = Path(f"/proc/{daemon.pid}/status").read_text()
    except FileNotFoundError:
        raise OctMarginError(f"soak: the daemon has died: {daemon.last_words()}") from None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def _show(result: SoakResult) -> None:
    say = Terminal(stderr=True, highlight=False, soft_wrap=True).print
    happened = ", ".join(f"{count} {kind}" for kind, count in sorted(result.faults.items()))
    say(f"soak of {result.seconds:g} s, seed {result.seed} (SYNTHETIC spectra)")
    say(f"  faults: {happened or 'none'}; {result.broker_restarts} broker restarts")
    say(
        f"  frames: {result.frames_numbered} numbered = {result.processed} processed + {result.lost} lost + "
        f"{result.never_known} forgotten by a console that was reset"
    )
    for cause, count in sorted(result.lost_by_reason.items(), key=lambda entry: -entry[1]):
        say(f"    {count} {cause}")
    early_mb, late_mb = result.daemon_rss_mb
    say(
        f"  daemon: {result.lifecycle_at_the_end} at the end, {early_mb:.0f} MB after a while, then {late_mb:.0f} MB"
    )
    for failure in result.failures:
        say(f"  [bold red]FAILED[/]: {failure}")
    if not result.failures:
        say("  every frame is accounted for")
