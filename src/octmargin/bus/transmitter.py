"""Carries parcels from the outbox to the broker, through any number of connections."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from octmargin.bus.connection import Connector
from octmargin.bus.outbox import Outbox, Parcel
from octmargin.bus.reconnecting import ReconnectingClient

WINDOW = 8
"""Publishes under way at once: hides the round trip to a broker on the network, keeps the order."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A parcel as it goes on the wire: its payload, and for how long the broker may hand it out."""

    payload: bytes
    expiry_s: int | None = None

    @property
    def properties(self) -> Properties:
        """MQTT 5 properties."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if self.expiry_s is not None:
            properties.MessageExpiryInterval = self.expiry_s
        return properties


class Sender(Protocol):
    """Whose messages they are."""

    def on_connected(self) -> None:
        """Refill the outbox: the broker may have forgotten everything."""

    def seal(self, parcel: Parcel) -> Sealed:
        """Turn a parcel into bytes at the moment it leaves."""

    def on_acknowledged(self, parcel: Parcel) -> None:
        """Count a parcel that the broker has."""

    def on_heard(self, message: aiomqtt.Message) -> None:
        """Take a message of the subscribed topics."""


class Transmitter:
    """Sends what the outbox holds, hears what `listen_to` brings; `run` it in a task."""

    def __init__(
        self,
        connector: Connector,
        outbox: Outbox,
        sender: Sender,
        *,
        client_id: str,
        will: aiomqtt.Will,
        listen_to: tuple[str, ...],
    ) -> None:
        self.last_failure = ""
        self.link = ReconnectingClient(
            connector, lambda: connector.client(client_id, will, WINDOW), self._serve, self._note_failure
        )
        self._outbox = outbox
        self._sender = sender
        self._listen_to = listen_to
        self._something_waits = asyncio.Event()
        self._all_acknowledged = asyncio.Event()

    def wake(self) -> None:
        """Look into the outbox."""
        self._something_waits.set()

    async def drained(self) -> None:
        """Return when the broker has acknowledged everything."""
        while not self._outbox.empty:
            self._all_acknowledged.clear()
            await self._all_acknowledged.wait()

    def _note_failure(self, reason: str) -> None:
        self.last_failure = reason

    async def _serve(self, client: aiomqtt.Client) -> None:
        self._sender.on_connected()
        try:
            async with asyncio.TaskGroup() as tasks:
                # Listening comes first: what is sent afterwards is heard, and the loss of the
                # connection is noticed at once instead of when an acknowledgement is overdue.
                tasks.create_task(self._listen(client))
                for _ in range(WINDOW):
                    tasks.create_task(self._send(client))
        finally:
            self._outbox.restore()

    async def _listen(self, client: aiomqtt.Client) -> None:
        await client.subscribe([(topic, 0) for topic in self._listen_to])
        async for message in client.messages:
            self._sender.on_heard(message)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            parcel = self._outbox.take()
            if parcel is None:
                self._something_waits.clear()
                await self._something_waits.wait()
                continue
            sealed = self._sender.seal(parcel)
            delivery = parcel.delivery
            await client.publish(
                parcel.topic,
                sealed.payload,
                qos=delivery.qos,
                retain=delivery.retain,
                properties=sealed.properties,
            )
            self._outbox.acknowledge(parcel)
            self._sender.on_acknowledged(parcel)
            if self._outbox.empty:
                self._all_acknowledged.set()
