"""Listens to one console: its part of the bus as typed events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from paho.mqtt.reasoncodes import ReasonCode

from octmargin.bus.client import Client
from octmargin.bus.connection import BrokerSettings, Connector
from octmargin.bus.events import Connected, ConnectionLost, Event, Malformed, to_event
from octmargin.bus.reconnecting import ReconnectingClient
from octmargin.bus.topics import Topics
from octmargin.errors import BrokerError


class Subscriber:
    """Async iterator over a console's events while entered; reconnects by itself.

    Entering connects and subscribes, `BrokerError` in one line where that fails. The first event is
    `Connected`. Malformed messages are events too, and counted in `malformed`; topics that this
    version does not know are counted in `unknown`. `stop` ends the iteration.
    """

    def __init__(
        self, settings: BrokerSettings, topics: Topics, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.topics = topics
        self.malformed = 0
        self.unknown = 0
        self._settings = settings
        self._clock_ns = clock_ns
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._subscribed = asyncio.Event()
        connector = Connector(settings)
        self._link = ReconnectingClient(
            connector, lambda: connector.client(settings.client_id or None), self._serve, self._lost
        )
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._link.run(), name="octmargin bus subscriber")
        self._running.add_done_callback(lambda _: self._events.put_nowait(None))
        subscribed = asyncio.create_task(self._subscribed.wait())
        try:
            await asyncio.wait((self._running, subscribed), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            with contextlib.suppress(BrokerError):
                await self._finish()
            raise
        finally:
            subscribed.cancel()
        if not self._subscribed.is_set():
            await self._finish()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._finish()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._events.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def stop(self) -> None:
        """Disconnect; the iteration ends after the events that already came."""
        self._link.stop()

    async def _finish(self) -> None:
        self._link.stop()
        if self._running is not None:
            await self._running

    async def _serve(self, client: Client) -> None:
        # All topics by one filter come in the order in which they were said. A broker that judges filters as they are
        # refuses that to who may not read commands.
        if await self._refused(client, (self.topics.everything,)):
            refusal = await self._refused(client, self.topics.shown)
            if refusal:
                raise BrokerError(
                    f"the MQTT broker at {self._settings.address} refuses to let us read "
                    f"{' and '.join(self.topics.shown)} ({refusal}); give its user the right to"
                )
        self._events.put_nowait(Connected(received_at_ns=self._clock_ns()))
        self._link.prove()
        self._subscribed.set()
        async for message in client.messages:
            address = self.topics.parse(str(message.topic))
            if address is None:
                self.unknown += 1
                continue
            event = to_event(address, bytes(message.payload), message.retain, self._clock_ns())
            self.malformed += isinstance(event, Malformed)
            self._events.put_nowait(event)

    async def _refused(self, client: Client, asked: tuple[str, ...]) -> str:
        """Ask for topics; says why one of the filters is refused, empty where none is."""
        granted = await client.subscribe([(each, 1) for each in asked])
        return next((str(code) for code in granted if isinstance(code, ReasonCode) and code.is_failure), "")

    def _lost(self, reason: str) -> None:
        self._events.put_nowait(ConnectionLost(received_at_ns=self._clock_ns(), reason=reason))
