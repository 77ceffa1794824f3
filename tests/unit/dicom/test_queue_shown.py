"""What waits is told to a person by its fate, one line for all objects that share it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.dicom.test_outgoing import put

from octmargin.commands.dicom.queueing import show
from octmargin.dicom.outgoing import Action, Outgoing


def test_objects_of_the_same_fate_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = Outgoing(tmp_path / "queue")
    for number in range(34):
        put(queue, f"1.{number}")
    put(queue, "2.1", action=Action.CREATE)
    assert show(queue)
    many, one, how, total = capsys.readouterr().out.splitlines()
    assert "archive" in many
    assert "34 objects" in many
    assert "2.1" in one
    assert "--json" in how
    assert total.startswith("35 waiting")
