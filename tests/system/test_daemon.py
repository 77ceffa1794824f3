"""The daemon in a room with a real broker and a console on a real wire: faults, and what is said of them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.system.room import FACES, FRAMES, LENIENT, HeldConsole, HeldFaultyConsole, Room, balanced
from tests.unit.bus.conftest import silent_port

from octmargin.archive import Recording, RecordingWriter, zarr_folder
from octmargin.bus import EmbeddedBroker, RecordingCounts, Topics
from octmargin.bus.events import FlagReceived, VerdictReceived
from octmargin.config import (
    Config,
    ModelSection,
    RecordingSection,
)
from octmargin.daemon import Daemon
from octmargin.device import Finding
from octmargin.errors import ConfigError, DeviceBusyError, DeviceTimeoutError, InputError, OctMarginError
from octmargin.face_scan import SWEEP_ALARM
from octmargin.frames import ConsoleInfo, LossCause
from octmargin.interruptible import StandstillError
from octmargin.link.registers import Faults, ScanState, ScanStatus
from octmargin.link.stream import Leader
from octmargin.live_check import live_findings
from octmargin.log import configure_logging
from octmargin.margin import Policy
from octmargin.metrics import MetricsSection
from octmargin.recorder import Recorder
from octmargin_drivers.console_control import ConsoleControl
from octmargin_drivers.usb import UsbDriver
from octmargin_simulator.console import Console
from octmargin_simulator.faults import FaultScript, FaultyConsole
from octmargin_simulator.faults.script import Unplug, Vanish
from octmargin_simulator.phantom import LayeredPhantom
from octmargin_simulator.usb_device import UsbConsole


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=())


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
async def room(phantom: LayeredPhantom, broker: EmbeddedBroker) -> AsyncIterator[Room]:
    room = Room(phantom, broker)
    yield room
    await asyncio.to_thread(room.close)


async def test_a_daemon_without_a_broker_does_not_wait_for_it_at_the_end(
    phantom: LayeredPhantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.console_rooms.DRAIN_S", 600.0)
    with EmbeddedBroker() as gone:
        room = Room(phantom, gone)
    room.settings = msgspec.structs.replace(room.settings, outbox_file=str(tmp_path / "outbox"))
    # The first one compiles its kernels.
    async with asyncio.timeout(300):
        await Daemon(room.config()).run()
    await asyncio.to_thread(room.close)


async def test_a_daemon_without_a_broker_scans_and_its_successor_says_what_it_found(
    phantom: LayeredPhantom, tmp_path: Path
) -> None:
    with EmbeddedBroker() as gone:
        room = Room(phantom, gone)
    room.settings = msgspec.structs.replace(
        room.settings, outbox_file=str(tmp_path / "outbox"), outbox_frames=4
    )
    with structlog.testing.capture_logs() as logs:
        await Daemon(room.config()).run()
    said = {entry["event"]: entry for entry in logs}
    assert "no MQTT broker at" in said["no broker yet; what is said waits"]["reason"]
    states = [entry["state"] for entry in logs if entry["event"] == "lifecycle"]
    assert states == ["starting", "degraded", "stopping"]
    waiting = FRAMES * len(FACES) + len(FACES)
    assert (logs[-1]["count"], logs[-1]["path"]) == (waiting, str(tmp_path / "outbox"))
    with EmbeddedBroker() as broker:
        room.settings = msgspec.structs.replace(room.settings, port=broker.port)
        heard: list[FlagReceived | VerdictReceived] = []
        async with room.listening(heard):
            with structlog.testing.capture_logs() as logs:
                await Daemon(room.config()).run()
            await room.until(lambda tally: tally.state == "disconnected")
    assert not [entry for entry in logs if "wait in the outbox" in entry["event"]]
    await asyncio.to_thread(room.close)
    assert room.tally.health is not None
    sessions = list(dict.fromkeys(event.message.session for event in heard))
    assert sessions[1:] == [room.tally.health.session]
    frames = [(e.message.session, e.message.frame_sequence) for e in heard if isinstance(e, FlagReceived)]
    assert len(frames) == len(set(frames)) == 2 * FRAMES * len(FACES)
    finals = [
        (event.message.session, event.message.face)
        for event in heard
        if isinstance(event, VerdictReceived) and not event.message.provisional
    ]
    assert finals == [(session, face) for session in sessions for face in FACES]
    assert room.tally.health.queue.late == waiting


async def test_one_pass_from_init_to_disconnected(room: Room) -> None:
    async with room.listening():
        await Daemon(room.config()).run()
        await room.until(lambda tally: tally.state == "disconnected")
    tally = room.tally
    assert tally.health is not None
    assert tally.description is not None
    assert tally.health.frames.sent == room.console.status.frames_numbered == FRAMES * len(FACES)
    assert balanced(tally)
    assert tally.flags.messages == tally.health.frames.processed
    assert tally.health.flags.published == tally.flags.blocks
    assert tally.synthetic
    assert tally.description.console.serial == "ROOM-1"
    assert tally.case is not None
    assert tally.case.case_id == "case-7"
    for face in FACES:
        verdict = tally.faces[face].verdict
        assert verdict is not None
        assert not verdict.provisional
        assert verdict.verdict != "suspicious"
        assert verdict.coverage > 0.9


async def test_a_console_that_is_unplugged_comes_back_and_every_frame_is_accounted_for(room: Room) -> None:
    daemon = Daemon(room.config(passes=0, line_rate_hz=1280.0))
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.flags.messages >= 3)
        await asyncio.to_thread(room.served.unplug)
        await room.until(lambda tally: "console" in tally.alarms)
        assert room.tally.alarms["console"].priority == "medium"
        await room.until(lambda tally: tally.state == "alert")
        await room.until(lambda tally: tally.health is not None and tally.health.lifecycle == "faulted")
        assert room.tally.health is not None
        assert room.tally.health.reasons == [room.tally.alarms["console"].text]
        before = room.tally.flags.messages
        await room.until(lambda tally: "console" not in tally.alarms and tally.state == "ready")
        await room.until(lambda tally: tally.flags.messages > before + FRAMES)
        daemon.stop()
        await running
        await room.until(lambda tally: tally.state == "disconnected")
    assert balanced(room.tally)
    assert room.tally.health is not None
    assert room.tally.health.frames.sent == room.console.status.frames_numbered, "also while it was away"


async def test_what_is_scanned_is_recorded_a_recording_per_pass(room: Room, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    config = msgspec.structs.replace(room.config(passes=2), recording=RecordingSection(folder=str(folder)))
    async with room.listening():
        await Daemon(config).run()
        await room.until(lambda tally: tally.state == "disconnected")
    assert room.tally.health is not None
    assert room.tally.health.recording == RecordingCounts(frames=2 * FRAMES * len(FACES), missed=0)
    paths = sorted(folder.iterdir())
    assert [path.name.startswith("case-7-s-1-20") for path in paths] == [True, True]
    for path in paths:
        recording = Recording.open(path)
        assert recording.complete
        assert recording.synthetic
        assert recording.faces == FACES
        assert recording.calibration is not None
        for face in FACES:
            for index in range(FRAMES):
                np.testing.assert_array_equal(recording.frame(face, index), room.phantom.frame(face, index))


async def test_a_disk_that_is_full_ends_the_recording_and_not_the_scan(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = RecordingWriter.put

    def put_until_full(writer: RecordingWriter, face: str, index: int, *more: Any) -> None:
        if (face, index) == (FACES[0], 6):
            raise InputError(f"{writer.path}: cannot be written (No space left on device)")
        put(writer, face, index, *more)

    monkeypatch.setattr(RecordingWriter, "put", put_until_full)
    config = msgspec.structs.replace(room.config(), recording=RecordingSection(folder=str(tmp_path / "rec")))
    with structlog.testing.capture_logs() as logs:
        async with room.listening():
            await Daemon(config).run()
            await room.until(lambda tally: tally.state == "disconnected")
    assert "recorder" in room.alarms_heard
    missed = FRAMES * len(FACES) - 6
    [alarm] = [entry for entry in logs if entry["event"] == "alarm"]
    assert (alarm["log_level"], alarm["id"]) == ("warning", "recorder")
    assert "No space left on device" in alarm["text"]
    [last] = [entry for entry in logs if entry["event"] == "frames came and were not recorded"]
    assert (last["log_level"], last["count"], last["recorded"]) == ("warning", missed, 6)
    health = room.tally.health
    assert health is not None
    assert health.frames.processed == FRAMES * len(FACES)
    assert health.recording == RecordingCounts(frames=6, missed=missed)
    recording = Recording.open(next((tmp_path / "rec").iterdir()))
    assert not recording.complete
    assert recording.present(FACES[0]).tolist() == [True] * 6 + [False] * 4


@pytest.fixture
def usual_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives a disk up as soon as it does in use."""
    for name, seconds in (("BEGIN_S", 1.0), ("SETTLE_S", 1.0), ("STANDSTILL_S", 0.5)):
        monkeypatch.setattr(f"octmargin.recorder.{name}", seconds)


