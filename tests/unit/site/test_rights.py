"""Who may write and read what, tried out on a running broker: every user, every kind of topic, both ways."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiomqtt
import pytest

from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.errors import BrokerError

from .conftest import USERS, Prepared

# w: may write; r: is delivered; -: neither. Columns are USERS, topics are below octmargin/1/.
MATRIX = """
topic                              or-1  or-3  anna  otto  rita  wall  store  s-or-1  s-anna  s-rita  s-wall  s-store
north/or-1/$state                  rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/$description            rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/case                    rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/flag                    rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/map/superior            rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/verdict/superior        rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/decision/superior       rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/health                  rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/alarm/console           rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/preview                 rw    -     r     r     r     r     r      -       -       -       -       -
north/or-1/cmd/operator/anna/stop  rw    -     w     -     -     -     r      -       -       -       -       -
north/or-1/cmd/operator/otto/stop  rw    -     -     w     -     -     r      -       -       -       -       -
north/or-1/cmd/reader/rita/decide  rw    -     -     -     w     -     r      -       -       -       -       -
north/or-1/cmd/reader/anna/decide  rw    -     -     -     -     -     r      -       -       -       -       -
north/or-1/cmd/operator/rita/stop  rw    -     -     -     -     -     r      -       -       -       -       -
north/or-1/cmd/viewer/wall/stop    rw    -     -     -     -     -     r      -       -       -       -       -
north/or-1/cmd/archive/store/stop  rw    -     -     -     -     -     r      -       -       -       -       -
north/or-1/cmd/console/or-3/stop   rw    -     -     -     -     -     r      -       -       -       -       -
north/or-1/reply/operator/anna     rw    -     r     -     -     -     r      -       -       -       -       -
north/or-1/reply/operator/otto     rw    -     -     r     -     -     r      -       -       -       -       -
north/or-1/reply/reader/rita       rw    -     -     -     r     -     r      -       -       -       -       -
north/or-3/flag                    -     rw    r     r     r     r     r      -       -       -       -       -
north/or-3/cmd/operator/anna/stop  -     rw    w     -     -     -     r      -       -       -       -       -
south/or-1/flag                    -     -     -     -     -     -     -      rw      r       r       r       r
south/or-1/verdict/superior        -     -     -     -     -     -     -      rw      r       r       r       r
south/or-1/decision/superior       -     -     -     -     -     -     -      rw      r       r       r       r
south/or-1/cmd/operator/anna/stop  -     -     -     -     -     -     -      rw      w       -       -       r
south/or-1/cmd/reader/rita/decide  -     -     -     -     -     -     -      rw      -       w       -       r
south/or-1/reply/operator/anna     -     -     -     -     -     -     -      rw      r       -       -       r
"""
_HEADER, *_ROWS = (line.split() for line in MATRIX.strip().splitlines())
WHO = tuple(_HEADER[1:])
ROWS = [pytest.param(topic, dict(zip(WHO, row, strict=True)), id=topic) for topic, *row in _ROWS]
TOPICS = [topic for topic, *_ in _ROWS]

NEVER = (
    "octmargin/2/north/or-1/flag",
    "octmargin/1/north",
    "other/north/or-1/flag",
    "octmargin/1/north/flag/x/y/z",
)
"""Topics that are nobody's."""


class Listener:
    """A connected user who asks for everything, and what was delivered."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: set[str] = set()

    async def listen_until(self, last: str) -> None:
        async for message in self.client.messages:
            text = bytes(message.payload).decode()
            if text == last:
                return
            if not message.retain:  # other tests use the same broker
                self.heard.add(text)


async def said(client: Client, topic: str, text: str) -> bool:
    """Whether the broker takes a message."""
    try:
        await client.publish_or_refusal(topic, text.encode(), qos=1, retain=False, properties=None)
    except BrokerError as error:
        if "Not authorized" not in str(error):
            raise
        return False
    return True


async def tried_out(broker: Prepared) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """(user, topic) of all that was taken from them, and of all that was delivered to them."""
    async with AsyncExitStack() as stack:
        listeners = {}
        for who, user in USERS.items():
            client = await stack.enter_async_context(Connector(broker.settings(user)).client(None))
            await client.subscribe("#", qos=1)
            listeners[who] = Listener(client)
        written = {
            (who, topic)
            for topic in (*TOPICS, *NEVER)
            for who, listener in listeners.items()
            if await said(listener.client, _full(topic), f"{who} says {topic}")
        }
        waiting = [
            asyncio.create_task(listener.listen_until("the end of " + _console_heard_by(who)))
            for who, listener in listeners.items()
        ]
        for console in ("or-1", "or-3", "s-or-1"):
            site = USERS[console].site
            topic = f"octmargin/1/{site}/{USERS[console].name}/health"
            assert await said(listeners[console].client, topic, f"the end of {console}")
        async with asyncio.timeout(60):
            await asyncio.gather(*waiting)
    arrived = {text for listener in listeners.values() for text in listener.heard}
    assert arrived == {f"{who} says {topic}" for who, topic in written}, (
        "what is taken arrives, and nothing else"
    )
    delivered = {
        (who, topic)
        for who, listener in listeners.items()
        for topic in TOPICS
        if any(text.endswith(f" says {topic}") for text in listener.heard)
    }
    return written, delivered


def _full(topic: str) -> str:
    return topic if topic in NEVER else f"octmargin/1/{topic}"


def _console_heard_by(who: str) -> str:
    """The console whose last message a user waits for."""
    return who if "or-" in who else "s-or-1" if who.startswith("s-") else "or-1"


@pytest.fixture(scope="session")
def outcome(broker: Prepared) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    return asyncio.run(tried_out(broker))


@pytest.mark.parametrize(("topic", "rights"), ROWS)
def test_each_user_may_write_and_read_this_and_no_more(outcome, topic: str, rights: dict[str, str]) -> None:
    written, delivered = outcome
    found = {who: "r" * ((who, topic) in delivered) + "w" * ((who, topic) in written) or "-" for who in WHO}
    assert found == rights


@pytest.mark.parametrize("topic", NEVER)
def test_topics_outside_the_sites_are_nobodys(outcome, topic: str) -> None:
    written, _ = outcome
    assert not [who for who in USERS if (who, topic) in written]


async def test_nobody_reads_what_the_broker_tells_of_its_clients(broker: Prepared) -> None:
    async with Connector(broker.settings(USERS["store"])).client(None) as client:
        await client.subscribe("$SYS/#", qos=1)  # taken, and nothing delivered; some of it is retained
        await client.subscribe("octmargin/1/north/or-1/health", qos=1)
        async with Connector(broker.settings(USERS["or-1"])).client(None) as console:
            await said(console, "octmargin/1/north/or-1/health", "after")
        message: aiomqtt.Message = await asyncio.wait_for(anext(aiter(client.messages)), 60)
    assert message.payload == b"after"
