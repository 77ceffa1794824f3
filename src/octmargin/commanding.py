"""Giving one command to a daemon: look what is on the stage, ask, and wait for the answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import msgspec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from octmargin.bus import BrokerSettings, CaseMessage, Description, State, Topics
from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.bus.events import CaseChanged, Described, StateChanged, to_event
from octmargin.bus.orders import COMMAND_S, ORDERS, Command, Reply
from octmargin.bus.rights import Sender, command_topic, reply_topic
from octmargin.errors import BrokerError, ConfigError, OctMarginError
from octmargin.wrong_values import explain

ANSWER_S = 10.0
LOOK_S = 3.0
"""So long the broker may take to tell what it remembers of the console."""


class UnansweredError(OctMarginError):
    """Nobody knows what became of a command."""


@dataclass(slots=True)
class _Seen:
    state: State | None = None
    description: Description | None = None
    case: CaseMessage | None = None

    @property
    def is_enough(self) -> bool:
        return None not in (self.state, self.description, self.case)


def arguments_of(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of a command from words, as the command line has them; ConfigError names what is wrong with one."""
    kind = ORDERS.get(name)
    if kind is None:
        raise ConfigError(f"there is no command {name!r}; known: {', '.join(ORDERS)}")
    words: dict[str, str | list[str]] = dict(given)
    if "faces" in given:
        words["faces"] = [face.strip() for face in given["faces"].split(",")]
    try:
        order = msgspec.convert(words, kind, strict=False)
    except msgspec.ValidationError as error:
        wrong = explain(str(error), kind, given=words, noun="argument")
        known = ", ".join(kind.__struct_fields__) or "none"
        raise ConfigError(f"{name}: {wrong}; its arguments: {known}") from None
    arguments = msgspec.to_builtins(order)
    assert isinstance(arguments, dict)  # noqa: S101 - that is what structs become
    return arguments


async def give(
    settings: BrokerSettings, topics: Topics, sender: Sender, name: str, arguments: Mapping[str, Any]
) -> Reply:
    """Give a command for what is on the stage now, and wait for the reply.

    BrokerError where the broker cannot be reached or refuses, UnansweredError where no daemon is there or answers.
    """
    connector = Connector(settings)
    try:
        async with connector.client(settings.client_id or None) as client:
            return await _give(client, topics, sender, name, arguments)
    except aiomqtt.MqttError as error:
        raise connector.explain(error) from error


async def _give(
    client: Client, topics: Topics, sender: Sender, name: str, arguments: Mapping[str, Any]
) -> Reply:
    answers_on = reply_topic(topics, sender)
    await client.subscribe(
        [(topic, 1) for topic in (topics.state, topics.description, topics.case, answers_on)]
    )
    seen = await _look(client, topics)
    assert seen.description is not None  # noqa: S101 - else it was not enough
    assert seen.case is not None  # noqa: S101
    command = Command(
        id=secrets.token_hex(8),
        issued_at=datetime.now(UTC),
        expected_session=seen.description.instance_id,
        case_id=seen.case.case_id,
        specimen_id=seen.case.specimen_id,
        arguments=dict(arguments),
    )
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = int(COMMAND_S)
    try:
        async with asyncio.timeout(ANSWER_S):
            await client.publish_or_refusal(
                command_topic(topics, sender, name),
                msgspec.json.encode(command),
                qos=1,
                retain=False,
                properties=properties,
            )
            return await _answer(client, answers_on, command.id)
    except TimeoutError:
        raise UnansweredError(
            f"no answer to {name} within {ANSWER_S:.0f} s; whether it was carried out is not known: look at the display"
        ) from None


async def _look(client: Client, topics: Topics) -> _Seen:
    """What the broker remembers of the console."""
    seen = _Seen()
    try:
        async with asyncio.timeout(LOOK_S):
            async for message in client.messages:
                address = topics.parse(str(message.topic))
                if address is None:
                    continue
                match to_event(address, bytes(message.payload), message.retain, 0):
                    case StateChanged(state=state):
                        seen.state = state
                    case Described(message=described):
                        seen.description = described
                    case CaseChanged(message=case):
                        seen.case = case
                    case _:
                        pass
                if seen.is_enough:
                    break
    except TimeoutError:
        pass
    if seen.state in ("lost", "disconnected"):
        raise UnansweredError(f"no daemon runs for {topics.base}: its last word was {seen.state}")
    if not seen.is_enough:
        raise UnansweredError(
            f"no daemon that takes commands is known at {topics.base}; is it started, and ready?"
        )
    return seen


async def _answer(client: Client, answers_on: str, command_id: str) -> Reply:
    async for message in client.messages:
        if str(message.topic) != answers_on:
            continue
        try:
            reply = msgspec.json.decode(bytes(message.payload), type=Reply)
        except msgspec.DecodeError:
            continue
        if reply.id == command_id:
            return reply
    raise BrokerError("the connection to the MQTT broker ended; try again")
