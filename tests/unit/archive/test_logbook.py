"""The log of a recording: whole to the last line after a kill, and nobody changes it unnoticed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.archive.logbook import Logbook, check_log, drop_half_line, read_log
from octmargin.errors import InputError


def written(path: Path, entries: int = 5) -> Path:
    log = Logbook(path)
    for n in range(entries):
        log.note("frame", {"index": n, "text": "ä" * n})
    log.close()
    return path


def test_entries_come_back_in_their_order_with_time_and_kind(tmp_path: Path) -> None:
    entries = list(read_log(written(tmp_path / "log")))
    assert [entry["n"] for entry in entries] == list(range(5))
    assert [entry["index"] for entry in entries] == list(range(5))
    assert {entry["kind"] for entry in entries} == {"frame"}
    times = [datetime.fromisoformat(entry["at"]) for entry in entries]
    assert times == sorted(times)


def test_a_log_as_it_was_written_is_sound(tmp_path: Path) -> None:
    state = check_log(written(tmp_path / "log"))
    assert (state.entries, state.broken_at, state.is_cut) == (5, -1, False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("log") / "log", 12).read_bytes()


@given(data=st.data())
def test_a_changed_byte_is_found(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(whole) - 2))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    path = tmp_path_factory.mktemp("changed") / "log"
    path.write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
    state, original = check_log(path), len(whole.splitlines())
    line = whole[:at].count(b"\n")
    if line < original - 1:
        assert 0 <= state.broken_at <= line + 1
    else:
        # The last line: only its hash, which the recording's description has, can tell.
        path.write_bytes(whole)
        assert state.broken_at >= 0 or state.last_hash != check_log(path).last_hash


def test_a_line_that_was_taken_out_put_in_or_moved_is_found(whole: bytes, tmp_path: Path) -> None:
    lines = whole.splitlines(keepends=True)
    for changed in (
        lines[:3] + lines[4:],
        lines[:3] + lines[2:],
        [*lines[:3], lines[4], lines[3], *lines[5:]],
    ):
        (tmp_path / "log").write_bytes(b"".join(changed))
        assert check_log(tmp_path / "log").broken_at in (3, 4)
        assert len(list(read_log(tmp_path / "log"))) <= 4


def test_a_half_line_at_the_end_is_no_forgery_and_can_be_dropped(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(whole[:-20])
    assert check_log(path).is_cut
    assert len(list(read_log(path))) == 11
    drop_half_line(path)
    assert check_log(path) == check_log(path).__class__(11, -1, False, check_log(path).last_hash)


@pytest.mark.parametrize("half", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_half_line_of_any_length_is_cut_off(whole: bytes, tmp_path: Path, half: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(whole + b"x" * half)
    drop_half_line(path)
    assert path.read_bytes() == whole


def test_of_a_log_without_a_whole_line_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"n":0')
    drop_half_line(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b""
    drop_half_line(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_whole_lines_are_never_written_again(whole: bytes, tmp_path: Path) -> None:
    """A disk that is full, or a process that is killed meanwhile, must not take what was sound."""
    path = tmp_path / "log"
    path.write_bytes(whole + b"half")
    limited = f"""
import resource
from pathlib import Path
from octmargin.archive.logbook import drop_half_line
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
drop_half_line(Path({str(path)!r}))
"""
    subprocess.run([sys.executable, "-B", "-c", limited], check=True)
    assert path.read_bytes() == whole


def test_a_killed_process_leaves_every_line_but_the_last_half(tmp_path: Path) -> None:
    path = tmp_path / "log"
    program = f"""
from pathlib import Path
from octmargin.archive.logbook import Logbook
log = Logbook(Path({str(path)!r}))
n = 0
while True:
    log.note("frame", {{"index": n, "flags": list(range(500))}})
    n += 1
    if n == 200:
        print("going", flush=True)
"""
    writing = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert writing.stdout is not None
    assert writing.stdout.readline() == b"going\n"
    os.kill(writing.pid, signal.SIGKILL)
    writing.wait()
    writing.stdout.close()
    state = check_log(path)
    assert state.broken_at == -1
    assert [entry["index"] for entry in read_log(path)] == list(range(state.entries))


def test_a_disk_that_fails_is_told_and_ends_the_log(tmp_path: Path) -> None:
    log = Logbook(tmp_path / "log")
    log.note("began", {})
    os.close(log._file.fileno())
    log.note("frame", {})
    log.close()
    assert "descriptor" in log.failure


def test_what_cannot_be_written_is_told_and_ends_the_log(tmp_path: Path) -> None:
    log = Logbook(tmp_path / "log")
    log.note("frame", {"what": object()})
    log.note("frame", {"index": 1})
    log.close()
    assert "TypeError" in log.failure
    assert check_log(tmp_path / "log").entries == 0


class StalledFile:
    """Takes nothing until it `moves_on`."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.is_asked, self.moves_on = threading.Event(), threading.Event()

    def write(self, data: memoryview) -> int:
        self.is_asked.set()
        self.moves_on.wait(20)
        return self._file.write(data)


def on_a_stalled_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Logbook, StalledFile]:
    log = Logbook(path)
    stalled = StalledFile(log._file)  # type: ignore[arg-type]
    monkeypatch.setattr(log, "_file", stalled)
    return log, stalled


def test_a_disk_that_stands_still_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octmargin.archive.logbook._PATIENCE_S", 0.05)
    log, disk = on_a_stalled_disk(tmp_path / "log", monkeypatch)
    log.note("frame", {})
    log.close()
    assert log.failure == "the disk stands still"
    disk.moves_on.set()
    log._thread.join(20)


def test_a_log_that_is_left_ends_by_itself_when_the_disk_lets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, disk = on_a_stalled_disk(tmp_path / "log", monkeypatch)
    log.note("frame", {"index": 0})
    log.leave()
    assert log._thread.is_alive()
    disk.moves_on.set()
    log._thread.join(20)
    assert not log._thread.is_alive()
    assert disk._file.closed
    assert [entry["index"] for entry in read_log(tmp_path / "log")] == [0]


def test_entries_that_were_missed_are_counted_also_where_none_comes_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, disk = on_a_stalled_disk(tmp_path / "log", monkeypatch)
    log.note("frame", {"index": 0})
    assert disk.is_asked.wait(20)
    monkeypatch.setattr("octmargin.archive.logbook._MOST_WAITING", 0)
    for index in range(1, 4):
        log.note("frame", {"index": index})
    disk.moves_on.set()
    log.close()
    first, last = read_log(tmp_path / "log")
    assert (first["kind"], "missed" in first) == ("frame", False)
    assert (last["kind"], last["missed"]) == ("missed", 3)


def test_there_may_be_no_log_and_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert list(read_log(tmp_path / "none")) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: cannot be read"):
        check_log(tmp_path / "folder")


def test_structs_are_written_as_they_are_on_the_bus(tmp_path: Path) -> None:
    class Said(msgspec.Struct):
        face: str
        depth_mm: float | None

    log = Logbook(tmp_path / "log")
    log.note("verdict", Said("medial", None))
    log.close()
    (entry,) = read_log(tmp_path / "log")
    assert (entry["face"], entry["depth_mm"], entry["kind"]) == ("medial", None, "verdict")
