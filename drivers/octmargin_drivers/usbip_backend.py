"""A pyusb backend for devices served over USB/IP: the same driver code then drives hardware and simulator.

pyusb's extension point is `usb.backend.IBackend`. A long bulk read is split into several requests (URBs) that
are in flight at the same time and are received straight into the caller's memory, as libusb does it on Linux.

A read that times out leaves its requests with the device: what arrives later is kept, in order, for the next
read of that endpoint. Taking requests back instead would race with data on its way, and lose some.

Protocol: "USB/IP protocol", Documentation/usb/usbip_protocol.rst of the Linux kernel.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import usb.backend
import usb.core
from usbip import USBIP, core, protocol
from usbip.host import list_devices

URB_BYTES = 512 * 1024
URBS_IN_FLIGHT = 8
_CONNECT_TIMEOUT_S = 3.0
_DIRECTION_IN, _DIRECTION_OUT = 1, 0
_HEADER = struct.Struct(">IIIII iiiii 8s")
_SUBMIT = struct.Struct(">IIIII Iiiii 8s")
_RETURN_SUBMIT = 3
_IMPORT_REPLY = struct.Struct(">HHI")
_DEVICE_BUSY = 2

Address = tuple[str, int, str]
"""Host, port and bus id of an exported device."""


@dataclass(eq=False, slots=True)
class _Request:
    """One URB that the device has, or has answered."""

    length: int
    destination: memoryview | None = None
    own: memoryview | None = None
    """Where the data went when nobody was waiting for it any more."""
    actual: int = 0
    status: int = 0
    receiving: bool = False
    done: bool = False


def _device_gone(reason: str) -> usb.core.USBError:
    return usb.core.USBError(f"USB/IP: {reason}", errno=errno.ENODEV)


class _Session:
    """One imported device: a socket, requests in flight, and a thread that takes the answers."""

    def __init__(self, address: Address) -> None:
        host, port, bus_id = address
        self._socket = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            info = self._import(bus_id)
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)
        self._devid = (info["busnum"] << 16) | info["devnum"]
        self._seqnum = 0
        self._requests: dict[int, _Request] = {}
        self._pipes: dict[int, deque[_Request]] = {}
        self._changed = threading.Condition()
        self._send_lock = threading.Lock()
        self._gone = ""
        self._thread = threading.Thread(target=self._receive_for_ever, name="usbip-receive", daemon=True)
        self._thread.start()

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was quicker
        self._thread.join()
        self._socket.close()

    def _import(self, bus_id: str) -> dict[str, Any]:
        request = struct.pack(">HHI", protocol.VERSION, protocol.OP_REQ_IMPORT, 0) + bus_id.encode().ljust(32, b"\0")
        self._socket.sendall(request)
        reply = self._exactly(_IMPORT_REPLY.size)
        status = _IMPORT_REPLY.unpack(reply)[2]
        if status == _DEVICE_BUSY:
            raise usb.core.USBError("USB/IP: the device is in use", errno=errno.EBUSY)
        if status:
            raise _device_gone(f"no device {bus_id} is exported (status {status})")
        info: dict[str, Any] = protocol.parse_usb_device(self._exactly(312))
        return info

    def _exactly(self, size: int) -> bytes:
        data = bytearray(size)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionError("the server closed the connection")
            view = view[count:]

    # -- submitting -----------------------------------------------------------------------------------

    def _submit(
        self, request: _Request, endpoint: int, direction: int, setup: bytes = bytes(8), data: bytes = b""
    ) -> None:
        """Send a URB; the caller holds `_changed`, so requests go out in the order in which they are queued."""
        if self._gone:
            raise _device_gone(self._gone)
        self._seqnum += 1
        self._requests[self._seqnum] = request
        header = _SUBMIT.pack(
            1, self._seqnum, self._devid, direction, endpoint & 0x0F, 0, request.length, 0, 0, 0, setup
        )  # fmt: skip
        try:
            with self._send_lock:
                self._socket.sendall(header + data)
        except OSError as error:
            self._gone = str(error)
            raise _device_gone(self._gone) from error

    def control(self, setup: bytes, direction: int, destination: memoryview, data: bytes, timeout_ms: int) -> int:
        """A transfer on endpoint 0; gives the bytes transferred."""
        length = len(destination) if direction == _DIRECTION_IN else len(data)
        request = _Request(length, destination if direction == _DIRECTION_IN else None)
        return self._transact(request, 0, direction, setup, data, timeout_ms)

    def write(self, endpoint: int, data: bytes, timeout_ms: int) -> int:
        """A bulk OUT transfer; gives the bytes transferred."""
        return self._transact(_Request(len(data)), endpoint, _DIRECTION_OUT, bytes(8), data, timeout_ms)

    def _transact(
        self, request: _Request, endpoint: int, direction: int, setup: bytes, data: bytes, timeout_ms: int
    ) -> int:
        with self._changed:
            self._submit(request, endpoint, direction, setup, data)
            self._wait(request, _deadline(timeout_ms))
        if not request.done:
            request.destination = None
            raise usb.core.USBTimeoutError("USB/IP: the device did not answer", errno=errno.ETIMEDOUT)
        _raise_status(request.status)
        return request.actual

    # -- bulk IN --------------------------------------------------------------------------------------

    def read(self, endpoint: int, view: memoryview, timeout_ms: int) -> int:
        """A bulk IN transfer into `view`; ends where it is full or the device ends a transfer early."""
        deadline = _deadline(timeout_ms)
        pipe = self._pipes.setdefault(endpoint, deque())
        filled = 0
        with self._changed:
            while True:
                self._post(pipe, endpoint, view, filled)
                head = pipe[0]
                if not self._wait(head, deadline):
                    self._detach(pipe)
                    if head.done:
                        continue
                    if filled:
                        return filled
                    raise usb.core.USBTimeoutError("USB/IP: no data", errno=errno.ETIMEDOUT)
                pipe.popleft()
                if head.status:
                    self._detach(pipe)
                    _raise_status(head.status)
                ended_early = head.actual < head.length
                if head.own is not None:
                    count = min(len(view) - filled, len(head.own))
                    view[filled : filled + count] = head.own[:count]
                    filled += count
                    if count < len(head.own):
                        head.own = head.own[count:]
                        pipe.appendleft(head)
                        self._detach(pipe)
                        return filled
                else:
                    filled += head.actual
                if ended_early or filled == len(view):
                    self._detach(pipe)
                    return filled

    def _post(self, pipe: deque[_Request], endpoint: int, view: memoryview, filled: int) -> None:
        """See that the device has requests for the rest of `view`, aimed at their places in it."""
        position = filled
        aimed = True
        for request in pipe:
            if request.destination is not None:
                position += request.length
                continue
            fits = position + request.length <= len(view)
            if aimed and fits and not request.done and not request.receiving:
                request.destination = view[position : position + request.length]
            else:
                # Behind data of unknown length nothing can be aimed: what comes is copied once.
                aimed = False
            position += request.length
        while position < len(view) and len(pipe) < URBS_IN_FLIGHT:
            length = min(URB_BYTES, len(view) - position)
            request = _Request(length, view[position : position + length] if aimed else None)
            self._submit(request, endpoint, _DIRECTION_IN)
            pipe.append(request)
            position += length

    def _detach(self, pipe: deque[_Request]) -> None:
        """Let go of the caller's memory: requests that are still out answer into memory of their own."""
        for request in pipe:
            while request.receiving and not self._gone:
                self._changed.wait()
            if request.destination is None:
                continue
            if request.done:
                request.own = memoryview(bytes(request.destination[: request.actual]))
            request.destination = None

    def _wait(self, request: _Request, deadline: float | None) -> bool:
        while not request.done:
            if self._gone:
                raise _device_gone(self._gone)
            remaining = None if deadline is None else deadline - monotonic()
            if remaining is not None and remaining <= 0:
                return False
            self._changed.wait(remaining)
        return True

    # -- receiving ------------------------------------------------------------------------------------

    def _receive_for_ever(self) -> None:
        header = bytearray(_HEADER.size)
        try:
            while True:
                self._fill(memoryview(header))
                self._receive_one(header)
        except (OSError, KeyError) as error:
            with self._changed:
                self._gone = str(error) or "the connection broke"
                self._changed.notify_all()

    def _receive_one(self, header: bytearray) -> None:
        command, seqnum, _, direction, _, status, actual, *_ = _HEADER.unpack(header)
        if command != _RETURN_SUBMIT:
            raise ConnectionError(f"the server sent reply {command:#x}, which nobody asked for")
        with self._changed:
            request = self._requests.pop(seqnum)
            # The direction field of a reply is not filled in by every server; our request knows it.
            data_follows = actual > 0 and (direction == _DIRECTION_IN or request.destination is not None)
            target = request.destination
            if data_follows and target is None:
                target = request.own = memoryview(bytearray(actual))
            request.receiving = data_follows
        if data_follows and target is not None:
            if actual > len(target):
                raise ConnectionError(f"{actual} bytes in answer to a request for {request.length}")
            self._fill(target[:actual])
        with self._changed:
            request.status, request.actual = status, actual
            request.receiving, request.done = False, True
            self._changed.notify_all()


