"""The transfers of one device that is imported over USB/IP, several requests (URBs) in flight.

A long bulk read is split into several URBs that are received straight into the caller's memory, as libusb
does it on Linux. A read that times out leaves its URBs with the device: what arrives later is kept, in
order, for the next read of that endpoint. Taking URBs back instead would race with data on its way, and
lose some.

Protocol: "USB/IP protocol", Documentation/usb/usbip_protocol.rst of the Linux kernel.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Any

import usb.core
from usbip import protocol

URB_BYTES = 512 * 1024
URBS_IN_FLIGHT = 8
STALL_S = 3.0
"""Data of a URB that has begun to arrive and then stops for longer means that the connection is dead."""
CONNECT_TIMEOUT_S = 3.0
_DIRECTION_IN, _DIRECTION_OUT = 1, 0
_SUBMIT = struct.Struct(">IIIII Iiiii 8s")
_RETURN = struct.Struct(">IIIII iiiii 8s")
_RETURN_SUBMIT = 3
_IMPORT_REPLY = struct.Struct(">HHI")
_DEVICE_RECORD_BYTES = 312
_DEVICE_BUSY = 2
_NO_SETUP = bytes(8)

Address = tuple[str, int, str]
"""Host, port and bus id of an exported device."""


@dataclass(eq=False, slots=True)
class _Request:
    """One URB that the device has, or has answered."""

    length: int
    incoming: bool
    destination: memoryview | None = None
    """Where a reader that waits wants the data."""
    own: memoryview | None = None
    """Where the data went when no reader wanted it; what is not taken yet."""
    actual: int = 0
    status: int = 0
    receiving: bool = False
    done: bool = False


class UsbipSession:
    """One imported device: a socket, requests in flight, and a thread that takes the answers.

    Errors are pyusb's: EBUSY where another host has the device, ENODEV where it is gone or was never there.
    """

    def __init__(self, address: Address) -> None:
        host, port, bus_id = address
        try:
            self._socket = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
        except OSError as error:
            raise _device_gone(str(error)) from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            info = self._import(bus_id)
            self._socket.settimeout(None)
        except OSError as error:
            self._socket.close()
            if isinstance(error, usb.core.USBError):
                raise
            raise _device_gone(str(error)) from error
        self._devid = (info["busnum"] << 16) | info["devnum"]
        self._seqnum = 0
        self._requests: dict[int, _Request] = {}
        self._pipes: dict[int, deque[_Request]] = {}
        self._changed = threading.Condition()
        self._gone = ""
        self._thread = threading.Thread(target=self._receive_for_ever, name="usbip-receive", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the device back."""
        self._hang_up()
        self._thread.join()
        self._socket.close()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):  # the other side was quicker
            self._socket.shutdown(socket.SHUT_RDWR)

    def _import(self, bus_id: str) -> dict[str, Any]:
        request = struct.pack(">HHI", protocol.VERSION, protocol.OP_REQ_IMPORT, 0)
        self._socket.sendall(request + bus_id.encode().ljust(32, b"\0"))
        status = _IMPORT_REPLY.unpack(self._exactly(_IMPORT_REPLY.size))[2]
        if status == _DEVICE_BUSY:
            raise usb.core.USBError("USB/IP: the device is in use", errno=errno.EBUSY)
        if status:
            raise _device_gone(f"no device {bus_id} is exported (status {status})")
        info: dict[str, Any] = protocol.parse_usb_device(self._exactly(_DEVICE_RECORD_BYTES))
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

    # -- control and bulk OUT -------------------------------------------------------------------------

    def control_in(self, setup: bytes, destination: memoryview, timeout_ms: int) -> int:
        """Read on endpoint 0; gives the bytes transferred."""
        return self._transact(_Request(len(destination), True, destination), 0, setup, b"", timeout_ms)

    def control_out(self, setup: bytes, data: bytes, timeout_ms: int) -> int:
        """Write on endpoint 0; gives the bytes transferred."""
        return self._transact(_Request(len(data), False), 0, setup, data, timeout_ms)

    def write(self, endpoint: int, data: bytes, timeout_ms: int) -> int:
        """Write to a bulk OUT endpoint; gives the bytes transferred."""
        return self._transact(_Request(len(data), False), endpoint, _NO_SETUP, data, timeout_ms)

    def _transact(self, request: _Request, endpoint: int, setup: bytes, data: bytes, timeout_ms: int) -> int:
        with self._changed:
            self._submit(request, endpoint, setup, data)
            try:
                self._wait(request, _deadline(timeout_ms))
            finally:
                request.destination = None
        _raise_status(request.status)
        return request.actual

    def _submit(self, request: _Request, endpoint: int, setup: bytes = _NO_SETUP, data: bytes = b"") -> None:
        """Send a URB; the caller holds `_changed`, so they go out in the order in which they are queued."""
        if self._gone:
            raise _device_gone(self._gone)
        self._seqnum += 1
        self._requests[self._seqnum] = request
        direction = _DIRECTION_IN if request.incoming else _DIRECTION_OUT
        header = _SUBMIT.pack(
            1, self._seqnum, self._devid, direction, endpoint & 0x0F, 0, request.length, 0, 0, 0, setup
        )
        try:
            self._socket.sendall(header + data)
        except OSError as error:
            self._hang_up()  # the receiving thread then says so to all who wait
            raise _device_gone(str(error)) from error

    # -- bulk IN --------------------------------------------------------------------------------------

    def read(self, endpoint: int, view: memoryview, timeout_ms: int) -> int:
        """Read from a bulk IN endpoint into `view`; ends where it is full or the device ends a transfer.

        When time is up, gives what has come, or raises USBTimeoutError where nothing has.
        """
        deadline = _deadline(timeout_ms)
        with self._changed:
            pipe = self._pipes.setdefault(endpoint, deque())
            filled = 0
            try:
                while filled < len(view):
                    self._post(pipe, endpoint, view, filled)
                    self._wait(pipe[0], deadline)
                    count, ends = self._take(pipe, view[filled:])
                    filled += count
                    if ends:
                        break
            except usb.core.USBTimeoutError:
                if not filled:
                    raise
            finally:
                self._detach(pipe)
        return filled

    def _post(self, pipe: deque[_Request], endpoint: int, view: memoryview, filled: int) -> None:
        """See that the device has requests for the rest of `view`, aimed at their places in it."""
        position = filled
        aimed = True
        for request in pipe:
            if request.destination is None:
                fits = position + request.length <= len(view)
                if aimed and fits and not request.done and not request.receiving:
                    request.destination = view[position : position + request.length]
                else:
                    # Behind data of unknown length nothing can be aimed: what comes is copied once.
                    aimed = False
            position += request.length
        while position < len(view) and len(pipe) < URBS_IN_FLIGHT:
            length = min(URB_BYTES, len(view) - position)
            request = _Request(length, True, view[position : position + length] if aimed else None)
            self._submit(request, endpoint)
            pipe.append(request)
            position += length

    @staticmethod
    def _take(pipe: deque[_Request], rest: memoryview) -> tuple[int, bool]:
        """Take the oldest request's data: how many bytes are in `rest` now, and whether the transfer ends there."""
        request = pipe[0]
        count = request.actual
        if request.own is not None:
            count = min(len(rest), len(request.own))
            rest[:count] = request.own[:count]
            request.own = request.own[count:]
            if request.own:
                return count, True  # `rest` is full
        pipe.popleft()
        _raise_status(request.status)
        return count, request.actual < request.length

    def _detach(self, pipe: deque[_Request]) -> None:
        """Let go of the caller's memory: requests that are still out answer into memory of their own."""
        for request in pipe:
            self._await_reception(request)
            if request.done and request.destination is not None:
                request.own = memoryview(bytes(request.destination[: request.actual]))
            request.destination = None

    def _wait(self, request: _Request, deadline: float | None) -> None:
        """Wait until `request` is done; data that has begun to arrive is waited for, time or no time."""
        while not request.done:
            if self._gone:
                raise _device_gone(self._gone)
            if request.receiving:
                self._await_reception(request)
                continue
            remaining = None if deadline is None else deadline - monotonic()
            if remaining is not None and remaining <= 0:
                raise usb.core.USBTimeoutError("USB/IP: the device did not answer", errno=errno.ETIMEDOUT)
            self._changed.wait(remaining)

    def _await_reception(self, request: _Request) -> None:
        """Wait until the receiving thread no longer writes to the memory of `request`."""
        if not self._changed.wait_for(lambda: not request.receiving, STALL_S):
            self._hang_up()
            self._changed.wait_for(lambda: not request.receiving)

    # -- receiving thread -----------------------------------------------------------------------------

    def _receive_for_ever(self) -> None:
        header = bytearray(_RETURN.size)
        try:
            while True:
                self._fill(memoryview(header))
                self._receive_one(header)
        except OSError as error:
            with self._changed:
                self._gone = str(error) or "the connection broke"
                for request in self._requests.values():
                    request.receiving = False
                self._changed.notify_all()

    def _receive_one(self, header: bytearray) -> None:
        # The kernel's server leaves direction and endpoint of a reply empty; our request knows them.
        command, seqnum, _, _, _, status, actual, *_ = _RETURN.unpack(header)
        with self._changed:
            request = self._requests.get(seqnum)
            if command != _RETURN_SUBMIT or request is None:
                raise ConnectionError(
                    f"the server sent reply {command:#x} to {seqnum}, which nobody asked for"
                )
            if not 0 <= actual <= request.length:
                raise ConnectionError(f"the server reports {actual} bytes for a request of {request.length}")
            target = None
            if request.incoming and actual:
                target = request.destination
                if target is None:
                    target = request.own = memoryview(bytearray(actual))
                request.receiving = True
        if target is not None:
            self._fill(target[:actual])
        with self._changed:
            del self._requests[seqnum]
            request.status, request.actual = status, actual
            request.receiving, request.done = False, True
            self._changed.notify_all()


def _device_gone(reason: str) -> usb.core.USBError:
    return usb.core.USBError(f"USB/IP: {reason}", errno=errno.ENODEV)


def _deadline(timeout_ms: int) -> float | None:
    """Pyusb's time-outs: milliseconds, 0 waits for ever."""
    return monotonic() + timeout_ms / 1000 if timeout_ms else None


def _raise_status(status: int) -> None:
    if status:
        code = -status
        raise usb.core.USBError(f"USB/IP: transfer failed ({errno.errorcode.get(code, code)})", errno=code)
