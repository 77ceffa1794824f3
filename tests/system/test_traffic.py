"""Everything that a daemon says, held against docs/schemas/ to the letter; and it names nobody."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import jsonschema
import msgspec
import numpy as np
import pytest
from tests.system.room import LENIENT
from tests.system.test_commanded import NORTH, RITA, Person, Theatre, in_theatre, person
from tests.unit.bus.conftest import mosquitto_path, running_mosquitto
from tests.unit.site.conftest import USERS, prepared

from octmargin.bus import BrokerSettings, Topics
from octmargin.bus.connection import Connector
from octmargin.bus.topics import Kind
from octmargin.config import (
    CalibrationSection,
    CaseSection,
    Config,
    DeviceSection,
    ModelSection,
    OrientationSection,
    PicturesSection,
    RecordingSection,
    ScanSection,
)
from octmargin.daemon import Daemon
from octmargin.display import DisplaySection
from octmargin.frames import LossCause
from octmargin.signal import Calibration
from octmargin.words import NOTICE
from octmargin_simulator.faults import FaultScript, FaultyConsole
from octmargin_simulator.faults.script import Unplug, Vanish
from octmargin_simulator.phantom import LayeredPhantom

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
FACES = ("superior", "medial")
FRAMES = 12
PATIENT = "doe-jane-19540512"
"""What folders and files of this run are called, by somebody who should not have."""
LABEL, ORIENTATION, NOTE = "main specimen", "short stitch superior", "cautery at the edge"
"""What people of this run wrote."""

_INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"
_HASH = r"(sha256:)?[0-9a-f]{8,64}|"
_FACE = "|".join(FACES)
_SENTENCE = r"[A-Za-zµ0-9 ,;:.%()<>=\[\]/'`_+-]*"
"""Words of the program's own, and numbers."""

STRINGS = {
    # of all
    "session": r"[0-9a-f]{16,64}",
    "acquired_at": _INSTANT,
    "published_at": _INSTANT,
    "valid_until": _INSTANT,
    "case_id": "case-7",
    "specimen_id": "s-1|",
    "face": _FACE,
    # $description
    "instance_id": r"[0-9a-f]{16,64}",
    "software_version": r"\d+\.\d+\.\d+\S*",
    "configuration_hash": _HASH,
    "model.name": r"[a-z0-9-]+",
    "model.version": r"\S+",
    "model.hash": _HASH,
    "calibration.id": "factory, console ROOM-1",
    "calibration.hash": _HASH,
    "console.maker": _SENTENCE,
    "console.model": _SENTENCE,
    "console.serial": "ROOM-1",
    "console.firmware": _SENTENCE,
    "console.driver": "usb",
    "console.address": r"usbip://127\.0\.0\.1:\d+\S*",
    "console.source": _SENTENCE,
    "display_url": r"http://127\.0\.0\.1:\d+/",
    "notice": re.escape(NOTICE),
    # case
    "faces[]": _FACE,
    "specimen.kind": "lumpectomy|shave|node",
    "specimen.laterality": "left|right|unknown",
    "specimen.orientation": ORIENTATION,
    "specimen.label": LABEL,
    "phase": "idle|scanning|paused|closed",
    "ink.*": "red",
    "sutures": "short superior",
    # map, verdict, decision
    "grid[]": "[.LPNS]+",
    "verdict": "suspicious|nothing_suspicious|indeterminate",
    "reasons[]": _SENTENCE,
    "decisions[].id": r"d\d+",
    "decisions[].by": "rita",
    "decisions[].role": "reader",
    "decisions[].at": _INSTANT,
    "decisions[].subject": "face|cluster",
    "decisions[].word": "agree|disagree|unsure",
    "decisions[].note": NOTE,
    "marks[].id": r"m\d+",
    "marks[].by": "rita",
    "marks[].role": "reader",
    "marks[].at": _INSTANT,
    "marks[].note": NOTE,
    # health, alarm
    "state": "init|ready|alert|disconnected|lost",
    "lifecycle": "starting|ready|acquiring|degraded|faulted|stopping",
    "priority": "high|medium|low",
    "text": _SENTENCE,
    "remedy": _SENTENCE,
    "acknowledged_by": "rita|",
    # cmd, reply; ids of alarms too
    "id": "[a-z0-9-]+",
    "issued_at": _INSTANT,
    "expected_session": r"[0-9a-f]{16,64}",
    "arguments.kind": "lumpectomy",
    "arguments.laterality": "left",
    "arguments.specimen_id": "s-1",
    "arguments.orientation": ORIENTATION,
    "arguments.label": LABEL,
    "arguments.faces[]": _FACE,
    "arguments.face": _FACE,
    "arguments.subject": "face|cluster",
    "arguments.word": "agree|disagree|unsure",
    "arguments.note": NOTE,
    "arguments.alarm_id": "[a-z-]+",
    "command": "[a-z]+",
    "outcome": "done|refused",
    "reason": _SENTENCE,
    "at": _INSTANT,
}
"""Every place of a message that holds a text, and what may stand there. What is not here may not be said."""
KEYS = {
    "policy": r"[a-z_]+",
    "ink": _FACE,
    "sweeps": _FACE,
    "frames.lost_by_reason": "|".join(re.escape(cause.value) for cause in LossCause),
}
"""Tables whose keys are not fixed by the schema, and what the keys may be."""


