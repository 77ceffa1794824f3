"""An export is taken where every event up to its head is there: none of the case can be left out of it unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.case.examples import CASE, bodies, new_store, opened, ready

from octmargin.case.record.events import Event
from octmargin.case.record.model import CaseSnapshot
from octmargin.case.record.reducer import fold
from octmargin.errors import InputError
from octmargin.report.exported import export_of, read_export


@pytest.fixture
def export(tmp_path: Path) -> dict[str, Any]:
    """Of a signed case with an addendum; another case goes on beside it."""
    with new_store(tmp_path) as store:
        ready(store, "signed")
        opened(store, "case-8")
        store.append(CASE, bodies()["addend"], actor="anna")
        store.append("case-8", bodies()["indicate"], actor="anna")
        found: dict[str, Any] = msgspec.json.decode(export_of(store, CASE))
    return found


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_bytes(msgspec.json.encode(content))
    return path


def folded(events: list[dict[str, Any]]) -> CaseSnapshot | None:
    return fold(
        Event(**{**one, "case_id": CASE, "payload": msgspec.json.encode(one["payload"], order="sorted")})
        for one in events
    )


def test_it_is_taken_as_it_was_written_and_says_nothing_of_other_cases(
    export: dict[str, Any], tmp_path: Path
) -> None:
    taken = read_export(written(tmp_path / "e.json", export))
    assert taken.case.specimens[0].addenda
    assert {one["case_id"] for one in export["others"]} == {"case-8"}
    assert all("payload" not in one for one in export["others"])


def without_addendum(export: dict[str, Any]) -> None:
    export["events"] = [one for one in export["events"] if one["kind"] != "addended"]


def addendum_as_of_another_case(export: dict[str, Any]) -> None:
    [taken] = [one for one in export["events"] if one["kind"] == "addended"]
    without_addendum(export)
    export["others"].append({**taken, "case_id": "case-8"})


def cut_off_at_its_end(export: dict[str, Any]) -> None:
    export["others"] = export["others"][:-1]


def without_its_beginning(export: dict[str, Any]) -> None:
    export["events"] = export["events"][1:]


@pytest.mark.parametrize(
    "change", [without_addendum, addendum_as_of_another_case, cut_off_at_its_end, without_its_beginning]
)
def test_an_event_that_was_left_out_is_missed(
    export: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    change(export)
    export["case"] = msgspec.to_builtins(folded(export["events"]))
    with pytest.raises(InputError, match="was changed"):
        read_export(written(tmp_path / "e.json", export))
