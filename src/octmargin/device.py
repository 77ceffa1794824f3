"""The contract between the daemon and a console's driver, and how drivers are found.

A driver is a class registered under the entry-point group `octmargin.drivers`. Its methods are called from
one asyncio event loop; whatever blocks runs in threads of its own. Frames go from its reader thread
straight into the ring.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar, Literal

from octmargin.errors import ConfigError, DeviceError
from octmargin.frames import ConsoleInfo, ScanPlan
from octmargin.ring import FrameRing

DRIVER_GROUP = "octmargin.drivers"


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """The console has begun sweep `sweep`; its frames are numbered from `first_sequence` on."""

    sweep: int
    first_sequence: int


@dataclass(frozen=True, slots=True)
class SweepEnded:
    """The console scans no more; everything that it sent was read. Call `stop` to close the books."""


@dataclass(frozen=True, slots=True)
class SweepAccount:
    """The books of a sweep after `stop`: numbered = frames given to the ring + frames reported lost.

    `numbered` includes frames from before this sweep that nobody had accounted for (see `Driver.start`);
    they are all below `next_sequence`.
    """

    sweep: int
    next_sequence: int
    numbered: int
    dropped_by_console: int


@dataclass(frozen=True, slots=True)
class ConsoleFault:
    """The console reports a technical fault (trigger too fast, interlock, heartbeat lost, ...)."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class PedalPressed:
    """Somebody pressed the console's foot pedal, once or several times within a moment."""


@dataclass(frozen=True, slots=True)
class LinkTrouble:
    """Bytes on the wire that were not the protocol; they were skipped and counted."""

    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The console is gone; `close` and `open` again."""

    text: str


DeviceEvent = SweepEnded | ConsoleFault | PedalPressed | LinkTrouble | Disconnected


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `octmargin doctor`: what was looked at, how it is, and what to do."""

    subject: str
    level: Literal["ok", "note", "problem"]
    text: str
    remedy: str = ""


class Driver(ABC):
    """One console. Methods raise errors of the tree under DeviceError."""

    name: ClassVar[str]
    exclusive: ClassVar[bool] = True
    """Whether one program alone can have what is at an address."""

    def __init__(self, address: str) -> None:
        """ConfigError where `address` can be none; nothing is opened or connected."""
        self.address = address
        self.accounted_until: int | None = None
        """Every frame numbered below is accounted for; None where nothing is known. A driver that takes over
        from another one of the same console is given the other's."""

    @classmethod
    @abstractmethod
    async def discover(cls) -> list[ConsoleInfo]:
        """The consoles that this driver sees now; never raises for a console that cannot be read."""

    @classmethod
    async def diagnose(cls) -> list[Finding]:
        """What this driver needs from the machine: libraries, permissions."""
        return []

    @abstractmethod
    async def open(self) -> None:
        """Connect. DeviceNotFoundError, DeviceBusyError."""

    @abstractmethod
    async def identify(self) -> ConsoleInfo:
        """Read who the console is, with its self-description under `capabilities`."""

    @abstractmethod
    async def configure(self, plan: ScanPlan) -> None:
        """Set the next sweep's plan. CommandRefusedError where the console cannot scan it."""

    @abstractmethod
    async def start(self, ring: FrameRing) -> SweepStarted:
        """Begin the sweep; frames go to `ring` until it ends or `stop`.

        Frames that the console numbered between `accounted_until` and this sweep are reported lost. Where
        `start` fails, the console does not scan, and what it numbered meanwhile is accounted for.
        """

    @abstractmethod
    async def stop(self) -> SweepAccount:
        """End the sweep and account for every frame that the console numbered in it."""

    @abstractmethod
    def events(self) -> AsyncIterator[DeviceEvent]:
        """What happens, as it happens; one consumer; ends with `close`."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the console; may be called at any time and twice."""


def on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    """From any thread: have something called on the event loop; nothing where the loop has ended meanwhile."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


def drivers() -> dict[str, type[Driver]]:
    """Every registered driver by name; one that cannot be imported is left out."""
    found: dict[str, type[Driver]] = {}
    for entry in entry_points(group=DRIVER_GROUP):
        try:
            found[entry.name] = _load(entry)
        except DeviceError:
            continue
    return found


def driver_class(name: str) -> type[Driver]:
    """The driver called `name`; ConfigError where there is none, DeviceError where it cannot be loaded."""
    for entry in entry_points(group=DRIVER_GROUP):
        if entry.name == name:
            return _load(entry)
    known = ", ".join(sorted(entry.name for entry in entry_points(group=DRIVER_GROUP))) or "none"
    raise ConfigError(f'driver "{name}" is not installed; installed: {known}')


def _load(entry: EntryPoint) -> type[Driver]:
    try:
        loaded = entry.load()
    except Exception as error:  # a foreign driver may fail in any way
        raise DeviceError(f'driver "{entry.name}" ({entry.value}) cannot be loaded: {error}') from error
    if not (isinstance(loaded, type) and issubclass(loaded, Driver)):
        raise DeviceError(f'driver "{entry.name}" ({entry.value}) is not an octmargin.device.Driver')
    return loaded
