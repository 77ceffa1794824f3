"""The conformance suite against a console that breaks the rules: it is found out, and the report says how."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.wire.conformance import device_of
from tests.wire.conftest import NumberedSource

from octmargin.link import registers as reg
from octmargin.link.commands import Command, Status
from octmargin.link.registers import Faults, Register, ScanCommand, ScanState
from octmargin_drivers.console_control import ATTEMPTS
from octmargin_simulator.console import Console
from octmargin_simulator.faults import FaultScript, FaultyConsole
from octmargin_simulator.faults.script import Vanish
from octmargin_simulator.personality import Personality
from octmargin_simulator.usb_device import UsbConsole

ROOT = Path(__file__).parents[2]


def tried(console: Console, tests: str, report: Path) -> tuple[str, dict[str, str]]:
    """What the suite says of a console with some of its tests, and each requirement's outcome."""
    served = UsbConsole(console)
    if isinstance(console, FaultyConsole):
        console.plug_into(served)
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/wire", "-k", tests,
         "--console", served.address, "--conformance-report", str(report)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    served.close()
    console.close()
    assert suite.returncode == 1, suite.stdout
    findings = json.loads(report.read_text())
    said = suite.stdout.replace(served.address, "ADDRESS")
    return said, {finding["number"]: finding["outcome"] for finding in findings}


def test_a_console_that_loses_a_frame_without_counting_it_does_not_pass(tmp_path: Path) -> None:
    console = FaultyConsole(
        NumberedSource(), FaultScript(fault=(Vanish(frames=(3,)),)), Personality(protocol_minor=0)
    )
    chosen = "test_identity or test_whole_sweep or test_resume"
    said, outcomes = tried(console, chosen, tmp_path / "report.json")
    assert "C01 ADDRESS: fulfilled" in said
    assert "C11 ADDRESS: NOT FULFILLED" in said
    assert "C17 ADDRESS: does not apply (it speaks protocol 1.0" in said
    assert "2 of 3 requirements fulfilled or not applicable" in said
    assert outcomes == {"C01": "fulfilled", "C11": "NOT FULFILLED", "C17": "does not apply"}


class TakesAnotherPlan(Console):
    """It takes a plan while it scans; what becomes of the sweep, who knows."""

    def _written(self, register: Register, data: bytes) -> Status:
        if register is reg.ALINES and self._state is ScanState.SCANNING:
            return Status.SUCCESS
        return super()._written(register, data)


class StopsAtAnotherPlan(Console):
    """It refuses a plan while it scans, and gives the sweep up."""

    def _written(self, register: Register, data: bytes) -> Status:
        status = super()._written(register, data)
        if status is Status.BUSY:
            self._stop()
        return status


class GoesOnInSecret(Console):
    """When it is stopped it says that it is idle, and its frame counter runs on at the pace of the sweep."""

    stopped_s: float | None = None
    numbered_then = 0

    def _control(self, value: int) -> Status:
        was_scanning = self._state is ScanState.SCANNING
        status = super()._control(value)
        if was_scanning and value == ScanCommand.STOP:
            self.stopped_s, self.numbered_then = time.monotonic(), self._numbered
        return status

    def answer(self, command: Command) -> Any:
        with self._lock:
            if self.stopped_s is not None and self._plan is not None:
                frame_s = self._plan.alines / self._plan.line_rate_hz
                self._numbered = self.numbered_then + int((time.monotonic() - self.stopped_s) / frame_s)
            return super().answer(command)


class StopsLate(Console):
    """It scans a sweep to its end, whatever the host says."""

    def _control(self, value: int) -> Status:
        return Status.SUCCESS if value == ScanCommand.STOP else super()._control(value)


class ScansForNobody(Console):
    """It does not mind a silent host."""

    def _host_is_silent(self) -> bool:
        return False


class RefusesToStop(ScansForNobody):
    """Nor does it stop when it is told to."""

    def _control(self, value: int) -> Status:
        return Status.BUSY if value == ScanCommand.STOP else super()._control(value)


@pytest.mark.parametrize(
    ("broken", "test", "number"),
    [
        (TakesAnotherPlan, "test_plan_within_a_sweep", "C09"),
        (StopsAtAnotherPlan, "test_plan_within_a_sweep", "C09"),
        (GoesOnInSecret, "test_stop", "C16"),
        (StopsLate, "test_stop", "C16"),
        (ScansForNobody, "test_heartbeat", "C18"),
        (RefusesToStop, "test_heartbeat", "C18"),
    ],
)
def test_a_console_that_breaks_a_requirement_is_found_out(
    tmp_path: Path, broken: type[Console], test: str, number: str
) -> None:
    console = broken(NumberedSource())
    usual_ms = console._memory.number(reg.HEARTBEAT_TIMEOUT_MS)
    _, outcomes = tried(console, test, tmp_path / "report.json")
    assert outcomes == {number: "NOT FULFILLED"}
    assert console._memory.number(reg.HEARTBEAT_TIMEOUT_MS) == usual_ms


class FallsSilent(Console):
    """It stops for a silent host, and does not answer the next request, however often that is sent."""

    unanswered = ATTEMPTS

    def answer(self, command: Command) -> Any:
        acknowledge = super().answer(command)
        if self._faults & Faults.HEARTBEAT_LOST and self.unanswered:
            self.unanswered -= 1
            return None
        return acknowledge


def test_a_console_that_does_not_answer_after_the_silence_still_gets_its_heartbeat_back(
    tmp_path: Path,
) -> None:
    """Else it would stop by itself in the next operation."""
    console = FallsSilent(NumberedSource())
    usual_ms = console._memory.number(reg.HEARTBEAT_TIMEOUT_MS)
    _, outcomes = tried(console, "test_heartbeat", tmp_path / "report.json")
    assert outcomes == {"C18": "NOT FULFILLED"}
    assert console._memory.number(reg.HEARTBEAT_TIMEOUT_MS) == usual_ms


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("usbip://127.0.0.1:9", "no console there; start one with `octmargin simulate`, or check the port"),
        ("usb:12", 'USB address "usb:12" is not understood; write usb:VID:PID'),
        ("serial:/dev/ttyS0?speed=3", '"speed" is not understood'),
        ("serial:/dev/tty-not-there", "no such port"),
        ("floppy:a", "write usb:VID:PID"),
    ],
)
def test_where_no_console_can_be_reached_the_suite_says_why_once_and_tries_nothing(
    tmp_path: Path, address: str, says: str
) -> None:
    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/wire", "--console", address,
         "--conformance-report", str(tmp_path / "report.json")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert suite.returncode == pytest.ExitCode.USAGE_ERROR
    [line] = [line for line in suite.stderr.splitlines() if line.strip()]
    assert line.startswith(f"ERROR: --console {address}: ")
    assert says in line
    assert "FULFILLED" not in suite.stdout
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize("text", ["", "usb", "usb:", "/dev/ttyUSB0", "serial:"])
def test_what_cannot_be_a_console_is_said_with_how_it_is_written(text: str) -> None:
    with pytest.raises(pytest.UsageError, match=r"write usb:VID:PID\[:SERIAL\] or serial:PORT"):
        device_of(text)
