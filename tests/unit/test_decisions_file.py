"""What readers said is on the disk for the next run; what is not is told."""

from __future__ import annotations

import asyncio
import errno
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from octmargin.bus.decisions import Decision, Mark
from octmargin.decisions_file import DecisionsFile, KeptReading
from octmargin.errors import ConfigError

NOON = datetime(2031, 5, 6, 12, tzinfo=UTC)
DISAGREES = KeptReading(
    case_id="case-7",
    specimen_id="s-1",
    face="superior",
    synthetic=True,
    decision=Decision(id="d1", by="rita", role="reader", at=NOON, sweep=1, subject="face", word="disagree"),
)
MARKS = KeptReading(
    case_id="case-7",
    specimen_id="s-2",
    face="medial",
    synthetic=True,
    mark=Mark(
        id="m2",
        by="rob",
        role="reader",
        at=NOON,
        sweep=3,
        first_frame=0,
        last_frame=2,
        first_block=1,
        last_block=1,
        note="here",
    ),
)


def ignore(_: str) -> None:
    """Nobody is told."""


def written(path: Path, *readings: KeptReading) -> None:
    file = DecisionsFile(path, on_fault=ignore)
    for reading in readings:
        file.put(reading)
    file.close()


def read(path: Path) -> DecisionsFile:
    file = DecisionsFile(path, on_fault=ignore)
    file.close()
    return file


def test_the_next_run_reads_what_was_said_of_each_specimen(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "decisions.jsonl"
    written(path, DISAGREES)
    written(path, MARKS, DISAGREES)
    file = read(path)
    assert file.of("case-7", "s-1") == (DISAGREES, DISAGREES)
    assert file.of("case-7", "s-2") == (MARKS,)
    assert file.of("case-8", "s-1") == ()
    assert path.stat().st_mode & 0o077 == 0


def test_a_half_line_of_a_killed_daemon_spoils_neither_what_was_before_nor_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    written(path, DISAGREES)
    with path.open("ab") as file:
        file.write(b'{"case_id": "case-7", "spec')
    written(path, DISAGREES)
    again = read(path)
    assert again.of("case-7", "s-1") == (DISAGREES, DISAGREES)
    assert again.unreadable == 1


def test_a_first_line_that_was_torn_keeps_no_daemon_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    written(path, DISAGREES)
    whole = path.read_bytes()
    for length in (1, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:length])
        for _ in range(2):
            # The second start finds a line that the first one has ended.
            assert read(path).unreadable == 1
        written(path, DISAGREES)
        assert read(path).of("case-7", "s-1")[-1] == DISAGREES


class StandingDisk:
    """A disk that does not answer until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on = threading.Event()
        monkeypatch.setattr("octmargin.decisions_file.os.fsync", lambda _: self.goes_on.wait(60))


async def test_a_reader_is_told_when_it_is_on_the_disk_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = StandingDisk(monkeypatch)
    file = DecisionsFile(tmp_path / "decisions.jsonl", on_fault=ignore)
    answer = file.keep(DISAGREES, " until the daemon ends")
    await asyncio.sleep(0)
    assert not answer.done()
    disk.goes_on.set()
    assert await answer == ""
    file.close()


async def test_a_disk_that_does_not_answer_is_told_and_keeps_no_reader_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.decisions_file.KEPT_WITHIN_S", 0.05)
    monkeypatch.setattr("octmargin.decisions_file.MOST_WAITING", 3)
    disk, told = StandingDisk(monkeypatch), list[str]()
    file = DecisionsFile(tmp_path / "decisions.jsonl", on_fault=told.append)
    for _ in range(2):
        said = await file.keep(DISAGREES, " until the daemon ends")
        assert said == " until the daemon ends; NOT on the disk yet, which does not answer"
    assert len(told) == 1
    beyond = [file.put(DISAGREES) for _ in range(3)][-1]
    assert beyond.result(20) == "3 wait for the disk already"
    disk.goes_on.set()
    file.close()


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk, eggs")
    for wrong in (path, tmp_path):
        with pytest.raises(
            ConfigError, match=r"case\.decisions_file: .* is no file that can be read and written"
        ):
            DecisionsFile(wrong, on_fault=ignore)
    assert path.read_text() == "milk, eggs"


def test_a_disk_that_is_full_is_told_once_and_known_when_the_next_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    was_told = threading.Event()

    def on_fault(text: str) -> None:
        told.append(text)
        was_told.set()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = DecisionsFile(tmp_path / "decisions.jsonl", on_fault=on_fault)
    monkeypatch.setattr("octmargin.decisions_file.os.fsync", full)
    assert file.put(DISAGREES).result(20) == "No space left on device"
    assert was_told.wait(20)
    assert file.put(DISAGREES).result(20) == "No space left on device"
    file.close()
    assert told == ["case.decisions_file cannot be written (No space left on device)"]