def _deadline(timeout_ms: int) -> float | None:
    """pyusb's time-outs: milliseconds, 0 waits for ever."""
    return monotonic() + timeout_ms / 1000 if timeout_ms else None


def _raise_status(status: int) -> None:
    if status:
        code = -status
        raise usb.core.USBError(f"USB/IP: transfer failed ({errno.errorcode.get(code, code)})", errno=code)


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
            session = _Session(self.address)
        except usb.core.USBError:
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


def _get_descriptor(session: _Session, kind: int, length: int) -> bytes:
    data = bytearray(length)
    setup = core.Setup(0x80, 0x06, kind << 8, 0, length).pack()
    count = session.control(setup, _DIRECTION_IN, memoryview(data), b"", 1000)
    return bytes(data[:count])


class UsbipBackend(usb.backend.IBackend):  # type: ignore[misc] # pyusb has no types
    """pyusb backend for the devices that the USB/IP server at `host`:`port` exports."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def enumerate_devices(self) -> Iterator[ExportedDevice]:
        """The exported devices; none where no server answers."""
        try:
            listed = list_devices(USBIP(self._host, self._port))
        except (OSError, core.USBError):
            return
        for info in listed:
            yield ExportedDevice((self._host, self._port, info["busid"]), info)

    def get_parent(self, dev: ExportedDevice) -> None:  # noqa: ARG002
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
        return Descriptor(
            bLength=9, bDescriptorType=core.DT_CONFIG, **vars(parsed), extra_descriptors=b""
        )

    def get_interface_descriptor(self, dev: ExportedDevice, intf: int, alt: int, config: int) -> Descriptor:
        """The interface at place `intf`; none of ours has alternate settings."""
        interfaces = list(dev.descriptors(core.DT_INTERFACE))
        if config or alt or intf >= len(interfaces):
            raise IndexError(intf)
        parsed = core.InterfaceDescriptor.parse(interfaces[intf])
        return Descriptor(bLength=9, bDescriptorType=core.DT_INTERFACE, **vars(parsed), extra_descriptors=b"")

    def get_endpoint_descriptor(self, dev: ExportedDevice, ep: int, intf: int, alt: int, config: int) -> Descriptor:
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

    def open_device(self, dev: ExportedDevice) -> _Session:
        """Import the device; EBUSY where another host has it."""
        try:
            return _Session(dev.address)
        except OSError as error:
            if isinstance(error, usb.core.USBError):
                raise
            raise _device_gone(str(error)) from error

    def close_device(self, dev_handle: _Session) -> None:
        """Give the device back."""
        dev_handle.close()

    def set_configuration(self, dev_handle: _Session, config_value: int) -> None:
        """SET_CONFIGURATION."""
        dev_handle.control(
            core.Setup(0x00, 0x09, config_value, 0, 0).pack(), _DIRECTION_OUT, memoryview(b""), b"", 1000
        )

    def get_configuration(self, dev_handle: _Session) -> int:  # noqa: ARG002
        """The device has one configuration and is in it."""
        return 1

    def set_interface_altsetting(self, dev_handle: _Session, intf: int, altsetting: int) -> None:
        """SET_INTERFACE."""
        dev_handle.control(
            core.Setup(0x01, 0x0B, altsetting, intf, 0).pack(), _DIRECTION_OUT, memoryview(b""), b"", 1000
        )

    def claim_interface(self, dev_handle: _Session, intf: int) -> None:
        """Who imported a USB/IP device has all of it."""

    def release_interface(self, dev_handle: _Session, intf: int) -> None:
        """Released with the device."""

    def bulk_write(self, dev_handle: _Session, ep: int, intf: int, data: Any, timeout: int) -> int:  # noqa: ARG002
        """Send `data`."""
        return dev_handle.write(ep, bytes(data), timeout)

    def bulk_read(self, dev_handle: _Session, ep: int, intf: int, buff: Any, timeout: int) -> int:  # noqa: ARG002
        """Receive into `buff`, addressed as libusb does, by `buffer_info`."""
        return dev_handle.read(ep, _memory_of(buff), timeout)

    def ctrl_transfer(
        self, dev_handle: _Session, bmRequestType: int, bRequest: int, wValue: int, wIndex: int, data: Any, timeout: int
    ) -> int:
        """A control transfer on endpoint 0."""
        direction = _DIRECTION_IN if bmRequestType & 0x80 else _DIRECTION_OUT
        view = _memory_of(data)
        setup = core.Setup(bmRequestType, bRequest, wValue, wIndex, len(view)).pack()
        payload = b"" if direction == _DIRECTION_IN else bytes(view)
        return dev_handle.control(setup, direction, view, payload, timeout)

    def clear_halt(self, dev_handle: _Session, ep: int) -> None:
        """CLEAR_FEATURE(ENDPOINT_HALT)."""
        dev_handle.control(core.Setup(0x02, 0x01, 0, ep, 0).pack(), _DIRECTION_OUT, memoryview(b""), b"", 1000)

    def is_kernel_driver_active(self, dev_handle: _Session, intf: int) -> bool:  # noqa: ARG002
        """No kernel of this side knows the device."""
        return False


def _memory_of(buffer: Any) -> memoryview:
    address, length = buffer.buffer_info()
    size = length * buffer.itemsize
    if not size:
        return memoryview(b"")
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
