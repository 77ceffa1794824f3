"""`octmargin quality` on a record: a text, a page and two sheets, without who the patients are."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.unit.case.examples import CASE, bodies, new_store, ready
from typer.testing import CliRunner

from octmargin.cli import app
from octmargin.errors import InputError


@pytest.fixture
def record(tmp_path: Path) -> Path:
    with new_store(tmp_path) as store:
        ready(store, "signed")
        store.append(CASE, bodies()["correlate"], actor="anna")
        return store.path


def quality(record: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["quality", "--record", str(record), *options])
    if isinstance(result.exception, InputError):
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


def test_it_says_what_it_found_and_writes_a_page_and_sheets(record: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quality"
    told = quality(record, "--synthetic", "--output", str(folder))
    assert "1 case, 1 SYNTHETIC specimen, 2 faces, 1 with a result of pathology." in told
    assert "sensitivity: 100.0% (1/1), 95 % interval 20.7% to 100.0%" in told
    assert "specificity: nothing to count" in told
    page = (folder / "quality.html").read_text(encoding="utf-8")
    assert "SYNTHETIC spectra" in page
    with (folder / "faces.csv").open(encoding="utf-8") as file:
        assert [(row["face"], row["pathology"]) for row in csv.DictReader(file)] == [
            ("medial", "positive"),
            ("lateral", ""),
        ]
    for file in folder.iterdir():
        assert "Patient" not in file.read_text(encoding="utf-8")
        assert "0001" not in file.read_text(encoding="utf-8")


def test_synthetic_cases_are_left_out_unless_asked_for(record: Path) -> None:
    assert quality(record).startswith("0 cases, 0 specimens, 0 faces")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--from", "31.1.2031"), '--from "31.1.2031": no date; give one such as 2031-01-31'),
        (
            ("--from", "2031-02-01", "--to", "2031-01-31"),
            "--to 2031-01-31 is before --from 2031-02-01; swap them",
        ),
        (
            ("--output", "/dev/null/x"),
            "/dev/null/x: cannot be written (Not a directory); name another --output",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_line(record: Path, options: tuple[str, ...], text: str) -> None:
    assert quality(record, *options) == text
