"""What the daemon's hand in the record says where events are lost, and what it takes for what is on the stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.unit.case.examples import CASE, NOW, SPECIMEN, bodies, new_store, ready

from octmargin.case.record import events, own_writer
from octmargin.case.record.lock import writing
from octmargin.case.record.model import Staging
from octmargin.live_record import RECORD_FAULT, LiveRecord, on_stage_of
from octmargin.stage import Stage

CONSOLE = "north.or-3"


def test_where_the_newer_case_was_erased_an_older_specimen_does_not_come_back(tmp_path: Path) -> None:
    staged = events.Staged(
        specimen_id=SPECIMEN, staging=Staging(console=CONSOLE, at=NOW, is_open=True, laterality="left")
    )
    with new_store(tmp_path) as store:
        ready(store)
        store.append(CASE, staged, actor="octmargin run", at=NOW)
        ready(store, "signed", case_id="case-8")
        over = replace(staged, staging=replace(staged.staging, is_open=False))
        store.append("case-8", over, actor="octmargin run", at=NOW)
        store.append("case-8", bodies()["close"], actor="anna", at=NOW)
        assert on_stage_of(store.path, CONSOLE) is None, "its case is closed"
        store.erase("case-8", "older than 30 days", actor="anna", at=NOW)
        assert on_stage_of(store.path, CONSOLE) is None


async def test_that_events_are_lost_is_told_also_where_it_was_told_that_they_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_writer, "MOST_WAITING", 1)
    with new_store(tmp_path) as store:
        ready(store)
    told: list[str] = []
    record = LiveRecord(
        store.path, CONSOLE, session="a", recording=lambda: None,
        on_fault=lambda fault, text: told.append(text) if fault == RECORD_FAULT else None,
        on_recovered=lambda _: None,
    )  # fmt: skip
    with writing(store.path, "somebody else"):
        stage = Stage(CASE, SPECIMEN)
        waits = record.closed(stage, "otto")
        assert "NOT in the record yet" in await waits
        record.look()
        assert "are lost" not in told[-1]
        assert "too much waits" in await record.closed(stage, "otto")
        record.look()
        assert "1 events found no place any more, and are lost" in told[-1]
        count = len(told)
        record.look()
        assert len(told) == count, "once"
    await record.close()
