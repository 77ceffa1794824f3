"""Transfers over USB/IP: no byte lost and no order changed, whatever the splits and time-outs."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
import usb.core
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from usbip import USBDevice, protocol

from octmargin_drivers import usbip_session
from octmargin_drivers.usbip_session import UsbipSession

STREAM_IN = 0x82
PACKET = 16
_RETURN = struct.Struct(">IIIII iiiii 8s")


class BulkServer:
    """A USB/IP server with one bulk IN endpoint that behaves like the kernel's.

    A URB ends where it is full or at a short packet: a transfer that is a multiple of the packet size does
    not end one. Replies leave direction and endpoint empty. `chunk` bytes are sent at a time.
    """

    def __init__(self, *, chunk: int = 1 << 16, import_status: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", self._listener.getsockname()[1], "1-1")
        self._chunk = chunk
        self._import_status = import_status
        self._urbs: deque[tuple[int, int]] = deque()
        self._packets: deque[bytes] = deque()
        self._gathered = b""
        self._lock = threading.Lock()
        self.connection: socket.socket | None = None
        self.attached = threading.Event()
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(40, socket.MSG_WAITALL)
            reply = struct.pack(">HHI", protocol.VERSION, protocol.OP_REP_IMPORT, self._import_status)
            device = USBDevice(0x1209, 0x0C7A)
            device.busid, device.busnum, device.devnum = "1-1", 1, 2
            connection.sendall(reply + (b"" if self._import_status else protocol.pack_usb_device(device)))
            self.connection = connection
            self.attached.set()
            while len(submit := connection.recv(48, socket.MSG_WAITALL)) == 48:
                _, seqnum, _, _, _, _, length = struct.unpack_from(">IIIII Ii", submit)
                with self._lock:
                    self._urbs.append((seqnum, length))
                    self._match()
                self.asked.set()

    def transfer(self, data: bytes) -> None:
        """The device sends one transfer."""
        with self._lock:
            self._packets.extend(data[at : at + PACKET] for at in range(0, len(data), PACKET))
            self._match()

    def _match(self) -> None:
        while self._urbs and self._packets:
            seqnum, length = self._urbs[0]
            packet = self._packets.popleft()
            room = length - len(self._gathered)
            self._gathered += packet[:room]
            if len(packet) > room:
                self._packets.appendleft(packet[room:])
            if len(self._gathered) == length or len(packet) < PACKET:
                self._urbs.popleft()
                data, self._gathered = self._gathered, b""
                self.reply(seqnum, data)

    def reply(self, seqnum: int, data: bytes, *, status: int = 0, announced: int | None = None) -> None:
        assert self.connection is not None
        size = len(data) if announced is None else announced
        message = _RETURN.pack(3, seqnum, 0, 0, 0, status, size, 0, 0, 0, bytes(8)) + data
        for at in range(0, len(message), self._chunk):
            self.connection.sendall(message[at : at + self._chunk])

    def close(self) -> None:
        self._listener.close()
        if self.connection is not None:
            with contextlib.suppress(OSError):  # the host was quicker
                self.connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


Serve = Callable[..., tuple[BulkServer, UsbipSession]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    made: list[BulkServer | UsbipSession] = []

    def make(**options: int) -> tuple[BulkServer, UsbipSession]:
        server = BulkServer(**options)
        made.append(server)
        session = UsbipSession(server.address)
        made.append(session)
        server.attached.wait(60)
        return server, session

    yield make
    for thing in reversed(made):
        thing.close()


def pattern(size: int, start: int) -> bytes:
    return bytes((start + i) * 167 % 251 for i in range(size))


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    transfers=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3)), min_size=1, max_size=12),
    reads=st.lists(st.tuples(st.integers(1, 300), st.sampled_from([1, 2, 50])), min_size=1, max_size=8),
    chunk=st.sampled_from([7, 60, 1 << 16]),
    in_flight=st.integers(1, 4),
)
def test_no_byte_is_lost_and_the_order_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    transfers: list[tuple[int, int]],
    reads: list[tuple[int, int]],
    chunk: int,
    in_flight: int,
) -> None:
    monkeypatch.setattr(usbip_session, "URB_BYTES", 64)
    monkeypatch.setattr(usbip_session, "URBS_IN_FLIGHT", in_flight)
    server = BulkServer(chunk=chunk)
    session = UsbipSession(server.address)
    sent = b""
    script = []
    for size, pause_ms in transfers:
        script.append((pattern(size, len(sent)), pause_ms / 1000))
        sent += script[-1][0]
    # Multiples of the packet size leave a URB open, as on a real bus: a last short transfer ends it.
    script.append((b"\0" * (PACKET - 1), 0.0))
    sent += script[-1][0]

    def feed() -> None:
        server.attached.wait(60)
        for data, pause_s in script:
            time.sleep(pause_s)
            server.transfer(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        got: list[tuple[bytearray, int, bytes]] = []
        received = 0
        deadline = time.monotonic() + 60
        for size, timeout_ms in cycle(reads):
            if received == len(sent):
                break
            assert time.monotonic() < deadline, f"{received} of {len(sent)} bytes came"
            buffer = bytearray(b"\xee" * size)
            try:
                count = session.read(STREAM_IN, memoryview(buffer), timeout_ms)
            except usb.core.USBTimeoutError:
                count = 0
            received += count
            got.append((buffer, count, bytes(buffer)))
        assert b"".join(bytes(buffer[:count]) for buffer, count, _ in got) == sent
        assert all(bytes(buffer) == then for buffer, _, then in got), "memory was written after its read"
    finally:
        feeder.join()
        session.close()
        server.close()


def test_a_read_ends_where_the_device_ends_a_transfer(serve: Serve) -> None:
    server, session = serve()
    server.transfer(pattern(20, 0))
    server.transfer(pattern(33, 20))
    buffer = bytearray(1000)
    assert session.read(STREAM_IN, memoryview(buffer), 30_000) == 20
    assert session.read(STREAM_IN, memoryview(buffer), 30_000) == 33
    assert bytes(buffer[:33]) == pattern(33, 20)


def test_what_does_not_fit_is_kept_for_the_next_read(serve: Serve) -> None:
    server, session = serve()
    with pytest.raises(usb.core.USBTimeoutError):
        session.read(STREAM_IN, memoryview(bytearray(100)), 1)  # its URB stays with the device
    server.transfer(pattern(99, 0))
    data = b""
    for size in (10, 50, 39):
        buffer = bytearray(size)
        assert session.read(STREAM_IN, memoryview(buffer), 30_000) == size
        data += buffer
    assert data == pattern(99, 0)


def test_a_device_that_stalls_says_so(serve: Serve) -> None:
    server, session = serve()
    with pytest.raises(usb.core.USBTimeoutError):
        session.read(STREAM_IN, memoryview(bytearray(100)), 1)
    server.reply(1, b"", status=-errno.EPIPE)
    with pytest.raises(usb.core.USBError) as caught:
        session.read(STREAM_IN, memoryview(bytearray(100)), 30_000)
    assert caught.value.errno == errno.EPIPE


@pytest.mark.parametrize(
    ("misbehave", "timeout_ms"),
    [
        pytest.param(lambda server: server.reply(999, b""), 30_000, id="answers what nobody asked"),
        pytest.param(lambda server: server.reply(1, bytes(101)), 30_000, id="sends more than was asked for"),
        pytest.param(lambda server: server.reply(1, b"", announced=-1), 30_000, id="sends a negative length"),
        pytest.param(lambda server: server.connection.sendall(bytes(48)), 30_000, id="sends garbage"),
        # Whether more will come is asked when the read's own time is up.
        pytest.param(lambda server: server.reply(1, bytes(10), announced=60), 2000, id="stops in the middle"),
        pytest.param(lambda server: server.close(), 30_000, id="closes"),
    ],
)
def test_a_broken_server_ends_the_session_and_nothing_hangs(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, misbehave: Callable[[BulkServer], None], timeout_ms: int
) -> None:
    monkeypatch.setattr(usbip_session, "STALL_S", 0.2)
    server, session = serve()

    def within_a_read() -> None:
        if server.asked.wait(60):
            misbehave(server)

    threading.Thread(target=within_a_read).start()
    with pytest.raises(usb.core.USBError, match="USB/IP") as caught:
        session.read(STREAM_IN, memoryview(bytearray(100)), timeout_ms)
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(usb.core.USBError) as caught:
        session.read(STREAM_IN, memoryview(bytearray(100)), timeout_ms)
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize(("status", "code"), [(2, errno.EBUSY), (1, errno.ENODEV)])
def test_a_refused_import_says_why(status: int, code: int) -> None:
    server = BulkServer(import_status=status)
    with pytest.raises(usb.core.USBError) as caught:
        UsbipSession(server.address)
    assert caught.value.errno == code
    server.close()


def test_nobody_there_is_no_device() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(usb.core.USBError) as caught:
        UsbipSession(("127.0.0.1", port, "1-1"))
    assert caught.value.errno == errno.ENODEV


def test_a_server_that_says_nothing_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usbip_session, "CONNECT_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(usb.core.USBError) as caught:
        UsbipSession(("127.0.0.1", listener.getsockname()[1], "1-1"))
    assert caught.value.errno == errno.ENODEV
