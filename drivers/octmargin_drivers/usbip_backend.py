"""A pyusb backend for devices served over USB/IP: the same driver code then drives hardware and simulator.

pyusb's extension point is `usb.backend.IBackend`; the transfers themselves are in `usbip_session`.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import usb.backend
import usb.core
from usbip import core, protocol

from octmargin_drivers.usbip_session import CONNECT_TIMEOUT_S, Address, UsbipSession


class Descriptor:
    """USB descriptor fields as attributes, the way pyusb wants them."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@dataclass(eq=False)
class ExportedDevice:
    """A device as pyusb's `backend.enumerate_devices` yields it."""

    address: Address
    listed: dict[str, Any]
    busy: bool = False
    device_descriptor: bytes = b""
    configuration: bytes = b""
    _read: bool = field(default=False, repr=False)

    def read_descriptors(self) -> None:
        """Fetch descriptors; USB/IP gives them only to who has the device, so take it for a moment."""
        if self._read:
            return
        self._read = True
        try:
            session = UsbipSession(self.address)
        except usb.core.USBError as error:
            if error.errno != errno.EBUSY:
                raise
            self.busy = True
            return
        try:
            self.device_descriptor = _get_descriptor(session, core.DT_DEVICE, 18)
            total = int.from_bytes(_get_descriptor(session, core.DT_CONFIG, 9)[2:4], "little")
            self.configuration = _get_descriptor(session, core.DT_CONFIG, total)
        finally:
            session.close()

    def descriptors(self, kind: int) -> Iterator[bytes]:
        """The configuration's descriptors of one kind."""
        return (block for block in core.iter_descriptors(self.configuration) if block[1] == kind)


def _get_descriptor(session: UsbipSession, kind: int, length: int) -> bytes:
    data = bytearray(length)
    count = session.control_in(core.Setup(0x80, 0x06, kind << 8, 0, length).pack(), memoryview(data), 1000)
    return bytes(data[:count])


