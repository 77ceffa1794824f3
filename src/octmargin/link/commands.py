"""Control commands: the twelve-byte header of USB3 Vision and the memory accesses behind it.

Layouts as published in the GenCP and USB3 Vision standards and implemented by Aravis; little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from octmargin.errors import LocalProtocolError, RemoteProtocolError

CONTROL_MAGIC = 0x43563355
"""Reads "U3VC" in memory."""
MAX_COMMAND_DATA = 1024
"""Largest data part of one command or acknowledge, in bytes: longer accesses are split by the host."""

_HEADER = struct.Struct("<IHHHH")
HEADER_SIZE = _HEADER.size
_ACK_REQUESTED = 0x4000


class CommandCode(IntEnum):
    """The `command` field; an acknowledge has the code of its command plus one."""

    READMEM = 0x0800
    READMEM_ACK = 0x0801
    WRITEMEM = 0x0802
    WRITEMEM_ACK = 0x0803
    PENDING_ACK = 0x0805
    STREAM = 0x0E00
    """Serial only: a piece of the frame stream (USB has endpoints of its own for it)."""


class Status(IntEnum):
    """Status of an acknowledge, GenCP's numbers; it stands where a command has its flags."""

    SUCCESS = 0x0000
    NOT_IMPLEMENTED = 0x8001
    INVALID_PARAMETER = 0x8002
    INVALID_ADDRESS = 0x8003
    WRITE_PROTECT = 0x8004
    BAD_ALIGNMENT = 0x8005
    ACCESS_DENIED = 0x8006
    BUSY = 0x8007
    INVALID_HEADER = 0x800E
    WRONG_CONFIG = 0x800F
    GENERIC_ERROR = 0x8FFF


@dataclass(frozen=True, slots=True)
class ReadMem:
    """Host to console: read `size` bytes from `address` on."""

    request_id: int
    address: int
    size: int

    code: ClassVar[CommandCode] = CommandCode.READMEM
    _body: ClassVar[struct.Struct] = struct.Struct("<QHH")

    def to_bytes(self) -> bytes:
        """The command with its header."""
        if not 0 < self.size <= MAX_COMMAND_DATA:
            raise LocalProtocolError(
                f"READMEM of {self.size} bytes; one command reads 1 to {MAX_COMMAND_DATA}"
            )
        return _frame(_ACK_REQUESTED, self.code, self.request_id, self._body.pack(self.address, 0, self.size))

    @classmethod
    def parse(cls, _flags: int, request_id: int, data: bytes) -> ReadMem:
        """From the data part; RemoteProtocolError where it is malformed."""
        if len(data) != cls._body.size:
            raise RemoteProtocolError(f"READMEM with {len(data)} bytes of data; it has {cls._body.size}")
        address, _reserved, size = cls._body.unpack(data)
        if not 0 < size <= MAX_COMMAND_DATA:
            raise RemoteProtocolError(f"READMEM of {size} bytes; one command reads 1 to {MAX_COMMAND_DATA}")
        return cls(request_id, address, size)


@dataclass(frozen=True, slots=True)
class ReadMemAck:
    """Console to host: the bytes that were read, or the reason why not."""

    request_id: int
    data: bytes
    status: Status = Status.SUCCESS

    code: ClassVar[CommandCode] = CommandCode.READMEM_ACK

    def to_bytes(self) -> bytes:
        """The acknowledge with its header."""
        return _frame(self.status, self.code, self.request_id, self.data)

    @classmethod
    def parse(cls, flags: int, request_id: int, data: bytes) -> ReadMemAck:
        """From the data part; RemoteProtocolError for an unknown status."""
        return cls(request_id, data, _status(flags))


@dataclass(frozen=True, slots=True)
class WriteMem:
    """Host to console: write `data` from `address` on."""

    request_id: int
    address: int
    data: bytes

    code: ClassVar[CommandCode] = CommandCode.WRITEMEM
    _address: ClassVar[struct.Struct] = struct.Struct("<Q")

    def to_bytes(self) -> bytes:
        """The command with its header."""
        if not 0 < len(self.data) <= MAX_COMMAND_DATA - self._address.size:
            raise LocalProtocolError(f"WRITEMEM of {len(self.data)} bytes; split it")
        return _frame(
            _ACK_REQUESTED, self.code, self.request_id, self._address.pack(self.address) + self.data
        )

    @classmethod
    def parse(cls, _flags: int, request_id: int, data: bytes) -> WriteMem:
        """From the data part; RemoteProtocolError where it is malformed."""
        if len(data) <= cls._address.size:
            raise RemoteProtocolError("WRITEMEM without data")
        return cls(request_id, cls._address.unpack_from(data)[0], data[cls._address.size :])


