"""`octmargin bench link`: the link alone, console and driver in two processes, beside the bare limits.

Of USB those are what the machine copies and sends over a socket, of a serial line what its baud rate carries.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from octmargin.bench.machine import Machine, describe_machine
from octmargin.demo_processes import Simulator
from octmargin.device import Driver, SweepEnded, driver_class
from octmargin.errors import DeviceError
from octmargin.frames import Frame, PixelFormat, ScanPlan
from octmargin.ring import Cursor, FrameRing, RingClosedError

FACE = "superior"
_FRAMES = 64
_RING_FRAMES = 32
_BITS_PER_BYTE = 10
_COPIES, _SENT_BYTES = 200, 2_000_000_000
_SENDER = """
import socket, sys
port, size, total = map(int, sys.argv[1:])
block = memoryview(bytes(size))
with socket.create_connection(("127.0.0.1", port)) as out:
    for _ in range(total // size):
        out.sendall(block)
"""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Frames of `alines` x `samples` counts of 16 bits, at each of `rates_hz` A-lines/s for about `seconds`.

    On USB without `baud`, else on a serial line of that rate.
    """

    samples: int = 2048
    alines: int = 512
    seconds: float = 5.0
    rates_hz: tuple[float, ...] = (25_000.0, 50_000.0, 100_000.0, 150_000.0, 250_000.0)
    baud: int | None = None

    @property
    def line_mb_per_s(self) -> float | None:
        """What a serial line carries, 8N1; None on USB."""
        return None if self.baud is None else self.baud / _BITS_PER_BYTE / 1e6


@dataclass(frozen=True, slots=True)
class LinkRun:
    """What came at one rate; numbered = received + lost."""

    rate_hz: float
    seconds: float
    numbered: int
    received: int
    lost_by_cause: dict[str, int]
    mb_per_s: float
    """Spectra in the ring, over the time of the sweeps."""
    host_cpu_share: float
    """Of one core: driver, ring and a consumer that takes and gives back."""
    console_cpu_share: float
    """Of one core: the simulator, its checksums and its side of the wire."""


@dataclass(frozen=True, slots=True)
class LinkReport:
    """Runs, and what the machine can do at best with the same frames."""

    machine: Machine
    plan: LinkPlan
    copy_mb_per_s: float
    """One thread that copies frames from one place to another."""
    socket_mb_per_s: float
    """A process that sends frames over the loopback interface to one that reads them, and nothing else."""
    runs: list[LinkRun] = field(default_factory=list)


def measure_link(plan: LinkPlan) -> LinkReport:
    """Measure the bare limits, then every rate, in one run."""
    frame_bytes = 2 * plan.samples * plan.alines
    return LinkReport(
        describe_machine(),
        plan,
        _copy_mb_per_s(frame_bytes),
        _socket_mb_per_s(frame_bytes),
        asyncio.run(_runs(plan)),
    )


async def _runs(plan: LinkPlan) -> list[LinkRun]:
    with tempfile.TemporaryDirectory(prefix="octmargin-bench-") as folder:
        path = Path(folder) / "spectra.npy"
        rng = np.random.default_rng(0)
        np.save(path, rng.integers(0, 4096, (_FRAMES, plan.alines, plan.samples), dtype=np.uint16))
        wire = "usb" if plan.baud is None else "serial"
        options = ["--console", wire, "--source", str(path), "--synthetic"]
        options += ["--port", "0"] if plan.baud is None else ["--baud", str(plan.baud)]
        async with Simulator.started(options) as simulator:
            driver = driver_class(wire)(simulator.ready["address"])
            await driver.open()
            try:
                return [await _one_rate(driver, plan, rate_hz, simulator.pid) for rate_hz in plan.rates_hz]
            finally:
                await driver.close()


async def _one_rate(driver: Driver, plan: LinkPlan, rate_hz: float, console_pid: int) -> LinkRun:
    scan = ScanPlan(FACE, plan.samples, plan.alines, _FRAMES, 10.0, 10.0, rate_hz, PixelFormat.MONO16)
    ring = FrameRing(_RING_FRAMES, scan.frame_bytes)
    consumer = _Consumer(ring.cursor("bench"))
    numbered, scanning_s = 0, 0.0
    host_s, console_s = time.process_time(), cpu_s(console_pid)
    began_s = time.monotonic()
    while time.monotonic() - began_s < plan.seconds:
        await driver.configure(scan)
        sweep_began_s = time.monotonic()
        await driver.start(ring)
        async for event in driver.events():
            if isinstance(event, SweepEnded):
                break
            if not _is_harmless(event):
                raise DeviceError(f"bench link: {event}")
        numbered += (await driver.stop()).numbered
        scanning_s += time.monotonic() - sweep_began_s
    elapsed_s = time.monotonic() - began_s
    host_s, console_s = time.process_time() - host_s, cpu_s(console_pid) - console_s
    ring.close()
    consumer.join()
    return LinkRun(
        rate_hz=rate_hz,
        seconds=scanning_s,
        numbered=numbered,
        received=consumer.frames,
        lost_by_cause=dict(consumer.lost),
        mb_per_s=consumer.frames * scan.frame_bytes / scanning_s / 1e6,
        host_cpu_share=host_s / elapsed_s,
        console_cpu_share=console_s / elapsed_s,
    )


def _is_harmless(event: object) -> bool:
    """A console whose FIFO ran over says so as a fault: that is what is measured."""
    return type(event).__name__ in ("ConsoleFault", "LinkTrouble")


class _Consumer:
    """Takes frames and gives them back, in a thread."""

    def __init__(self, cursor: Cursor) -> None:
        self.frames = 0
        self.lost: Counter[str] = Counter()
        self._cursor = cursor
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _work(self) -> None:
        while True:
            try:
                entry = self._cursor.take()
            except RingClosedError:
                return
            if isinstance(entry, Frame):
                self.frames += 1
                self._cursor.release(entry)
            elif entry is not None:
                self.lost[entry.cause.value] += entry.count


def _copy_mb_per_s(frame_bytes: int) -> float:
    """Between buffers that do not fit the cache, as a ring's do not."""
    source, target = (np.ones((16, frame_bytes), np.uint8) for _ in range(2))
    began_s = time.perf_counter()
    for n in range(_COPIES):
        np.copyto(target[n % 16], source[(n + 5) % 16])
    return _COPIES * frame_bytes / (time.perf_counter() - began_s) / 1e6


def _socket_mb_per_s(frame_bytes: int) -> float:
    buffer = bytearray(frame_bytes)
    view, received = memoryview(buffer), 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [str(server.getsockname()[1]), str(frame_bytes), str(_SENT_BYTES)]
        sender = subprocess.Popen([sys.executable, "-c", _SENDER, *arguments])  # noqa: S603 - ours
        connection, _ = server.accept()
        with connection:
            began_s = time.perf_counter()
            while count := connection.recv_into(view):
                received += count
        seconds = time.perf_counter() - began_s
        sender.wait()
    return received / seconds / 1e6


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
