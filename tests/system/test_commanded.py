"""A daemon that people command: over mosquitto with users and rights, and over the embedded broker."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.system.room import Room, balanced
from tests.unit.site.conftest import USERS, Prepared, prepared

from octmargin.archive import Recording
from octmargin.bus import BrokerSettings, CaseMessage, EmbeddedBroker, MapMessage, Topics, VerdictMessage
from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.bus.events import CaseChanged, Event, VerdictReceived
from octmargin.bus.orders import Command, Reply
from octmargin.bus.rights import Role, Sender, command_topic, reply_topic
from octmargin.config import Config, OrientationSection, RecordingSection
from octmargin.daemon import Daemon
from octmargin.frames import FACES
from octmargin_simulator.faults import FaultyConsole
from octmargin_simulator.phantom import LayeredPhantom

FRAMES = 12
SUSPICIOUS = "inferior"
SLOW_HZ = 1280.0
"""Twenty frames a second: a face takes long enough to be paused in its middle."""
NORTH = Topics("north", "or-1")


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=(SUSPICIOUS,))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """mosquitto with TLS, users and rights as `octmargin broker init` writes them."""
    broker = prepared(tmp_path_factory.mktemp("site"))
    with broker.running():
        yield broker


@pytest.fixture
def embedded() -> Iterator[BrokerSettings]:
    with EmbeddedBroker() as running:
        yield BrokerSettings(host=running.host, port=running.port, reconnect_min_s=0.05)


class Theatre(Room):
    """A room whose daemon is commanded."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cases: list[CaseMessage] = []
        self.verdicts: list[VerdictMessage] = []

    def heard(self, event: Event) -> None:
        if isinstance(event, CaseChanged):
            self.cases.append(event.message)
        elif isinstance(event, VerdictReceived):
            self.verdicts.append(event.message)

    def commanded(self, **options: Any) -> Config:
        """Its configuration where scanning begins by command."""
        config = self.config(**options)
        return msgspec.structs.replace(
            config, scan=msgspec.structs.replace(config.scan, faces=FACES, begin="on-command")
        )

    @asynccontextmanager
    async def running(self, config: Config) -> AsyncIterator[Daemon]:
        """A daemon that is ready, and ends when it is left."""
        daemon = Daemon(config)
        async with self.listening():
            task = asyncio.create_task(daemon.run())
            try:
                await asyncio.wait(
                    (
                        task,
                        asyncio.ensure_future(
                            self.until(lambda tally: tally.state == "ready" and tally.health)
                        ),
                    ),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                yield daemon
            finally:
                daemon.stop()
                await task
            await self.until(lambda tally: tally.state == "disconnected")

    async def phase(self, phase: str) -> CaseMessage:
        await self.until(lambda tally: tally.case is not None and tally.case.phase == phase)
        assert self.tally.case is not None
        return self.tally.case

    def verdict(self, face: str) -> VerdictMessage:
        verdict = self.tally.faces[face].verdict
        assert verdict is not None
        return verdict

    def map(self, face: str) -> MapMessage:
        found = self.tally.faces[face].map
        assert found is not None
        return found


class Person:
    """Commands the daemon for what is on the stage in front of them."""

    def __init__(self, client: Client, theatre: Theatre, sender: Sender) -> None:
        self.client = client
        self.theatre = theatre
        self.sender = sender

    def command(self, **arguments: Any) -> Command:
        seen = self.theatre.tally
        assert seen.case is not None
        assert seen.description is not None
        return Command(
            id=secrets.token_hex(4),
            issued_at=datetime.now(UTC),
            expected_session=seen.description.instance_id,
            case_id=seen.case.case_id,
            specimen_id=seen.case.specimen_id,
            arguments=arguments,
        )

    async def send(self, name: str, command: Command, *, retain: bool = False) -> None:
        topic = command_topic(self.theatre.topics, self.sender, name)
        payload = msgspec.json.encode(command)
        await self.client.publish_or_refusal(topic, payload, qos=1, retain=retain, properties=None)

    async def reply(self) -> Reply:
        async with asyncio.timeout(10):
            return msgspec.json.decode(bytes((await anext(self.client.messages)).payload), type=Reply)

    async def ask(self, name: str, **arguments: Any) -> Reply:
        command = self.command(**arguments)
        await self.send(name, command)
        reply = await self.reply()
        assert (reply.id, reply.command) == (command.id, name)
        return reply

    async def does(self, name: str, **arguments: Any) -> Reply:
        reply = await self.ask(name, **arguments)
        assert reply.outcome == "done", reply.reason
        return reply

    async def is_refused(self, name: str, **arguments: Any) -> str:
        reply = await self.ask(name, **arguments)
        assert reply.outcome == "refused"
        return reply.reason


@asynccontextmanager
async def person(settings: BrokerSettings, theatre: Theatre, sender: Sender) -> AsyncIterator[Person]:
    async with Connector(settings).client(None) as client:
        await client.subscribe(reply_topic(theatre.topics, sender), qos=1)
        yield Person(client, theatre, sender)


OTTO = Sender(Role.OPERATOR, "otto")
RITA = Sender(Role.READER, "rita")


@asynccontextmanager
async def in_theatre(
    phantom: LayeredPhantom, broker: BrokerSettings, console: FaultyConsole | None = None, **options: Any
) -> AsyncIterator[Theatre]:
    theatre = Theatre(phantom, broker, console, **options)
    if console is not None:
        console.plug_into(theatre.served)
    yield theatre
    await asyncio.to_thread(theatre.close)


@pytest.fixture
async def north(phantom: LayeredPhantom, site: Prepared) -> AsyncIterator[Theatre]:
    """On mosquitto; an archive listens, which may read everything of the site."""
    settings, archive = site.settings(USERS["or-1"]), site.settings(USERS["store"])
    async with in_theatre(phantom, settings, topics=NORTH, listener=archive) as theatre:
        yield theatre


@pytest.fixture
async def theatre(phantom: LayeredPhantom, embedded: BrokerSettings) -> AsyncIterator[Theatre]:
    """On the embedded broker."""
    async with in_theatre(phantom, embedded) as theatre:
        yield theatre


def opened(folder: Path) -> list[Recording]:
    return [Recording.open(path) for path in sorted(folder.iterdir())]


async def test_the_whole_story_of_a_specimen(north: Theatre, site: Prepared, tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        north.commanded(),
        recording=RecordingSection(folder=str(tmp_path)),
        orientation=OrientationSection(ink={"superior": "red"}, sutures="short superior"),
    )
    async with (
        north.running(config),
        person(site.settings(USERS["otto"]), north, OTTO) as otto,
        person(site.settings(USERS["rita"]), north, RITA) as rita,
    ):
        before = await north.phase("closed")
        assert (before.specimen, before.specimen_id, before.ink) == (None, "", {"superior": "red"})
        assert "no specimen is registered" in await otto.is_refused("start", all=True)
        await otto.does("register", kind="lumpectomy", laterality="left", specimen_id="s-9", label="main")
        idle = await north.phase("idle")
        assert idle.specimen is not None
        assert (idle.specimen.laterality, idle.specimen_id, tuple(idle.faces)) == ("left", "s-9", FACES)

        await otto.does("select", face="superior")
        await otto.does("start")
        await north.until(lambda tally: "superior" in tally.faces and tally.case.phase == "idle")
        await otto.does("start", all=True)
        await north.phase("scanning")
        assert "is being scanned" in await otto.is_refused("close")
        done = await north.phase("idle")
        assert done.sweeps == {face: number for number, face in enumerate(FACES, start=1)}
        assert [face for face in FACES if north.verdict(face).verdict == "suspicious"] == [SUSPICIOUS]
        await otto.does("rescan", face="superior")
        await north.until(lambda tally: tally.case.sweeps["superior"] == 7 and tally.case.phase == "idle")

        found = north.verdict(SUSPICIOUS)
        look = found.key_views[0]
        assert look.number == 1
        assert north.map(SUSPICIOUS).grid[look.frame][look.block] == "S"
        about = {"face": SUSPICIOUS, "sweep": found.sweep}
        assert "may not decide" in await otto.is_refused("decide", **about, subject="face", word="agree")
        await rita.does("decide", **about, subject="cluster", cluster=1, word="disagree", note="cautery")
        await rita.does(
            "mark",
            **about,
            first_frame=look.first_frame,
            last_frame=look.last_frame,
            first_block=0,
            last_block=1,
        )
        await north.until(
            lambda tally: (said := tally.decision_of(SUSPICIOUS)) is not None and bool(said.marks)
        )
        said = north.tally.decision_of(SUSPICIOUS)
        assert said is not None
        assert [(word.by, word.role, word.word, word.cluster) for word in said.decisions] == [
            ("rita", "reader", "disagree", 1)
        ]
        assert north.verdict(SUSPICIOUS).verdict == "suspicious", "a reader's word is not the algorithm's"
        await rita.does("close")
        await north.phase("closed")
        assert "is closed" in await rita.is_refused("decide", **about, subject="face", word="agree")
        await otto.does("register", kind="node", laterality="left", faces=["superior"])
        await north.until(
            lambda tally: (
                tally.case.phase == "idle"
                and all(
                    results.verdict is results.map is results.decision is None
                    for results in tally.faces.values()
                )
            )
        )
    assert balanced(north.tally)
    recordings = opened(tmp_path)
    logged = [entry for recording in recordings for entry in recording.log()]
    commands = [
        (entry["command"], entry["role"], entry["user"], entry["outcome"])
        for entry in logged
        if entry["kind"] == "command"
    ]
    assert commands == [
        ("start", "operator", "otto", "refused"),
        ("register", "operator", "otto", "done"),
        ("select", "operator", "otto", "done"),
        ("start", "operator", "otto", "done"),
        ("start", "operator", "otto", "done"),
        ("close", "operator", "otto", "refused"),
        ("rescan", "operator", "otto", "done"),
        ("decide", "operator", "otto", "refused"),
        ("decide", "reader", "rita", "done"),
        ("mark", "reader", "rita", "done"),
        ("close", "reader", "rita", "done"),
    ]
    assert all(recording.complete and not recording.log_trouble() for recording in recordings)
