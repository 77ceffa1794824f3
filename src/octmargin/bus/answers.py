"""Answers to commands on their way out: each is wanted, and none for long."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from octmargin.bus.client import Client
from octmargin.errors import BrokerError

MOST_WAITING = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Answer:
    topic: str
    payload: bytes
    until_s: float
    """Monotonic clock."""


class Answers:
    """Sends in their order what is put, with what is left of its time as MQTT 5 expiry.

    What waits for longer, because the broker is away, is given up: whoever asked does not wait any more, and gets
    the same answer to the same command.
    """

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._waiting: deque[_Answer] = deque()
        self._something_waits = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self.given_up = 0
        """Answers that were not sent in time, or that the broker refused."""

    def put(self, topic: str, payload: bytes, lasts_s: float) -> None:
        """Send it soon; never blocks."""
        self._waiting.append(_Answer(topic, payload, time.monotonic() + lasts_s))
        if len(self._waiting) > self._most_waiting:
            self._give_up(self._waiting.popleft(), "too many wait")
        self._all_sent.clear()
        self._something_waits.set()

    async def sent(self) -> None:
        """Return when nothing waits, nor is under way."""
        await self._all_sent.wait()

    async def send(self, client: Client) -> None:
        """Send over one connection until that fails with `aiomqtt.MqttError`."""
        while True:
            if not self._waiting:
                self._all_sent.set()
                self._something_waits.clear()
                await self._something_waits.wait()
                continue
            answer = self._waiting.popleft()
            left_s = answer.until_s - time.monotonic()
            if left_s <= 0:
                self._give_up(answer, "its time is over")
                continue
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = math.ceil(left_s)
            try:
                await client.publish_or_refusal(
                    answer.topic, answer.payload, qos=1, retain=False, properties=properties
                )
            except BrokerError as refusal:
                # Results go on: an answer is not worth the connection.
                self._give_up(answer, str(refusal))
            except (aiomqtt.MqttError, asyncio.CancelledError):
                self._waiting.appendleft(answer)
                raise

    def _give_up(self, answer: _Answer, reason: str) -> None:
        self.given_up += 1
        log.warning("an answer to a command is given up", topic=answer.topic, reason=reason)
