"""The consoles that the conformance suite runs against, its requirements, and its report."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from octmargin.errors import CommandRefusedError, DeviceDisconnectedError, OctMarginError, ProtocolError
from octmargin.link.registers import USB_PRODUCT_ID, USB_VENDOR_ID
from octmargin_drivers.link_driver import LinkDriver
from octmargin_drivers.serial import SerialDriver
from octmargin_drivers.serial_port import SerialAddress
from octmargin_drivers.usb import UsbDriver

SIMULATED = ("usb", "serial", "socket", "rfc2217", "vhci")
_USB_BYTES_PER_S = 100e6
_BITS_PER_BYTE = 10
_VHCI = Path("/sys/devices/platform/vhci_hcd.0")


@dataclass(frozen=True)
class Device:
    """A console at the end of a wire: how to reach it, and what the wire carries and takes for a round trip."""

    kind: type[LinkDriver]
    address: str
    bytes_per_s: float
    round_trip_ms: float = 50.0

    def driver(self) -> Any:
        """A driver for it, not yet open."""
        return self.kind(self.address)


def device_of(text: str) -> Device:
    """The device that `--console` names; `pytest.UsageError` says how it is written."""
    kind, _, rest = text.partition(":")
    if kind == "usb" and rest:
        return Device(UsbDriver, text, _USB_BYTES_PER_S)
    if kind == "usbip" and rest:
        return Device(UsbDriver, text, _USB_BYTES_PER_S)
    if kind == "serial" and rest:
        return Device(SerialDriver, rest, SerialAddress.parse(rest).baud / _BITS_PER_BYTE)
    raise pytest.UsageError(
        f"--console {text}: write usb:VID:PID[:SERIAL] or serial:PORT?baud=N (any port or URL that pyserial opens), "
        "or usbip://HOST:PORT"
    )


async def check_there(text: str) -> None:
    """`pytest.UsageError` where nothing answers that `--console` names: that breaks no requirement."""
    try:
        driver = device_of(text).driver()
        try:
            await driver.open()
        finally:
            await driver.close()
    except (ProtocolError, CommandRefusedError, DeviceDisconnectedError):
        return  # something answers; what is wrong with it, the tests tell
    except OctMarginError as error:
        raise pytest.UsageError(f"--console {text}: {error}") from error


class _Requirement:
    """`@requirement("C01", "What the console must do.")`: marks a test, and keeps the list."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def __call__(self, number: str, text: str) -> Callable[[Any], Any]:
        assert number not in self.known
        self.known[number] = text
        return pytest.mark.requirement(number, text)


requirement = _Requirement()


