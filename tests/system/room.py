"""A console, a broker, and what a subscriber hears of the daemon between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Tally, Topics
from octmargin.bus.events import Event, FlagReceived, VerdictReceived
from octmargin.config import CaseSection, Config, DeviceSection, EngineSection, ModelSection, ScanSection
from octmargin_simulator.console import Console
from octmargin_simulator.personality import Personality
from octmargin_simulator.source import FrameSource
from octmargin_simulator.usb_device import UsbConsole

FACES = ("superior", "medial")
FRAMES = 10


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
        self.console = console or Console(phantom, Personality(serial="ROOM-1"))
        self.served = UsbConsole(self.console)
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

    async def until(self, condition: Callable[[Tally], bool], *, limit_s: float = 80) -> None:
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
