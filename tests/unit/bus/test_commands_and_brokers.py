"""Commands and answers over real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomqtt
import msgspec
import pytest

from octmargin.bus.commands import CommandDoor, Request
from octmargin.bus.connection import BrokerSettings
from octmargin.bus.orders import Command, Reply
from octmargin.bus.publisher import Publisher
from octmargin.bus.rights import Role, Sender, command_topic, reply_topic
from octmargin.bus.topics import Topics

from .conftest import Mosquitto

OTTO = Sender(Role.OPERATOR, "otto")
RITA = Sender(Role.READER, "rita")


class Person:
    """Gives commands, and hears the answers to them."""

    def __init__(self, client: aiomqtt.Client, topics: Topics, sender: Sender) -> None:
        self._client = client
        self._topics = topics
        self._sender = sender

    async def send(self, name: str, payload: bytes, **options: Any) -> None:
        await self._client.publish(command_topic(self._topics, self._sender, name), payload, qos=1, **options)

    async def hear(self) -> tuple[Reply, aiomqtt.Message]:
        async with asyncio.timeout(60):
            message = await anext(self._client.messages)
        return msgspec.json.decode(bytes(message.payload), type=Reply), message


@asynccontextmanager
async def person(broker: BrokerSettings, topics: Topics, sender: Sender) -> AsyncIterator[Person]:
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(reply_topic(topics, sender), qos=1)
        yield Person(client, topics, sender)


def opened(publisher: Publisher, topics: Topics) -> list[Request]:
    """Carry out everything; gives what was."""
    done: list[Request] = []

    def carry_out(request: Request) -> str:
        done.append(request)
        return "done"

    door = CommandDoor(
        topics,
        publisher.session,
        carry_out=carry_out,
        answer=publisher.answer,
        note=lambda *_: None,
        clock=lambda: datetime.now(UTC),
    )
    publisher.commands = door
    return done


def command(session: str, command_id: str = "c-1", **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "id": command_id,
        "issued_at": datetime.now(UTC),
        "expected_session": session,
        "case_id": "C-7",
        "specimen_id": "S-1",
        "arguments": {"face": "superior"},
    }
    return msgspec.json.encode(Command(**(fields | changes)))


async def test_a_command_is_answered_to_who_gave_it_and_to_nobody_else(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with (
        Publisher(broker, topics) as publisher,
        person(broker, topics, OTTO) as otto,
        person(broker, topics, RITA) as rita,
    ):
        done = opened(publisher, topics)
        await otto.send("select", command(publisher.session))
        await rita.send("select", command(publisher.session, "r-1"))
        reply, message = await otto.hear()
        assert (reply.id, reply.outcome, reply.session) == ("c-1", "done", publisher.session)
        assert (message.qos, message.retain) == (1, False)
        assert 0 < message.properties.MessageExpiryInterval <= 30  # type: ignore[union-attr]
        assert (await rita.hear())[0].id == "r-1"
        assert [request.sender for request in done] == [OTTO, RITA]


async def test_a_command_that_is_sent_twice_is_carried_out_once(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with Publisher(broker, topics) as publisher, person(broker, topics, OTTO) as otto:
        done = opened(publisher, topics)
        payload = command(publisher.session)
        await asyncio.gather(otto.send("select", payload), otto.send("select", payload))
        replies = [(await otto.hear())[0] for _ in range(2)]
        assert [reply.repeated for reply in replies] == [False, True]
        assert replies[1] == msgspec.structs.replace(replies[0], repeated=True)
        assert len(done) == 1


async def test_a_command_that_is_retained_is_not_carried_out_neither_when_it_comes_nor_later(
    mosquitto: Mosquitto, topics: Topics
) -> None:
    broker = mosquitto.settings
    async with Publisher(broker, topics) as publisher, person(broker, topics, OTTO) as otto:
        done = opened(publisher, topics)
        holding = {"valid_until": datetime.now(UTC) + timedelta(minutes=4)}
        await otto.send("select", command(publisher.session, "retained", **holding), retain=True)
        await otto.send("select", command(publisher.session, "live"))
        assert (await otto.hear())[0].id == "live"
        assert [request.command.id for request in done] == ["live"]
    async with Publisher(broker, topics) as publisher, person(broker, topics, OTTO) as otto:
        done = opened(publisher, topics)
        await otto.send("select", command(publisher.session, "live"))
        assert (await otto.hear())[0].id == "live"
        assert [request.command.id for request in done] == ["live"]


async def test_commands_are_taken_again_when_the_broker_is_back(mosquitto: Mosquitto, topics: Topics) -> None:
    broker = mosquitto.settings
    async with Publisher(broker, topics) as publisher:
        done = opened(publisher, topics)
        async with person(broker, topics, OTTO) as otto:
            await otto.send("select", command(publisher.session, "before"))
            assert (await otto.hear())[0].outcome == "done"
        mosquitto.stop()
        mosquitto.start()
        async with person(broker, topics, OTTO) as otto:
            reply = None
            async with asyncio.timeout(60):
                while reply is None:
                    # Until the daemon has subscribed anew, nobody hears it: a person would try again too.
                    await otto.send("select", command(publisher.session, "after"))
                    try:
                        async with asyncio.timeout(0.2):
                            reply = (await otto.hear())[0]
                    except TimeoutError:
                        continue
        assert reply.outcome == "done"
        assert [request.command.id for request in done] == ["before", "after"]


async def test_an_answer_waits_for_the_broker_but_not_for_longer_than_anybody_waits_for_it(
    mosquitto: Mosquitto, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mosquitto.settings
    async with Publisher(broker, topics) as publisher:
        mosquitto.stop()
        async with asyncio.timeout(60):
            while publisher.connected:  # noqa: ASYNC110 - its loss is told to nobody
                await asyncio.sleep(0.01)
        reply = Reply(
            session=publisher.session,
            id="early",
            command="select",
            outcome="done",
            reason="",
            at=datetime.now(UTC),
        )
        monkeypatch.setattr("octmargin.bus.publisher.REPLY_EXPIRY_S", 0)
        publisher.answer(OTTO, reply)
        monkeypatch.undo()
        publisher.answer(OTTO, msgspec.structs.replace(reply, id="late"))
        mosquitto.start()
        async with person(broker, topics, OTTO) as otto:
            # Said before anybody listens it is gone; what counts is that the first one is given up.
            assert await publisher.drain(10)
            publisher.answer(OTTO, msgspec.structs.replace(reply, id="last"))
            heard = (await otto.hear())[0].id
            assert heard in ("late", "last")
        assert publisher.answers_given_up == 1