@contextmanager
def terminal_server(port_path: str, folder: Path, *, telnet: bool) -> Iterator[int]:
    """ser2net (Debian's package) between a TCP port of 127.0.0.1, plain or RFC 2217, and a serial port."""
    port = free_port()
    accepter = f"{'telnet(rfc2217),' if telnet else ''}tcp,127.0.0.1,{port}"
    config = folder / "ser2net.yaml"
    config.write_text(
        f"connection: &console\n  accepter: {accepter}\n  connector: serialdev,{port_path},3000000n81,local\n"
    )
    server = subprocess.Popen(
        ["ser2net", "-n", "-c", str(config), "-P", str(folder / "ser2net.pid")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_listens(server, port)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def needs_vhci() -> None:
    """Skip where the kernel cannot attach USB/IP devices, or this user may not."""
    if not _VHCI.is_dir():
        pytest.skip("no vhci_hcd in this kernel: sudo modprobe vhci_hcd")
    if os.geteuid() != 0:
        pytest.skip("attaching a USB/IP device takes root: run this test as root")
    if shutil.which("usbip") is None:
        pytest.skip("no usbip: apt-get install usbip")


@contextmanager
def _attached(address: str) -> Iterator[None]:
    """The simulated device as one of this machine's: the kernel's, and so the system's libusb, see it."""
    port = address.rpartition(":")[2]
    before = _imported_ports()
    subprocess.run(
        ["usbip", "--tcp-port", port, "attach", "--remote", "127.0.0.1", "--busid", "1-1"],
        check=True,
        capture_output=True,
        timeout=20,
    )
    try:
        deadline = time.monotonic() + 10
        while not _is_plugged_in():
            assert time.monotonic() < deadline, "the attached device does not show up"
            time.sleep(0.05)  # the kernel enumerates it: there is no event to await
        yield
    finally:
        for attached in _imported_ports() - before:
            subprocess.run(["usbip", "detach", "--port", attached], check=False, capture_output=True)


def _imported_ports() -> set[str]:
    listed = subprocess.run(["usbip", "port"], check=False, capture_output=True, text=True).stdout
    return set(re.findall(r"^Port (\d+):", listed, flags=re.MULTILINE))


def _is_plugged_in() -> bool:
    wanted = f"{USB_VENDOR_ID:04x}:{USB_PRODUCT_ID:04x}"
    return any(
        f"{(device / 'idVendor').read_text().strip()}:{(device / 'idProduct').read_text().strip()}" == wanted
        for device in Path("/sys/bus/usb/devices").iterdir()
        if (device / "idVendor").is_file()
    )


def _wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert server.poll() is None, "ser2net ended at once"
        # A connection would be taken for a host of the console: look without one.
        listening = Path("/proc/net/tcp").read_text(encoding="ascii")
        if f"0100007F:{port:04X} 00000000:0000 0A" in listening:
            return
        time.sleep(0.01)  # another process: there is no event to await
    raise AssertionError("ser2net does not listen")


@dataclass
class Finding:
    """What became of one requirement on one console."""

    number: str
    text: str
    console: str
    outcome: str
    why: str = ""


class Report:
    """Collects findings, and says them."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def take(self, report: pytest.TestReport) -> None:
        """Take note of a test's outcome."""
        told = dict(report.user_properties)
        if "requirement" not in told:
            return
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            outcome = {"passed": "fulfilled", "failed": "NOT FULFILLED", "skipped": "does not apply"}[
                report.outcome
            ]
            why = ""
            if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
                why = str(report.longrepr[2]).removeprefix("Skipped: ")
            elif report.outcome == "failed":
                why = str(report.longreprtext).strip().splitlines()[-1]
            number, text = told["requirement"]
            self.findings.append(Finding(number, text, str(told["console"]), outcome, why))

    def lines(self) -> Iterator[str]:
        """A line for each requirement and console, the worst of its tests."""
        rank = ("NOT FULFILLED", "does not apply", "fulfilled")
        worst: dict[tuple[str, str], Finding] = {}
        for finding in self.findings:
            key = (finding.number, finding.console)
            if key not in worst or rank.index(finding.outcome) < rank.index(worst[key].outcome):
                worst[key] = finding
        for (_, console), finding in sorted(worst.items()):
            why = f" ({finding.why})" if finding.why else ""
            yield f"{finding.number} {console}: {finding.outcome}{why} - {finding.text}"
        failed = sum(finding.outcome == "NOT FULFILLED" for finding in worst.values())
        yield f"{len(worst) - failed} of {len(worst)} requirements fulfilled or not applicable"

    def to_json(self) -> str:
        """For programs."""
        return json.dumps([vars(finding) for finding in self.findings], indent=1)


@contextmanager
def simulated(wire: str, folder: Path) -> Iterator[Device]:
    """The simulator at the end of a wire, or of a terminal server."""
    # Imported here: against hardware nothing of the simulator is needed.
    from tests.wire.conftest import NumberedSource  # noqa: PLC0415

    from octmargin_simulator.console import Console  # noqa: PLC0415
    from octmargin_simulator.personality import Personality  # noqa: PLC0415
    from octmargin_simulator.serial_port import SerialConsole  # noqa: PLC0415
    from octmargin_simulator.usb_device import UsbConsole  # noqa: PLC0415

    console = Console(NumberedSource(), Personality(serial="TEST-7", heartbeat_timeout_ms=60_000))
    with ExitStack() as stack:
        stack.callback(console.close)
        if wire == "usb":
            on_usb = UsbConsole(console)
            stack.callback(on_usb.close)
            yield Device(UsbDriver, on_usb.address, _USB_BYTES_PER_S)
            return
        if wire == "vhci":
            on_usb = UsbConsole(console)
            stack.callback(on_usb.close)
            stack.enter_context(_attached(on_usb.address))
            address = f"usb:{USB_VENDOR_ID:04x}:{USB_PRODUCT_ID:04x}:TEST-7"
            yield Device(UsbDriver, address, _USB_BYTES_PER_S)
            return
        on_serial = SerialConsole(console, baud=100_000_000)
        stack.callback(on_serial.close)
        carried = 2e6
        if wire == "serial":
            yield Device(SerialDriver, on_serial.address, carried)
            return
        port = stack.enter_context(terminal_server(on_serial.path, folder, telnet=wire == "rfc2217"))
        scheme = "rfc2217" if wire == "rfc2217" else "socket"
        # A pseudo-terminal has no modem lines that ser2net could set.
        options = "?baud=3000000&ign_set_control" if wire == "rfc2217" else "?baud=3000000"
        yield Device(SerialDriver, f"{scheme}://127.0.0.1:{port}{options}", carried)
