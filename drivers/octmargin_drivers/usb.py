"""Driver for consoles on USB: plain pyusb, bulk endpoints shaped like USB3 Vision.

Addresses: `usb:VID:PID[:SERIAL]` (hexadecimal) for a device of this machine, through libusb;
`usbip://HOST:PORT[/BUSID]` for one served over USB/IP, such as the simulator.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import re
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import usb.backend.libusb1
import usb.core
import usb.util

from octmargin.device import Finding
from octmargin.errors import (
    ConfigError,
    DeviceBusyError,
    DeviceDisconnectedError,
    DeviceError,
    DeviceNotFoundError,
    DeviceTimeoutError,
    RemoteProtocolError,
)
from octmargin.frames import ConsoleInfo
from octmargin.link.commands import Command, parse_command
from octmargin.link.registers import USB_PRODUCT_ID, USB_VENDOR_ID
from octmargin.link.stream import Leader
from octmargin_drivers.intake import FrameIntake
from octmargin_drivers.link_driver import LinkDriver
from octmargin_drivers.usbip_backend import UsbipBackend
from octmargin_drivers.wire import Wire

CONTROL_OUT, CONTROL_IN, STREAM_IN = 0x01, 0x81, 0x82
USBIP_PORT = 3240
_CONTROL_BYTES = 2048
_POLL_MS = 200
"""How long a stream read waits before the reader looks whether it is to stop."""
_PART_MS = 1000
"""How long the next part of a frame may take: the console sends a frame without pausing."""
_SCRATCH_BYTES = 1 << 20
_UDEV_RULE = "70-octmargin.rules"
_UDEV_FOLDERS = ("/etc/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")


class SlotBuffer(array):  # type: ignore[type-arg] # array cannot be subscripted as a base class
    """Memory of a ring slot in the shape in which pyusb hands buffers to its backends.

    pyusb reads into an `array.array` and asks it for its address. An array cannot wrap memory that exists
    already, so this one is empty and gives the slot's address: the transfer then ends in the slot.
    """

    memory: memoryview

    @classmethod
    def over(cls, memory: memoryview) -> SlotBuffer:
        """Wrap `memory`, which is kept alive and must be writable and contiguous."""
        buffer = cls("B")
        buffer.memory = memory
        return buffer

    def buffer_info(self) -> tuple[int, int]:
        """Address and length of the slot's memory."""
        return _address_of(self.memory), len(self.memory)


def _address_of(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(memory))


