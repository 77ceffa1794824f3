"""What a demonstration says of what it leaves behind is what it was configured to keep."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from octmargin.bus import BrokerSettings
from octmargin.demo_plan import _PACES, DemoPlan, WireKind, simulate_options, write_config
from octmargin_simulator.personality import read_personality

READY = {"address": "none", "faces": []}


@pytest.mark.parametrize(
    ("plan", "records"),
    [
        ({"headless": True, "seconds": 20.0}, False),
        ({"headless": True, "passes": 2}, False),
        ({"headless": True, "passes": 1}, True),
        ({}, True),
    ],
)
def test_recordings_are_named_where_they_are_kept_and_only_there(
    tmp_path: Path, plan: dict[str, object], records: bool
) -> None:
    asked = DemoPlan(wire=WireKind.USB, **plan)  # type: ignore[arg-type]
    config = write_config(asked, tmp_path, READY, BrokerSettings(), 0, {})
    assert ("recording" in tomllib.loads(config.read_text())) is records
    assert ("no recordings" not in asked.kept) is records


@pytest.mark.parametrize("wire", list(WireKind))
def test_a_computer_that_is_busy_for_a_while_loses_no_frame_of_a_face(tmp_path: Path, wire: WireKind) -> None:
    options = simulate_options(DemoPlan(wire=wire), tmp_path)
    personality = read_personality(options[options.index("--personality") + 1])
    assert personality.fifo_frames >= _PACES[wire].frames
    assert personality.heartbeat_timeout_ms == 60_000