@dataclass
class Traffic:
    """All messages below a console's base, as they came."""

    topics: Topics
    messages: list[aiomqtt.Message] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, message: aiomqtt.Message) -> None:
        self.messages.append(message)
        self._came.set()

    async def until(self, condition: Callable[[aiomqtt.Message], bool]) -> None:
        async with asyncio.timeout(120):
            while not any(map(condition, self.messages)):
                self._came.clear()
                await self._came.wait()

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Topic below the console's, and payload."""
        for message in self.messages:
            topic = message.topic.value
            assert topic.startswith(f"{self.topics.base}/"), topic
            yield topic.removeprefix(f"{self.topics.base}/"), bytes(message.payload)

    def said(self) -> Iterator[tuple[str, Any]]:
        """Name of the schema and content of each message but `$state` and what takes back."""
        for topic, payload in self.parts():
            if payload and topic != "$state":
                levels = topic.split("/")
                yield f"cmd-{levels[-1]}" if levels[0] == "cmd" else levels[0], json.loads(payload)


@asynccontextmanager
async def everything(settings: BrokerSettings, topics: Topics) -> AsyncIterator[Traffic]:
    """Read all topics that one may."""
    traffic = Traffic(topics)

    async def read() -> None:
        async for message in client.messages:
            traffic.add(message)

    async with Connector(settings).client(None) as client:
        await client.subscribe("#", qos=1)
        reading = asyncio.create_task(read())
        try:
            yield traffic
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def _a_day(folder: Path) -> Traffic:
    """A specimen that people command: lost frames, a disk and a console that go away, decisions, a refusal."""
    private = folder / PATIENT
    (private / "recordings").mkdir(parents=True)
    site = prepared(folder / "site")
    phantom = LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=("medial",))
    script = FaultScript(fault=(Vanish(frames=(3,)), Unplug(seconds=0.2, sweeps=(1,), frames=(5,))))
    console = FaultyConsole(phantom, script, LENIENT)
    archive = site.settings(USERS["store"])
    with site.running():
        or_1 = site.settings(USERS["or-1"])
        async with in_theatre(phantom, or_1, console, topics=NORTH, listener=archive) as theatre:
            console.plug_into(theatre.served)
            config = theatre.commanded(line_rate_hz=1280.0)
            config = msgspec.structs.replace(
                config,
                broker=msgspec.structs.replace(config.broker, outbox_file=str(private / "outbox")),
                scan=msgspec.structs.replace(config.scan, faces=FACES),
                recording=RecordingSection(folder=str(private / "recordings")),
                pictures=PicturesSection(folder=str(private / "pictures")),
                orientation=OrientationSection(ink={"superior": "red"}, sutures="short superior"),
                display=DisplaySection(port=0),
            )
            async with everything(archive, NORTH) as traffic:
                async with (
                    theatre.running(config),
                    person(site.settings(USERS["rita"]), theatre, RITA) as rita,
                ):
                    await _specimen(theatre, rita, traffic, private)
                await traffic.until(lambda message: message.payload == b"disconnected")
    return traffic


async def _specimen(theatre: Theatre, rita: Person, traffic: Traffic, private: Path) -> None:
    await rita.does(
        "register",
        kind="lumpectomy",
        laterality="left",
        specimen_id="s-1",
        orientation=ORIENTATION,
        label=LABEL,
    )
    await theatre.phase("idle")
    await rita.does("start", all=True)
    await traffic.until(lambda message: message.topic.matches(NORTH.flag))
    # A disk that is taken away in the middle.
    (private / "recordings").rename(private / "away")
    (private / "recordings").touch()
    await traffic.until(lambda message: message.topic.matches(NORTH.alarm("recorder")))
    await rita.does("acknowledge", alarm_id="recorder")
    await theatre.phase("idle")
    sweep = theatre.verdict("medial").sweep
    told = {"face": "medial", "sweep": sweep, "note": NOTE}
    await rita.does("decide", subject="face", word="disagree", **told)
    await rita.does("mark", first_frame=0, last_frame=3, first_block=0, last_block=1, **told)
    assert "no sweep" in await rita.is_refused("decide", **told | {"sweep": 99}, subject="face", word="agree")
    await rita.does("close")


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    mosquitto_path()
    return asyncio.run(_a_day(tmp_path_factory.mktemp("day")))


