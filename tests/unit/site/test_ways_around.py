"""Ways to what one has no right to that are not a plain subscription or message: none of them leads there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import aiomqtt
import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.errors import BrokerError

from .conftest import USERS, Prepared

ROOM = "octmargin/1/north/or-1"
COMMAND = f"{ROOM}/cmd/operator/anna/stop"
REPLY = f"{ROOM}/reply/operator/anna"
END = f"{ROOM}/health"
ASKED = (
    COMMAND, REPLY, f"{ROOM}/cmd/#", f"{ROOM}/reply/operator/+", f"{ROOM}/+/operator/anna/+", "+/+/+/+/+/+/+/+", "#",
    f"$share/all/{ROOM}/cmd/#", f"$share/all/{REPLY}", "$share/all/#",
)  # fmt: skip
"""All ways to ask for what `anna` says to the console, and it to her."""


@asynccontextmanager
async def connected(broker: Prepared, who: str, will: aiomqtt.Will | None = None) -> AsyncIterator[Client]:
    async with Connector(broker.settings(USERS[who])).client(None, will) as client:
        yield client


async def heard_until_the_end(client: Client, end: bytes) -> set[bytes]:
    """What was delivered before what the console says last."""
    heard = set()
    async with asyncio.timeout(60):
        async for message in client.messages:
            if message.payload == end:
                return heard
            heard.add(bytes(message.payload))
    raise AssertionError


@pytest.mark.parametrize("who", ["wall", "otto", "rita", "s-anna"])
async def test_no_filter_brings_what_is_between_another_user_and_the_console(
    broker: Prepared, who: str
) -> None:
    site = USERS[who].site
    end = uuid4().bytes
    async with connected(broker, who) as client, connected(broker, "anna") as anna:
        for asked in ASKED:
            await client.subscribe(asked, qos=1)
        await anna.publish(COMMAND, b"a command", qos=1)
        async with connected(broker, "or-1") as console:
            await console.publish(REPLY, b"a reply", qos=1)
        async with connected(broker, "or-1" if site == "north" else "s-or-1") as speaker:
            await speaker.publish(f"octmargin/1/{site}/or-1/health", end, qos=1)
        assert not heard_of_others(await heard_until_the_end(client, end))


def heard_of_others(heard: set[bytes]) -> set[bytes]:
    return heard & {b"a command", b"a reply"}


async def test_what_is_retained_is_handed_out_by_the_same_rights(broker: Prepared) -> None:
    """To who subscribes before it is said and to who comes late, and not to another site."""
    topic, end = f"{ROOM}/verdict/retained", uuid4().bytes
    async with connected(broker, "or-1") as console:
        await console.publish(topic, b"remembered", qos=1, retain=True)
    for who, console_name, site in (("wall", "or-1", "north"), ("s-wall", "s-or-1", "south")):
        async with connected(broker, who) as late, connected(broker, console_name) as speaker:
            await late.subscribe([(topic, 1), ("octmargin/1/#", 1)])
            await speaker.publish(f"octmargin/1/{site}/or-1/health", end, qos=1)
            heard = await heard_until_the_end(late, end)
            assert (b"remembered" in heard) == (site == "north")
    async with connected(broker, "or-1") as console:
        await console.publish(topic, b"", qos=1, retain=True)


async def leaves_its_will(broker: Prepared, who: str, topic: str, payload: bytes) -> None:
    """Connect, and leave such that the broker says what was to be said at one's death."""
    async with connected(broker, who, aiomqtt.Will(topic, payload, qos=1)) as client:
        client._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
        await client._disconnected


@pytest.mark.parametrize("topic", [COMMAND, f"{ROOM}/$state", f"{ROOM}/verdict/superior"])
async def test_a_last_will_says_nothing_that_its_user_may_not(broker: Prepared, topic: str) -> None:
    """Whoever may not write there may not leave it behind either."""
    end = uuid4().bytes
    async with connected(broker, "or-1") as console:
        await console.subscribe([(topic, 1), (END, 1)])
        try:
            await leaves_its_will(broker, "wall", topic, b"left behind")
        except (aiomqtt.MqttError, BrokerError) as error:
            assert "ot authori" in str(error)  # noqa: PT017 - to refuse it at once is as good
        await leaves_its_will(broker, "or-1", END, end)
        assert b"left behind" not in await heard_until_the_end(console, end)


@pytest.mark.parametrize("name", ["north.operator.anna", "north.console.or-1", ""])
async def test_a_certificate_or_password_opens_one_user_alone(broker: Prepared, name: str) -> None:
    """Another user name beside one's own secret, or none, changes nothing of what one may do."""
    own = broker.settings(USERS["wall"])
    secret = own.password_file if name else ""
    changed = msgspec.structs.replace(own, username=name, password_file=secret)
    with pytest.raises((BrokerError, aiomqtt.MqttError), match=r"ot authori[sz]ed|[Bb]ad user name"):
        async with Connector(changed).client(None) as client:
            await client.publish_or_refusal(COMMAND, b"stop", qos=1, retain=False, properties=None)


def with_session_of(broker: Prepared, who: str, identifier: str) -> aiomqtt.Client:
    """A client that goes on with the session of that identifier, if there is one."""
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 600
    connector = Connector(broker.settings(USERS[who]))
    settings = connector.settings
    return aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username or None,
        password=connector._password,
        tls_context=connector._tls_context,
        protocol=aiomqtt.ProtocolVersion.V5,
        identifier=identifier,
        clean_start=False,
        properties=lasting,
    )


async def test_whoever_takes_over_a_session_gets_neither_its_messages_nor_its_rights(
    broker: Prepared,
) -> None:
    """A client id is no secret: it may cost others their connection, and opens nothing."""
    identifier, end = f"archive-{uuid4()}", uuid4().bytes
    async with with_session_of(broker, "store", identifier) as archive:
        await archive.subscribe("octmargin/1/north/#", qos=1)
    async with connected(broker, "anna") as anna:
        await anna.publish(COMMAND, b"a command", qos=1)
    async with with_session_of(broker, "wall", identifier) as thief, connected(broker, "or-1") as console:
        await thief.subscribe(END, qos=1)
        await console.publish(REPLY, b"a reply", qos=1)
        await console.publish(END, end, qos=1)
        assert not heard_of_others(await heard_until_the_end(thief, end))
