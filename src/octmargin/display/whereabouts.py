"""Where the daemon serves its own display: it says so in its description, on the bus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from octmargin.bus import BrokerSettings, Description, Topics
from octmargin.bus.client import Client
from octmargin.bus.codec import decode
from octmargin.bus.connection import Connector
from octmargin.bus.reconnecting import ReconnectingClient
from octmargin.bus.topics import Kind
from octmargin.errors import BrokerError, MessageError

log = structlog.get_logger()


class Whereabouts:
    """Listens to the description of one daemon. `ConfigError` where files of the broker's cannot be used."""

    def __init__(self, broker: BrokerSettings, topics: Topics) -> None:
        self._topic = topics.description
        connector = Connector(broker)
        self._link = ReconnectingClient(
            connector, lambda: connector.client(None), self._listen, self._lost, patient=True
        )
        self._was_lost = False
        self.url = ""
        """Of the daemon's display; empty where it has none, or nothing is known of it."""

    @contextlib.asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Listen while entered."""
        listening = asyncio.create_task(self._run(), name="whereabouts of the daemon")
        try:
            yield
        finally:
            self._link.stop()
            await listening

    async def _run(self) -> None:
        try:
            await self._link.run()
        except BrokerError as error:
            # What the page shows comes over the browsers' own connections, which may do better.
            log.warning("B-scans cannot be shown: it is not heard where they are served", reason=str(error))

    async def _listen(self, client: Client) -> None:
        await client.subscribe(self._topic, qos=1)
        self._link.prove()
        self._was_lost = False
        async for message in client.messages:
            self._take(bytes(message.payload))

    def _take(self, payload: bytes) -> None:
        if not payload:
            self.url = ""
            return
        try:
            description = decode(Kind.DESCRIPTION, payload)
        except MessageError as error:
            log.warning("the daemon's description cannot be read", reason=str(error))
            return
        assert isinstance(description, Description)  # noqa: S101 - what that kind decodes to
        self.url = description.display_url

    def _lost(self, reason: str) -> None:
        if not self._was_lost:
            self._was_lost = True
            log.warning("broker gone; where the daemon serves B-scans may change meanwhile", reason=reason)