def schema_of(kind: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{kind.removeprefix('$')}.json").read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:
    """The schema, with no fields allowed but those that it names."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return inner | {"additionalProperties": False} if "properties" in inner else inner


def texts(said: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Each text in a message and where it stands; the keys of a table count where the schema leaves them open."""
    if isinstance(said, str):
        yield place, said
    elif isinstance(said, list):
        for each in said:
            yield from texts(each, f"{place}[]")
    elif isinstance(said, dict):
        for name, value in said.items():
            if place in KEYS:
                yield f"{place}{{}}", name
            yield from texts(value, f"{place}.*" if place in KEYS else f"{place}.{name}".lstrip("."))


def test_the_day_had_messages_of_every_kind_and_nothing_was_outside_the_consoles_topics(
    traffic: Traffic,
) -> None:
    heard = {part.partition("/")[0] for part, _ in traffic.parts()}
    assert heard == {kind.value for kind in Kind} | {"cmd", "reply"}
    assert {"alarm/console", "alarm/recorder"} <= {part for part, _ in traffic.parts()}
    others = {part for part, _ in traffic.parts() if not NORTH.parse(f"{NORTH.base}/{part}")}
    given = ("register", "start", "acknowledge", "decide", "mark", "close")
    assert others == {f"cmd/reader/rita/{name}" for name in given} | {"reply/reader/rita"}


def test_every_message_is_as_its_schema_says_and_has_no_other_field(traffic: Traffic) -> None:
    validators = {
        kind: jsonschema.Draft202012Validator(closed(schema_of(kind)))
        for kind in {kind for kind, _ in traffic.said()}
    }
    complaints = [
        (kind, error.message) for kind, said in traffic.said() for error in validators[kind].iter_errors(said)
    ]
    assert not complaints
    assert {payload for part, payload in traffic.parts() if part == "$state"} <= {
        b"init", b"ready", b"alert", b"disconnected"
    }  # fmt: skip


def test_no_message_holds_a_text_that_is_not_foreseen(traffic: Traffic) -> None:
    allowed = STRINGS | {f"{place}{{}}": keys for place, keys in KEYS.items()}
    found = {(place, text) for _, said in traffic.said() for place, text in texts(said)}
    assert not {place for place, _ in found} - set(allowed)
    assert not {(place, text) for place, text in found if not re.fullmatch(allowed[place], text)}


def test_what_folders_and_files_are_called_is_nowhere_on_the_bus(traffic: Traffic) -> None:
    alarms = [said["text"] for kind, said in traffic.said() if kind == "alarm" and said["id"] == "recorder"]
    assert any("[recording.folder]/" in text for text in alarms), "where it is, is told by the key"
    assert_that_nobody_is_named(traffic)


def assert_that_nobody_is_named(traffic: Traffic) -> None:
    for part, payload in traffic.parts():
        for word in PATIENT.split("-"):
            assert word.encode() not in payload.lower(), payload
            assert word not in part.lower()


async def test_a_replay_of_measured_spectra_says_the_name_of_no_file(tmp_path: Path) -> None:
    private = tmp_path / PATIENT
    private.mkdir()
    file, calibration = private / f"{PATIENT}.npy", private / "calibration.npz"
    samples = 256
    np.save(file, np.random.default_rng(7).integers(1000, 3000, (2, 32, samples), dtype=np.uint16))
    Calibration(
        k_map=np.arange(samples, dtype=np.float64),
        dispersion_rad=np.zeros(samples),
        window="hann",
        axial_um=5.0,
    ).save(calibration)
    with running_mosquitto(tmp_path) as broker:
        config = Config(
            site="t",
            console="c",
            device=DeviceSection(driver="replay", address=f"{file}?synthetic=no&pace=max"),
            broker=broker.settings,
            scan=ScanSection(faces=("superior",)),
            calibration=CalibrationSection(file=str(calibration)),
            case=CaseSection(case_id="case-7", specimen_id="s-1"),
            model=ModelSection(name="rule-1"),
        )
        async with everything(broker.settings, Topics("t", "c")) as traffic:
            await Daemon(config).run()
            await traffic.until(lambda message: message.payload == b"disconnected")
    [description] = [said for kind, said in traffic.said() if kind == "$description"]
    assert description["calibration"]["id"] == "[calibration.file]"
    assert description["console"]["address"] == "[device.address]?synthetic=no&pace=max"
    assert description["console"]["source"] == "measured spectra"
    assert_that_nobody_is_named(traffic)


def test_beside_topic_and_payload_a_message_has_its_expiry_alone(traffic: Traffic) -> None:
    for message in traffic.messages:
        assert message.properties is not None
        known = set(message.properties.json()) - {"MessageExpiryInterval"}
        assert not known, known
