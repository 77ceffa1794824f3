"""A console, a broker, and what a subscriber hears of the daemon between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from numpy.typing import NDArray
from tests.ports import free_port

from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Tally, Topics
from octmargin.bus.events import Event, FlagReceived, VerdictReceived
from octmargin.config import CaseSection, Config, DeviceSection, EngineSection, ModelSection, ScanSection
from octmargin.frames import FrameFlags, ScanPlan
from octmargin.link.registers import ScanState
from octmargin.margin import Policy
from octmargin_simulator.console import Console
from octmargin_simulator.faults import FaultyConsole
from octmargin_simulator.personality import Personality
from octmargin_simulator.source import FrameSource
from octmargin_simulator.usb_device import UsbConsole

FACES = ("superior", "medial")
FRAMES = 10
LENIENT = Personality(serial="ROOM-1", heartbeat_timeout_ms=60_000)
"""It goes on scanning for a machine that stands still for seconds."""


class HeldConsole(Console):
    """A console that stands still in a sweep until it is told to go on: what is asked for meanwhile comes in time."""

    _held_at: tuple[str, int] | None = None

    def hold(self, face: str, frame: int) -> None:
        """Stand still at this frame of `face`, and at each one behind it; nothing else is held."""
        with self._lock:
            self._held_at = face, frame
            self._wake.notify_all()

    def let_go(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._held_at = None
            self._wake.notify_all()

    def _expose(self, plan: ScanPlan, sweep: int, index: int) -> tuple[NDArray[Any], FrameFlags] | None:
        def may_go_on() -> bool:
            is_held = (
                self._held_at is not None and self._held_at[0] == plan.face and index >= self._held_at[1]
            )
            # What was begun comes when the sweep is stopped.
            return not is_held or self._state is ScanState.IDLE or self._sweep != sweep

        with self._lock:
            since_s = time.monotonic()
            self._wake.wait_for(may_go_on)
            if self._sweep == sweep:
                # The frames to come keep their pace.
                self._stood_still_s += time.monotonic() - since_s
        return super()._expose(plan, sweep, index)


class HeldFaultyConsole(HeldConsole, FaultyConsole):
    """It can be held at a frame, before what goes wrong there does."""

    def speak_again(self) -> None:
        """End its silence, however long it was to be."""
        with self._lock:
            self._silent_until_s = 0.0


class Room:
    """A console, a broker, a daemon on both, and what a subscriber hears."""

    def __init__(
        self,
        phantom: FrameSource,
        broker: EmbeddedBroker | BrokerSettings,
        console: Console | None = None,
        *,
        topics: Topics | None = None,
        listener: BrokerSettings | None = None,
    ) -> None:
        self.console = console or Console(phantom, LENIENT)
        # Of its own choice: whoever is plugged in again finds it free.
        self.served = UsbConsole(self.console, port=free_port())
        self.phantom = phantom
        self.settings = (
            broker
            if isinstance(broker, BrokerSettings)
            else BrokerSettings(host=broker.host, port=broker.port, reconnect_min_s=0.05)
        )
        self.topics = topics or Topics("t", "c")
        self.listener = listener
        self.tally = Tally()
        self.alarms_heard: set[str] = set()
        self._heard = asyncio.Event()

    def config(self, *, passes: int = 1, line_rate_hz: float = 6400.0) -> Config:
        return Config(
            site=self.topics.site,
            console=self.topics.console,
            device=DeviceSection(driver="usb", address=self.served.address),
            broker=self.settings,
            scan=ScanSection(faces=FACES, passes=passes, line_rate_hz=line_rate_hz),
            engine=EngineSection(depth=320),
            case=CaseSection(case_id="case-7", specimen_id="s-1"),
            # What was set on the phantom's layers.
            model=ModelSection(name="rule-1"),
            # Its few frames lie far apart.
            policy=Policy(max_frame_um=1000),
        )

    @asynccontextmanager
    async def listening(self, heard: list[Any] | None = None) -> AsyncIterator[None]:
        async def listen() -> None:
            async for event in subscriber:
                if heard is not None and isinstance(event, FlagReceived | VerdictReceived):
                    heard.append(event)
                self.tally.add(event)
                self.alarms_heard.update(self.tally.alarms)
                self.heard(event)
                self._heard.set()

        async with Subscriber(self.listener or self.settings, self.topics) as subscriber:
            task = asyncio.create_task(listen())
            yield
            subscriber.stop()
            await task

    def heard(self, event: Event) -> None:
        """An event came; for tests that look closer."""

    async def until(self, condition: Callable[[Tally], bool], *, limit_s: float = 300) -> None:
        async with asyncio.timeout(limit_s):
            while not condition(self.tally):
                self._heard.clear()
                await self._heard.wait()

    def close(self) -> None:
        self.served.close()
        self.console.close()


def balanced(tally: Tally) -> bool:
    assert tally.health is not None
    frames = tally.health.frames
    return frames.sent == frames.processed + frames.lost