class UsbWire:
    """One console on USB."""

    def __init__(self, device: Any, address: str, trouble: Callable[[str], None]) -> None:
        self._device = device
        self._address = address
        self._trouble = trouble
        self._reader: threading.Thread | None = None
        self._stop_reading = threading.Event()
        self._scratch = array("B", bytes(_SCRATCH_BYTES))

    def send_control(self, command: Command) -> None:
        """Send a request on the control endpoint."""
        try:
            self._device.write(CONTROL_OUT, command.to_bytes(), 1000)
        except usb.core.USBError as error:
            raise _device_error(error, self._address) from error

    def receive_control(self, timeout_s: float) -> Command:
        """Wait for the next transfer on the control endpoint: it is one command."""
        try:
            data = self._device.read(CONTROL_IN, _CONTROL_BYTES, max(1, round(timeout_s * 1000)))
        except usb.core.USBError as error:
            raise _device_error(error, self._address) from error
        return parse_command(data.tobytes())

    def begin_stream(self, intake: FrameIntake) -> None:
        """Start the reader thread."""
        self._stop_reading.clear()
        self._reader = threading.Thread(
            target=self._read_frames, args=(intake,), name="usb-stream", daemon=True
        )
        self._reader.start()

    def end_stream(self) -> None:
        """Stop the reader thread."""
        self._stop_reading.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None

    def close(self) -> None:
        """Stop reading and release the device."""
        self.end_stream()
        usb.util.dispose_resources(self._device)

    # -- stream, in the reader thread -----------------------------------------------------------------

    def _read_frames(self, intake: FrameIntake) -> None:
        leader: Leader | None = None
        while not (self._stop_reading.is_set() or intake.ended):
            try:
                leader = self._read_frame(intake, leader or self._read_leader())
            except usb.core.USBTimeoutError:
                continue  # nothing was on its way
            except RemoteProtocolError as error:
                leader = None
                intake.broken(str(error))
            except usb.core.USBError as error:
                leader = None
                intake.broken(f"USB: {error}")
                if not self._recover(error):
                    return

    def _recover(self, error: usb.core.USBError) -> bool:
        """Clear a halted endpoint; False where the device is gone."""
        try:
            if error.errno == errno.EPIPE:
                self._device.clear_halt(STREAM_IN)
        except usb.core.USBError:
            return False
        return error.errno not in _GONE

    def _read_frame(self, intake: FrameIntake, leader: Leader) -> Leader | None:
        """Read payload, straight into its slot, and trailer; give the leader that came in the trailer's place."""
        slot = intake.begin(leader)
        if slot is None:
            return None  # payload and trailer are skipped by the search for the next leader
        count = self._read_part(SlotBuffer.over(slot))
        if count != len(slot):
            raise RemoteProtocolError(
                f"frame {leader.sequence}: {count} bytes arrived, its leader says {len(slot)}"
            )
        last = self._scratch[: self._read_part(self._scratch)].tobytes()
        intake.finish(last)
        try:
            return Leader.from_bytes(last)
        except RemoteProtocolError:
            return None

    def _read_leader(self) -> Leader:
        """Read up to the next leader; what is none is passed over, so that a bad frame costs only itself."""
        skipping = False
        while True:
            count = self._device.read(STREAM_IN, self._scratch, _POLL_MS)
            try:
                return Leader.from_bytes(memoryview(self._scratch)[:count])
            except RemoteProtocolError as error:
                if not skipping:
                    self._trouble(str(error))
                skipping = True

    def _read_part(self, buffer: Any) -> int:
        try:
            count: int = self._device.read(STREAM_IN, buffer, _PART_MS)
        except usb.core.USBTimeoutError as error:
            raise RemoteProtocolError("the rest of a frame did not come") from error
        return count


class UsbDriver(LinkDriver):
    """A console on USB."""

    name: ClassVar[str] = "usb"

    @classmethod
    async def discover(cls) -> list[ConsoleInfo]:
        """Consoles of this machine's buses, and of a USB/IP server on this machine."""
        return await asyncio.to_thread(_discover)

    @classmethod
    async def diagnose(cls) -> list[Finding]:
        """Is libusb there, and the udev rule that lets a user open consoles."""
        findings = []
        if usb.backend.libusb1.get_backend() is None:
            findings.append(
                Finding(
                    "libusb",
                    "note",
                    "not installed",
                    "only consoles over USB/IP work; Debian: apt install libusb-1.0-0",
                )
            )
        elif not any((Path(folder) / _UDEV_RULE).exists() for folder in _UDEV_FOLDERS):
            remedy = f"copy configs/{_UDEV_RULE} to /etc/udev/rules.d: else only root may open a console"
            findings.append(Finding("udev rule", "note", f"{_UDEV_RULE} is not installed", remedy))
        return findings

    def _connect(self) -> Wire:
        device = _find(self.address)
        try:
            # Takes the device from other programs, or finds out that one has it.
            device.get_active_configuration()
            usb.util.claim_interface(device, 0)
            usb.util.claim_interface(device, 1)
        except usb.core.USBError as error:
            usb.util.dispose_resources(device)
            raise _device_error(error, self.address) from error
        return UsbWire(device, self.address, self.trouble)


_BUSY = "{}: in use by another program; stop it (another octmargin run?) and try again"
_GONE = {errno.ENODEV, errno.ESHUTDOWN, errno.EIO, errno.ECONNRESET}


