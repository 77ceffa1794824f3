"""A daemon that people command: over mosquitto with users and rights, and over the embedded broker."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from tests.system.room import LENIENT, HeldConsole, Room, balanced
from tests.unit.bus.conftest import running_mosquitto
from tests.unit.site.conftest import USERS, Prepared, prepared

from octmargin.acquisition import CONSOLE_ALARM
from octmargin.archive import Recording
from octmargin.bus import BrokerSettings, CaseMessage, EmbeddedBroker, MapMessage, Topics, VerdictMessage
from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.bus.events import CaseChanged, Event, VerdictReceived
from octmargin.bus.orders import Command, Reply
from octmargin.bus.rights import Role, Sender, command_topic, reply_topic
from octmargin.case.record.events import Opened, Registered
from octmargin.case.record.store import CaseStore
from octmargin.case.recorded import read_recorded
from octmargin.case.taking import take
from octmargin.config import Config, OrientationSection, RecordingSection
from octmargin.daemon import Daemon
from octmargin.errors import BrokerError
from octmargin.frames import FACES
from octmargin_simulator.phantom import LayeredPhantom

FRAMES = 12
HELD = 4
"""The frame at which a sweep stands still until a test lets it go on."""
SUSPICIOUS = "inferior"
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


def held_console(phantom: LayeredPhantom, **personality: Any) -> HeldConsole:
    return HeldConsole(phantom, msgspec.structs.replace(LENIENT, **personality))


@pytest.fixture
def embedded() -> Iterator[BrokerSettings]:
    with EmbeddedBroker() as running:
        yield BrokerSettings(host=running.host, port=running.port, reconnect_min_s=0.05)


class Theatre(Room):
    """A room whose daemon is commanded, and whose console can be held."""

    console: HeldConsole

    def __init__(
        self,
        phantom: LayeredPhantom,
        broker: BrokerSettings,
        console: HeldConsole | None = None,
        **options: Any,
    ) -> None:
        super().__init__(phantom, broker, console or held_console(phantom), **options)
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
                await self.until(
                    lambda tally: tally.state == "ready" and None not in (tally.case, tally.description),
                    # The first one compiles its kernels.
                    limit_s=300,
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
        async with asyncio.timeout(60):
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
    phantom: LayeredPhantom, broker: BrokerSettings, console: Any = None, **options: Any
) -> AsyncIterator[Theatre]:
    theatre = Theatre(phantom, broker, console, **options)
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
    return [Recording.open(path) for path in sorted(folder.iterdir()) if path.is_dir()]


def is_finished_in_time(folder: Path) -> bool:
    """Whether the recording is finished though the console does not come back; only the disk tells."""
    until_s = time.monotonic() + 60
    while not (is_finished := opened(folder)[0].complete) and time.monotonic() < until_s:
        time.sleep(0.05)
    return is_finished


def notes(folder: Path) -> list[str]:
    """Files of what was noted without a recording."""
    return [path.read_text() for path in sorted(folder.glob("*.notes.jsonl"))]


async def test_the_whole_story_of_a_specimen(north: Theatre, site: Prepared, tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        north.commanded(line_rate_hz=1600.0),
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
        north.console.hold("superior", HELD)
        await otto.does("start", all=True)
        await north.phase("scanning")
        assert "is being scanned" in await otto.is_refused("close")
        north.console.let_go()
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
    before_any_specimen, *_ = notes(tmp_path)
    assert '"command":"start"' in before_any_specimen, "it is of no specimen, and in no recording of one"
    assert commands == [
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
    assert_is_in_the_record(recordings, tmp_path / "record.db", found.sweep)


def assert_is_in_the_record(recordings: list[Recording], path: Path, decided_sweep: int) -> None:
    """Every sweep of the specimen, and what was said of it in another recording than that of the sweep."""
    CaseStore.create(path)
    with CaseStore.open(path, writable=True) as store:
        case_id, specimen_id = (read_recorded(recordings[0]).case_id, "s-9")
        registered = Registered(specimen_id="s-9", specimen_kind="lumpectomy", laterality="left", faces=FACES)
        store.append(case_id, Opened(), registered, actor="anna")
        for recording in recordings:
            taken = take(
                store, read_recorded(recording), case_id=case_id, specimen_id=specimen_id, actor="anna"
            )
            assert taken.left_out == ()
        specimen = store.case(case_id).specimens[0]
    numbers = {sweep.sweep: sweep.face for sweep in specimen.sweeps}
    assert numbers == {**dict(enumerate(FACES, start=1)), 7: "superior"}
    (decision,) = specimen.decisions
    assert (decision.by, decision.word, decision.cluster, decision.sweep, decision.note) == (
        "rita", "disagree", 1, decided_sweep, "cautery",
    )  # fmt: skip
    assert [(mark.by, mark.sweep) for mark in specimen.marks] == [("rita", decided_sweep)]
    assert [(one.source, one.by, one.laterality) for one in specimen.statements[1:]] == [
        ("stage", "operator/otto", "left")
    ]
    assert next(sweep for sweep in specimen.sweeps if sweep.sweep == decided_sweep).key_views


async def register(person: Person, **arguments: Any) -> None:
    await person.does("register", kind="lumpectomy", laterality="right", **arguments)
    await person.theatre.phase("idle")


async def frames_seen(theatre: Theatre, face: str, frames: int) -> None:
    """Wait until so many frames of a face were said."""
    await theatre.until(
        lambda tally: (
            tally.last_flag is not None
            and tally.last_flag.face == face
            and tally.last_flag.frame_index + 1 >= frames
        )
    )


async def test_a_sweep_is_held_and_goes_on_behind_the_last_frame(theatre: Theatre) -> None:
    async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
        await register(otto)
        theatre.console.hold("superior", HELD)
        await otto.does("start", face="superior")
        await frames_seen(theatre, "superior", HELD)
        await otto.does("pause")
        held = await theatre.phase("paused")
        theatre.console.let_go()
        assert (held.face, held.sweeps) == ("superior", {"superior": 1})
        assert "superior is paused; stop it, or wait" in await otto.is_refused("select", face="medial")
        numbered = theatre.console.frames_ever_numbered
        assert theatre.verdict("superior").provisional
        await theatre.until(lambda tally: tally.health.lifecycle == "ready")
        assert theatre.console.frames_ever_numbered == numbered < FRAMES, "nothing is scanned meanwhile"
        await otto.does("resume")
        await theatre.phase("idle")
        verdict = theatre.verdict("superior")
        assert (verdict.provisional, verdict.sweep) == (False, 1)
        assert (verdict.counts.not_scanned, verdict.counts.lost) == (0, 0)
        assert theatre.console.frames_ever_numbered == FRAMES
    assert balanced(theatre.tally)


async def test_a_pause_that_is_taken_back_at_once_costs_nothing(theatre: Theatre) -> None:
    async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
        await register(otto)
        theatre.console.hold("superior", HELD)
        await otto.does("start", face="superior")
        await frames_seen(theatre, "superior", HELD)
        for _ in range(3):
            await otto.send("pause", otto.command())
            await otto.send("resume", otto.command())
        assert {(await otto.reply()).outcome for _ in range(6)} == {"done"}
        theatre.console.let_go()
        await theatre.phase("idle")
        verdict = theatre.verdict("superior")
        assert (verdict.counts.not_scanned, verdict.counts.lost, verdict.sweep) == (0, 0, 1)
    assert balanced(theatre.tally)


async def test_a_console_that_cannot_go_on_scans_a_paused_face_anew_as_another_sweep(
    phantom: LayeredPhantom, embedded: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.scan_loop.PAUSE_S", 0.01)
    async with (
        in_theatre(phantom, embedded, held_console(phantom, protocol_minor=0)) as theatre,
        theatre.running(theatre.commanded()),
        person(theatre.settings, theatre, OTTO) as otto,
    ):
        await register(otto)
        theatre.console.hold("superior", HELD)
        await otto.does("start", face="superior")
        for sweep in range(1, 5):
            await theatre.until(
                lambda tally, sweep=sweep: tally.last_flag is not None and tally.last_flag.sweep == sweep
            )
            await otto.does("pause")
            await theatre.phase("paused")
            await otto.does("resume")
        theatre.console.let_go()
        await theatre.phase("idle")
        verdict = theatre.verdict("superior")
        assert (verdict.sweep, verdict.counts.not_scanned) == (5, 0), "a pause is no failure of the console"


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_stop_ends_the_face_as_it_is_and_the_faces_to_come(theatre: Theatre, is_paused: bool) -> None:
    async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
        await register(otto)
        theatre.console.hold("superior", HELD)
        await otto.does("start", all=True)
        await frames_seen(theatre, "superior", HELD)
        if is_paused:
            await otto.does("pause")
            await theatre.phase("paused")
        await otto.does("stop")
        idle = await theatre.phase("idle")
        assert idle.sweeps == {"superior": 1}
        verdict = theatre.verdict("superior")
        assert (verdict.provisional, verdict.verdict) == (False, "indeterminate")
        assert "the sweep is not complete" in verdict.reasons
        assert "inferior was not scanned yet" in await otto.is_refused("rescan", face="inferior")
        theatre.console.let_go()
        await otto.does("start", face="superior")
        await theatre.until(lambda tally: tally.case.phase == "idle" and tally.case.sweeps == {"superior": 2})
        assert theatre.verdict("superior").counts.not_scanned == 0
    assert balanced(theatre.tally)


async def test_a_command_that_is_delivered_twice_is_carried_out_once(north: Theatre, site: Prepared) -> None:
    async with (
        north.running(north.commanded()),
        person(site.settings(USERS["otto"]), north, OTTO) as otto,
        person(site.settings(USERS["otto"]), north, OTTO) as second_display,
    ):
        await register(otto)
        assert (await second_display.reply()).command == "register", (
            "both displays of a user hear the replies"
        )
        command = otto.command(face="superior")
        await otto.send("start", command)
        await second_display.send("start", command)
        replies = [await otto.reply(), await otto.reply()]
        assert [(reply.outcome, reply.repeated) for reply in replies] == [("done", False), ("done", True)]
        await north.until(lambda tally: tally.case.sweeps == {"superior": 1} and tally.case.phase == "idle")
        # Long after, and though it would be refused by now.
        await otto.send("start", command)
        assert (await otto.reply()).repeated
        assert (await otto.ask("start", face="superior")).outcome == "refused"
        assert north.tally.case is not None
        assert north.tally.case.sweeps == {"superior": 1}


async def test_who_may_not_command_is_refused_by_the_broker(north: Theatre, site: Prepared) -> None:
    async with north.running(north.commanded()):
        for user, claims in (
            ("wall", Sender(Role.VIEWER, "wall")),
            ("wall", OTTO),
            ("store", RITA),
            ("anna", OTTO),
            ("otto", Sender(Role.READER, "otto")),
            ("s-rita", RITA),
        ):
            async with Connector(site.settings(USERS[user])).client(None) as client:
                topic = command_topic(NORTH, claims, "register")
                with pytest.raises(BrokerError, match="Not authorized"):
                    await client.publish_or_refusal(topic, b"{}", qos=1, retain=False, properties=None)
        assert north.tally.case is not None
        assert north.tally.case.phase == "closed"


async def test_a_viewer_is_refused_by_the_daemon_where_the_broker_knows_no_users(theatre: Theatre) -> None:
    async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
        wall = Person(otto.client, theatre, Sender(Role.VIEWER, "wall"))
        await wall.send("register", wall.command(kind="node", laterality="left"))
        await register(otto)
        assert len({case.specimen_id for case in theatre.cases}) == 2, "none, and the one of the operator"


async def test_a_retained_command_is_ignored(north: Theatre, site: Prepared) -> None:
    settings = site.settings(USERS["otto"])
    async with person(settings, north, OTTO) as otto:
        async with north.running(north.commanded()):
            await register(otto)
            command = msgspec.structs.replace(
                otto.command(face="superior"), valid_until=datetime.now(UTC) + timedelta(minutes=4)
            )
            await otto.send("start", command, retain=True)
            await otto.does("select", face="medial")
            assert north.tally.case is not None
            assert (north.tally.case.phase, north.tally.case.sweeps) == ("idle", {})
        async with north.running(north.commanded()):
            await register(otto)
            assert north.tally.case.sweeps == {}
        await otto.client.publish(command_topic(NORTH, OTTO, "start"), b"", qos=1, retain=True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issued_at": datetime(2031, 1, 1, tzinfo=UTC)}, "set the clocks"),
        ({"issued_at": datetime(2021, 1, 1, tzinfo=UTC)}, "too late"),
        ({"expected_session": "yesterday"}, "another run of the daemon"),
        ({"specimen_id": "s-other"}, "is on the stage, and it is meant for another"),
        ({"case_id": "case-8"}, "is on the stage, and it is meant for another"),
    ],
)
async def test_what_was_meant_for_something_else_or_another_time_does_nothing(
    theatre: Theatre, changes: dict[str, Any], why: str
) -> None:
    async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
        await register(otto)
        await otto.send("start", msgspec.structs.replace(otto.command(face="superior"), **changes))
        reply = await otto.reply()
        assert reply.outcome == "refused"
        assert why in reply.reason
        assert theatre.tally.case is not None
        assert theatre.tally.case.phase == "idle"


async def test_while_the_console_is_away_nothing_begins_and_a_pause_holds(theatre: Theatre) -> None:
    async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
        await register(otto)
        theatre.console.hold("superior", HELD)
        await otto.does("start", face="superior")
        await frames_seen(theatre, "superior", HELD)
        theatre.served.unplug(math.inf)
        # From then on in the same words: what is said in others has not been acknowledged.
        await theatre.until(
            lambda tally: (
                CONSOLE_ALARM in tally.alarms and "no console there" in tally.alarms[CONSOLE_ALARM].text
            )
        )
        await otto.does("acknowledge", alarm_id=CONSOLE_ALARM)
        await theatre.until(lambda tally: tally.alarms[CONSOLE_ALARM].acknowledged_by == "otto")
        assert "there is no alarm of this id; active: console" in await otto.is_refused(
            "acknowledge", alarm_id="laser"
        )
        await otto.does("pause")
        await theatre.phase("paused")
        assert "the console is away" in await otto.is_refused("resume")
        theatre.served.plug_in()
        await theatre.until(lambda tally: tally.state == "ready" and CONSOLE_ALARM not in tally.alarms)
        assert theatre.tally.case is not None
        assert theatre.tally.case.phase == "paused", "that it is back is no reason to go on"
        theatre.console.let_go()
        await otto.does("resume")
        await theatre.phase("idle")
        assert theatre.verdict("superior").counts.not_scanned == 0
        assert theatre.verdict("superior").sweep == 1
    assert balanced(theatre.tally)


async def test_a_console_that_goes_away_while_nothing_is_scanned_comes_back(theatre: Theatre) -> None:
    async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
        await register(otto)
        theatre.served.unplug(math.inf)
        await theatre.until(lambda tally: tally.state == "alert")
        assert "the console is away" in await otto.is_refused("start", face="superior")
        await otto.does("select", face="medial")
        theatre.served.plug_in()
        await theatre.until(lambda tally: tally.state == "ready")
        await otto.does("start")
        await theatre.until(lambda tally: tally.case.sweeps == {"medial": 1} and tally.case.phase == "idle")
        assert theatre.verdict("medial").counts.lost == 0


async def test_a_daemon_that_is_ended_in_a_paused_sweep_says_what_it_has(
    theatre: Theatre, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(theatre.commanded(), recording=RecordingSection(folder=str(tmp_path)))
    async with person(theatre.settings, theatre, OTTO) as otto, theatre.running(config) as daemon:
        await register(otto)
        theatre.console.hold("superior", HELD)
        await otto.does("start", all=True)
        await frames_seen(theatre, "superior", HELD)
        await otto.does("pause")
        await theatre.phase("paused")
        daemon.stop()
        await theatre.until(lambda tally: not tally.faces["superior"].verdict.provisional)
    verdict = theatre.verdict("superior")
    assert verdict.verdict == "indeterminate"
    assert "the sweep is not complete" in verdict.reasons
    assert [case.sweeps for case in theatre.cases][-1] == {"superior": 1}
    [recording] = opened(tmp_path)
    assert recording.complete
    assert balanced(theatre.tally)


async def test_a_specimen_that_is_closed_while_the_console_is_away_has_its_recording_finished(
    theatre: Theatre, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(theatre.commanded(), recording=RecordingSection(folder=str(tmp_path)))
    async with person(theatre.settings, theatre, OTTO) as otto, theatre.running(config):
        await register(otto)
        await otto.does("start", face="superior")
        await theatre.until(lambda tally: tally.case.phase == "idle" and bool(tally.case.sweeps))
        theatre.served.unplug(math.inf)
        await theatre.until(lambda tally: CONSOLE_ALARM in tally.alarms)
        [recording] = opened(tmp_path)
        assert not recording.complete
        await otto.does("close")
        assert await asyncio.to_thread(is_finished_in_time, tmp_path)
        assert CONSOLE_ALARM in theatre.tally.alarms


async def test_what_readers_said_is_said_again_when_the_broker_is_back(
    phantom: LayeredPhantom, tmp_path: Path
) -> None:
    with running_mosquitto(tmp_path) as mosquitto:
        async with (
            in_theatre(phantom, mosquitto.settings) as theatre,
            theatre.running(theatre.commanded()),
        ):
            async with person(theatre.settings, theatre, RITA) as rita:
                await register(rita)
                await rita.does("start", face="superior")
                await theatre.until(lambda tally: tally.case.phase == "idle" and bool(tally.case.sweeps))
                await rita.does("decide", face="superior", sweep=1, subject="face", word="agree")
                await theatre.until(lambda tally: tally.decision_of("superior") is not None)
            mosquitto.stop()
            await theatre.until(lambda tally: bool(tally.disconnected_because))
            mosquitto.start()
            await theatre.until(
                lambda tally: (
                    not tally.disconnected_because
                    and tally.case is not None
                    and tally.decision_of("superior") is not None
                )
            )


async def test_what_readers_said_outlives_the_daemon_where_a_file_keeps_it(
    theatre: Theatre, tmp_path: Path
) -> None:
    config = theatre.commanded()
    kept = msgspec.structs.replace(
        config, case=msgspec.structs.replace(config.case, decisions_file=str(tmp_path / "decisions.jsonl"))
    )
    about = {"face": "superior", "sweep": 1, "subject": "face"}
    async with person(theatre.settings, theatre, RITA) as rita:
        in_words = "kept as d1 on superior"
        for configured, said in ((config, f"{in_words} until the daemon ends"), (kept, in_words)):
            async with theatre.running(configured):
                await register(rita, specimen_id="s-9")
                await rita.does("start", face="superior")
                await theatre.until(lambda tally: tally.case.phase == "idle" and bool(tally.case.sweeps))
                reply = await rita.does("decide", **about, word="disagree")
                assert reply.reason == said
        async with theatre.running(kept):
            await register(rita, specimen_id="s-9")
            await theatre.until(lambda tally: tally.decision_of("superior") is not None)
            remembered = theatre.tally.decision_of("superior")
    assert remembered is not None
    assert [(word.id, word.by, word.sweep, word.word) for word in remembered.decisions] == [
        ("d1", "rita", 0, "disagree")
    ], "sweep 1 of this run is another one"


async def test_what_may_name_a_patient_is_neither_repeated_in_the_answer_nor_kept(
    theatre: Theatre, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(theatre.commanded(), recording=RecordingSection(folder=str(tmp_path)))
    with structlog.testing.capture_logs() as logs:
        async with person(theatre.settings, theatre, OTTO) as otto, theatre.running(config):
            reason = await otto.is_refused(
                "register", kind="lumpectomy", laterality="left", label="doe 0412345", specimen_id="s-1"
            )
    assert "reads as a number of a patient" in reason
    kept = notes(tmp_path)
    assert len(kept) == 1
    assert all("0412345" not in text for text in (reason, str(logs), *kept))


async def test_a_daemon_that_scans_at_once_takes_commands_too(theatre: Theatre) -> None:
    theatre.console.hold("superior", HELD)
    async with theatre.running(theatre.config(passes=0)), person(theatre.settings, theatre, OTTO) as otto:
        scanning = await theatre.phase("scanning")
        assert scanning.specimen is not None
        assert (scanning.specimen_id, scanning.specimen.laterality) == ("s-1", "unknown")
        assert "is being scanned" in await otto.is_refused("register", kind="node", laterality="left")
        await frames_seen(theatre, "superior", HELD)
        await otto.does("pause")
        await theatre.phase("paused")
        theatre.console.hold("medial", HELD)
        await otto.does("resume")
        await frames_seen(theatre, "medial", HELD)
        await otto.does("stop")
        idle = await theatre.phase("idle")
        theatre.console.let_go()
        assert idle.sweeps == {"superior": 1, "medial": 2}
        await otto.does("rescan", face="superior")
        await theatre.until(lambda tally: tally.case.phase == "idle" and tally.case.sweeps["superior"] == 3)
        await register(otto)


async def test_a_daemon_that_scans_at_once_ends_with_its_last_pass_unless_somebody_stopped_it(
    theatre: Theatre,
) -> None:
    async with theatre.listening():
        await Daemon(theatre.config()).run()
        await theatre.until(lambda tally: tally.state == "disconnected")
    assert [case.phase for case in theatre.cases][-1] == "idle"
    assert theatre.cases[-1].sweeps == {"superior": 1, "medial": 2}


async def test_the_pedal_starts_pauses_and_goes_on(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octmargin.case_desk.PEDAL_REST_S", 0.0)
    with structlog.testing.capture_logs() as logs:
        async with (
            theatre.running(theatre.commanded()),
            person(theatre.settings, theatre, OTTO) as otto,
        ):
            await register(otto)
            await otto.does("select", face="medial")
            theatre.console.hold("medial", HELD)
            for phase in ("scanning", "paused", "scanning"):
                theatre.console.press_pedal()
                await theatre.phase(phase)
            theatre.console.let_go()
            await theatre.phase("idle")
            assert theatre.verdict("medial").counts.not_scanned == 0
            theatre.console.press_pedal()
            await otto.does("close")
    of_pedal = [entry for entry in logs if entry["event"] == "command" and entry["user"] == "pedal"]
    assert [(entry["command"], entry["outcome"]) for entry in of_pedal[:3]] == [
        ("start", "done"),
        ("pause", "done"),
        ("resume", "done"),
    ]
    assert theatre.tally.case is not None
    assert dict(theatre.tally.case.sweeps) == {"medial": 1}, "what was scanned is not scanned again by a foot"


async def test_a_press_of_the_pedal_just_after_a_change_counts_for_nothing_and_the_log_says_so(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.case_desk.PEDAL_REST_S", 0.0)
    with structlog.testing.capture_logs() as logs:

        def of_pedal() -> list[tuple[str, str]]:
            return [(entry["command"], entry["outcome"]) for entry in logs if entry.get("user") == "pedal"]

        async with theatre.running(theatre.commanded()), person(theatre.settings, theatre, OTTO) as otto:
            await register(otto)
            await otto.does("select", face="superior")
            theatre.console.hold("superior", HELD)
            theatre.console.press_pedal()
            await theatre.phase("scanning")
            # However long the heartbeat takes to tell of the second one.
            monkeypatch.setattr("octmargin.case_desk.PEDAL_REST_S", 3600.0)
            theatre.console.press_pedal()
            await theatre.until(lambda _: len(of_pedal()) == 2)
            assert of_pedal() == [("start", "done"), ("pause", "refused")]
            assert theatre.tally.case is not None
            assert theatre.tally.case.phase == "scanning"
            monkeypatch.setattr("octmargin.case_desk.PEDAL_REST_S", 0.0)
            theatre.console.press_pedal()
            await theatre.phase("paused")
