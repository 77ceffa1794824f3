"""Whatever is changed, taken out, put in or cut off a record's log is found."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.case.examples import CASE, NOW, SPECIMEN, bodies, new_store, opened, ready

from octmargin.case.record import events
from octmargin.case.record.events import event_hash
from octmargin.case.record.store import CaseStore, Head
from octmargin.case.record.verification import parse_head, verify
from octmargin.errors import InputError, RecordError

COLUMNS = ("seq", "at", "actor", "case_id", "kind", "payload", "payload_sha256", "previous", "hash")
TRIGGERS = ("events_are_not_changed", "events_are_not_deleted")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two cases, one of them signed, events of both in turn."""
    with new_store(tmp_path_factory.mktemp("record")) as store:
        ready(store, "final")
        opened(store, "case-8")
        store.append(CASE, bodies()["sign"], actor="anna", at=NOW)
        store.append("case-8", bodies()["register"], actor="berta", at=NOW)
        store.append(CASE, bodies()["addend"], actor="anna", at=NOW)
        return store.path


def change(record: Path, folder: Path, work: Callable[[sqlite3.Connection], object]) -> Path:
    """A copy that somebody changed who can write the file, and took away for it what would have refused it."""
    copy = folder / "changed.db"
    shutil.copy(record, copy)
    with closing(sqlite3.connect(copy)) as connection:
        made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        work(connection)
        for trigger in TRIGGERS:
            connection.execute(made[trigger])
        connection.commit()
    return copy


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DROP TRIGGER events_are_not_deleted", "events_are_not_deleted is gone from the file"),
        (
            "CREATE TRIGGER more AFTER INSERT ON events BEGIN SELECT 1; END",
            "more of the file is not one that octmargin makes",
        ),
    ],
)
def test_a_trigger_that_was_taken_away_or_added_is_found(
    record: Path, tmp_path: Path, statement: str, told: str
) -> None:
    changed = change(record, tmp_path, lambda _: None)
    with closing(sqlite3.connect(changed)) as connection:
        connection.execute(statement)
    (trouble,) = verify(changed).troubles
    assert trouble.startswith(told)


def test_a_record_as_it_was_written_is_sound(record: Path) -> None:
    with CaseStore.open(record) as store:
        head = store.head()
    found = verify(record, [head])
    assert found.troubles == ()
    assert (found.cases, found.events, found.erased, found.head) == (2, 10, 0, head)


