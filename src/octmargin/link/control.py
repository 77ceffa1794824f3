"""Control, both sides: the host's requests and answers, the console's register memory. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from octmargin.errors import CommandRefusedError, LocalProtocolError, RemoteProtocolError
from octmargin.link.commands import (
    MAX_COMMAND_DATA,
    Command,
    PendingAck,
    ReadMem,
    ReadMemAck,
    Status,
    WriteMem,
    WriteMemAck,
)
from octmargin.link.registers import Access, Register

_MAX_WRITE = MAX_COMMAND_DATA - 8


@dataclass(frozen=True, slots=True)
class Answered:
    """The request is done: `data` was read (empty after a write)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StillPending:
    """The console asks for `timeout_ms` more."""

    timeout_ms: int


class ControlHost:
    """The host's half of the control channel: one request at a time, matched to its answer by id."""

    def __init__(self) -> None:
        self._next_id = 0
        self._open: ReadMem | WriteMem | None = None

    def read(self, address: int, size: int) -> ReadMem:
        """Begin a read of at most `MAX_COMMAND_DATA` bytes; send what is returned."""
        request = ReadMem(self._take_id(), address, size)
        self._open = request
        return request

    def write(self, address: int, data: bytes) -> WriteMem:
        """Begin a write; send what is returned."""
        request = WriteMem(self._take_id(), address, data)
        self._open = request
        return request

    def give_up(self) -> None:
        """Forget the open request (it timed out); a late answer to it will be ignored."""
        self._open = None

    def receive(self, command: Command) -> Answered | StillPending | None:
        """Take a command off the wire.

        None for a late answer to a request that was given up. CommandRefusedError where the console
        refuses; RemoteProtocolError for an answer that does not fit the open request.
        """
        request = self._open
        if isinstance(command, ReadMem | WriteMem):
            raise RemoteProtocolError("the console sent a request; it may only answer")
        if request is None or command.request_id != request.request_id:
            return None
        if isinstance(command, PendingAck):
            return StillPending(command.timeout_ms)
        self._open = None
        if isinstance(command, ReadMemAck) and isinstance(request, ReadMem):
            _raise_refusal(command.status, f"read of {request.size} bytes at {request.address:#x}")
            if len(command.data) != request.size:
                raise RemoteProtocolError(
                    f"read of {request.size} bytes at {request.address:#x} gave {len(command.data)}"
                )
            return Answered(command.data)
        if isinstance(command, WriteMemAck) and isinstance(request, WriteMem):
            _raise_refusal(command.status, f"write of {len(request.data)} bytes at {request.address:#x}")
            if command.written != len(request.data):
                raise RemoteProtocolError(f"only {command.written} of {len(request.data)} bytes were written")
            return Answered(b"")
        raise RemoteProtocolError(f"{type(command).__name__} answers a {type(request).__name__}")

    def _take_id(self) -> int:
        if self._open is not None:
            raise LocalProtocolError("a request is still open; wait for its answer or give it up")
        self._next_id = (self._next_id + 1) & 0xFFFF
        return self._next_id


def split_read(address: int, size: int) -> list[tuple[int, int]]:
    """(address, size) of the single reads that make up a long one."""
    return [(address + at, min(MAX_COMMAND_DATA, size - at)) for at in range(0, size, MAX_COMMAND_DATA)]


def split_write(address: int, data: bytes) -> list[tuple[int, bytes]]:
    """(address, data) of the single writes that make up a long one."""
    return [(address + at, data[at : at + _MAX_WRITE]) for at in range(0, len(data), _MAX_WRITE)]


def _raise_refusal(status: Status, what: str) -> None:
    if status is not Status.SUCCESS:
        raise CommandRefusedError(f"the console refuses the {what}: {status.name.lower().replace('_', ' ')}")


class RegisterMemory:
    """The console's half: registers that are read and written by address.

    `on_read(register)` may give a live value in place of the stored one; `on_write(register, value)` acts
    on a written register and returns the status to answer.
    """

    def __init__(
        self,
        registers: Sequence[Register],
        *,
        on_read: Callable[[Register], int | str | None],
        on_write: Callable[[Register, bytes], Status],
    ) -> None:
        self._registers = sorted(registers, key=lambda register: register.address)
        self._stored = {register.address: bytes(register.size) for register in registers}
        self._blobs: list[tuple[int, bytes]] = []
        self._on_read = on_read
        self._on_write = on_write

    def store(self, register: Register, value: int | str) -> None:
        """Set a register from the console's side."""
        self._stored[register.address] = register.pack(value)

    def add_blob(self, address: int, data: bytes) -> None:
        """Place read-only bytes, such as the self-description."""
        self._blobs.append((address, data))

    def number(self, register: Register) -> int:
        """The stored number of a register."""
        return register.unpack_int(self._stored[register.address])

    def text(self, register: Register) -> str:
        """The stored text of a register."""
        return register.unpack_text(self._stored[register.address])

    def answer(self, command: Command) -> ReadMemAck | WriteMemAck | None:
        """The acknowledge to a request; None for what is no request."""
        if isinstance(command, ReadMem):
            data = self._read(command.address, command.size)
            if data is None:
                return ReadMemAck(command.request_id, b"", Status.INVALID_ADDRESS)
            return ReadMemAck(command.request_id, data)
        if isinstance(command, WriteMem):
            status = self._write(command.address, command.data)
            written = len(command.data) if status is Status.SUCCESS else 0
            return WriteMemAck(command.request_id, written, status)
        return None

    def _read(self, address: int, size: int) -> bytes | None:
        """Bytes from `address` on: registers in a row (gaps read as zero), or a part of a blob."""
        for base, blob in self._blobs:
            if base <= address and address + size <= base + len(blob):
                return blob[address - base : address - base + size]
        covered = bytearray(size)
        found = False
        for register in self._registers:
            start = register.address - address
            if start + register.size <= 0 or start >= size:
                continue
            found = True
            live = self._on_read(register)
            data = self._stored[register.address] if live is None else register.pack(live)
            lower, upper = max(start, 0), min(start + register.size, size)
            covered[lower:upper] = data[lower - start : upper - start]
        return bytes(covered) if found else None

    def _write(self, address: int, data: bytes) -> Status:
        """Write one whole register: a partial write would leave a value that nobody meant."""
        for register in self._registers:
            if register.address == address:
                if register.access is Access.READ_ONLY:
                    return Status.WRITE_PROTECT
                if len(data) != register.size:
                    return Status.BAD_ALIGNMENT
                status = self._on_write(register, data)
                if status is Status.SUCCESS:
                    self._stored[address] = data
                return status
        return Status.INVALID_ADDRESS
