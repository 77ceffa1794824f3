"""The recorder beside a disk that stands still: nobody waits for it long, and what belongs to one recording never lands
in the next."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from octmargin import Calibration, Recording
from octmargin.archive import RecordingWriter
from octmargin.archive.keeping import verify
from octmargin.archive.logbook import read_log
from octmargin.errors import InputError
from octmargin.frames import FrameHeader, PixelFormat, ScanPlan
from octmargin.recorder import Recorder, new_writer
from octmargin.ring import FrameRing

PLAN = ScanPlan("medial", 64, 16, 6, 2.0, 2.0, 1e4, PixelFormat.MONO16)
PATIENCE_S = 60.0
"""Far more than anything here takes that goes on at all."""


class Room:
    """A ring with a recorder on it, and what that says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ring = FrameRing(8, PLAN.frame_bytes)
        self.faults: list[str] = []
        self.recorder = Recorder(self.ring.cursor("recorder"), on_fault=self.faults.append)
        self.recorder.start()
        self.made: list[RecordingWriter] = []

    def make(self) -> RecordingWriter:
        calibration = Calibration(k_map=np.arange(64.0), axial_um=4.0)
        writer = new_writer(
            self.folder,
            name="c",
            source="test",
            synthetic=True,
            plans=[PLAN],
            calibration=calibration,
            axial_um=4.0,
        )
        self.made.append(writer)
        return writer

    def begin(self) -> RecordingWriter:
        assert self.recorder.begin(self.make)
        self.recorder.expect(PLAN.face)
        return self.made[-1]

    def put(self, sequence: int, index: int) -> None:
        slot = self.ring.reserve()
        slot.memory[:] = sequence
        header = FrameHeader(sequence, 1, index, 0, PLAN.alines, PLAN.samples, PLAN.pixel_format)
        self.ring.commit(slot, header)

    def until_taken(self) -> None:
        recorder = self.recorder
        with recorder._has_taken:
            assert recorder._has_taken.wait_for(
                lambda: recorder._taken == recorder._cursor.entered, PATIENCE_S
            )

    @property
    def recordings(self) -> list[Path]:
        return sorted(self.folder.iterdir())


@contextmanager
def in_a_hurry() -> Iterator[None]:
    """So that what stands still is found out soon."""
    with pytest.MonkeyPatch.context() as patch:
        set_patience(patch, 0.1)
        yield


def set_patience(patch: pytest.MonkeyPatch, seconds: float) -> None:
    for name in ("BEGIN_S", "SETTLE_S", "STANDSTILL_S"):
        patch.setattr(f"octmargin.recorder.{name}", seconds)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    set_patience(monkeypatch, PATIENCE_S)
    room = Room(tmp_path / "recordings")
    yield room
    room.ring.close()
    room.recorder.join()
    for writer in room.made:
        writer.abandon()
    until_done("logbook")


class Pipe:
    """A file that nobody reads: whoever opens it to write waits, as on a disk that stands still, until it is left."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        reading = os.open(self._path, os.O_RDWR)
        until_done("detached")
        os.close(reading)


def until_done(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(PATIENCE_S)


def test_frames_that_waited_for_a_stalled_disk_are_missed_and_not_in_the_next_recording(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves_on = threading.Event()
    first = room.begin()
    monkeypatch.setattr(first, "put", lambda *_: moves_on.wait(PATIENCE_S))
    for index in range(3):
        room.put(index, index)
    with in_a_hurry():
        assert not room.recorder.end()
    assert ["stands still" in fault for fault in room.faults] == [True]
    second = room.begin()
    room.put(9, 5)
    moves_on.set()
    assert room.recorder.end()
    assert Recording.open(second.path).present("medial").tolist() == [False] * 5 + [True]
    assert not Recording.open(first.path).complete
    assert (room.recorder.written, room.recorder.missed) == (1, 3)
    assert len(room.faults) == 1


class Slow(threading.Condition):
    """A disk that takes `FRAME_S` for each frame, by a clock that runs only while somebody waits for the disk.

    It is a recorder's word that a frame was taken, so that each wait for that is for one frame.
    """

    FRAME_S = PATIENCE_S / 1.5

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.may_write = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and timeout < self.FRAME_S:
            return False
        self.now_s += self.FRAME_S
        self.may_write.release()
        return super().wait(PATIENCE_S)


def test_the_end_waits_for_a_slow_disk_as_long_as_it_goes_on(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each frame takes less than a standstill, all together more."""
    disk, writer = Slow(), room.begin()
    put = writer.put

    def put_slowly(*arguments: Any) -> None:
        disk.may_write.acquire(timeout=PATIENCE_S)
        put(*arguments)

    monkeypatch.setattr(writer, "put", put_slowly)
    monkeypatch.setattr(room.recorder, "_has_taken", disk)
    monkeypatch.setattr("octmargin.recorder.time", SimpleNamespace(monotonic=lambda: disk.now_s))
    monkeypatch.setattr("octmargin.recorder.SETTLE_S", 100 * disk.FRAME_S)
    for index in range(6):
        room.put(index, index)
    assert room.recorder.end()
    assert room.recorder.written == 6
    assert disk.now_s > PATIENCE_S


