"""The console on a serial port: a pseudo-terminal that keeps the pace of a real line.

A pseudo-terminal cannot be unplugged and plugged in again under its name, so `path` is a link to it, as udev's names of
serial ports are: it is gone while the cable is.
"""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from octmargin.errors import RemoteProtocolError
from octmargin.link import gencp
from octmargin.link.commands import PendingAck, StreamPiece
from octmargin_simulator.console import Console

PIECE_BYTES = 2048
"""Small enough that an answer never waits long behind a piece of the stream."""
BITS_PER_BYTE = 10
"""8N1: start bit, eight data bits, stop bit."""
_POLL_S = 0.1

T = TypeVar("T")


class SerialConsole:
    """Serves a console on a PTY at `baud` until `close`; `path` is the port that a host opens."""

    def __init__(self, console: Console, *, baud: int = 12_000_000) -> None:
        self.baud = baud
        self._console = console
        self._folder = tempfile.TemporaryDirectory(prefix="octmargin-")
        self.path = str(Path(self._folder.name) / "console")
        self._line: _Terminal | None = None
        self._away_until_s = 0.0
        self._decoder = gencp.SerialDecoder()
        self._frames: deque[tuple[bytes, memoryview, bytes]] = deque()
        self._answers: deque[bytes] = deque()
        self._in_frame = False
        self._closed = False
        self._wake = threading.Condition()
        console.attach(self)
        self._put_there()
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
            if len(self._frames) + self._in_frame >= self._console.personality.fifo_frames:
                return False
            self._frames.append((leader, payload, trailer))
            self._wake.notify_all()
            return True

    def discard_waiting(self) -> int:
        """Forget the frames that wait, and say how many; the one on its way is sent to its end."""
        with self._wake:
            count = len(self._frames)
            self._frames.clear()
            return count

    def close(self) -> None:
        """Take the port away; may be called twice."""
        with self._wake:
            if self._closed:
                return
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        self._take_away()
        self._folder.cleanup()

    def unplug(self, away_s: float = 0.0) -> None:
        """Pull the cable; it is plugged in again after `away_s`."""
        with self._wake:
            self._away_until_s = time.monotonic() + away_s
            self._take_away()
            self._wake.notify_all()
        self._console.reset()

    def plug_in(self) -> None:
        """Let the port be opened again, however long it was to be away."""
        with self._wake:
            self._away_until_s = 0.0
            self._wake.notify_all()

    def stall(self) -> None:
        """Do nothing: a serial line has no endpoints that stall."""

    def announce(self, pending: PendingAck) -> None:
        """Say that an answer will take its time."""
        self.babble(gencp.encode(pending))

    def babble(self, data: bytes) -> None:
        """Put bytes on the line, between packets."""
        with self._wake:
            self._answers.append(data)
            self._wake.notify_all()

    def _put_there(self) -> None:
        line = _Terminal()
        with contextlib.suppress(FileNotFoundError):
            Path(self.path).unlink()
        Path(self.path).symlink_to(line.name)
        self._line = line

    def _take_away(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            Path(self.path).unlink()
            line.close()
        self._answers.clear()
        self._frames.clear()
        self._decoder = gencp.SerialDecoder()

    def _read_for_ever(self) -> None:
        while not self._closed:
            with self._wake:
                line = self._line
                if line is None:
                    self._wake.wait(max(0.0, self._away_until_s - time.monotonic()))
                    if time.monotonic() >= self._away_until_s:
                        self._put_there()
                    continue
            data = line.read(_POLL_S)
            if data:
                self._decoder.receive(data)
                self._answer_commands()

    def _answer_commands(self) -> None:
        while True:
            try:
                command = self._decoder.next_command()
            except RemoteProtocolError:
                continue  # a console does not answer noise
            if command is None:
                return
            pending = self._console.pending(command)
            if pending is not None:
                self.announce(pending)
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
        data, line = memoryview(packet), self._line
        while data and line is not None and line is self._line and not self._closed:
            data = data[line.write(data, _POLL_S) :]


class _Terminal:
    """A pseudo-terminal; `name` is the side that a host opens."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        # The slave stays open here too: without it every read fails while no host has the port open.
        self.name = os.ttyname(self._slave)
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> bytes:
        """What the host has written; nothing when time is up, or after `close`."""
        return self._when_ready(timeout_s, read=True, do=lambda: os.read(self._master, 65536)) or b""

    def write(self, data: memoryview, timeout_s: float) -> int:
        """How many bytes the host's side has taken."""
        return self._when_ready(timeout_s, read=False, do=lambda: os.write(self._master, data)) or 0

    def close(self) -> None:
        """Take the terminal away from whoever has it open."""
        with self._lock:
            self._closed.set()
            os.close(self._slave)
            os.close(self._master)

    def _when_ready(self, timeout_s: float, *, read: bool, do: Callable[[], T]) -> T | None:
        """Wait without the lock, so that the terminal can be closed meanwhile; a closed one's number is never used."""
        if self._closed.is_set():
            return None
        # Not `select`, which knows no file number above 1023.
        waiting = select.poll()
        waiting.register(self._master, select.POLLIN if read else select.POLLOUT)
        if not waiting.poll(1000 * timeout_s):
            return None
        with self._lock:
            if self._closed.is_set():
                return None
            try:
                return do()
            except BlockingIOError:
                return None  # the kernel's buffer filled up since