@pytest.mark.parametrize("column", COLUMNS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_found_in_every_column_of_every_event(
    record: Path, tmp_path_factory: pytest.TempPathFactory, column: str, data: st.DataObject
) -> None:
    seq = data.draw(st.integers(1, 10))

    def change_one(connection: sqlite3.Connection) -> None:
        select = f"SELECT {column} FROM events WHERE seq = ?"  # noqa: S608 - one of the columns
        (before,) = connection.execute(select, (seq,)).fetchone()
        after: int | str
        if isinstance(before, int):
            after = data.draw(st.integers(-5, 300).filter(lambda value: value not in range(1, 11)))
        elif before == "":  # the first event follows none
            after = data.draw(st.characters(codec="ascii"))
        else:
            at = data.draw(st.integers(0, len(before) - 1))
            letter = data.draw(st.characters(codec="ascii").filter(lambda one: one != before[at]))
            after = before[:at] + letter + before[at + 1 :]
        update = f"UPDATE events SET {column} = ? WHERE seq = ?"  # noqa: S608 - one of the columns
        connection.execute(update, (after, seq))

    changed = change(record, tmp_path_factory.mktemp("changed"), change_one)
    assert verify(changed).troubles


FORGERIES: dict[str, str] = {
    "what was said": "UPDATE events SET payload = replace(payload, 'suspicious', 'nothing_suspicious') WHERE seq = 5",
    "a time": "UPDATE events SET at = replace(at, '2031', '2032') WHERE seq = 4",
    "of which case it is": "UPDATE events SET case_id = 'case-8' WHERE seq = 10",
    "an event was taken out": "DELETE FROM events WHERE seq = 4",
}


@pytest.mark.parametrize("forged", FORGERIES)
def test_nothing_is_read_of_a_case_that_was_changed(record: Path, tmp_path: Path, forged: str) -> None:
    changed = change(record, tmp_path, lambda connection: connection.execute(FORGERIES[forged]))
    with CaseStore.open(changed, writable=True) as store:
        with pytest.raises(RecordError, match=r"not as it was written.*`octmargin case verify`"):
            store.consult(CASE, actor="anna", what="report")
        if "which case" not in forged:
            for read in (store.case, lambda case_id: store.case_at(case_id, 99)):
                with pytest.raises(RecordError, match="not as it was written"):
                    read(CASE)
            with pytest.raises(RecordError, match="not as it was written"):
                store.append(CASE, bodies()["correlate"], actor="anna", at=NOW)
        assert list(store.accesses()) == []


def test_an_event_whose_own_hashes_were_made_anew_is_not_read_either(record: Path, tmp_path: Path) -> None:
    def forge(connection: sqlite3.Connection) -> None:
        with CaseStore.open(record) as store:
            event = next(one for one in store.events(CASE) if one.kind == "swept")
        assert event.payload is not None
        payload = event.payload.replace(b'"suspicious"', b'"nothing_suspicious"')
        sha256 = hashlib.sha256(payload).hexdigest()
        made = replace(event, payload=payload, payload_sha256=sha256).hash_of_content
        connection.execute(
            "UPDATE events SET payload = ?, payload_sha256 = ?, hash = ? WHERE seq = ?",
            (payload.decode(), sha256, made, event.seq),
        )

    with (
        CaseStore.open(change(record, tmp_path, forge)) as store,
        pytest.raises(RecordError, match="not as it was written"),
    ):
        store.case(CASE)


@pytest.mark.parametrize("byte", [0x00, 0x80, 0xFF])
def test_a_byte_that_is_no_text_is_found(record: Path, tmp_path: Path, byte: int) -> None:
    def change_one(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE events SET actor = CAST(? || CAST(actor AS BLOB) AS TEXT) WHERE seq = 4", (bytes([byte]),)
        )

    found = verify(change(record, tmp_path, change_one))
    assert any(trouble.startswith("event 4:") for trouble in found.troubles)


@pytest.mark.parametrize("seq", [1, 5, 9])
def test_an_event_that_was_taken_out_is_found(record: Path, tmp_path: Path, seq: int) -> None:
    found = verify(change(record, tmp_path, lambda c: c.execute("DELETE FROM events WHERE seq = ?", (seq,))))
    assert f"event {seq + 1}: follows event {seq - 1}" in found.troubles[0]


def test_events_that_changed_places_are_found(record: Path, tmp_path: Path) -> None:
    def swap(connection: sqlite3.Connection) -> None:
        for seq, to in ((4, 99), (5, 4), (99, 5)):
            connection.execute("UPDATE events SET seq = ? WHERE seq = ?", (to, seq))

    assert verify(change(record, tmp_path, swap)).troubles


def test_what_was_said_cannot_be_taken_away_without_erasing_its_case(record: Path, tmp_path: Path) -> None:
    found = verify(
        change(record, tmp_path, lambda c: c.execute("UPDATE events SET payload = NULL WHERE seq = 2"))
    )
    assert found.troubles == ("event 2: what it said is gone, and case case-7 was not erased",)


@pytest.mark.parametrize("left", [9, 7, 1])
def test_a_tail_that_was_cut_off_is_found_by_the_head_that_was_written_down(
    record: Path, tmp_path: Path, left: int
) -> None:
    with CaseStore.open(record) as store:
        head = store.head()
    cut = change(record, tmp_path, lambda c: c.execute("DELETE FROM events WHERE seq > ?", (left,)))
    assert verify(cut).troubles == ()  # the log alone cannot know how long it was
    (trouble,) = verify(cut, [head]).troubles
    assert "event 10, which was written down elsewhere, is not there" in trouble


def test_a_signed_report_has_a_head_by_which_a_log_written_anew_is_found(
    record: Path, tmp_path: Path
) -> None:
    with CaseStore.open(record) as store:
        signature = store.case(CASE).specimens[0].signature
    assert signature is not None

    def forge(connection: sqlite3.Connection) -> None:
        """Another patient, and every hash from there on made anew."""
        previous = ""
        names = [name for name in COLUMNS if name not in ("payload", "hash")]
        select = f"SELECT {', '.join(names)} FROM events ORDER BY seq"  # noqa: S608 - the columns
        for row in connection.execute(select).fetchall():
            event = dict(zip(names, row, strict=True)) | {"previous": previous}
            if event["seq"] == 2:
                event["actor"] = "mallory"
            previous = event_hash(**event)
            connection.execute(
                "UPDATE events SET actor = ?, previous = ?, hash = ? WHERE seq = ?",
                (event["actor"], event["previous"], previous, event["seq"]),
            )

    forged = change(record, tmp_path, forge)
    assert verify(forged).troubles == ()  # whoever makes every hash anew leaves no trace inside
    (trouble,) = verify(forged, [Head(signature.log_seq, signature.log_head)]).troubles
    assert "is not the one that was written down elsewhere" in trouble


def test_an_event_that_the_state_machine_forbids_is_found(tmp_path: Path) -> None:
    """A program that knows the hashes, and not the rules."""
    with new_store(tmp_path) as store:
        ready(store, "signed")
        sound = store.head()
        forbidden = events.make_event(
            seq=sound.seq + 1,
            at=NOW,
            actor="mallory",
            case_id=CASE,
            body=bodies(SPECIMEN)["interpret"],
            previous=sound.hash,
        )
        store._connection.execute("BEGIN")
        store._insert(forbidden)
        store._connection.execute("COMMIT")
    (trouble,) = verify(store.path).troubles
    assert f"event {forbidden.seq}: cannot have happened" in trouble
    assert "is signed, where `interpret` is not possible" in trouble


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'x' WHERE seq = 3", "DELETE FROM events"])
def test_the_file_itself_refuses_to_change_an_event(record: Path, tmp_path: Path, statement: str) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(record, copy)
    with (
        closing(sqlite3.connect(copy)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="events are never"),
    ):
        connection.execute(statement)


def test_a_damaged_file_is_told_in_words(record: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    whole = record.read_bytes()
    damaged.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    assert verify(damaged).troubles
    (tmp_path / "no-record.db").write_bytes(b"no database at all" * 400)
    with pytest.raises(RecordError, match="is no record, or is damaged"):
        verify(tmp_path / "no-record.db")


@pytest.mark.parametrize("text", ["", "12", "12:abc", f"x:{'a' * 64}", f"1:{'g' * 64}", f"²:{'a' * 64}"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no head of a record"):
        parse_head(text)


def test_a_head_is_read_as_it_is_written() -> None:
    head = Head(12, "0123456789abcdef" * 4)
    assert parse_head(f" {head}\n") == head


def test_a_record_that_is_written_meanwhile_is_seen_at_one_moment(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        ready(store)
        path = store.path
    is_over = threading.Event()

    def write() -> None:
        with CaseStore.open(path, writable=True) as writing:
            while not is_over.is_set():
                writing.append(CASE, bodies()["mark"], actor="anna", at=NOW)
                writing.consult(CASE, actor="anna", what="shown")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = []
        while len(set(counts)) < 8:
            found = verify(path)
            assert found.troubles == ()
            counts.append(found.events)
    finally:
        is_over.set()
        writer.join()
