"""The record that the daemon keeps while it scans: what a subscriber hears is in it, and a crash takes nothing back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import tomli_w
from tests.system.test_commanded import FRAMES, OTTO, RITA, Theatre, in_theatre, person
from tests.unit.case.examples import NOW, PATIENT, SURGEON

from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Tally, Topics
from octmargin.bus.connection import Connector
from octmargin.bus.rights import Role, Sender
from octmargin.case.record import events
from octmargin.case.record.lock import user
from octmargin.case.record.model import (
    CasePhase,
    FaceFinding,
    Interpretation,
    Order,
    PatientIdentity,
    PersonName,
    SpecimenRecord,
)
from octmargin.case.record.store import CaseStore
from octmargin.case.record.verification import verify
from octmargin.commanding import give
from octmargin.config import Config, RecordingSection
from octmargin.demo_processes import DaemonProcess, Simulator
from octmargin.frames import FACES
from octmargin.record_settings import RecordSection, Signer
from octmargin.review import reviewing, specimen_to_review
from octmargin_simulator.phantom import LayeredPhantom

SUSPICIOUS = "inferior"
CASE, SPECIMEN = "case-7", "s-9"


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=(SUSPICIOUS,))


@pytest.fixture
def embedded() -> Iterator[BrokerSettings]:
    with EmbeddedBroker() as running:
        yield BrokerSettings(host=running.host, port=running.port, reconnect_min_s=0.05)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.db"
    CaseStore.create(path)
    return path


def with_record(theatre: Theatre, record: Path, **options: Any) -> Config:
    return msgspec.structs.replace(
        theatre.commanded(**options),
        record=RecordSection(file=str(record)),
        recording=RecordingSection(folder=str(record.parent / "recordings")),
    )


def in_record(record: Path) -> SpecimenRecord:
    with CaseStore.open(record) as store:
        specimen = store.case(CASE).specimen(SPECIMEN)
    assert specimen is not None
    return specimen


@asynccontextmanager
async def everything_on(broker: BrokerSettings) -> AsyncIterator[list[bytes]]:
    """Every topic and payload that passes the broker while entered."""
    said: list[bytes] = []

    async def listen() -> None:
        async for message in client.messages:
            said.append(str(message.topic).encode() + b" " + bytes(message.payload))  # noqa: PERF401 - as it comes

    async with Connector(broker).client(None) as client:
        await client.subscribe("#", qos=1)
        task = asyncio.create_task(listen())
        yield said
        task.cancel()


def sign(record: Path) -> None:
    """As somebody does at the command line meanwhile."""
    findings = tuple(FaceFinding(face=face, finding="indeterminate") for face in FACES)
    said = Interpretation(by=SURGEON, at=NOW, mode="real-time", state="final", faces=findings)
    with CaseStore.open(record, writable=True) as store:
        store.append(
            CASE,
            events.Identified(patient=PATIENT, why="the worklist had another's number"),
            events.Indicated(indication="breast-conserving surgery"),
            events.Interpreted(specimen_id=SPECIMEN, interpretation=said),
            events.Signed(specimen_id=SPECIMEN, by=SURGEON),
            actor="anna",
        )


async def test_the_record_holds_what_a_subscriber_heard_and_each_answer_was_kept_before_it(
    phantom: LayeredPhantom, embedded: BrokerSettings, record: Path
) -> None:
    with CaseStore.open(record, writable=True) as store:
        patient = PatientIdentity(name=PersonName(family="Sentinelsson"), patient_id="PID-4711")
        order = Order(accession="ACC-0815", laterality="right", procedure="Sentinel procedure")
        store.append(
            CASE,
            events.Opened(),
            events.Identified(patient=patient),
            events.Ordered(order=order),
            actor="anna",
        )
    async with in_theatre(phantom, embedded) as theatre:
        config = with_record(theatre, record, line_rate_hz=1600.0)
        async with (
            everything_on(embedded) as said,
            theatre.running(config),
            person(embedded, theatre, OTTO) as otto,
            person(embedded, theatre, RITA) as rita,
        ):
            reply = await otto.does("register", kind="lumpectomy", laterality="left", specimen_id=SPECIMEN)
            contradicted = f"specimen {SPECIMEN} is on the stage; the record has a contradiction"
            assert reply.reason.startswith(contradicted), "the order says right"
            assert in_record(record).laterality == "left"
            with CaseStore.open(record, writable=True) as store:
                store.append(CASE, events.Ordered(order=Order(laterality="left")), actor="anna")
            await theatre.phase("idle")
            await otto.does("start", all=True)
            await theatre.until(
                lambda tally: len(tally.case.sweeps) == len(FACES) and tally.case.phase == "idle"
            )
            await otto.does("rescan", face=SUSPICIOUS)
            await theatre.until(
                lambda tally: tally.case.sweeps[SUSPICIOUS] == 7 and tally.case.phase == "idle"
            )
            about = {"face": SUSPICIOUS, "sweep": 7}
            await rita.does("decide", **about, subject="cluster", cluster=1, word="disagree", note="cautery")
            assert [(one.by, one.word, one.sweep) for one in in_record(record).decisions] == [
                ("rita", "disagree", 7)
            ]
            await rita.does("mark", **about, first_frame=0, last_frame=1, first_block=0, last_block=1)
            assert [(one.by, one.last_frame) for one in in_record(record).marks] == [("rita", 1)]
            sign(record)
            about_signed = in_record(record)
            reply = await rita.does("decide", **about, subject="face", word="disagree")
            assert "NOT in the record, which refuses it" in reply.reason
            assert "is signed" in reply.reason
            await theatre.until(lambda tally: "record-refused" in tally.alarms)
            assert in_record(record) == about_signed
            reply = await otto.does("close")
            assert reply.reason == f"specimen {SPECIMEN} is closed"
            await theatre.phase("closed")
            assert in_record(record).staging.is_open is False
        heard = theatre.verdicts
        finals = {message.sweep: message for message in heard if not message.provisional}
        description = theatre.tally.description
    assert len(said) > 100
    for word in (b"Sentinel", b"PID-4711", b"ACC-0815", str(record).encode()):
        assert not any(word in message for message in said), "it stays in the record"
    specimen = in_record(record)
    assert [sweep.sweep for sweep in specimen.sweeps] == sorted(finals) == list(range(1, 8))
    for sweep in specimen.sweeps:
        said = finals[sweep.sweep]
        assert not sweep.provisional
        assert (sweep.face, sweep.verdict, sweep.coverage, sweep.distance_mm, sweep.visualised_depth_mm) == (
            said.face, said.verdict, said.coverage, said.distance_mm, said.visualised_depth_mm,
        )  # fmt: skip
        assert msgspec.to_builtins(sweep.counts) == msgspec.to_builtins(said.counts)
        assert msgspec.to_builtins(list(sweep.key_views)) == msgspec.to_builtins(said.key_views)
        assert list(sweep.reasons) == said.reasons
        assert sweep.session == said.session
        assert sweep.synthetic
        assert sweep.versions.model_hash == description.model.hash
        assert os.path.isdir(sweep.recording)  # noqa: PTH112, ASYNC240 - a local folder
    newest = specimen.newest_sweep(SUSPICIOUS)
    assert newest is not None
    assert list(newest.grid) == theatre.map(SUSPICIOUS).grid
    assert verify(record).troubles == ()


async def test_a_record_that_cannot_be_written_is_said_with_each_answer_and_holds_no_scan_up(
    phantom: LayeredPhantom, embedded: BrokerSettings, record: Path
) -> None:
    async with in_theatre(phantom, embedded) as theatre:
        config = with_record(theatre, record, line_rate_hz=6400.0)
        async with theatre.running(config), person(embedded, theatre, OTTO) as otto:
            aside = record.with_name("aside")
            await asyncio.to_thread(record.rename, aside)
            reply = await otto.does("register", kind="lumpectomy", laterality="left", specimen_id=SPECIMEN)
            assert "NOT in the record yet" in reply.reason
            await theatre.phase("idle")
            await theatre.until(lambda tally: "record" in tally.alarms)
            await otto.does("start", all=True)
            await theatre.until(
                lambda tally: len(tally.case.sweeps) == len(FACES) and tally.case.phase == "idle"
            )
            await asyncio.to_thread(aside.rename, record)
            await theatre.until(lambda tally: "record" not in tally.alarms)
    specimen = in_record(record)
    assert len(specimen.sweeps) == len(FACES), "what waited was written when the disk was back"
    assert not any(sweep.provisional for sweep in specimen.sweeps)
    await assert_is_interpreted_later(record)


async def assert_is_interpreted_later(record: Path) -> None:
    """Every B-scan comes from the recordings, and what is said then is `referred`."""
    signer = Signer(name="Dr. Ben Okafor", role="radiologist", taxonomy="2085R0202X")
    case, specimen = specimen_to_review(record, CASE, SPECIMEN, "ben")
    path = f"/api/report/{CASE}/{SPECIMEN}"
    async with (
        reviewing(record, case, specimen, signer=signer, recordings=None, port=0) as address,
        httpx.AsyncClient(base_url=httpx.URL(address).join("/"), trust_env=False) as browser,
        httpx.AsyncClient(base_url=browser.base_url, trust_env=False) as somebody,
    ):
        assert (await browser.get(address)).headers["location"].startswith("/static/report.html?")
        assert (await somebody.get(address)).status_code == 403, "it is good for one browser"
        assert (await somebody.get(path)).status_code == 401
        seen = (await browser.get(path)).json()
        for face in seen["faces"]:
            last = f"/api/bscans/{face['bscans']}/{face['frames'] - 1}?session={face['session']}"
            async with asyncio.timeout(60):
                # It is read in another thread: there is no event to await.
                while (await browser.get(last)).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        findings = [{"face": face, "finding": "nothing_suspicious"} for face in FACES]
        body = {"log_seq": seen["log_seq"], "state": "final", "faces": findings}
        assert (await browser.post(f"{path}/interpretation", json=body)).json()["phase"] == "final"
    said = in_record(record).interpretation
    assert said is not None
    assert (said.mode, said.by.name, said.by.role) == ("referred", "Dr. Ben Okafor", "radiologist")
    with CaseStore.open(record) as store:
        assert [event.actor for event in store.events(CASE)][-1] == f"{user()}, octmargin case review"


async def test_killed_in_the_middle_of_a_sweep_it_goes_on_with_the_same_specimen(
    tmp_path: Path, record: Path
) -> None:
    faults = tmp_path / "faults.toml"
    # It stands still in the sweep in which the daemon is killed, until another daemon takes it over.
    faults.write_text(
        tomli_w.dumps({"fault": [{"kind": "hang", "seconds": 600, "sweeps": [2], "frames": [20]}]})
    )
    options = ["--console", "usb", "--port", "0", "--alines", "64", "--samples", "1024", "--frames", "40"]
    options += ["--faults", str(faults)]
    sender, reader = Sender(Role.OPERATOR, "otto"), Sender(Role.READER, "rita")
    topics = Topics("k", "c")
    with EmbeddedBroker() as broker:
        settings = BrokerSettings(host=broker.host, port=broker.port)
        async with Simulator.started(options) as simulator:
            config = tmp_path / "daemon.toml"
            config.write_text(tomli_w.dumps(_config(simulator, settings, record)))
            heard = Heard()
            async with heard.listening(settings, topics):
                async with DaemonProcess.started(config, tmp_path / "1.log") as daemon:
                    await heard.until(lambda tally: tally.state == "ready" and tally.case is not None)
                    register = {
                        "kind": "lumpectomy",
                        "laterality": "left",
                        "case_id": CASE,
                        "specimen_id": SPECIMEN,
                    }
                    await give(settings, topics, sender, "register", register)
                    await heard.until(lambda tally: tally.case.specimen_id == SPECIMEN)
                    await give(settings, topics, sender, "start", {"face": "superior"})
                    await heard.until(lambda tally: tally.case.phase == "idle" and bool(tally.case.sweeps))
                    decided = {"face": "superior", "sweep": 1, "subject": "face", "word": "unsure"}
                    assert (await give(settings, topics, reader, "decide", decided)).outcome == "done"
                    of_first = heard.tally.last_flag.sequence
                    await give(settings, topics, sender, "rescan", {"face": "superior"})
                    await heard.until(lambda tally: tally.last_flag.sequence > of_first)
                    os.kill(daemon.pid, signal.SIGKILL)
                    await daemon.exited()
                assert verify(record).troubles == ()
                before = in_record(record)
                assert [(one.face, one.provisional) for one in before.sweeps] == [
                    ("superior", False),
                    ("superior", True),
                ]
                assert [one.word for one in before.decisions] == ["unsure"]
                await heard.until(lambda tally: tally.state == "lost")
                async with DaemonProcess.started(config, tmp_path / "2.log") as daemon:
                    await heard.until(
                        lambda tally: tally.state == "ready" and tally.case.specimen_id == SPECIMEN
                    )
                    await heard.until(lambda tally: tally.case.sweeps == {"superior": 2})
                    await heard.until(lambda tally: tally.decision_of("superior") is not None)
                    said = heard.tally.faces["superior"].verdict
                    assert (said.sweep, said.verdict, said.provisional) == (2, "indeterminate", True)
                    again = {"face": "superior", "sweep": 1, "subject": "face", "word": "agree"}
                    assert (await give(settings, topics, reader, "decide", again)).outcome == "done"
                    await give(settings, topics, sender, "start", {"face": "superior"})
                    await heard.until(
                        lambda tally: tally.case.phase == "idle" and tally.case.sweeps["superior"] == 3
                    )
                    assert (await give(settings, topics, sender, "close", {})).outcome == "done"
                    # The next case has a specimen of the same name: what was said of this one is none of its.
                    register["case_id"] = "case-8"
                    assert (await give(settings, topics, sender, "register", register)).outcome == "done"
                    await give(settings, topics, sender, "select", {"face": "superior"})
                    await heard.until(lambda tally: tally.case.face == "superior")
                    assert heard.tally.case.case_id == register["case_id"]
                    assert heard.tally.decision_of("superior") is None
                    await daemon.stop()
    assert verify(record).troubles == ()
    specimen = in_record(record)
    assert [(one.face, one.sweep, one.provisional) for one in specimen.sweeps] == [
        ("superior", 1, False), ("superior", 2, True), ("superior", 3, False),
    ]  # fmt: skip
    assert {(one.session, one.sweep) for one in specimen.decisions} == {(before.sweeps[0].session, 1)}
    with CaseStore.open(record) as store:
        assert store.case(CASE).phase is CasePhase.OPEN


class Heard:
    """What a subscriber hears, for as long as it listens."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._more = asyncio.Event()

    @asynccontextmanager
    async def listening(self, settings: BrokerSettings, topics: Topics) -> AsyncIterator[None]:
        async with Subscriber(settings, topics) as events:

            async def listen() -> None:
                async for event in events:
                    self.tally.add(event)
                    self._more.set()

            task = asyncio.create_task(listen())
            yield
            events.stop()
            await task

    async def until(self, condition: Callable[[Any], bool], *, limit_s: float = 300) -> None:
        async with asyncio.timeout(limit_s):
            while not condition(self.tally):
                self._more.clear()
                await self._more.wait()


def _config(simulator: Simulator, settings: BrokerSettings, record: Path) -> dict[str, Any]:
    return {
        "site": "k",
        "console": "c",
        "device": {"driver": "usb", "address": simulator.ready["address"]},
        "broker": {"host": settings.host, "port": settings.port},
        "scan": {"faces": list(simulator.ready["faces"]), "begin": "on-command", "line_rate_hz": 1600.0},
        "engine": {"depth": 320},
        "model": {"name": "rule-1"},
        "record": {"file": str(record)},
    }
