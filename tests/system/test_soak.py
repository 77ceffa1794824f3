"""Half a minute beside a console and a broker that fail at random."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from octmargin_simulator.soak import SoakResult


def test_every_frame_is_accounted_for_whatever_fails(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    done = subprocess.run(
        [sys.executable, "-m", "octmargin", "soak", "--seconds", "30", "--seed", "2", "--json", str(path)],
        check=False, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = msgspec.json.decode(path.read_bytes(), type=SoakResult)
    assert result.failures == ()
    assert result.frames_numbered == result.processed + result.lost + result.never_known > 300
    assert result.lost > 0
    assert sum(result.faults.values()) > 10
    assert result.lifecycle_at_the_end in ("ready", "acquiring")
    assert "SYNTHETIC" in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--console", "carrier-pigeon"), "octmargin: --console carrier-pigeon: give one of usb, serial"),
        (("--json", "/nowhere/x.json"), "octmargin: --json /nowhere/x.json: cannot be written there"),
    ],
)
def test_a_soak_that_cannot_be_is_refused_at_once(options: tuple[str, ...], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "octmargin", "soak", *options],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.startswith(complaint)
