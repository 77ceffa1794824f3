"""What people say of a specimen is written down, whether or not a recording of it is open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.test_recorder import PATIENCE_S, PLAN, Room, set_patience, until_done

from octmargin.archive.logbook import check_log, read_log
from octmargin.case_recordings import CaseRecordings
from octmargin.stage import Stage

FIRST, SECOND = Stage("case-7", "s-1"), Stage("case-7", "s-2")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    set_patience(monkeypatch, PATIENCE_S)
    monkeypatch.setattr("octmargin.case_recordings.KEEP_S", PATIENCE_S)
    room = Room(tmp_path / "recordings")
    yield room
    room.ring.close()
    room.recorder.join()
    for writer in room.made:
        writer.abandon()
    until_done("logbook")


@pytest.fixture
def recordings(room: Room) -> CaseRecordings:
    return CaseRecordings(room.recorder, lambda *_: room.make(), folder=room.folder, on_begun=lambda: None)


def said(path: Path) -> list[str]:
    """What people said, by the log at `path`."""
    return [entry["word"] for entry in read_log(path) if entry["kind"] == "command"]


def notes_of(room: Room, stage: Stage) -> list[str]:
    """What is in files of notes of a specimen."""
    files = sorted(room.folder.glob(f"{stage.case_id}-{stage.specimen_id}-*.notes.jsonl"))
    assert all(check_log(path).broken_at < 0 for path in files)
    return [word for path in files for word in said(path)]


def say(recordings: CaseRecordings, stage: Stage, word: str) -> None:
    recordings.note("command", {"word": word}, stage)


async def test_what_is_said_before_a_recording_stands_in_it(room: Room, recordings: CaseRecordings) -> None:
    say(recordings, FIRST, "disagree")
    await recordings.begin(FIRST, [PLAN])
    say(recordings, FIRST, "agree")
    await recordings.finish()
    assert said(room.made[0].path / "log.jsonl") == ["disagree", "agree"]
    assert not list(room.folder.glob("*.notes.jsonl"))


async def test_what_is_said_behind_the_last_recording_is_kept_at_the_end(
    room: Room, recordings: CaseRecordings
) -> None:
    await recordings.begin(FIRST, [PLAN])
    await recordings.end()
    say(recordings, FIRST, "disagree")
    await recordings.finish()
    assert notes_of(room, FIRST) == ["disagree"]


async def test_what_is_said_of_one_specimen_is_not_in_the_recording_of_another(
    room: Room, recordings: CaseRecordings
) -> None:
    say(recordings, FIRST, "disagree")
    say(recordings, SECOND, "agree")
    await recordings.begin(SECOND, [PLAN])
    await recordings.finish()
    assert said(room.made[0].path / "log.jsonl") == ["agree"]
    assert notes_of(room, FIRST) == ["disagree"]


async def test_what_is_said_after_the_recorder_failed_is_kept(
    room: Room, recordings: CaseRecordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no space left")

    await recordings.begin(FIRST, [PLAN])
    monkeypatch.setattr(room.made[0], "put", fail)
    room.recorder.expect(PLAN.face)
    room.put(0, 0)
    room.until_taken()
    assert room.faults
    say(recordings, FIRST, "disagree")
    await recordings.finish()
    assert notes_of(room, FIRST) == ["disagree"]


async def test_a_loss_is_counted_and_told(room: Room, recordings: CaseRecordings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = CaseRecordings(
        room.recorder, lambda *_: room.make(), folder=tmp_path / "file", on_begun=lambda: None
    )
    for word in ("disagree", "agree"):
        say(nowhere, FIRST, word)
    with capture_logs() as logs:
        await nowhere.finish()
    [lost] = [entry for entry in logs if entry["log_level"] == "error"]
    assert (lost["event"], lost["count"]) == ("notes are lost; they are in this log alone", 2)
