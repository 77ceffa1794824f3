"""The console as a USB device, served over USB/IP: two interfaces shaped like USB3 Vision."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import usbip
from usbip import protocol

from octmargin.errors import RemoteProtocolError
from octmargin.link import registers as reg
from octmargin.link.commands import PendingAck, parse_command
from octmargin_simulator.console import Console, serve

CONTROL_OUT, CONTROL_IN, STREAM_IN = 0x01, 0x81, 0x82
_SUPERSPEED_BULK = 1024
_HANDOVER_S = 0.5
_DEVICE_BUSY = 2
"""Status of a refused import, as the kernel's usbipd gives it for a device that is attached already."""


class StreamPipe(usbip.Endpoint):  # type: ignore[misc] # the library has no types
    """The stream's bulk IN endpoint: a FIFO of frames, each three transfers, without copies.

    A transfer of the device may span several requests of the host; a request ends early only where the
    transfer ends (the short packet of a real bulk pipe).
    """

    def __init__(self, fifo_frames: int) -> None:
        self._fifo_frames = fifo_frames
        super().__init__(usbip.In(STREAM_IN, "bulk", mps=_SUPERSPEED_BULK))
        self._frames: deque[tuple[bytes, memoryview, bytes]] = deque()
        self._sending: deque[memoryview] = deque()
        """What is left of the frame that is on its way."""
        self._requests: deque[tuple[int, Callable[[memoryview], None], int]] = deque()
        self._lock = threading.Lock()

    def offer(self, leader: bytes, payload: memoryview, trailer: bytes) -> bool:
        """Queue a frame; False where the FIFO is full."""
        with self._lock:
            if len(self._frames) + bool(self._sending) >= self._fifo_frames:
                return False
            self._frames.append((leader, payload, trailer))
            ready = self._match()
        for complete, data in ready:
            complete(data)
        return True

    def discard_waiting(self) -> int:
        """Forget the frames that wait, and say how many; the one on its way is sent to its end."""
        with self._lock:
            count = sum(1 for leader, _, trailer in self._frames if leader or trailer)  # noise has neither
            self._frames.clear()
            return count

    def take_or_park(self, length: int, complete: Callable[[memoryview], None], seqnum: int) -> None:
        """Take a request of the host: served from the FIFO in order, at once or when data comes."""
        with self._lock:
            self._requests.append((length, complete, seqnum))
            ready = self._match()
        for answer, data in ready:
            answer(data)

    def cancel(self, seqnum: int) -> bool:
        """Forget a request that the host takes back."""
        with self._lock:
            for request in self._requests:
                if request[2] == seqnum:
                    self._requests.remove(request)
                    return True
        return False

    def reset(self) -> None:
        """Forget everything of the last host: another has attached."""
        with self._lock:
            self._frames.clear()
            self._sending.clear()
            self._requests.clear()
            self.halted = False

    def _match(self) -> list[tuple[Callable[[memoryview], None], memoryview]]:
        ready = []
        while self._requests and (self._sending or self._frames):
            if not self._sending:
                self._sending.extend(memoryview(part) for part in self._frames.popleft() if part)
                continue
            length, complete, _ = self._requests.popleft()
            transfer = self._sending.popleft()
            if len(transfer) > length:
                self._sending.appendleft(transfer[length:])
            ready.append((complete, transfer[:length]))
        return ready