def _device_error(error: usb.core.USBError, address: str) -> DeviceError:
    """The error of our tree for one of pyusb's."""
    if isinstance(error, usb.core.USBTimeoutError) or error.errno == errno.ETIMEDOUT:
        return DeviceTimeoutError(f"{address}: no answer from the console")
    if error.errno == errno.EBUSY:
        return DeviceBusyError(_BUSY.format(address))
    if error.errno == errno.EACCES:
        return DeviceError(
            f"{address}: this user may not open the USB device; install configs/70-octmargin.rules and plug it in again"
        )
    if error.errno in _GONE:
        return DeviceDisconnectedError(f"{address}: the console is gone; check cable and power")
    return DeviceError(f"{address}: USB error: {error}")


def _usbip_endpoint(address: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(address)
        return parts.hostname or "127.0.0.1", parts.port or USBIP_PORT, parts.path.strip("/")
    except ValueError as error:
        raise ConfigError(f'USB address "{address}": {error}; write usbip://HOST:PORT') from error


def _usb_identity(address: str) -> tuple[int, int, str | None]:
    match = re.fullmatch(r"usb:([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})(?::(.+))?", address)
    if match is None:
        raise ConfigError(
            f'USB address "{address}" is not understood; write usb:VID:PID[:SERIAL] or usbip://HOST:PORT'
        )
    return int(match[1], 16), int(match[2], 16), match[3]


def _find(address: str) -> Any:
    """Find the pyusb device at `address`; DeviceNotFoundError, DeviceBusyError."""
    if address.startswith("usbip:"):
        return _find_exported(address)
    vendor, product, serial = _usb_identity(address)
    try:
        match: dict[str, Any] = {"idVendor": vendor, "idProduct": product}
        if serial is not None:
            match["serial_number"] = serial
        device = usb.core.find(**match)
    except usb.core.NoBackendError as error:
        raise DeviceError(f"{address}: libusb is not installed; install it (Debian: libusb-1.0-0)") from error
    except ValueError as error:
        raise DeviceError(f"{address}: {error}; install configs/{_UDEV_RULE} and plug it in again") from error
    if device is None:
        raise DeviceNotFoundError(
            f"{address}: no such device; check cable and power, and `octmargin devices`"
        )
    return device


def _find_exported(address: str) -> Any:
    host, port, bus_id = _usbip_endpoint(address)
    backend = UsbipBackend(host, port)
    try:
        for exported in backend.enumerate_devices():
            if bus_id in ("", exported.address[2]):
                exported.read_descriptors()
                if exported.busy:
                    raise DeviceBusyError(_BUSY.format(address))
                return usb.core.Device(exported, backend)
    except usb.core.USBError as error:
        raise _device_error(error, address) from error
    raise DeviceNotFoundError(
        f"{address}: no console there; start one with `octmargin simulate`, or check the port"
    )


def _discover() -> list[ConsoleInfo]:
    try:
        local = list(usb.core.find(find_all=True, idVendor=USB_VENDOR_ID, idProduct=USB_PRODUCT_ID))
    except usb.core.NoBackendError:
        local = []
    found = [_info(device, f"usb:{device.idVendor:04x}:{device.idProduct:04x}") for device in local]
    backend = UsbipBackend("127.0.0.1", USBIP_PORT)
    for exported in backend.enumerate_devices():
        address = f"usbip://127.0.0.1:{USBIP_PORT}/{exported.address[2]}"
        try:
            exported.read_descriptors()
        except usb.core.USBError as error:
            found.append(ConsoleInfo("usb", address, note=f"cannot be read: {error}"))
            continue
        if exported.busy:
            found.append(ConsoleInfo("usb", address, note="in use by another program"))
        else:
            found.append(_info(usb.core.Device(exported, backend), address))
    return found


def _info(device: Any, address: str) -> ConsoleInfo:
    """Say what a device says of itself in its USB strings; its firmware is `bcdDevice` there."""
    try:
        maker, model, serial = device.manufacturer or "", device.product or "", device.serial_number or ""
        note = ""
    except (usb.core.USBError, ValueError) as error:
        maker, model, serial, note = "", "", "", f"cannot be read: {error}"
    finally:
        usb.util.dispose_resources(device)
    if serial and address.startswith("usb:"):
        address += f":{serial}"
    firmware = f"{device.bcdDevice >> 8:x}.{device.bcdDevice & 0xFF:02x}"
    return ConsoleInfo("usb", address, maker, model, serial, firmware, note)
