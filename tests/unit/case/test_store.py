"""The record's file: one writer at a time, nothing acknowledged is lost, no file is taken for what it is not."""

from __future__ import annotations

import os
import random
import re
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.case.examples import CASE, NOW, SPECIMEN, bodies, new_store, opened, ready, sweep

from octmargin.case.record import events
from octmargin.case.record.store import CaseStore
from octmargin.case.record.tables import APPLICATION_ID, MIGRATIONS
from octmargin.case.record.verification import parse_head, verify
from octmargin.errors import CaseRefusedError, RecordBusyError, RecordError

KILLS = int(os.environ.get("OCTMARGIN_KILLS", "6"))
ROOT = Path(__file__).parents[3]


@contextmanager
def child(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of this tree; it is killed where it still runs at the end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


STORY = [
    "open",
    "identify",
    "order",
    "indicate",
    "register",
    "fix",
    "state",
    "sweep",
    "decide",
    "mark",
    "interpret",
    "confirm",
    "re-excise",
    "diagnose",
    "finalise",
    "sign",
    "addend",
    "correlate",
    "re-operate",
    "close",
]
TELL_STORY = """
import sys
from tests.unit.case.examples import CASE, NOW, bodies
from octmargin.case.record.store import CaseStore
said = bodies()
with CaseStore.open(sys.argv[1], writable=True) as store:
    for step in sys.argv[2:]:
        store.append(CASE, said[step], actor="anna", at=NOW)
        print(store.head(), flush=True)
        sys.stdin.readline()
"""


def test_killed_between_any_two_events_it_opens_verifies_and_goes_on(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        path = store.path
    for told, _ in enumerate(STORY):
        with child(TELL_STORY, str(path), *STORY[told:]) as process:
            assert process.stdout is not None
            head = parse_head(process.stdout.readline())
            process.kill()
            process.wait()
        found = verify(path, [head])
        assert (found.troubles, found.events, found.head) == ((), told + 1, head)
    with CaseStore.open(path) as store:
        case = store.case(CASE)
        assert [event.kind for event in store.events()][-1] == "closed"
    assert (case.phase, case.specimens[0].phase) == ("closed", "amended")


KEEP_MARKING = """
import sys
from tests.unit.case.examples import CASE, NOW, bodies
from octmargin.case.record.store import CaseStore
body = bodies()["mark"]
with CaseStore.open(sys.argv[1], writable=True) as store:
    while True:
        store.append(CASE, body, actor="anna")
        print(store.head(), flush=True)
"""


def test_killed_at_any_moment_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    rng = random.Random(7)  # noqa: S311 - no secret
    with new_store(tmp_path) as store:
        ready(store)
        path = store.path
    for _ in range(KILLS):
        with child(KEEP_MARKING, str(path)) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline() for _ in range(rng.randint(1, 40))]
            process.kill()
            process.wait()
            acknowledged += process.stdout.readlines()
        whole = [line for line in acknowledged if line.endswith("\n")]
        found = verify(path, [parse_head(line) for line in whole])
        assert found.troubles == ()
        with CaseStore.open(path, writable=True) as store:
            store.append(CASE, bodies()["mark"], actor="berta")


HOLD = """
import sys
from pathlib import Path
from octmargin.case.record.lock import writing
with writing(Path(sys.argv[1]), "octmargin run for or-3"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        opened(store)
    with child(HOLD, str(store.path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            CaseStore.open(store.path, writable=True, wait_s=0.1) as second,
            pytest.raises(
                RecordBusyError, match=rf"process {holder.pid} of .*octmargin run for or-3, since 20"
            ),
        ):
            second.append(CASE, bodies()["indicate"], actor="berta")
        with CaseStore.open(store.path) as reader:
            assert [event.kind for event in reader.events()] == ["opened"]


def test_a_writer_waits_for_another_one_that_finishes(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        opened(store)
    with child(HOLD, str(store.path)) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        holder.stdin.write("\n")
        holder.stdin.flush()
        with CaseStore.open(store.path, writable=True, wait_s=20) as second:
            assert second.append(CASE, bodies()["indicate"], actor="berta").indication


def test_two_who_write_in_turn_see_what_the_other_wrote(tmp_path: Path) -> None:
    with new_store(tmp_path) as one, CaseStore.open(one.path, writable=True) as other:
        opened(one)
        other.append(CASE, bodies()["register"], actor="berta", at=NOW)
        case = one.append(CASE, events.Swept(specimen_id=SPECIMEN, sweep=sweep()), actor="anna")
        assert case.specimens[0].phase == "scanned"
        assert verify(one.path).troubles == ()


def test_only_its_owner_reads_a_record(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        opened(store)
        files = [path for path in tmp_path.iterdir() if path.name.startswith("record.db")]
        assert len(files) >= 3  # with WAL and lock
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_nothing_is_overwritten_and_nothing_is_left_of_what_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("mine")
    with pytest.raises(RecordError, match="is there already"):
        CaseStore.create(tmp_path / "there.db")
    with pytest.raises(RecordError, match="cannot be made"):
        CaseStore.create(tmp_path / "none" / "record.db")
    assert [path.name for path in tmp_path.iterdir()] == ["there.db"]


def _sqlite(path: Path, *statements: str) -> Path:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def test_another_programs_file_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such record; `octmargin case init` makes one"):
        CaseStore.open(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("dear diary" * 1000)
    with pytest.raises(RecordError, match="is no record, or is damaged"):
        CaseStore.open(tmp_path / "text.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(RecordError, match="is no record of octmargin"):
        CaseStore.open(tmp_path / "empty.db", writable=True)
    with pytest.raises(RecordError, match="is no record of octmargin"):
        CaseStore.open(_sqlite(tmp_path / "other.db", "CREATE TABLE mine (x)"), writable=True)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("writable", [True, False])
def test_a_record_of_a_newer_octmargin_is_refused_in_a_line(tmp_path: Path, writable: bool) -> None:
    with new_store(tmp_path) as store:
        opened(store)
    newer = len(MIGRATIONS) + 1
    _sqlite(store.path, f"PRAGMA user_version = {newer}")
    with pytest.raises(RecordError, match=f"is a record of version {newer}.*use a newer octmargin$"):
        CaseStore.open(store.path, writable=writable)


def test_an_older_record_is_brought_up_to_date_where_it_may_be_written(tmp_path: Path) -> None:
    older = _sqlite(tmp_path / "older.db", f"PRAGMA application_id = {APPLICATION_ID}")
    with pytest.raises(RecordError, match="`octmargin case migrate`"):
        CaseStore.open(older)
    with CaseStore.open(older, writable=True) as store:
        opened(store)
    with CaseStore.open(older) as store:
        assert store.case_ids() == [CASE]


def test_what_could_not_be_read_again_is_not_recorded(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        ready(store)
        log = list(store.events())
        wrong = (
            events.Swept(specimen_id=SPECIMEN, sweep=sweep(coverage=1.5)),
            events.Swept(specimen_id=SPECIMEN, sweep=sweep(coverage=float("nan"))),
            events.Indicated(indication="half a surrogate \ud800"),
            events.Described(specimen_id=SPECIMEN, excised_at=datetime(2031, 5, 6, 11)),
        )
        for body in wrong:
            with pytest.raises(CaseRefusedError, match="cannot be recorded"):
                store.append(CASE, body, actor="anna", at=NOW)
        assert list(store.events()) == log


def test_a_full_disk_is_told_and_what_was_recorded_stays(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        opened(store)
    program = f"""
import resource, signal, sys
from octmargin.case.record import events
from octmargin.case.record.store import CaseStore
from octmargin.errors import RecordError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with CaseStore.open(sys.argv[1], writable=True) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
    try:
        store.append({CASE!r}, events.Indicated(indication="x" * 400_000), actor="anna")
    except RecordError as error:
        print(error)
"""
    with child(program, str(store.path)) as process:
        told, _ = process.communicate(timeout=60)
    assert re.match(rf"{re.escape(str(store.path))}: .*disk", told)
    assert verify(store.path).troubles == ()
    with CaseStore.open(store.path, writable=True) as again:
        assert again.append(CASE, bodies()["indicate"], actor="anna").indication


def test_times_are_kept_in_utc_whatever_they_were_given_in(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        case = store.append(
            CASE, events.Opened(), actor="anna", at=datetime.fromisoformat("2031-05-06T14:00:00+02:00")
        )
        assert case.opened_at == datetime(2031, 5, 6, 12, tzinfo=UTC)
        assert next(iter(store.events())).at == "2031-05-06T12:00:00.000000+00:00"
