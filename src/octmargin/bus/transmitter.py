"""Carries parcels from the outbox to the broker, through any number of connections."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from octmargin.bus.answers import Answers
from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.bus.outbox import Outbox, Parcel
from octmargin.bus.reconnecting import ReconnectingClient
from octmargin.bus.store import OutboxStore
from octmargin.errors import MessageRefusedError

WINDOW = 8
"""Publishes under way at once: hides the round trip to a broker on the network, keeps the order."""
_READ_AGAIN_S = 1.0
_READ_AT_ONCE = 256
"""Flags that are read from the store in one go."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A parcel as it goes on the wire: its payload, and whether and for how long the broker is to remember it."""

    payload: bytes
    retain: bool
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

    def on_refused(self, parcel: Parcel, reason: str) -> None:
        """Note that the broker will never take a parcel, which is given up."""

    def on_heard(self, message: aiomqtt.Message) -> None:
        """Take a message of the subscribed topics."""

    def on_lost(self, reason: str) -> None:
        """Note that there is no connection."""


class Transmitter:
    """Sends what the outbox holds, hears what `listen_to` brings; `run` it in a task."""

    def __init__(
        self,
        connector: Connector,
        outbox: Outbox,
        store: OutboxStore | None,
        sender: Sender,
        *,
        client_id: str,
        will: aiomqtt.Will,
        listen_to: tuple[tuple[str, SubscribeOptions], ...],
    ) -> None:
        self.link = ReconnectingClient(
            connector,
            # And an answer to a command.
            lambda: connector.client(client_id, will, WINDOW + 1),
            self._serve,
            sender.on_lost,
            patient=store is not None,
        )
        self._outbox = outbox
        self._store = store
        self._sender = sender
        self._listen_to = listen_to
        self.answers = Answers()
        self._something_waits = asyncio.Event()
        self._room_for_more = asyncio.Event()
        self._all_acknowledged = asyncio.Event()

    def wake(self) -> None:
        """Look into the outbox."""
        self._something_waits.set()
        self._room_for_more.set()

    async def drained(self) -> None:
        """Return when the broker has acknowledged everything, answers among it."""
        while not self._outbox.empty:
            self._all_acknowledged.clear()
            await self._all_acknowledged.wait()
        await self.answers.sent()

    async def _serve(self, client: Client) -> None:
        self._sender.on_connected()
        try:
            async with asyncio.TaskGroup() as tasks:
                # Listening comes first: what is sent afterwards is heard, and the loss of the
                # connection is noticed at once instead of when an acknowledgement is overdue.
                tasks.create_task(self._listen(client))
                if self._store is not None:
                    tasks.create_task(self._read_back(self._store))
                tasks.create_task(self.answers.send(client))
                for _ in range(WINDOW):
                    tasks.create_task(self._send(client))
        finally:
            self._outbox.restore()

    async def _listen(self, client: Client) -> None:
        await client.subscribe(list(self._listen_to))
        async for message in client.messages:
            self._sender.on_heard(message)

    async def _read_back(self, store: OutboxStore) -> None:
        """Fetch the flags that wait in the store alone, as memory has room for them."""
        while True:
            asked = self._outbox.wanted(_READ_AT_ONCE)
            if asked:
                try:
                    found = await asyncio.wrap_future(store.flags(asked))
                except OSError:
                    # The store tells; what is there may be read yet.
                    await asyncio.sleep(_READ_AGAIN_S)
                    continue
                self._outbox.refill(asked, found)
                self._something_waits.set()
                self._note_if_empty()
            else:
                self._room_for_more.clear()
                await self._room_for_more.wait()

    async def _send(self, client: Client) -> None:
        while True:
            parcel = self._outbox.take()
            if parcel is None:
                self._something_waits.clear()
                await self._something_waits.wait()
                continue
            if self._outbox.behind:
                self._room_for_more.set()
            sealed = self._sender.seal(parcel)
            try:
                await client.publish_or_refusal(
                    parcel.topic,
                    sealed.payload,
                    qos=parcel.delivery.qos,
                    retain=sealed.retain,
                    properties=sealed.properties,
                )
            except MessageRefusedError as refusal:
                self._outbox.refuse(parcel)
                self._sender.on_refused(parcel, str(refusal))
            else:
                self._outbox.acknowledge(parcel)
                self._sender.on_acknowledged(parcel)
            self._note_if_empty()

    def _note_if_empty(self) -> None:
        if self._outbox.empty:
            self._all_acknowledged.set()
