"""The conformance suite against a console that breaks the rules: it is found out, and the report says how."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.wire.conformance import device_of
from tests.wire.conftest import NumberedSource

from octmargin_simulator.faults import FaultScript, FaultyConsole
from octmargin_simulator.faults.script import Vanish
from octmargin_simulator.personality import Personality
from octmargin_simulator.usb_device import UsbConsole

ROOT = Path(__file__).parents[2]


def test_a_console_that_loses_a_frame_without_counting_it_does_not_pass(tmp_path: Path) -> None:
    console = FaultyConsole(
        NumberedSource(), FaultScript(fault=(Vanish(frames=(3,)),)), Personality(protocol_minor=0)
    )
    served = UsbConsole(console)
    console.plug_into(served)
    report = tmp_path / "report.json"
    chosen = "test_identity or test_whole_sweep or test_resume"
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/wire", "-k", chosen,
         "--console", served.address, "--conformance-report", str(report)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    served.close()
    console.close()
    assert suite.returncode == 1, suite.stdout
    assert f"C01 {served.address}: fulfilled" in suite.stdout
    assert f"C11 {served.address}: NOT FULFILLED" in suite.stdout
    assert f"C17 {served.address}: does not apply (it speaks protocol 1.0" in suite.stdout
    assert "2 of 3 requirements fulfilled or not applicable" in suite.stdout
    outcomes = {finding["number"]: finding["outcome"] for finding in json.loads(report.read_text())}
    assert outcomes == {"C01": "fulfilled", "C11": "NOT FULFILLED", "C17": "does not apply"}


@pytest.mark.parametrize("text", ["", "usb", "usb:", "/dev/ttyUSB0", "serial:"])
def test_what_cannot_be_a_console_is_said_with_how_it_is_written(text: str) -> None:
    with pytest.raises(pytest.UsageError, match=r"write usb:VID:PID\[:SERIAL\] or serial:PORT"):
        device_of(text)
