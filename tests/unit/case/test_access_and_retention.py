"""Who looked is noted, in a chain that shows what was changed; what is over its time is erased, and leaves none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.case.examples import CASE, NOW, SPECIMEN, bodies, new_store, opened, ready, sweep

from octmargin.case.record import events
from octmargin.case.record.retention import expired
from octmargin.case.record.store import CaseStore
from octmargin.case.record.verification import verify
from octmargin.errors import CaseRefusedError, RecordError

YEAR = timedelta(days=365)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    with new_store(tmp_path) as made:
        yield made


def close_case(store: CaseStore, case_id: str = CASE) -> None:
    opened(store, case_id)
    scanned = events.Swept(specimen_id=SPECIMEN, sweep=sweep(recording="recordings/a"))
    said = bodies()
    for body in (*(said[step] for step in ("identify", "indicate", "register")), scanned, said["finalise"]):
        store.append(case_id, body, actor="anna", at=NOW)
    store.append(case_id, said["sign"], said["close"], actor="anna", at=NOW)


def test_whoever_consults_a_case_is_noted_before_it_is_given(store: CaseStore) -> None:
    opened(store)
    head = store.head()
    assert store.consult(CASE, actor="berta", what="shown", at=NOW) == store.case(CASE)
    (access,) = store.accesses()
    assert (access.actor, access.case_id, access.what, access.events_head) == (
        "berta",
        CASE,
        "shown",
        str(head),
    )
    with pytest.raises(CaseRefusedError, match="there is none"):
        store.consult("nowhere", actor="berta", what="shown")
    assert store.head() == head  # looking changes no case


def test_a_record_that_cannot_note_who_looks_shows_nothing(store: CaseStore) -> None:
    opened(store)
    with CaseStore.open(store.path) as reader, pytest.raises(RecordError, match="check its permissions"):
        reader.consult(CASE, actor="berta", what="shown")


def tamper(store: CaseStore, statement: str, *triggers: str) -> None:
    """As somebody does who can write the file, and puts back what would have refused it."""
    with closing(sqlite3.connect(store.path)) as connection:
        made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        for trigger in triggers:
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement)
        for trigger in triggers:
            connection.execute(made[trigger])
        connection.commit()


@pytest.mark.parametrize("column", ["at", "actor", "case_id", "what", "events_head", "previous", "hash"])
def test_a_changed_access_is_found(store: CaseStore, column: str) -> None:
    opened(store)
    for actor in ("anna", "berta", "carla"):
        store.consult(CASE, actor=actor, what="shown")
    assert verify(store.path).troubles == ()
    tamper(store, f"UPDATE accesses SET {column} = '9:x' WHERE n = 2", "accesses_are_not_changed")  # noqa: S608
    assert verify(store.path).troubles


def test_an_access_that_was_taken_out_is_found(store: CaseStore) -> None:
    opened(store)
    for _ in range(3):
        store.consult(CASE, actor="anna", what="shown")
    tamper(store, "DELETE FROM accesses WHERE n = 2", "accesses_are_not_deleted")
    assert "access 3: was changed, or does not follow from access 1" in verify(store.path).troubles[0]


def test_an_access_remembers_events_that_were_cut_off_since(store: CaseStore) -> None:
    ready(store)
    store.consult(CASE, actor="anna", what="shown")
    tamper(store, "DELETE FROM events WHERE seq > 2", "events_are_not_deleted")
    (trouble,) = verify(store.path).troubles
    assert trouble == "access 1: saw event 4, which is not in the log any more"


@pytest.mark.parametrize("statement", ["UPDATE accesses SET actor = 'x'", "DELETE FROM accesses"])
def test_the_file_itself_refuses_to_change_an_access(store: CaseStore, statement: str) -> None:
    opened(store)
    store.consult(CASE, actor="anna", what="shown")
    with pytest.raises(sqlite3.IntegrityError, match="accesses are never"):
        tamper(store, statement)


def test_only_closed_cases_that_rested_long_enough_are_over_their_time(store: CaseStore) -> None:
    close_case(store)
    opened(store, "still-open")
    assert expired(store, 10 * YEAR, NOW + 10 * YEAR) == []
    (over,) = expired(store, 10 * YEAR, NOW + 10 * YEAR + timedelta(days=1))
    assert (over.case_id, over.recordings) == (CASE, ("recordings/a",))
    store.append(CASE, bodies()["correlate"], actor="anna", at=NOW + 5 * YEAR)
    assert expired(store, 10 * YEAR, NOW + 11 * YEAR) == []


def test_what_is_erased_is_nowhere_in_the_files_and_the_chain_holds(store: CaseStore) -> None:
    close_case(store)
    close_case(store, "another")
    head, files = store.head(), sorted(store.path.parent.iterdir())
    assert any(b"Dr. Ada Reyes" in path.read_bytes() for path in files)
    store.erase(CASE, "10 years after closing", actor="anna")
    store.erase("another", "10 years after closing", actor="anna")
    for path in store.path.parent.iterdir():
        assert b"Ada Reyes" not in path.read_bytes()
        assert b"Patient" not in path.read_bytes()
    found = verify(store.path, [head])
    assert (found.troubles, found.erased) == ((), 2)
    with pytest.raises(CaseRefusedError, match="case case-7: was erased"):
        store.case(CASE)
    assert list(store.cases()) == []
    assert store.case_ids() == [CASE, "another"]


def forged(store: CaseStore, body: events.CaseBody) -> None:
    """Somebody who knows the hashes, and not the rules."""
    head = store.head()
    event = events.make_event(
        seq=head.seq + 1, at=NOW, actor="mallory", case_id=CASE, body=body, previous=head.hash
    )
    store._insert(event)


def test_a_case_that_was_erased_before_it_was_closed_is_found(store: CaseStore) -> None:
    ready(store, "signed")
    forged(store, events.Erased(rule="mine"))
    tamper(store, "UPDATE events SET payload = NULL WHERE seq < 8")
    assert verify(store.path).troubles == ("event 8: erased case case-7, which was never closed",)


def test_an_event_on_a_case_that_was_erased_before_is_found(store: CaseStore) -> None:
    close_case(store)
    store.erase(CASE, "10 years after closing", actor="anna")
    forged(store, bodies()["correlate"])
    (trouble,) = verify(store.path).troubles
    assert "is about case case-7, which was erased before" in trouble


def test_an_erased_case_takes_nothing_more(store: CaseStore) -> None:
    close_case(store)
    store.erase(CASE, "10 years after closing", actor="anna")
    for body in bodies().values():
        with pytest.raises(CaseRefusedError, match="was erased"):
            store.append(CASE, body, actor="anna")


def test_a_case_that_is_not_closed_is_not_erased(store: CaseStore) -> None:
    ready(store, "signed")
    with pytest.raises(CaseRefusedError, match="is open, where `erase` is not possible"):
        store.erase(CASE, "now", actor="anna")
    assert store.case(CASE).specimens[0].phase == "signed"


def test_payloads_that_are_the_same_have_hashes_that_are_not(store: CaseStore) -> None:
    """What was erased cannot be guessed: nobody can hash every name and compare."""
    for case_id in ("one", "two"):
        opened(store, case_id)
        store.append(case_id, bodies()["identify"], actor="anna", at=NOW)
    hashes = [event.payload_sha256 for event in store.events() if event.kind == "identified"]
    assert len(set(hashes)) == 2