@pytest.mark.usefixtures("usual_recorder")
async def test_a_disk_that_stands_still_holds_up_neither_verdict_nor_end(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves_on = threading.Event()
    monkeypatch.setattr(RecordingWriter, "put", lambda *_: moves_on.wait(60))
    config = msgspec.structs.replace(room.config(), recording=RecordingSection(folder=str(tmp_path / "rec")))
    async with room.listening():
        async with asyncio.timeout(60):
            await Daemon(config).run()
        await room.until(lambda tally: tally.state == "disconnected")
    moves_on.set()
    assert "recorder" in room.alarms_heard
    for face in FACES:
        verdict = room.tally.faces[face].verdict
        assert verdict is not None
        assert not verdict.provisional
    assert not Recording.open(next((tmp_path / "rec").iterdir())).complete


@pytest.mark.usefixtures("usual_recorder")
@pytest.mark.parametrize("stall", ["begin", "put"])
async def test_a_daemon_that_is_stopped_while_its_disk_stands_still_ends(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stall: str
) -> None:
    moves_on = threading.Event()
    write_whole = zarr_folder._write_whole

    def write_late(path: Path, content: bytes) -> None:
        if stall == "begin" or "spectra/c" in str(path):
            moves_on.wait(60)
        write_whole(path, content)

    def stands_still(*_: str) -> None:
        raise StandstillError

    monkeypatch.setattr(zarr_folder, "_write_whole", write_late)
    if stall == "begin":
        monkeypatch.setattr("octmargin.daemon.check_folder", stands_still)
    config = msgspec.structs.replace(
        room.config(passes=0, line_rate_hz=1280.0), recording=RecordingSection(folder=str(tmp_path / "rec"))
    )
    daemon = Daemon(config)
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        # Scanned, judged, counted and told while it stalls.
        await room.until(lambda tally: tally.flags.messages > FRAMES and "recorder" in room.alarms_heard)
        await room.until(lambda tally: tally.health is not None and tally.health.lifecycle == "degraded")
        stopped_s = time.monotonic()
        daemon.stop()
        await running
        took_s = time.monotonic() - stopped_s
        await room.until(lambda tally: tally.state == "disconnected")
    moves_on.set()
    # Far below the stall; how long it takes on a quiet machine is measured elsewhere.
    assert took_s < 20
    assert balanced(room.tally)
    assert room.tally.health is not None
    assert room.tally.health.recording is not None
    assert room.tally.health.recording.frames == 0
    assert room.tally.health.recording.missed > 0


async def test_a_daemon_that_is_stopped_at_the_end_of_a_pass_begins_no_other_recording(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, begin, end = asyncio.get_running_loop(), Recorder.begin, Recorder.end
    begun = []

    def note_and_begin(recorder: Recorder, make: Callable[[], RecordingWriter]) -> bool:
        begun.append(make)
        return begin(recorder, make)

    def stop_and_end(recorder: Recorder) -> bool:
        loop.call_soon_threadsafe(daemon.stop)
        return end(recorder)

    monkeypatch.setattr(Recorder, "begin", note_and_begin)
    monkeypatch.setattr(Recorder, "end", stop_and_end)
    config = msgspec.structs.replace(
        room.config(passes=0), recording=RecordingSection(folder=str(tmp_path / "rec"))
    )
    daemon = Daemon(config)
    await daemon.run()
    assert len(begun) == 1
    (path,) = await asyncio.to_thread(lambda: list((tmp_path / "rec").iterdir()))
    assert Recording.open(path).complete


async def test_a_face_that_is_scanned_anew_leaves_nothing_of_the_first_scan_in_the_recording(
    phantom: LayeredPhantom, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    script = FaultScript(
        fault=(Unplug(seconds=0.2, sweeps=(1,), frames=(5,)), Vanish(sweeps=(2,), frames=(2,)))
    )
    console = FaultyConsole(phantom, script, msgspec.structs.replace(LENIENT, protocol_minor=0))
    room = Room(phantom, broker, console)
    console.plug_into(room.served)
    config = msgspec.structs.replace(
        room.config(line_rate_hz=1280.0), recording=RecordingSection(folder=str(tmp_path / "rec"))
    )
    async with room.listening():
        await Daemon(config).run()
        await room.until(lambda tally: tally.state == "disconnected")
    await asyncio.to_thread(room.close)
    recording = Recording.open(next((tmp_path / "rec").iterdir()))
    assert recording.present(FACES[0]).tolist() == [index != 2 for index in range(FRAMES)]
    assert recording.present(FACES[1]).all()


async def test_an_error_within_a_scan_is_raised_as_itself(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> bool:
        raise OctMarginError("an engine thread has died; start octmargin again")

    monkeypatch.setattr("octmargin.face_scan.FaceScanner.scan", fail)
    with pytest.raises(OctMarginError, match="an engine thread has died"):
        await Daemon(room.config()).run()


@pytest.mark.parametrize("fails", ["before it is ready", "while it scans"])
async def test_a_daemon_that_an_error_ends_says_that_it_stops(
    room: Room, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    async def fail(*_: object) -> bool:
        raise OctMarginError("an engine thread has died; start octmargin again")

    what = "FaceScanner.scan" if fails == "while it scans" else "ConsoleLink.open"
    module = "face_scan" if fails == "while it scans" else "acquisition"
    monkeypatch.setattr(f"octmargin.{module}.{what}", fail)
    with structlog.testing.capture_logs() as logs:
        async with room.listening():
            with pytest.raises(OctMarginError):
                await Daemon(room.config()).run()
            await room.until(lambda tally: tally.state == "lost")
    assert [entry["state"] for entry in logs if entry["event"] == "lifecycle"][-1] == "stopping"
    if fails == "while it scans":
        assert room.tally.health is not None
        assert room.tally.health.lifecycle == "stopping"


async def test_a_log_entry_says_of_which_case_face_sweep_and_frame_it_is(
    phantom: LayeredPhantom, broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str]
) -> None:
    console = FaultyConsole(phantom, FaultScript(fault=(Vanish(sweeps=(2,), frames=(3,)),)), LENIENT)
    room = Room(phantom, broker, console)
    console.plug_into(room.served)
    before = structlog.get_config()
    configure_logging(level="debug", as_json=True)
    try:
        await Daemon(room.config()).run()
    finally:
        structlog.configure(**before)
        await asyncio.to_thread(room.close)
    entries = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    (lost,) = [entry for entry in entries if entry["event"] == "frames lost"]
    ids = ("case", "specimen", "face", "sweep", "frame", "sequence")
    assert [lost[name] for name in ids] == ["case-7", "s-1", FACES[1], 2, 3, FRAMES + 3]
    judged = [entry for entry in entries if entry["event"] == "frame judged" and entry["face"] == FACES[1]]
    assert [entry["frame"] for entry in judged] == [index for index in range(FRAMES) if index != 3]
    scanned = [entry for entry in entries if entry["event"] == "face scanned"]
    assert [(entry["face"], entry["sweep"]) for entry in scanned] == [(FACES[0], 1), (FACES[1], 2)]


async def test_the_log_has_one_line_of_the_lifecycle_for_each_face(room: Room) -> None:
    with structlog.testing.capture_logs() as logs:
        await Daemon(room.config()).run()
    of_lifecycle = [entry for entry in logs if entry["event"] == "lifecycle"]
    told = [entry["state"] for entry in of_lifecycle if entry["log_level"] == "info"]
    assert told == ["ready", *["acquiring" for _ in FACES], "stopping"]
    assert len(of_lifecycle) == len(told) + len(FACES), "the others are there for who looks closer"


async def test_the_log_says_why_a_face_is_indeterminate(room: Room) -> None:
    """The phantom's layers are none that the trained model has seen."""
    config = msgspec.structs.replace(room.config(), model=ModelSection())
    with structlog.testing.capture_logs() as logs:
        async with room.listening():
            await Daemon(config).run()
            await room.until(lambda tally: tally.state == "disconnected")
    scanned = {entry["face"]: entry for entry in logs if entry["event"] == "face scanned"}
    for face in FACES:
        verdict = room.tally.faces[face].verdict
        assert verdict is not None
        assert scanned[face]["verdict"] == verdict.verdict == "indeterminate"
        assert scanned[face]["reasons"] == verdict.reasons
        assert any("unfamiliar to the model" in reason for reason in scanned[face]["reasons"])
        assert any("margin-1 knows A-lines 12 to 20 µm apart" in reason for reason in verdict.reasons)
    (told,) = [entry for entry in logs if entry["event"] == "no face of this grid can be cleared"]
    assert told["log_level"] == "warning"
    assert told["reason"].startswith(
        "margin-1 knows A-lines 12 to 20 µm apart, depth pixels of 3.8 to 4.2 µm and frames at most 240 µm apart; "
        "this plan has A-lines 200 µm apart"
    )


async def test_frames_further_apart_than_the_policy_allows_are_told_at_the_start(room: Room) -> None:
    config = msgspec.structs.replace(room.config(), policy=Policy(max_frame_um=500))
    with structlog.testing.capture_logs() as logs:
        async with room.listening():
            await Daemon(config).run()
            await room.until(lambda tally: tally.state == "disconnected")
    (told,) = [entry for entry in logs if entry["event"] == "no face of this grid can be cleared"]
    why = "frames 800 µm apart, and policy.max_frame_um is 500"
    assert told["reason"].startswith(why)
    for face in FACES:
        verdict = room.tally.faces[face].verdict
        assert verdict is not None
        assert verdict.verdict == "indeterminate"
        assert f"{why}: what lies between them was not seen" in verdict.reasons


async def test_metrics_say_what_health_says(room: Room) -> None:
    config = msgspec.structs.replace(
        room.config(passes=0, line_rate_hz=1280.0), metrics=MetricsSection(port=0)
    )
    daemon = Daemon(config)
    with structlog.testing.capture_logs() as logs:
        async with room.listening():
            running = asyncio.create_task(daemon.run())
            await room.until(lambda tally: tally.health is not None and tally.health.frames.processed > 5)
            port = next(entry["port"] for entry in logs if entry["event"] == "metrics served")
            page = await asyncio.to_thread(scrape, port)
            daemon.stop()
            await running
    samples = {
        (sample.name, *sample.labels.values()): sample.value for family in page for sample in family.samples
    }
    processed = samples["octmargin_frames_processed_total",]
    assert processed > 5
    assert samples["octmargin_frames_numbered_total",] >= processed
    assert (
        samples["octmargin_latency_seconds_bucket", "+Inf"] == samples["octmargin_latency_seconds_count",] > 0
    )
    assert samples["octmargin_latency_seconds_sum",] > 0
    assert samples["octmargin_lifecycle", "acquiring"] == 1
    assert samples["octmargin_lifecycle", "faulted"] == 0
    assert 0 <= samples["octmargin_over_budget_ratio",] <= 1
    [about] = [
        sample.labels for family in page for sample in family.samples if sample.name == "octmargin_info"
    ]
    assert (about["console_serial"], about["synthetic"], about["model"]) == ("ROOM-1", "yes", "rule-1")


def scrape(port: int) -> list[Metric]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return list(text_string_to_metric_families(answer.read().decode()))


async def found_when(config: Config, word: str) -> dict[str, Finding]:
    """What a doctor hears when the daemon says that it is so: looked at again where it was not heard in time."""
    async with asyncio.timeout(60):
        while True:
            found = {f.subject: f for f in await live_findings(config.broker, Topics("t", "c"), 1.5)}
            if found["daemon"].text == word:
                return found


async def test_a_doctor_hears_from_the_running_daemon_how_it_is(room: Room) -> None:
    config = room.config(passes=0, line_rate_hz=1280.0)
    [silent] = await live_findings(config.broker, Topics(config.site, config.console), 1.5)
    assert (silent.subject, silent.level) == ("daemon", "problem")
    assert "no sign of life" in silent.text
    daemon = Daemon(config)
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.health is not None and tally.health.frames.processed > 5)
        found = await found_when(config, "acquiring")
        assert found["daemon"].level == "ok"
        assert "0 lost" in found["frames"].text
        assert "p50" in found["latency"].text
        await asyncio.to_thread(room.served.unplug, 60)
        await room.until(lambda tally: tally.state == "alert")
        found = await found_when(config, "faulted")
        assert found["daemon"].level == "problem"
        assert "console" in found["daemon"].remedy
        daemon.stop()
        await running


async def test_metrics_that_cannot_be_served_are_told_by_their_address(room: Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = msgspec.structs.replace(room.config(), metrics=MetricsSection(port=port))
        with pytest.raises(
            ConfigError, match=f"metrics: 127.0.0.1:{port} cannot be listened on: .*set metrics.host"
        ):
            await Daemon(config).run()


async def test_a_second_daemon_on_the_console_is_told_who_has_it(room: Room) -> None:
    daemon = Daemon(room.config(passes=0, line_rate_hz=1280.0))
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.health is not None and tally.health.lifecycle == "acquiring")
        with pytest.raises(
            DeviceBusyError, match=f"held by process {os.getpid()} .*octmargin run for c, since"
        ):
            await Daemon(room.config()).run()
        before = room.tally.flags.messages
        await room.until(lambda tally: tally.flags.messages > before)
        daemon.stop()
        await running


async def test_a_daemon_that_is_stopped_while_the_console_and_the_broker_are_gone_ends(
    room: Room, broker: EmbeddedBroker
) -> None:
    daemon = Daemon(room.config(passes=0, line_rate_hz=1280.0))
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.flags.messages >= 3)
        await asyncio.to_thread(room.served.unplug, 60)
        await room.until(lambda tally: tally.state == "alert")
    await asyncio.to_thread(broker.close)
    daemon.stop()
    async with asyncio.timeout(60):
        await running


async def test_what_a_daemon_without_an_outbox_on_disk_did_not_get_said_is_its_last_word(
    room: Room, broker: EmbeddedBroker
) -> None:
    daemon = Daemon(room.config(passes=0))
    async with room.listening():
        with structlog.testing.capture_logs() as logs:
            running = asyncio.create_task(daemon.run())
            await room.until(lambda tally: tally.flags.messages >= 3)
            await asyncio.to_thread(broker.close)
            async with asyncio.timeout(60):
                while daemon._publisher.unsaid < 5:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
                daemon.stop()
                await running
    assert logs[-1]["event"] == "flags and verdicts are lost: the broker did not get them"
    assert logs[-1]["log_level"] == "error"
    assert logs[-1]["count"] == daemon._publisher.unsaid >= 5


async def test_a_daemon_that_is_stopped_while_it_waits_for_its_broker_ends(room: Room) -> None:
    with silent_port() as port:
        room.settings = msgspec.structs.replace(room.settings, port=port, timeout_s=30.0)
        daemon = Daemon(room.config())
        running = asyncio.create_task(daemon.run())
        async with asyncio.timeout(60):
            while not [t for t in threading.enumerate() if "broker connection" in t.name]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            daemon.stop()
            await running


async def test_an_interrupted_sweep_goes_on_where_it_was(
    phantom: LayeredPhantom, broker: EmbeddedBroker
) -> None:
    script = FaultScript(fault=(Unplug(seconds=0.2, sweeps=(1,), frames=(5,)),))
    console = HeldFaultyConsole(phantom, script, LENIENT)
    console.hold(FACES[0], 5)
    room = Room(phantom, broker, console)
    console.plug_into(room.served)
    heard: list[FlagReceived | VerdictReceived] = []
    async with room.listening(heard):
        running = asyncio.create_task(Daemon(room.config(line_rate_hz=1280.0)).run())
        # Else all of them may still be on their way.
        await room.until(lambda tally: tally.flags.messages >= 3)
        console.let_go()
        await running
        await room.until(lambda tally: tally.state == "disconnected")
    await asyncio.to_thread(room.close)
    sweeps = {(event.message.face, event.message.sweep) for event in heard}
    assert sweeps == {(FACES[0], 1), (FACES[1], 2)}, "both parts of a sweep have its number"
    assert balanced(room.tally)
    assert room.tally.health is not None
    frames = room.tally.health.frames
    assert frames.sent == console.frames_ever_numbered
    # No more than the frames that were on their way are scanned, or lost, twice.
    assert FRAMES * len(FACES) <= frames.sent <= FRAMES * len(FACES) + 3
    for face in FACES:
        verdict = room.tally.faces[face].verdict
        assert verdict is not None
        assert not verdict.provisional
        assert verdict.counts.not_scanned == 0
        assert verdict.counts.lost <= 3 * verdict.counts.total / FRAMES


async def test_a_console_that_cannot_go_on_within_a_sweep_scans_the_face_anew(
    phantom: LayeredPhantom, broker: EmbeddedBroker
) -> None:
    script = FaultScript(fault=(Unplug(seconds=0.2, sweeps=(1,), frames=(5,)),))
    console = FaultyConsole(phantom, script, msgspec.structs.replace(LENIENT, protocol_minor=0))
    room = Room(phantom, broker, console)
    console.plug_into(room.served)
    async with room.listening():
        running = asyncio.create_task(Daemon(room.config(line_rate_hz=1280.0)).run())
        await room.until(lambda tally: SWEEP_ALARM in tally.alarms)
        # What the daemon does by itself is not asked of the operator.
        assert re.fullmatch(
            r".*: the console cannot begin at frame \d: that takes protocol 1\.1, of a later firmware; "
            "the face is scanned anew",
            room.tally.alarms[SWEEP_ALARM].text,
        )
        await running
        await room.until(lambda tally: tally.state == "disconnected")
    await asyncio.to_thread(room.close)
    assert balanced(room.tally)
    assert room.tally.health is not None
    assert room.tally.health.frames.sent == console.frames_ever_numbered > FRAMES * len(FACES) + 3
    for face in FACES:
        verdict = room.tally.faces[face].verdict
        assert verdict is not None
        assert verdict.counts.not_scanned == verdict.counts.lost == 0


async def test_another_console_in_its_place_is_not_taken_for_it(room: Room) -> None:
    """The one that comes back must be the one that went: its calibration is the one in use."""
    daemon = Daemon(room.config(passes=0, line_rate_hz=1280.0))
    port = room.served.port
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.flags.messages >= 3)
        await asyncio.to_thread(room.close)
        room.console = Console(room.phantom, msgspec.structs.replace(LENIENT, serial="OTHER-2"))
        room.served = UsbConsole(room.console, port=port)
        await room.until(lambda tally: "another console" in tally.alarms.get("console", NO_ALARM).text)
        daemon.stop()
        await running
    assert room.console.status.frames_numbered == 0


async def test_a_daemon_that_is_stopped_in_a_sweep_says_that_it_saw_too_little(
    phantom: LayeredPhantom, broker: EmbeddedBroker
) -> None:
    console = HeldConsole(phantom, LENIENT)
    console.hold(FACES[0], 4)
    room = Room(phantom, broker, console)
    daemon = Daemon(room.config())
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.flags.messages >= 2)
        daemon.stop()
        await running
        await room.until(lambda tally: tally.state == "disconnected")
    verdict = room.tally.faces[FACES[0]].verdict
    assert verdict is not None
    assert verdict.verdict == "indeterminate"
    assert verdict.counts.not_scanned > 0
    assert balanced(room.tally)
    await asyncio.to_thread(room.close)


