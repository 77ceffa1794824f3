"""Writing the record never holds up whoever notes: what a case refuses or a disk does not take is counted and told."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.unit.case.examples import CASE, SPECIMEN, bodies, new_store, opened, ready, sweep

from octmargin.case.record import events
from octmargin.case.record.lock import writing
from octmargin.case.record.model import CaseSnapshot
from octmargin.case.record.own_writer import CaseWriter
from octmargin.case.record.store import CaseStore
from octmargin.case.record.verification import verify
from octmargin.errors import CaseRefusedError


def test_what_is_noted_is_in_the_record_in_its_order(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        ready(store)
    writer = CaseWriter(store.path, "octmargin run for or-3")
    for number in range(1, 6):
        writer.note(CASE, events.Swept(specimen_id=SPECIMEN, sweep=sweep(number=number)), "daemon")
    assert writer.close() == 0
    assert (writer.written, writer.refused, writer.trouble) == (5, 0, "")
    with CaseStore.open(store.path) as store:
        assert [one.sweep for one in store.case(CASE).specimens[0].sweeps] == [1, 2, 3, 4, 5]
    assert verify(store.path).troubles == ()


def test_what_a_case_refuses_is_told_and_holds_nothing_up(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        ready(store)
    writer = CaseWriter(store.path, "test")
    writer.note(CASE, bodies()["sign"], "daemon")
    writer.note("nowhere", bodies()["mark"], "daemon")
    writer.note(CASE, bodies()["mark"], "daemon")
    assert writer.close() == 0
    assert (writer.written, writer.refused) == (1, 2)
    assert "case nowhere: there is none" in writer.last_refusal


def test_what_cannot_be_made_is_refused_and_holds_nothing_up(tmp_path: Path) -> None:
    def fails(_: CaseSnapshot | None) -> list[events.CaseBody]:
        raise ValueError("no such face")

    with new_store(tmp_path) as store:
        ready(store)
    writer = CaseWriter(store.path, "test")
    refused = writer.note_made(CASE, fails, "daemon")
    writer.note(CASE, bodies()["mark"], "daemon")
    assert writer.close() == 0
    assert (writer.written, writer.refused) == (1, 1)
    with pytest.raises(CaseRefusedError, match="no such face"):
        refused.result(timeout=0)


def test_while_another_one_writes_it_waits_and_says_so_and_goes_on_by_itself(tmp_path: Path) -> None:
    told: list[str] = []
    changed = threading.Event()

    def on_trouble(trouble: str) -> None:
        told.append(trouble)
        changed.set()

    with new_store(tmp_path) as store:
        opened(store)
    writer = CaseWriter(store.path, "test", wait_s=0.05, on_trouble=on_trouble)
    with writing(store.path, "somebody else"):
        began_s = time.monotonic()
        for _ in range(3):
            writer.note(CASE, bodies()["indicate"], "daemon")
        assert time.monotonic() - began_s < 5
        assert changed.wait(10)
        assert "is being written by" in told[0]
        assert writer.waiting == 3
        changed.clear()
    assert changed.wait(10)
    assert told[1:] == [""]
    assert (writer.close(), writer.written) == (0, 3)


def test_what_somebody_else_added_meanwhile_is_known_when_the_next_is_written(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        ready(store)
        writer = CaseWriter(store.path, "test")
        before = writer.note(CASE, bodies()["mark"], "daemon").result(10)
        store.append(CASE, bodies()["withdraw"], actor="anna")
        seen: list[int] = []

        def make(case: CaseSnapshot | None) -> tuple[events.CaseBody, ...]:
            assert case is not None
            seen.append(case.log_seq)
            return (bodies()["decide"],)

        refused = writer.note_made(CASE, make, "daemon")
        with pytest.raises(CaseRefusedError, match="is withdrawn"):
            refused.result(10)
    assert seen == [before.log_seq + 1]
    assert writer.close() == 0
    assert verify(store.path).troubles == ()


def test_what_cannot_be_written_by_the_end_is_counted(tmp_path: Path) -> None:
    writer = CaseWriter(tmp_path / "none.db", "test")
    writer.note(CASE, bodies()["open"], "daemon")
    assert writer.close() == 1
    assert "no such record" in writer.trouble


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octmargin.case.record.own_writer.MOST_WAITING", 2)
    writer = CaseWriter(tmp_path / "none.db", "test")
    for _ in range(5):
        writer.note(CASE, bodies()["open"], "daemon")
    assert (writer.close(), writer.missed) == (2, 3)
