"""Driver for consoles on USB: plain pyusb, bulk endpoints shaped like USB3 Vision.

Addresses: `usb:VID:PID[:SERIAL]` (hexadecimal) for a device of this machine, through libusb;
`usbip://HOST:PORT[/BUSID]` for one served over USB/IP, such as the simulator.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, ClassVar

import usb.backend.libusb1
import usb.core
import usb.util

from octmargin.device import Finding
from octmargin.errors import (
    ConfigError,
    DeviceBusyError,
    DeviceError,
    DeviceNotFoundError,
)
from octmargin.frames import ConsoleInfo
from octmargin.link.registers import USB_PRODUCT_ID, USB_VENDOR_ID
from octmargin_drivers.link_driver import LinkDriver
from octmargin_drivers.usb_wire import BUSY, UsbWire, device_error
from octmargin_drivers.usbip_backend import UsbipBackend
from octmargin_drivers.wire import Wire

USBIP_PORT = 3240
_UDEV_RULE = "70-octmargin.rules"
_UDEV_FOLDERS = ("/etc/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")


class UsbDriver(LinkDriver):
    """A console on USB."""

    name: ClassVar[str] = "usb"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        if _is_exported(address):
            _usbip_endpoint(address)
        else:
            _usb_identity(address)

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
            raise device_error(error, self.address) from error
        return UsbWire(device, self.address, self.trouble)


def _is_exported(address: str) -> bool:
    return address.startswith("usbip:")


def _usbip_endpoint(address: str) -> tuple[str, int, str]:
    match = re.fullmatch(r"usbip://(\[[^\]\s]+\]|[^\s:/?#@\[\]]+):([0-9]{1,5})(?:/([^\s/?#]*))?", address)
    if match is None or not 0 < int(match[2]) < 65_536 or not _can_be_asked_for(match[1]):
        raise ConfigError(f'USB address "{address}" is not understood; write usbip://HOST:PORT[/BUSID]')
    return match[1].strip("[]"), int(match[2]), match[3] or ""


def _can_be_asked_for(host: str) -> bool:
    try:
        host.encode("idna")  # as `socket` does
    except UnicodeError:
        return False
    return True


def _usb_identity(address: str) -> tuple[int, int, str | None]:
    match = re.fullmatch(r"usb:([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})(?::(.+))?", address)
    if match is None:
        raise ConfigError(
            f'USB address "{address}" is not understood; write usb:VID:PID[:SERIAL] or usbip://HOST:PORT[/BUSID]'
        )
    return int(match[1], 16), int(match[2], 16), match[3]


def _find(address: str) -> Any:
    """Find the pyusb device at `address`; DeviceNotFoundError, DeviceBusyError."""
    if _is_exported(address):
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
                    raise DeviceBusyError(BUSY.format(address))
                return usb.core.Device(exported, backend)
    except usb.core.USBError as error:
        raise device_error(error, address) from error
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