class UsbConsole:
    """Serves a console as a USB device on `host`:`port` (0: any free port) until `close`."""

    def __init__(self, console: Console, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._console = console
        self._pipe = StreamPipe(console.personality.fifo_frames)
        self._device = self._build_device()
        self._imported = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._away_until_s = 0.0
        self._listener = socket.create_server((host, port))
        self.host, self.port = self._listener.getsockname()[:2]
        console.attach(self._pipe)
        self._thread = threading.Thread(target=self._accept_for_ever, name="usbip-accept", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """What the host's USB driver takes to reach this device."""
        return f"usbip://{self.host}:{self.port}"

    def close(self) -> None:
        """Unplug the device."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.unplug()
        self._thread.join()

    def unplug(self, away_s: float = 0.0) -> None:
        """Cut every host off, as pulling the cable does; the device can be attached again after `away_s`."""
        self._away_until_s = time.monotonic() + away_s
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closing by itself

    def plug_in(self) -> None:
        """Let the device be attached again, however long it was to be away."""
        self._away_until_s = 0.0

    def stall(self) -> None:
        """Halt the stream's endpoint, until the host clears it."""
        self._pipe.halted = True

    def announce(self, pending: PendingAck) -> None:
        """Say that an answer will take its time."""
        self._control_in.write(pending.to_bytes())

    def babble(self, data: bytes) -> None:
        """Put a transfer that means nothing into the stream."""
        self._pipe.offer(b"", memoryview(data), b"")

    def _build_device(self) -> Any:
        personality = self._console.personality
        device = usbip.USBDevice(
            reg.USB_VENDOR_ID,
            reg.USB_PRODUCT_ID,
            manufacturer=personality.maker,
            product=personality.model,
            serial=personality.serial,
            device_class=0xEF,
            device_subclass=0x02,
            device_protocol=0x01,
        )
        device.set_speed(usbip.SPEED_SUPER)
        device.busid, device.busnum, device.devnum = "1-1", 1, 2
        self._control_in = usbip.Endpoint(usbip.In(CONTROL_IN, "bulk", mps=_SUPERSPEED_BULK))
        control_out = usbip.Endpoint(usbip.Out(CONTROL_OUT, "bulk", mps=_SUPERSPEED_BULK))
        control_out.on_out = self._control_received
        for endpoints, interface_protocol in (((control_out, self._control_in), 0), ((self._pipe,), 2)):
            group = device.add_group()
            number = group.claim_interface()
            for endpoint in endpoints:
                device.route_endpoint(endpoint)
            group.add(_interface_descriptors(number, interface_protocol, endpoints))
        device.add_reset_hook(self._console.reset)
        return device

    def _control_received(self, _endpoint: Any, data: bytes) -> None:
        try:
            command = parse_command(data)
            pending = self._console.pending(command)
            if pending is not None:
                self.announce(pending)
            acknowledge = serve(self._console, command)
        except RemoteProtocolError:
            return  # a console does not answer what is no command; the host times out and asks again
        self._control_in.write(acknowledge)

    # -- USB/IP server --------------------------------------------------------------------------------

    def _accept_for_ever(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if time.monotonic() < self._away_until_s:
                connection.close()
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="usbip-serve", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                if not _asks_to_import(connection):
                    protocol.serve_connection(connection, [self._device])
                    return
                # A host that reads the descriptors first lets go and comes back at once: its first connection
                # may not be cleared away yet.
                if not self._imported.acquire(timeout=_HANDOVER_S):
                    _refuse_import(connection)
                    return
                try:
                    protocol.serve_connection(connection, [self._device])
                    self._console.reset()
                finally:
                    self._imported.release()
        except OSError:
            return  # the peer is gone, or has been told
        finally:
            self._connections.discard(connection)


def _asks_to_import(connection: socket.socket) -> bool:
    header = connection.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)
    return len(header) == 8 and struct.unpack(">HHI", header)[1] == protocol.OP_REQ_IMPORT


def _refuse_import(connection: socket.socket) -> None:
    connection.recv(8 + 32, socket.MSG_WAITALL)
    connection.sendall(struct.pack(">HHI", protocol.VERSION, protocol.OP_REP_IMPORT, _DEVICE_BUSY))


def _interface_descriptors(number: int, interface_protocol: int, endpoints: tuple[Any, ...]) -> bytes:
    """Interface of USB3 Vision: class 0xEF, subclass 0x05, protocol 0 control, 2 stream."""
    interface: bytes = usbip.InterfaceDescriptor(
        bInterfaceNumber=number,
        bAlternateSetting=0,
        bNumEndpoints=len(endpoints),
        bInterfaceClass=0xEF,
        bInterfaceSubClass=0x05,
        bInterfaceProtocol=interface_protocol,
    ).pack()
    for endpoint in endpoints:
        interface += usbip.EndpointDescriptor(
            bEndpointAddress=endpoint.addr, bmAttributes=2, wMaxPacketSize=endpoint.mps, bInterval=0
        ).pack()
    return interface
