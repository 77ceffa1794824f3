"""The console on a serial port: a pseudo-terminal that keeps the pace of a real line."""

from __future__ import annotations

import os
import select
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Iterator

from octmargin.errors import RemoteProtocolError
from octmargin.link import gencp
from octmargin.link.commands import StreamPiece
from octmargin_simulator.console import Console

FIFO_FRAMES = 16
PIECE_BYTES = 2048
"""Small enough that an answer never waits long behind a piece of the stream."""
BITS_PER_BYTE = 10
"""8N1: start bit, eight data bits, stop bit."""
_POLL_S = 0.1


class SerialConsole:
    """Serves a console on a PTY at `baud` until `close`; `path` is the port that a host opens."""

    def __init__(self, console: Console, *, baud: int = 12_000_000) -> None:
        self.baud = baud
        self._console = console
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        # The slave stays open here too: without it every read fails while no host has the port open.
        self.path = os.ttyname(self._slave)
        self._decoder = gencp.SerialDecoder()
        self._frames: deque[tuple[bytes, memoryview, bytes]] = deque()
        self._answers: deque[bytes] = deque()
        self._in_frame = False
        self._closed = False
        self._wake = threading.Condition()
        console.attach(self)
        self._threads = [
            threading.Thread(target=self._read_for_ever, name="serial-read", daemon=True),
            threading.Thread(target=self._write_for_ever, name="serial-write", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        """What the host's serial driver takes to reach this port."""
        return f"{self.path}?baud={self.baud}"

    def offer(self, leader: bytes, payload: memoryview, trailer: bytes) -> bool:
        """Queue a frame; False where the FIFO is full."""
        with self._wake:
            if len(self._frames) + self._in_frame >= FIFO_FRAMES:
                return False
            self._frames.append((leader, payload, trailer))
            self._wake.notify_all()
            return True

    def discard_waiting(self) -> None:
        """Forget the frames that wait; the one on its way is sent to its end."""
        with self._wake:
            self._frames.clear()

    def close(self) -> None:
        """Take the port away; may be called twice."""
        with self._wake:
            if self._closed:
                return
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _read_for_ever(self) -> None:
        while not self._closed:
            readable, _, _ = select.select([self._master], [], [], _POLL_S)
            if readable:
                self._decoder.receive(os.read(self._master, 65536))
                self._answer_commands()

    def _answer_commands(self) -> None:
        while True:
            try:
                command = self._decoder.next_command()
            except RemoteProtocolError:
                continue  # a console does not answer noise
            if command is None:
                return
            acknowledge = self._console.answer(command)
            if acknowledge is not None:
                with self._wake:
                    self._answers.append(gencp.encode(acknowledge))
                    self._wake.notify_all()

    def _write_for_ever(self) -> None:
        stream = self._pieces()
        line_free_s = time.monotonic()
        while not self._closed:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._answers or self._frames or self._in_frame)
                packet = self._answers.popleft() if self._answers else None
            if packet is None:
                packet = next(stream, None)
                if packet is None:
                    stream = self._pieces()
                    continue
            # A PTY enforces no baud rate: the line is busy for as long as a real one would be.
            line_free_s = max(line_free_s, time.monotonic()) + len(packet) * BITS_PER_BYTE / self.baud
            self._write(packet)
            time.sleep(max(0.0, line_free_s - time.monotonic()))

    def _pieces(self) -> Iterator[bytes]:
        """Yield the packets of the oldest queued frame."""
        with self._wake:
            if not self._frames:
                return
            leader, payload, trailer = self._frames.popleft()
            self._in_frame = True
        sequence = int.from_bytes(leader[8:16], "little")
        offset = 0
        for part in (memoryview(leader), payload, memoryview(trailer)):
            for start in range(0, len(part), PIECE_BYTES):
                piece = StreamPiece(0, sequence, offset + start, bytes(part[start : start + PIECE_BYTES]))
                yield gencp.encode(piece)
            offset += len(part)
        self._in_frame = False

    def _write(self, packet: bytes) -> None:
        data = memoryview(packet)
        while data and not self._closed:
            _, writable, _ = select.select([], [self._master], [], _POLL_S)
            if writable:
                try:
                    data = data[os.write(self._master, data) :]
                except BlockingIOError:
                    continue  # the kernel's buffer filled up between select and write