class _NoAlarm:
    text = ""


NO_ALARM = _NoAlarm()


def break_in_a_sweep(console: Console) -> None:
    with console._lock:
        assert console._wake.wait_for(lambda: console._state is ScanState.SCANNING, timeout=60)
        console._faults |= Faults.INTERLOCK


async def test_a_fault_is_an_alarm_until_a_sweep_begins_without_it(room: Room) -> None:
    daemon = Daemon(room.config(passes=0, line_rate_hz=1280.0))
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.flags.messages >= 1)
        await asyncio.to_thread(break_in_a_sweep, room.console)
        await room.until(lambda tally: "console-interlock" in tally.alarms)
        await room.until(lambda tally: "console-interlock" not in tally.alarms)
        daemon.stop()
        await running


async def test_a_console_that_cannot_be_identified_at_first_comes_back_all_the_same(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A console that still boots answers, but not to everything; the attempt must not keep it busy."""
    daemon = Daemon(room.config(passes=0, line_rate_hz=1280.0))
    identify = UsbDriver.identify
    failures = iter([True, True])

    async def identify_late(driver: UsbDriver) -> ConsoleInfo:
        if driver_is_new and next(failures, False):
            raise DeviceTimeoutError("still booting")
        return await identify(driver)

    driver_is_new = False
    monkeypatch.setattr(UsbDriver, "identify", identify_late)
    monkeypatch.setattr("octmargin.acquisition.RETRY_S", 0.1)
    async with room.listening():
        running = asyncio.create_task(daemon.run())
        await room.until(lambda tally: tally.flags.messages >= 1)
        driver_is_new = True
        await asyncio.to_thread(room.served.unplug)
        await room.until(lambda tally: tally.state == "alert")
        before = room.tally.flags.messages
        await room.until(lambda tally: tally.flags.messages > before + FRAMES)
        daemon.stop()
        await running
        await room.until(lambda tally: tally.state == "disconnected")
    assert next(failures, None) is None, "both failures have happened"
    assert balanced(room.tally)


async def test_a_sweep_that_fails_to_start_leaves_nothing_to_the_next_face(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """START arrives and its answer does not: the console scans, and its frames must not be the next face's."""
    begin_sweep = ConsoleControl.begin_sweep
    failures = iter([True])

    def begin_and_fail(control: ConsoleControl, before: ScanStatus) -> ScanStatus:
        status = begin_sweep(control, before)
        if next(failures, False):
            wait_until_numbered(room.console, before.frames_numbered + 3)
            raise DeviceTimeoutError("no answer")
        return status

    monkeypatch.setattr(ConsoleControl, "begin_sweep", begin_and_fail)
    monkeypatch.setattr("octmargin.scan_loop.PAUSE_S", 0.1)
    async with room.listening():
        await Daemon(room.config(line_rate_hz=6400.0)).run()
        await room.until(lambda tally: tally.state == "disconnected")
    assert room.tally.health is not None
    assert room.tally.health.frames.sent == room.console.status.frames_numbered > FRAMES * len(FACES)
    assert balanced(room.tally)
    for face in FACES:
        verdict = room.tally.faces[face].verdict
        assert verdict is not None
        assert verdict.counts.lost == verdict.counts.not_scanned == 0


async def test_a_console_that_does_not_answer_when_it_is_to_go_on_is_asked_again(
    phantom: LayeredPhantom, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen of the face before it went away is not scanned a second time."""
    begin_sweep = ConsoleControl.begin_sweep
    calls = iter(range(100))

    def begin_and_fail_once(control: ConsoleControl, before: ScanStatus) -> ScanStatus:
        if next(calls) == 1:
            raise DeviceTimeoutError("no answer")
        return begin_sweep(control, before)

    monkeypatch.setattr(ConsoleControl, "begin_sweep", begin_and_fail_once)
    monkeypatch.setattr("octmargin.face_scan._LIVENESS_S", 0.1)
    monkeypatch.setattr("octmargin.acquisition.RETRY_S", 0.1)
    script = FaultScript(fault=(Unplug(seconds=0.2, sweeps=(1,), frames=(5,)),))
    console = HeldFaultyConsole(phantom, script, LENIENT)
    console.hold(FACES[0], 5)
    room = Room(phantom, broker, console)
    console.plug_into(room.served)
    heard: list[FlagReceived | VerdictReceived] = []
    async with room.listening(heard):
        running = asyncio.create_task(Daemon(room.config(line_rate_hz=1280.0)).run())
        # Else all of them may still be on their way.
        await room.until(lambda tally: tally.flags.messages >= 3)
        console.let_go()
        await running
        await room.until(lambda tally: tally.state == "disconnected")
    await asyncio.to_thread(room.close)
    assert balanced(room.tally)
    judged = [
        e.message.frame_index for e in heard if isinstance(e, FlagReceived) and e.message.face == FACES[0]
    ]
    assert judged == sorted(set(judged)), "each frame once, in order"
    assert {0, 1, 2, FRAMES - 1} <= set(judged)
    verdict = room.tally.faces[FACES[0]].verdict
    assert verdict is not None
    assert verdict.counts.not_scanned == 0


def wait_until_numbered(console: Console, numbered: int) -> None:
    with console._lock:
        assert console._wake.wait_for(lambda: console._numbered >= numbered, timeout=60)


async def test_a_frame_outside_the_plan_is_lost_and_ends_nothing(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Leader.to_bytes

    def misplaced(leader: Leader) -> bytes:
        return make(dataclasses.replace(leader, index=999) if leader.index == 4 else leader)

    monkeypatch.setattr(Leader, "to_bytes", misplaced)
    config = msgspec.structs.replace(room.config(), recording=RecordingSection(folder=str(tmp_path / "rec")))
    async with room.listening():
        await Daemon(config).run()
        await room.until(lambda tally: tally.state == "disconnected")
    assert room.tally.health is not None
    assert room.tally.health.frames.lost_by_reason == {LossCause.NOT_JUDGED.value: len(FACES)}
    assert balanced(room.tally)
    for face in FACES:
        verdict = room.tally.faces[face].verdict
        assert verdict is not None
        assert verdict.verdict == "indeterminate"
    assert room.tally.health.recording == RecordingCounts(frames=(FRAMES - 1) * len(FACES), missed=len(FACES))
    recording = Recording.open(await asyncio.to_thread(lambda: next((tmp_path / "rec").iterdir())))
    assert recording.complete
    for face in FACES:
        assert recording.present(face).tolist() == [index != 4 for index in range(FRAMES)]
    refused = [entry["first_sequence"] for entry in recording.log() if entry["kind"] == "lost"]
    assert refused == [4, FRAMES + 4]


async def test_a_frame_that_was_refused_is_recorded_where_it_says_it_is_and_the_log_tells(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Leader.to_bytes

    def misplaced(leader: Leader) -> bytes:
        return make(dataclasses.replace(leader, index=7) if leader.index == 4 else leader)

    monkeypatch.setattr(Leader, "to_bytes", misplaced)
    config = msgspec.structs.replace(room.config(), recording=RecordingSection(folder=str(tmp_path / "rec")))
    await Daemon(config).run()
    recording = Recording.open(await asyncio.to_thread(lambda: next((tmp_path / "rec").iterdir())))
    entries = [entry for entry in recording.log() if entry.get("face") == FACES[0]]
    at_seven = [entry["sequence"] for entry in entries if entry["kind"] == "frame" and entry["index"] == 7]
    assert at_seven == [4, 7], "the later one is what is on disk"
    (lost,) = [entry for entry in entries if entry["kind"] == "lost"]
    assert (lost["first_sequence"], lost["count"], lost["cause"]) == (4, 1, LossCause.NOT_JUDGED.value)
    assert "by its number it is at 4" in lost["detail"]
    flagged = [entry["frame_sequence"] for entry in entries if entry["kind"] == "flags"]
    assert flagged == [number for number in range(FRAMES) if number != 4]
    np.testing.assert_array_equal(recording.frame(FACES[0], 7), room.phantom.frame(FACES[0], 7))
