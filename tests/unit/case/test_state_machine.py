"""Every pair of phase and action: what docs/case.md allows happens, everything else is refused and leaves no trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.case.examples import (
    ACTIONS,
    CASE,
    NOW,
    SPECIMEN,
    WAYS,
    bodies,
    new_store,
    opened,
    ready,
    registered,
)

from octmargin.case.record import events
from octmargin.case.record.model import CasePhase, Order, SpecimenPhase
from octmargin.case.record.store import CaseStore
from octmargin.case.record.transitions import CASE_AFTER, SPECIMEN_AFTER, Action
from octmargin.errors import CaseRefusedError

DOCUMENT = (Path(__file__).parents[3] / "docs" / "case.md").read_text(encoding="utf-8")
OF_NO_SPECIMEN = {"open", "erase"}


def documented() -> dict[tuple[str, str], str | None]:
    """The document's table: the phase after an action on a specimen in a phase, None where it is refused."""
    rows = [line.strip("| ").split(" | ") for line in DOCUMENT.splitlines() if line.startswith("| ")]
    (header,) = [row for row in rows if row[0] == "action" and "signed" in row]
    table = [row for row in rows if len(row) == len(header) and row[0] != "action"]
    return {
        (phase, row[0]): None if after == "–" else after
        for row in table
        for phase, after in zip(header[1:], row[1:], strict=True)
    }


TABLE = documented()
PAIRS = sorted(TABLE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    with new_store(tmp_path) as made:
        yield made


def test_the_document_speaks_of_every_pair() -> None:
    assert {action for _, action in TABLE} == {str(action) for action in Action} - OF_NO_SPECIMEN
    assert {phase for phase, _ in TABLE} == {str(phase) for phase in SpecimenPhase} == set(WAYS)
    assert set(ACTIONS) == {str(action) for action in Action}


@pytest.mark.parametrize(("phase", "action"), PAIRS, ids=[f"{phase}-{action}" for phase, action in PAIRS])
def test_a_specimen_takes_what_the_document_allows_and_nothing_else(
    store: CaseStore, phase: str, action: str
) -> None:
    ready(store, phase)
    before, log = store.case(CASE), list(store.events())
    assert before.specimens[0].phase == phase
    after = TABLE[phase, action]
    if after is None:
        with pytest.raises(CaseRefusedError, match=r"possible: |is registered already"):
            store.append(CASE, bodies()[action], actor="anna", at=NOW)
        assert (store.case(CASE), list(store.events())) == (before, log)
    else:
        case = store.append(CASE, bodies()[action], actor="anna", at=NOW)
        assert case.specimens[0].phase == after
        assert store.case(CASE) == case
        assert len(list(store.events())) == len(log) + 1


OPEN_CASE = {str(action) for action in Action} - {"open", "erase"}
CASE_TABLE = {
    "none": {"open"},
    "open": OPEN_CASE,
    "confirm": OPEN_CASE - {"finalise", "sign", "close"},
    "closed": {"addend", "correlate", "fix", "re-operate", "stage", "erase"},
}
CASE_PAIRS = [(phase, action) for phase in CASE_TABLE for action in ACTIONS]


@pytest.mark.parametrize(("phase", "action"), CASE_PAIRS, ids=[f"{p}-{a}" for p, a in CASE_PAIRS])
def test_a_case_takes_what_its_phase_allows_and_nothing_else(
    store: CaseStore, phase: str, action: str
) -> None:
    # Each action finds a specimen that would take it: what is refused then, the case refuses.
    specimen_phase = next(
        (p for p in ("registered", "scanned", "final", "signed") if TABLE.get((p, action))), "final"
    )
    if phase == "closed":
        ready(store, "signed")
        store.append(CASE, events.Closed(), actor="anna", at=NOW)
    elif phase != "none":
        ready(store, specimen_phase)
        if action == "register":
            store.append(CASE, events.Withdrawn(specimen_id=SPECIMEN, why="twice"), actor="anna", at=NOW)
        if phase == "confirm":
            store.append(CASE, registered("another", laterality="unknown"), actor="anna", at=NOW)
        assert store.case(CASE).phase == phase
    log = list(store.events())
    body = bodies("third" if action == "register" else SPECIMEN)[action]
    if action in CASE_TABLE[phase]:
        assert store.append(CASE, body, actor="anna", at=NOW).case_id == CASE
    else:
        with pytest.raises(CaseRefusedError):
            store.append(CASE, body, actor="anna", at=NOW)
        assert list(store.events()) == log


def test_an_order_cannot_be_changed_under_a_signed_report(store: CaseStore) -> None:
    ready(store, "signed")
    with pytest.raises(CaseRefusedError, match="specimen-1: is signed, where `order` is not possible"):
        store.append(CASE, events.Ordered(order=Order(laterality="right")), actor="anna", at=NOW)


def test_a_case_closes_when_its_last_specimen_is_signed_or_withdrawn(store: CaseStore) -> None:
    ready(store, "signed")
    store.append(CASE, bodies("specimen-2")["register"], actor="anna", at=NOW)
    with pytest.raises(CaseRefusedError, match="specimen-2: is registered, where `close` is not possible"):
        store.append(CASE, events.Closed(), actor="anna", at=NOW)
    store.append(CASE, events.Withdrawn(specimen_id="specimen-2", why="none came"), actor="anna", at=NOW)
    case = store.append(CASE, events.Closed(), actor="anna", at=NOW)
    assert (case.phase, case.closed_at) == (CasePhase.CLOSED, NOW)


def test_of_several_events_all_are_recorded_or_none(store: CaseStore) -> None:
    opened(store)
    with pytest.raises(CaseRefusedError, match="is registered already"):
        store.append(
            CASE, *(bodies()[step] for step in ("indicate", "register", "register")), actor="anna", at=NOW
        )
    assert [event.kind for event in store.events()] == ["opened"]


def test_the_pictures_in_the_document_show_these_transitions() -> None:
    of_case, of_specimen = re.findall(r"```mermaid\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    arrows = re.compile(r"^ {4}(\w+) --> (\w+)$", flags=re.MULTILINE)
    assert set(arrows.findall(of_case)) == {
        (phase.value, after.value) for phase, next_ in CASE_AFTER.items() for after in next_
    }
    assert set(arrows.findall(of_specimen)) == {
        (phase.value, after.value)
        for phase, table in SPECIMEN_AFTER.items()
        if phase is not None
        for after in table.values()
        if after is not phase
    }
