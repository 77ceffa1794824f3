"""A subscriber of this version meets a daemon of the next one, on real brokers: it shows it, or says that it cannot."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from rich.console import Console

from octmargin.bus import BrokerSettings, Subscriber, Tally, Topics
from octmargin.bus.client import Client
from octmargin.bus.codec import encode
from octmargin.bus.connection import Connector
from octmargin.bus.messages import Message
from octmargin.bus.topics import DELIVERY, Kind
from octmargin.watch import render

from .examples import ONE_OF_EACH, health

FACE = "superior"
SHOWN = (Kind.DESCRIPTION, Kind.CASE, Kind.MAP, Kind.VERDICT, Kind.DECISION, Kind.HEALTH, Kind.FLAG)


class NextDaemon:
    """Says what a daemon says, with fields and schema numbers of one's choice."""

    def __init__(self, client: Client, topics: Topics) -> None:
        self._client = client
        self._topics = topics

    async def say(self, kind: Kind, **changes: Any) -> None:
        now = datetime.now(UTC)
        message: Message = health() if kind is Kind.HEALTH else ONE_OF_EACH[kind]
        stamped = msgspec.structs.replace(
            message,
            session="s",
            sequence=1,
            acquired_at=now,
            published_at=now,
            valid_until=now + timedelta(minutes=1),
            **({"instance_id": "s"} if kind is Kind.DESCRIPTION else {}),
        )
        said = json.loads(encode(stamped)) | changes
        topic = self._topics.of(kind, FACE if kind.named else "")
        await self._client.publish(topic, json.dumps(said).encode(), qos=1, retain=DELIVERY[kind].retain)

    async def say_state(self, word: str) -> None:
        await self._client.publish(self._topics.state, word.encode(), qos=1, retain=True)


@asynccontextmanager
async def met(
    settings: BrokerSettings, topics: Topics
) -> AsyncIterator[tuple[NextDaemon, Tally, Subscriber]]:
    tally = Tally()

    async def listen() -> None:
        async for event in events:
            tally.add(event)

    async with Subscriber(settings, topics) as events, Connector(settings).client(None) as client:
        listening = asyncio.create_task(listen())
        yield NextDaemon(client, topics), tally, events
        events.stop()
        await listening


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the tally tells nobody
            await asyncio.sleep(0.01)


def on_screen(tally: Tally, topics: Topics) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(tally, datetime.now(UTC), topics))
    return console.export_text()


async def test_fields_and_topics_that_are_new_change_nothing(broker: BrokerSettings, topics: Topics) -> None:
    async with met(broker, topics) as (daemon, tally, events):
        await daemon.say_state("ready")
        for kind in SHOWN:
            await daemon.say(kind, mood="good", more={"than": ["is", "known"]})
        await daemon._client.publish(f"{topics.base}/preview", b"\x00\x01", qos=1)
        await until(lambda: tally.last_flag is not None and tally.health is not None and events.unknown)
        now = datetime.now(UTC)
        assert tally.stale_reason(now, FACE) is None
        assert (events.malformed, tally.malformed) == (0, 0)
        assert tally.faces[FACE].verdict is not None
        assert tally.decision_of(FACE) is not None


@pytest.mark.parametrize(
    "newer", [kind for kind in SHOWN if kind not in (Kind.MAP, Kind.VERDICT, Kind.DECISION)]
)
async def test_where_it_cannot_know_what_is_shown_nothing_is_and_the_screen_says_why(
    broker: BrokerSettings, topics: Topics, newer: Kind
) -> None:
    async with met(broker, topics) as (daemon, tally, _):
        await daemon.say_state("ready")
        for kind in SHOWN:
            await daemon.say(kind)
        await until(lambda: tally.last_flag is not None and tally.health is not None)
        assert tally.stale_reason(datetime.now(UTC), FACE) is None
        await daemon.say(newer, schema=2)
        await until(lambda: tally.malformed)
        reason = f"unreadable: {newer.value} message: schema 2, and 1 is known; update this program"
        assert tally.stale_reason(datetime.now(UTC), FACE) == reason
        assert f"STALE: {reason}" in on_screen(tally, topics)


@pytest.mark.parametrize("newer", [Kind.MAP, Kind.VERDICT])
async def test_a_face_of_which_something_newer_is_said_is_not_shown_as_good(
    broker: BrokerSettings, topics: Topics, newer: Kind
) -> None:
    async with met(broker, topics) as (daemon, tally, _):
        await daemon.say_state("ready")
        for kind in SHOWN:
            await daemon.say(kind)
        await daemon.say(newer, schema=2)
        await until(lambda: tally.malformed)
        assert tally.stale_reason(datetime.now(UTC)) is None
        assert "schema 2, and 1 is known" in str(tally.stale_reason(datetime.now(UTC), FACE))


async def test_a_daemon_that_is_newer_in_everything_is_said_to_be(
    broker: BrokerSettings, topics: Topics
) -> None:
    """Also to who comes late, when all that is left of it is what the broker remembers."""
    async with met(broker, topics) as (daemon, _, _):
        await daemon.say_state("ready")
        for kind in SHOWN:
            await daemon.say(kind, schema=2)
    async with met(broker, topics) as (_, tally, _):
        await until(lambda: tally.malformed >= 5)
        assert "schema 2, and 1 is known; update this program" in str(tally.stale_reason(datetime.now(UTC)))
        assert not [face for face in tally.faces.values() if face.verdict or face.map or face.decision]


async def test_a_word_of_a_later_state_is_not_taken_for_an_older_one(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with met(broker, topics) as (daemon, tally, _):
        await daemon.say_state("ready")
        for kind in SHOWN:
            await daemon.say(kind)
        await daemon.say_state("dozing")
        await until(lambda: tally.malformed)
        assert str(tally.stale_reason(datetime.now(UTC), FACE)).startswith(
            "unreadable: $state b'dozing' is none of"
        )