@dataclass(frozen=True, slots=True)
class WriteMemAck:
    """Console to host: how many bytes were written, or the reason why none."""

    request_id: int
    written: int
    status: Status = Status.SUCCESS

    code: ClassVar[CommandCode] = CommandCode.WRITEMEM_ACK
    _body: ClassVar[struct.Struct] = struct.Struct("<HH")

    def to_bytes(self) -> bytes:
        """The acknowledge with its header."""
        return _frame(self.status, self.code, self.request_id, self._body.pack(0, self.written))

    @classmethod
    def parse(cls, flags: int, request_id: int, data: bytes) -> WriteMemAck:
        """From the data part; RemoteProtocolError where it is malformed."""
        if len(data) != cls._body.size:
            raise RemoteProtocolError(f"WRITEMEM_ACK with {len(data)} bytes of data; it has {cls._body.size}")
        return cls(request_id, cls._body.unpack(data)[1], _status(flags))


@dataclass(frozen=True, slots=True)
class PendingAck:
    """Console to host: the answer takes longer; wait `timeout_ms` from now on."""

    request_id: int
    timeout_ms: int

    code: ClassVar[CommandCode] = CommandCode.PENDING_ACK
    _body: ClassVar[struct.Struct] = struct.Struct("<HH")

    def to_bytes(self) -> bytes:
        """The acknowledge with its header."""
        return _frame(Status.SUCCESS, self.code, self.request_id, self._body.pack(0, self.timeout_ms))

    @classmethod
    def parse(cls, _flags: int, request_id: int, data: bytes) -> PendingAck:
        """From the data part; RemoteProtocolError where it is malformed."""
        if len(data) != cls._body.size:
            raise RemoteProtocolError(f"PENDING_ACK with {len(data)} bytes of data; it has {cls._body.size}")
        return cls(request_id, cls._body.unpack(data)[1])


@dataclass(frozen=True, slots=True)
class StreamPiece:
    """Console to host, serial only: `data` at byte `offset` of frame `sequence`.

    A frame's bytes are leader, payload and trailer in one row; `request_id` counts pieces.
    """

    request_id: int
    sequence: int
    offset: int
    data: bytes

    code: ClassVar[CommandCode] = CommandCode.STREAM
    _body: ClassVar[struct.Struct] = struct.Struct("<QI")
    MAX_DATA: ClassVar[int] = 16384

    def to_bytes(self) -> bytes:
        """The piece with its header."""
        if not 0 < len(self.data) <= self.MAX_DATA:
            raise LocalProtocolError(f"stream piece of {len(self.data)} bytes; it has 1 to {self.MAX_DATA}")
        body = self._body.pack(self.sequence, self.offset) + self.data
        return _frame(0, self.code, self.request_id, body)

    @classmethod
    def parse(cls, _flags: int, request_id: int, data: bytes) -> StreamPiece:
        """From the data part; RemoteProtocolError where it is malformed."""
        if len(data) <= cls._body.size:
            raise RemoteProtocolError("stream piece without data")
        sequence, offset = cls._body.unpack_from(data)
        return cls(request_id, sequence, offset, data[cls._body.size :])


Command = ReadMem | ReadMemAck | WriteMem | WriteMemAck | PendingAck | StreamPiece
_TYPES: dict[int, type[Command]] = {
    kind.code: kind for kind in (ReadMem, ReadMemAck, WriteMem, WriteMemAck, PendingAck, StreamPiece)
}


@dataclass(frozen=True, slots=True)
class CommandHeader:
    """The twelve bytes in front of every command."""

    flags: int
    command: int
    size: int
    request_id: int

    @classmethod
    def parse(cls, data: bytes) -> CommandHeader:
        """From at least `HEADER_SIZE` bytes; RemoteProtocolError where this is no command."""
        magic, flags, command, size, request_id = _HEADER.unpack_from(data)
        if magic != CONTROL_MAGIC:
            raise RemoteProtocolError(f"control header starts with {magic:#010x}, not {CONTROL_MAGIC:#010x}")
        if command not in _TYPES:
            raise RemoteProtocolError(f"unknown command {command:#06x}")
        limit = StreamPiece.MAX_DATA + 12 if command == CommandCode.STREAM else MAX_COMMAND_DATA + 8
        if size > limit:
            raise RemoteProtocolError(
                f"command {command:#06x} announces {size} bytes; at most {limit} are allowed"
            )
        return cls(flags, command, size, request_id)

    def body(self, data: bytes) -> Command:
        """The command whose data part is `data` (`size` bytes); RemoteProtocolError where malformed."""
        return _TYPES[self.command].parse(self.flags, self.request_id, data)


def parse_command(data: bytes) -> Command:
    """The one command that `data` holds, as a USB transfer carries it.

    RemoteProtocolError where it is malformed, cut short or followed by anything.
    """
    if len(data) < HEADER_SIZE:
        raise RemoteProtocolError(f"a command of {len(data)} bytes; its header alone has {HEADER_SIZE}")
    header = CommandHeader.parse(data)
    body = data[HEADER_SIZE:]
    if len(body) != header.size:
        raise RemoteProtocolError(
            f"command {header.command:#06x} announces {header.size} bytes and has {len(body)}"
        )
    return header.body(body)


def _frame(flags: int, command: int, request_id: int, data: bytes) -> bytes:
    return _HEADER.pack(CONTROL_MAGIC, flags, command, len(data), request_id) + data


def _status(value: int) -> Status:
    try:
        return Status(value)
    except ValueError as error:
        raise RemoteProtocolError(f"unknown status {value:#06x} in an acknowledge") from error
