"""GenCP on a serial line: a big-endian prefix in front of every command, and how to find it in noise.

Prefix: preamble u16 0x0100, checksum of channel and command header u16, checksum of channel and whole
command u16, channel u16. The checksum is the 16-bit one's complement sum of the Internet (RFC 1071).
"""

from __future__ import annotations

import struct
from enum import IntEnum

import numpy as np

from octmargin.errors import RemoteProtocolError
from octmargin.link.commands import HEADER_SIZE, Command, CommandHeader, StreamPiece

PREAMBLE = 0x0100
_PREFIX = struct.Struct(">HHHH")
PREFIX_SIZE = _PREFIX.size
_CHANNEL = struct.Struct(">H")
_PREAMBLE_BYTES = PREAMBLE.to_bytes(2, "big")


class Channel(IntEnum):
    """What a packet on the serial line belongs to."""

    CONTROL = 0
    STREAM = 2


def checksum16(data: bytes) -> int:
    """16-bit one's complement checksum of `data`, zero-padded to even length (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = int(np.frombuffer(data, ">u2").sum(dtype=np.uint64))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def encode(command: Command) -> bytes:
    """A command with its prefix, ready for the serial line."""
    data = command.to_bytes()
    channel = _CHANNEL.pack(Channel.STREAM if isinstance(command, StreamPiece) else Channel.CONTROL)
    return (
        _PREFIX.pack(
            PREAMBLE,
            checksum16(channel + data[:HEADER_SIZE]),
            checksum16(channel + data),
            _CHANNEL.unpack(channel)[0],
        )
        + data
    )


class SerialDecoder:
    """Turns the bytes of a serial line, however split and whatever lies between, into commands.

    `receive` takes bytes; `next_command` gives a command, or None when more bytes are needed. Bytes that
    are no packet raise RemoteProtocolError once and are skipped; the next call goes on behind
    them, so that a good packet after garbage is always found.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> None:
        """Append bytes from the wire."""
        self._buffer += data

    def next_command(self) -> Command | None:
        """The next whole command, or None."""
        self._require_preamble()
        if len(self._buffer) < PREFIX_SIZE + HEADER_SIZE:
            return None
        _, header_sum, whole_sum, channel = _PREFIX.unpack_from(self._buffer)
        channel_bytes = _CHANNEL.pack(channel)
        header_bytes = bytes(self._buffer[PREFIX_SIZE : PREFIX_SIZE + HEADER_SIZE])
        if checksum16(channel_bytes + header_bytes) != header_sum:
            self._reject("the header's checksum is wrong", 1)
        try:
            header = CommandHeader.parse(header_bytes)
        except RemoteProtocolError as error:
            self._reject(str(error), 1)
        size = PREFIX_SIZE + HEADER_SIZE + header.size
        if len(self._buffer) < size:
            return None
        body = bytes(self._buffer[PREFIX_SIZE + HEADER_SIZE : size])
        if checksum16(channel_bytes + header_bytes + body) != whole_sum:
            # The header was sound but its length may cover the beginning of a good packet: step over the
            # preamble only.
            self._reject("the packet's checksum is wrong", 1)
        expected = Channel.STREAM if header.command == StreamPiece.code else Channel.CONTROL
        if channel != expected:
            self._reject(f"command {header.command:#06x} on channel {channel}", size)
        try:
            command = header.body(body)
        except RemoteProtocolError as error:
            self._reject(str(error), size)
        del self._buffer[:size]
        return command

    def _require_preamble(self) -> None:
        """Drop what lies before the next preamble; raise if anything did."""
        position = self._buffer.find(_PREAMBLE_BYTES)
        if position == 0 or not self._buffer:
            return
        if position < 0:
            position = len(self._buffer) - (self._buffer[-1] == _PREAMBLE_BYTES[0])
            if position == 0:
                return
        del self._buffer[:position]
        raise RemoteProtocolError(f"{position} bytes on the serial line that are no packet")

    def _reject(self, why: str, size: int) -> None:
        del self._buffer[:size]
        raise RemoteProtocolError(f"packet on the serial line: {why}")