def test_what_an_earlier_recording_missed_is_not_said_of_the_next(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves_on = threading.Event()
    monkeypatch.setattr(room.begin(), "put", lambda *_: moves_on.wait(PATIENCE_S))
    for index in range(3):
        room.put(index, index)
    with in_a_hurry():
        assert not room.recorder.end()
    assert room.recorder.missed == room.recorder.missed_of_pass == 3
    room.begin()
    assert (room.recorder.missed, room.recorder.missed_of_pass) == (3, 0)
    moves_on.set()
    room.until_taken()
    assert (room.recorder.missed, room.recorder.missed_of_pass) == (3, 0)


def test_frames_that_a_stalled_disk_costs_are_counted_while_it_stalls(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves_on = threading.Event()
    monkeypatch.setattr(room.begin(), "put", lambda *_: moves_on.wait(PATIENCE_S))
    for sequence in range(100):
        room.put(sequence, sequence % PLAN.frames)
    assert 100 - 8 - 1 <= room.recorder.missed_of_pass < 100
    moves_on.set()


def test_where_none_can_be_begun_in_time_nothing_is_recorded_and_the_late_one_is_taken_away(
    room: Room, tmp_path: Path
) -> None:
    was_made = threading.Event()

    def make() -> RecordingWriter:
        (tmp_path / "disk").write_bytes(b"x")
        writer = room.make()
        was_made.set()
        return writer

    with Pipe(tmp_path / "disk"), in_a_hurry():
        assert not room.recorder.begin(make)
        room.recorder.expect(PLAN.face)
        for index in range(3):
            room.put(index, index)
        room.until_taken()
        assert not room.recorder.end()
        for _ in range(5):
            assert not room.recorder.begin(make)
        waiting = [thread for thread in threading.enumerate() if thread.name == "detached"]
        assert len(waiting) == 1, "one waits for the disk, however often it is tried"
    assert ["stands still" in fault for fault in room.faults] == [True] * 6
    assert room.recorder.missed == 3
    assert was_made.is_set()
    assert room.recordings == []


def test_where_none_can_be_begun_that_is_told_whatever_the_reason(room: Room) -> None:
    def make() -> RecordingWriter:
        raise RuntimeError("odd disk")

    assert not room.recorder.begin(make)
    assert room.faults == [
        "recording: RuntimeError: odd disk; nothing is recorded in this pass, scanning goes on"
    ]


@pytest.mark.parametrize("at", ["present/zarr.json.partial", "../../zarr.json.partial"])
def test_a_disk_that_stands_still_when_all_was_written_holds_up_no_end(room: Room, at: str) -> None:
    writer = room.begin()
    room.put(0, 0)
    room.until_taken()
    with Pipe(writer.path / "faces" / PLAN.face / at), in_a_hurry():
        assert not room.recorder.end()
        assert ["stands still" in fault for fault in room.faults] == [True]
        recording = Recording.open(writer.path)
        assert (recording.complete, int(recording.present(PLAN.face).sum())) == (False, 1)


def test_recordings_that_fail_leave_neither_a_thread_nor_an_open_file(room: Room) -> None:
    def left() -> tuple[list[str], list[str]]:
        """Of recordings alone: what other tests left may go meanwhile."""
        until_done("logbook")
        names = [thread.name for thread in threading.enumerate()]
        files = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
        return (
            [name for name in names if name in ("logbook", "detached")],
            [file for file in files if file.startswith(str(room.folder))],
        )

    for count in range(6):
        writer = room.begin()
        (writer.path / "faces" / PLAN.face / "spectra" / "c").touch()  # where chunks would have to be
        room.put(count, 0)
        room.until_taken()
        assert not room.recorder.end()
        assert left() == ([], [])
    assert len(room.faults) == 6


def test_a_recording_of_a_pass_in_which_nothing_came_is_taken_away(room: Room) -> None:
    writer = room.begin()
    assert room.recordings == [writer.path]
    assert room.recorder.end()
    assert room.recordings == []
    assert not room.faults


def test_frames_of_a_pass_without_a_recording_are_counted_though_the_recorder_stands_still(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> RecordingWriter:
        raise InputError("no room")

    moves_on = threading.Event()
    monkeypatch.setattr(room.begin(), "put", lambda *_: moves_on.wait(PATIENCE_S))
    room.put(0, 0)
    with in_a_hurry():
        assert not room.recorder.end()
    assert not room.recorder.begin(fail)
    for sequence in (1, 2):
        room.put(sequence, sequence)
    assert not room.recorder.end()
    assert (room.recorder.missed, room.recorder.missed_of_pass) == (3, 2)
    moves_on.set()


def test_an_empty_recording_is_taken_away_also_while_an_earlier_one_stands_still(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves_on = threading.Event()
    first = room.begin()
    monkeypatch.setattr(first, "put", lambda *_: moves_on.wait(PATIENCE_S))
    room.put(0, 0)
    with in_a_hurry():
        assert not room.recorder.end()
    room.begin()
    assert room.recorder.end()
    moves_on.set()
    assert room.recordings == [first.path]
    assert len(room.faults) == 1


def test_what_people_said_is_kept_though_no_frame_came(room: Room) -> None:
    writer = room.begin()
    room.recorder.note("command", {"command": "decide", "word": "disagree"})
    assert room.recorder.end()
    recording = Recording.open(writer.path)
    assert recording.complete
    assert not recording.present(PLAN.face).any()
    assert [entry["kind"] for entry in read_log(writer.path / "log.jsonl")] == ["began", "command"]
    assert not room.faults


def test_a_recording_that_is_finished_is_complete_with_its_log(room: Room) -> None:
    writer = room.begin()
    room.put(7, 2)
    room.recorder.note("alarm", {"id": "console", "active": True})
    assert room.recorder.end()
    recording = Recording.open(writer.path)
    assert (recording.complete, recording.present(PLAN.face).tolist()) == (
        True,
        [index == 2 for index in range(PLAN.frames)],
    )
    kinds = [entry["kind"] for entry in read_log(writer.path / "log.jsonl")]
    assert sorted(kinds) == ["alarm", "began", "frame"]
    assert not room.faults


def test_what_was_recorded_of_a_face_that_is_begun_anew_is_gone_though_nothing_comes_of_it_then(
    room: Room,
) -> None:
    writer = room.begin()
    for index in range(3):
        room.put(index, index)
    room.until_taken()
    room.recorder.expect(PLAN.face)
    assert room.recorder.end()
    recording = Recording.open(writer.path)
    assert (recording.complete, recording.present(PLAN.face).any()) == (True, False)
    assert not list(writer.path.glob(f"faces/{PLAN.face}/spectra/c/*/*/*"))
    assert [entry["kind"] for entry in recording.log()][-1] == "forgotten"
    assert verify(recording).is_sound


def test_a_disk_that_does_not_let_go_of_a_face_that_is_begun_anew_ends_the_recording(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = room.begin()
    room.put(0, 0)
    room.until_taken()
    room.recorder.expect(PLAN.face)

    def refuse(_: str) -> None:
        raise InputError("disk is read-only")

    monkeypatch.setattr(writer, "forget", refuse)
    assert not room.recorder.end()
    assert room.faults == ["disk is read-only"]
    assert not Recording.open(writer.path).complete
    until_done("logbook")
    assert "logbook" not in {thread.name for thread in threading.enumerate()}


def test_nothing_is_taken_away_from_a_recording_that_has_ended_however_late_the_disk_gets_to_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log cannot say so any more, and frames that it knows would be missing."""
    moves_on, writer = threading.Event(), room.begin()
    room.put(0, 0)
    room.until_taken()
    room.recorder.expect(PLAN.face)
    forget = writer.forget

    def forget_late(face: str) -> None:
        moves_on.wait(PATIENCE_S)
        forget(face)

    monkeypatch.setattr(writer, "forget", forget_late)
    with in_a_hurry():
        assert not room.recorder.end()
    moves_on.set()
    until_done("detached")
    until_done("logbook")
    recording = Recording.open(writer.path)
    assert (recording.complete, recording.present(PLAN.face)[0]) == (False, True)
    assert verify(recording).is_sound


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import pytest
import test_recorder as t

patch = pytest.MonkeyPatch()
t.set_patience(patch, t.PATIENCE_S)
room = t.Room(Path(sys.argv[1]))
stall = sys.argv[3]
if stall == "begin":
    t.Pipe(room.folder.parent / "disk")
    t.set_patience(patch, 0.1)
    room.recorder.begin(lambda: (room.folder.parent / "disk").write_bytes(b"x"))
else:
    writer = room.begin()
    t.Pipe(writer.path / "faces/medial" / {"put": "spectra/c/0/0/0.partial", "end": "present/zarr.json.partial"}[stall])
    t.set_patience(patch, 0.1)
    room.put(0, 0)
    room.recorder.end()
room.ring.close()
room.recorder.join()
print(room.faults, flush=True)
"""


@pytest.mark.parametrize("stall", ["begin", "put", "end"])
def test_a_process_ends_though_its_disk_stands_still(tmp_path: Path, stall: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROCESS, str(tmp_path / "rec"), str(Path(__file__).parent), stall],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "stands still" in run.stdout