class UsbipBackend(usb.backend.IBackend):  # type: ignore[misc] # pyusb has no types
    """pyusb backend for the devices that the USB/IP server at `host`:`port` exports."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def enumerate_devices(self) -> Iterator[ExportedDevice]:
        """Yield the exported devices; none where no server answers."""
        try:
            with socket.create_connection((self._host, self._port), timeout=CONNECT_TIMEOUT_S) as connection:
                listed = protocol.client_devlist(connection)
        except (OSError, core.USBError):
            return
        for info in listed:
            yield ExportedDevice((self._host, self._port, info["busid"]), info)

    def get_parent(self, dev: ExportedDevice) -> None:
        """USB/IP shows no hubs."""

    def get_device_descriptor(self, dev: ExportedDevice) -> Descriptor:
        """From the device, or what the server's list says of a device that is in use."""
        dev.read_descriptors()
        if dev.busy:
            parsed = core.DeviceDescriptor(idVendor=dev.listed["idVendor"], idProduct=dev.listed["idProduct"])
        else:
            parsed = core.DeviceDescriptor.parse(dev.device_descriptor)
        return Descriptor(
            bLength=18, bDescriptorType=core.DT_DEVICE, **vars(parsed), bus=dev.listed["busnum"],
            address=dev.listed["devnum"], port_number=1, port_numbers=(1,), speed=dev.listed["speed"],
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: ExportedDevice, config: int) -> Descriptor:
        """The one configuration."""
        if config:
            raise IndexError(config)
        dev.read_descriptors()
        if not dev.configuration:
            raise usb.core.USBError("USB/IP: the device is in use", errno=errno.EBUSY)
        parsed = core.ConfigurationDescriptor.parse(dev.configuration)
        return Descriptor(bLength=9, bDescriptorType=core.DT_CONFIG, **vars(parsed), extra_descriptors=b"")

    def get_interface_descriptor(self, dev: ExportedDevice, intf: int, alt: int, config: int) -> Descriptor:
        """The interface at place `intf`; none of ours has alternate settings."""
        interfaces = list(dev.descriptors(core.DT_INTERFACE))
        if config or alt or intf >= len(interfaces):
            raise IndexError(intf)
        parsed = core.InterfaceDescriptor.parse(interfaces[intf])
        return Descriptor(bLength=9, bDescriptorType=core.DT_INTERFACE, **vars(parsed), extra_descriptors=b"")

    def get_endpoint_descriptor(
        self, dev: ExportedDevice, ep: int, intf: int, alt: int, config: int
    ) -> Descriptor:
        """The endpoint at place `ep` of the interface at place `intf`."""
        place = -1
        found = []
        for block in core.iter_descriptors(dev.configuration):
            if block[1] == core.DT_INTERFACE:
                place += 1
            elif block[1] == core.DT_ENDPOINT and place == intf:
                found.append(block)
        if config or alt or ep >= len(found):
            raise IndexError(ep)
        parsed = core.EndpointDescriptor.parse(found[ep])
        return Descriptor(
            bLength=7, bDescriptorType=core.DT_ENDPOINT, **vars(parsed), bRefresh=0, bSynchAddress=0,
            extra_descriptors=b"",
        )  # fmt: skip

    def open_device(self, dev: ExportedDevice) -> UsbipSession:
        """Import the device; EBUSY where another host has it."""
        return UsbipSession(dev.address)

    def close_device(self, dev_handle: UsbipSession) -> None:
        """Give the device back."""
        dev_handle.close()

    def set_configuration(self, dev_handle: UsbipSession, config_value: int) -> None:
        """SET_CONFIGURATION."""
        dev_handle.control_out(core.Setup(0x00, 0x09, config_value, 0, 0).pack(), b"", 1000)

    def get_configuration(self, dev_handle: UsbipSession) -> int:  # noqa: ARG002
        """The device has one configuration and is in it."""
        return 1

    def set_interface_altsetting(self, dev_handle: UsbipSession, intf: int, altsetting: int) -> None:
        """SET_INTERFACE."""
        dev_handle.control_out(core.Setup(0x01, 0x0B, altsetting, intf, 0).pack(), b"", 1000)

    def claim_interface(self, dev_handle: UsbipSession, intf: int) -> None:
        """Who imported a USB/IP device has all of it."""

    def release_interface(self, dev_handle: UsbipSession, intf: int) -> None:
        """Released with the device."""

    def bulk_write(self, dev_handle: UsbipSession, ep: int, intf: int, data: Any, timeout: int) -> int:  # noqa: ARG002
        """Send `data`."""
        return dev_handle.write(ep, bytes(data), timeout)

    def bulk_read(self, dev_handle: UsbipSession, ep: int, intf: int, buff: Any, timeout: int) -> int:  # noqa: ARG002
        """Receive into `buff`, addressed as libusb does, by `buffer_info`."""
        return dev_handle.read(ep, _memory_of(buff), timeout)

    def ctrl_transfer(
        self,
        dev_handle: UsbipSession,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: Any,
        timeout: int,
    ) -> int:
        """A control transfer on endpoint 0."""
        view = _memory_of(data)
        setup = core.Setup(bmRequestType, bRequest, wValue, wIndex, len(view)).pack()
        if bmRequestType & 0x80:
            return dev_handle.control_in(setup, view, timeout)
        return dev_handle.control_out(setup, bytes(view), timeout)

    def clear_halt(self, dev_handle: UsbipSession, ep: int) -> None:
        """CLEAR_FEATURE(ENDPOINT_HALT)."""
        dev_handle.control_out(core.Setup(0x02, 0x01, 0, ep, 0).pack(), b"", 1000)

    def is_kernel_driver_active(self, dev_handle: UsbipSession, intf: int) -> bool:  # noqa: ARG002
        """No kernel of this side knows the device."""
        return False


def _memory_of(buffer: Any) -> memoryview:
    address, length = buffer.buffer_info()
    size = length * buffer.itemsize
    if not size:
        return memoryview(b"")
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
