"""The command line loads the command that is asked for, and lists them all."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from octmargin.cli import app

GROUP = typer.main.get_command(app)
NAMES = list(GROUP.commands)  # type: ignore[attr-defined]


def test_no_command_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, octmargin.cli; print(*(name for name in sys.modules if name in {'numba', 'scipy', 'zarr'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_lists_every_command_in_order() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    assert re.findall(r"^│ (\w+) ", said, flags=re.MULTILINE) == NAMES
    assert {"demo", "run", "case", "simulate", "study"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_there_by_its_name(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert f"octmargin {name}" in " ".join(done.output.split())


def test_a_name_that_is_not_there_is_told_with_the_nearest() -> None:
    done = CliRunner().invoke(app, ["recording"])
    assert done.exit_code == 2
    assert "Did you mean 'recordings'" in done.output
