"""Looking into the outbox on disk: what waits is counted, nothing is touched, and who has it is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.bus.examples import flag

from octmargin.bus import OutboxStore
from octmargin.bus.outbox import Parcel
from octmargin.bus.topics import Kind
from octmargin.device import Finding
from octmargin.outbox_check import outbox_findings

BASE = "octmargin/1/or/c"


def flag_parcel(n: int) -> Parcel:
    return Parcel(f"{BASE}/flag", Kind.FLAG, flag(n, session="before", sequence=n))


_HOLD = """
import sys
from pathlib import Path
from octmargin.bus import OutboxStore
from tests.unit.test_outbox_check import BASE, flag_parcel

store = OutboxStore(Path(sys.argv[1]), "running", BASE)
store.open().result(10)
store.keep(3, flag_parcel(3))
store.flags(range(4)).result(10)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process has it, and is killed in the end: what it wrote stays in SQLite's journal."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox in which three flags wait."""
    path = tmp_path / "outbox"
    store = OutboxStore(path, "before", BASE)
    store.open().result(10)
    for n in range(3):
        store.keep(n, flag_parcel(n))
    store.close().result(10)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def told(path: Path, base: str = BASE) -> list[Finding]:
    before = content_of(path.parent)
    findings = list(outbox_findings(path, base))
    assert content_of(path.parent) == before, "looking must change nothing"
    return findings


def test_what_waits_is_counted(path: Path) -> None:
    assert told(path) == [Finding("outbox", "ok", f"{path}, 3 messages of earlier runs waiting")]


def test_what_a_killed_daemon_left_is_counted_too(path: Path) -> None:
    with held(path):
        pass
    assert (path.parent / "outbox-wal").exists(), "it was killed"
    assert told(path) == [Finding("outbox", "ok", f"{path}, 4 messages of earlier runs waiting")]


def test_an_outbox_that_a_daemon_has_is_in_use_and_no_problem(path: Path) -> None:
    with held(path) as process:
        assert told(path) == [Finding("outbox", "ok", f"{path}, in use by process {process.pid}")]


def test_what_is_no_outbox_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text("Dear Sir or Madam, " * 1000)
    [finding] = told(path)
    assert finding.level == "problem"
    assert f"'{path}' is not a store of messages" in finding.text


def test_an_empty_file_is_not_made_an_outbox(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    path.touch()
    assert told(path) == [Finding("outbox", "ok", f"{path}, 0 messages of earlier runs waiting")]


def test_a_message_that_cannot_be_read_is_told(path: Path) -> None:
    store = OutboxStore(path, "odd", BASE)
    store.open().result(10)
    store._file._connection.execute(
        "INSERT INTO parcels VALUES ('verdict', 0, 'octmargin/1/or/c/verdict/x', 'odd')"
    )
    store.close().result(10)
    [ok, note] = told(path)
    assert (ok.level, note.level) == ("ok", "note")
    assert note.text == f"{path}, 1 message that cannot be read, and will not be said"


def test_what_another_console_left_is_told(path: Path) -> None:
    [ok, note] = told(path, "octmargin/1/or/renamed")
    assert (ok.level, note.level) == ("ok", "note")
    assert "0 messages of earlier runs waiting" in ok.text
    assert "3 messages of another console, to stay there" in note.text


@pytest.mark.parametrize("name", ["out\0box", "x" * 300])
def test_a_name_that_no_file_can_have_is_a_problem(tmp_path: Path, name: str) -> None:
    [finding] = outbox_findings(tmp_path / name, BASE)
    assert finding.level == "problem"
    assert "can be no file" in finding.text
