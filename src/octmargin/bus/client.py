"""An MQTT client that hears when the broker refuses a message: aiomqtt takes a refusal for an acknowledgement."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from types import TracebackType
from typing import Any, Self, TypeVar

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from octmargin.errors import BrokerError, MessageRefusedError
from octmargin.own_thread import detached

_REMEDIES = {
    135: "give its user the right to write there",
    151: "its quota is used up: make room, or raise its limits",
}
"""MQTT 5 reason codes of PUBACK: not authorised; quota exceeded."""
_FOR_GOOD = (144, 149, 153)
"""Topic name invalid; packet too large; payload format invalid: no later try can end otherwise."""
_MOST_HEADER_BYTES = 64
"""Of a PUBLISH packet, beside topic and payload."""

T = TypeVar("T")


class Client(aiomqtt.Client):
    """As its base, and with `publish_or_refusal`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._refusals: dict[int, ReasonCode] = {}
        self._most_bytes = math.inf
        self._given_up: Future[None] = Future()
        """Done when nobody waits for the connection any more."""

    async def __aenter__(self) -> Self:
        try:
            return await super().__aenter__()
        except BaseException:
            if not self._given_up.done():
                self._given_up.set_result(None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if self._disconnected.done() and not self._disconnected.cancelled():
            # Whoever lost the connection was told already; asyncio would log it once more, as never heard.
            self._disconnected.exception()

    def _client_connect(self) -> None:
        """As its base, in a thread that is left alone: asyncio's are waited for at the end, whatever holds them up."""
        connecting = detached("octmargin broker connection", self._connect)
        wait((connecting, self._given_up), return_when=FIRST_COMPLETED)
        if not connecting.done():
            raise OSError("nobody waits for it any more")
        connecting.result()

    def _connect(self) -> None:
        super()._client_connect()
        late = self._client.socket()
        if self._given_up.done() and late is not None:
            late.close()

    async def publish_or_refusal(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Any
    ) -> None:
        """Publish, and return when the broker has the message.

        BrokerError names topic, reason and remedy where it refuses it, MessageRefusedError where it always will;
        aiomqtt.MqttError where the connection fails.
        """
        if len(topic.encode()) + len(payload) + _MOST_HEADER_BYTES > self._most_bytes:
            # A broker hangs up on it, and would do so again on every connection.
            raise MessageRefusedError(
                f"a message of {len(payload)} bytes on {topic} is more than the MQTT broker takes "
                f"({self._most_bytes} bytes); raise its limit"
            )
        # The course of `aiomqtt.Client.publish` (2.5), which does not give away the message's id.
        info = self._client.publish(topic, payload, qos, retain, properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
        if not info.is_published():
            confirmation = asyncio.Event()
            with self._pending_call(info.mid, confirmation, self._pending_publishes):
                await self._wait_for(confirmation.wait(), timeout=None)
        reason = self._refusals.pop(info.mid, None)
        if reason is not None:
            kind = MessageRefusedError if reason.value in _FOR_GOOD else BrokerError
            remedy = _REMEDIES.get(reason.value, "check its log")
            raise kind(f"the MQTT broker refuses what is said on {topic} ({reason}); {remedy}")

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109 - its base's
        """As its base, and without Python 3.11's `wait_for`, which swallows a cancellation that meets the answer."""
        limit_s = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if limit_s == math.inf else limit_s):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        self._most_bytes = getattr(properties, "MaximumPacketSize", math.inf)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if isinstance(reason_code, ReasonCode) and reason_code.is_failure:
            self._refusals[mid] = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)
