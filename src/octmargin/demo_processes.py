"""The processes of the demonstration: simulator and daemon, each as a user would start it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from octmargin.cold_start import COMPILING
from octmargin.errors import DeviceError, OctMarginError

START_TIMEOUT_S = 240.0
"""Rendering the specimen and compiling the kernels on a slow machine, once."""
STOP_TIMEOUT_S = 60.0
"""The daemon finishes what it compiles, judges and draws before it ends."""

T = TypeVar("T")


class Simulator:
    """The simulator's process; it speaks JSON lines."""

    def __init__(self, process: Process, ready: dict[str, Any]) -> None:
        self._process = process
        self.ready = ready

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, options: list[str]) -> AsyncIterator[Simulator]:
        """Run while entered; entered when it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "octmargin", "simulate", "--json", "--stop-on-eof", *options,
            stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            line = await _within(START_TIMEOUT_S, "to start", "simulator", _next_event(process, "ready"))
            if line is None:
                assert process.stderr is not None  # noqa: S101 - asked for with PIPE
                words = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
                raise DeviceError(
                    words[-1].removeprefix("octmargin: ") if words else "the simulator ended at once"
                )
            yield cls(process, line)
        finally:
            await _end(process)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def stop(self) -> dict[str, Any]:
        """End it and hear its own count of frames."""
        assert self._process.stdin is not None  # noqa: S101 - asked for with PIPE
        self._process.stdin.close()
        ended = await _within(STOP_TIMEOUT_S, "to end", "simulator", _next_event(self._process, "ended"))
        if ended is None:
            raise DeviceError(
                "the simulator ended without its last word; run `octmargin simulate` to see why"
            )
        return ended


class DaemonProcess:
    """`octmargin run` as a process, its log in a file."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, config: Path, log: Path) -> AsyncIterator[DaemonProcess]:
        """Run while entered."""
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "octmargin", "run", "--config", str(config), "--stop-on-eof",
                stdin=PIPE, stdout=DEVNULL, stderr=stream, start_new_session=True,
            )  # fmt: skip
        try:
            yield cls(process, log)
        finally:
            await _end(process)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def exited(self) -> None:
        """Wait until it has ended by itself."""
        await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end as Ctrl-C does."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        await _within(STOP_TIMEOUT_S, "to end", "daemon", self._process.wait())
        self.raise_if_failed()

    def raise_if_failed(self) -> None:
        """OctMarginError with its last words where it ended with an error."""
        code = self._process.returncode
        if code:
            raise OctMarginError(f"the daemon ended with code {code}: {self.last_words()}")

    def compiling(self) -> list[str]:
        """What it has said so far of kernels that it compiles."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line[line.index(COMPILING) :].rstrip() for line in lines if COMPILING in line]

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("octmargin: ") if lines else "(it said nothing)"


async def _next_event(process: Process, wanted: str) -> dict[str, Any] | None:
    assert process.stdout is not None  # noqa: S101 - asked for with PIPE
    async for line in process.stdout:
        event: dict[str, Any] = msgspec.json.decode(line)
        if event["event"] == wanted:
            return event
    return None


async def _end(process: Process) -> None:
    """Whatever happened, the process is gone afterwards."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _within(seconds: float, aim: str, who: str, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise DeviceError(
            f"the {who} took more than {seconds:g} s {aim}; is the machine very busy?"
        ) from None
