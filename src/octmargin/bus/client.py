"""An MQTT client that hears when the broker refuses a message: aiomqtt takes a refusal for an acknowledgement."""

from __future__ import annotations

import asyncio
from typing import Any

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from octmargin.errors import BrokerError

_REMEDIES = {
    135: "give its user the right to write there",
    151: "its quota is used up: make room, or raise its limits",
}
"""MQTT 5 reason codes of PUBACK: not authorised; quota exceeded."""


class Client(aiomqtt.Client):
    """As its base, and with `publish_or_refusal`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._refusals: dict[int, ReasonCode] = {}

    async def publish_or_refusal(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Any
    ) -> None:
        """Publish, and return when the broker has the message.

        BrokerError names topic, reason and remedy where it refuses it; aiomqtt.MqttError where the connection fails.
        """
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
            remedy = _REMEDIES.get(reason.value, "check its log")
            raise BrokerError(f"the MQTT broker refuses what is said on {topic} ({reason}); {remedy}")

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if isinstance(reason_code, ReasonCode) and reason_code.is_failure:
            self._refusals[mid] = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)
