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
from tests.unit.bus.conftest import Mosquitto, running_mosquitto

from octmargin.bus.topics import Kind, Topics
from octmargin.config import (
    CalibrationSection,
    CaseSection,
    Config,
    DeviceSection,
    EngineSection,
    ModelSection,
    PicturesSection,
    RecordingSection,
    ScanSection,
)
from octmargin.daemon import Daemon
from octmargin.frames import LossCause
from octmargin.signal import Calibration
from octmargin.words import NOTICE
from octmargin_simulator.faults import FaultScript, FaultyConsole
from octmargin_simulator.faults.script import Unplug, Vanish
from octmargin_simulator.personality import Personality
from octmargin_simulator.phantom import LayeredPhantom
from octmargin_simulator.usb_device import UsbConsole

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
FACES = ("superior", "medial")
FRAMES = 12
TOPICS = Topics("t", "c")
PATIENT = "doe-jane-19540512"
"""What folders and files of this run are called, by somebody who should not have."""

_INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"
_HASH = r"(sha256:)?[0-9a-f]{8,64}|"
_FACE = "|".join(FACES)
_SENTENCE = r"[A-Za-z0-9 ,;:.%()<>=\[\]/'`_+-]*"
"""Words of the program's own, and numbers."""

STRINGS = {
    "session": r"[0-9a-f]{16,64}",
    "instance_id": r"[0-9a-f]{16,64}",
    "acquired_at": _INSTANT,
    "published_at": _INSTANT,
    "valid_until": _INSTANT,
    "case_id": "case-7",
    "specimen_id": "s-1",
    "face": _FACE,
    "faces[]": _FACE,
    "specimen.kind": "lumpectomy|shave|node",
    "specimen.laterality": "left|right|unknown",
    "specimen.orientation": _SENTENCE,
    "specimen.label": "",
    "phase": "idle|scanning|paused|closed",
    "ink{}": "[a-z]+",
    "sutures": _SENTENCE,
    "acknowledged_by": "",
    "display_url": "",
    "grid[]": "[.LPNS]+",
    "verdict": "suspicious|nothing_suspicious|indeterminate",
    "reasons[]": _SENTENCE,
    "state": "init|ready|alert|disconnected|lost",
    "lifecycle": "starting|ready|acquiring|degraded|faulted|stopping",
    "id": "[a-z-]+",
    "priority": "high|medium|low",
    "text": _SENTENCE,
    "remedy": _SENTENCE,
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
    "notice": re.escape(NOTICE),
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
    """All messages of a broker, as they came."""

    messages: list[aiomqtt.Message] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, message: aiomqtt.Message) -> None:
        self.messages.append(message)
        self._came.set()

    async def until(self, condition: Callable[[aiomqtt.Message], bool]) -> None:
        async with asyncio.timeout(60):
            while not any(map(condition, self.messages)):
                self._came.clear()
                await self._came.wait()

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Topic below the console's, and payload."""
        for message in self.messages:
            topic = message.topic.value
            assert topic.startswith(f"{TOPICS.base}/"), topic
            yield topic.removeprefix(f"{TOPICS.base}/"), bytes(message.payload)

    def said(self) -> Iterator[tuple[str, Any]]:
        """First level below the console's and content of each message but `$state` and what takes back."""
        for topic, payload in self.parts():
            if payload and topic != "$state":
                yield topic.partition("/")[0], json.loads(payload)


@asynccontextmanager
async def everything(broker: Mosquitto) -> AsyncIterator[Traffic]:
    """Read all topics there are, `$SYS` too."""
    traffic = Traffic()

    async def read() -> None:
        async for message in client.messages:
            if not message.topic.value.startswith("$SYS/"):
                traffic.add(message)

    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe([("#", 1)])
        reading = asyncio.create_task(read())
        yield traffic
        reading.cancel()
        await asyncio.wait([reading])


async def _a_day(folder: Path) -> Traffic:
    """A specimen of two faces with a lost frame, a disk that fails, and a console that goes away."""
    private = folder / PATIENT
    (private / "recordings").mkdir(parents=True)
    phantom = LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=("medial",))
    script = FaultScript(fault=(Vanish(frames=(3,)), Unplug(seconds=0.2, sweeps=(1,), frames=(5,))))
    console = FaultyConsole(phantom, script, Personality(serial="ROOM-1"))
    served = UsbConsole(console)
    console.plug_into(served)
    with running_mosquitto(folder) as broker:
        config = Config(
            site="t",
            console="c",
            device=DeviceSection(driver="usb", address=served.address),
            broker=msgspec.structs.replace(broker.settings, outbox_file=str(private / "outbox")),
            scan=ScanSection(faces=FACES, line_rate_hz=1280.0),
            engine=EngineSection(depth=320),
            case=CaseSection(case_id="case-7", specimen_id="s-1"),
            model=ModelSection(name="rule-1"),
            recording=RecordingSection(folder=str(private / "recordings")),
            pictures=PicturesSection(folder=str(private / "pictures")),
        )
        async with everything(broker) as traffic:
            running = asyncio.create_task(Daemon(config).run())
            await traffic.until(lambda message: message.topic.matches(TOPICS.flag))
            # A disk that is taken away in the middle.
            (private / "recordings").rename(private / "away")
            (private / "recordings").touch()
            await asyncio.wait_for(running, 60)
            await traffic.until(lambda message: message.payload == b"disconnected")
    await asyncio.to_thread(served.close)
    console.close()
    return traffic


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
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
            yield from texts(value, f"{place}{{}}" if place in KEYS else f"{place}.{name}".lstrip("."))


def test_the_day_had_messages_of_every_kind_and_nothing_was_outside_the_consoles_topics(
    traffic: Traffic,
) -> None:
    heard = {part.partition("/")[0] for part, _ in traffic.parts()}
    assert heard == {kind.value for kind in Kind} - {"decision"}
    assert {"alarm/console", "alarm/recorder"} <= {part for part, _ in traffic.parts()}
    assert all(TOPICS.parse(message.topic.value) for message in traffic.messages)


def test_every_message_is_as_its_schema_says_and_has_no_other_field(traffic: Traffic) -> None:
    validators = {
        kind.value: jsonschema.Draft202012Validator(closed(schema_of(kind.value)))
        for kind in Kind
        if kind is not Kind.STATE
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
        async with everything(broker) as traffic:
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
