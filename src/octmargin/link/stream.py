"""The frame stream: leader, payload, trailer, shaped like USB3 Vision, with CRC-32 on each part.

The first 52 bytes of the leader and the first 32 of the trailer lie as in USB3 Vision; the sweep, the
console's counters and the checksums follow. CRC-32 is the one of IEEE 802.3 (zlib).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import ClassVar

from octmargin.errors import RemoteProtocolError
from octmargin.frames import FrameFlags, FrameHeader, PixelFormat

LEADER_MAGIC = 0x4C563355
TRAILER_MAGIC = 0x54563355
MAX_PAYLOAD_BYTES = 1 << 28
"""A leader that announces more is not believed: no console has frames of 256 MiB."""

_PAYLOAD_TYPE_IMAGE = 0x0001
_LEADER = struct.Struct("<IHHQHHQIIIIIHHIIQ")
_TRAILER = struct.Struct("<IHHQHHQIIQI")
_CRC = struct.Struct("<I")

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Leader:
    """Announces a frame: which, when, how large."""

    sequence: int
    device_timestamp_ns: int
    pixel_format: PixelFormat
    samples: int
    alines: int
    sweep: int
    index: int

    SIZE: ClassVar[int] = _LEADER.size + _CRC.size

    @property
    def payload_bytes(self) -> int:
        """Bytes of spectra that follow."""
        return self.samples * self.alines * self.pixel_format.dtype.itemsize

    def to_bytes(self) -> bytes:
        """The leader as it goes over the wire."""
        body = _LEADER.pack(
            LEADER_MAGIC, 0, self.SIZE, self.sequence, 0, _PAYLOAD_TYPE_IMAGE, self.device_timestamp_ns,
            self.pixel_format.value, self.samples, self.alines, 0, 0, 0, 0, self.sweep, self.index,
            self.payload_bytes,
        )  # fmt: skip
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: Bytes) -> Leader:
        """Parse a leader; RemoteProtocolError where the bytes are not one."""
        _check("leader", data, cls.SIZE, LEADER_MAGIC)
        (_, _, _, sequence, _, payload_type, timestamp, pixel_format, samples, alines,
         _, _, _, _, sweep, index, payload_bytes) = _LEADER.unpack_from(data)  # fmt: skip
        if payload_type != _PAYLOAD_TYPE_IMAGE:
            raise RemoteProtocolError(f"leader: unknown payload type {payload_type:#06x}")
        try:
            leader = cls(sequence, timestamp, PixelFormat(pixel_format), samples, alines, sweep, index)
        except ValueError as error:
            raise RemoteProtocolError(f"leader: unknown pixel format {pixel_format:#010x}") from error
        if not 0 < leader.payload_bytes <= MAX_PAYLOAD_BYTES or leader.payload_bytes != payload_bytes:
            raise RemoteProtocolError(
                f"leader: {samples} x {alines} samples of {leader.pixel_format.name} are not {payload_bytes} bytes"
            )
        return leader


@dataclass(frozen=True, slots=True)
class Trailer:
    """Closes a frame: how it went, and the checksum of its payload."""

    sequence: int
    payload_bytes: int
    alines: int
    flags: FrameFlags
    dropped_before: int
    payload_crc: int

    SIZE: ClassVar[int] = _TRAILER.size + _CRC.size

    def to_bytes(self) -> bytes:
        """The trailer as it goes over the wire."""
        body = _TRAILER.pack(
            TRAILER_MAGIC, 0, self.SIZE, self.sequence, 0, 0, self.payload_bytes, self.alines, self.flags,
            self.dropped_before, self.payload_crc,
        )  # fmt: skip
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: Bytes) -> Trailer:
        """Parse a trailer; RemoteProtocolError where the bytes are not one."""
        _check("trailer", data, cls.SIZE, TRAILER_MAGIC)
        (_, _, _, sequence, _, _, payload_bytes, alines, flags, dropped, crc) = _TRAILER.unpack_from(data)
        return cls(sequence, payload_bytes, alines, FrameFlags(flags), dropped, crc)


def payload_crc(payload: Bytes) -> int:
    """CRC-32 of a frame's spectra."""
    return zlib.crc32(payload)


def close_frame(leader: Leader, payload: Bytes, trailer_bytes: Bytes, received_at_ns: int) -> FrameHeader:
    """Check a frame whose three parts have arrived and give its header.

    Raises RemoteProtocolError where the trailer is malformed, belongs to another frame, or the payload is
    not what the console sent.
    """
    trailer = Trailer.from_bytes(trailer_bytes)
    if trailer.sequence != leader.sequence:
        raise RemoteProtocolError(
            f"trailer of frame {trailer.sequence} after the leader of frame {leader.sequence}"
        )
    if trailer.payload_bytes != leader.payload_bytes or len(payload) != leader.payload_bytes:
        raise RemoteProtocolError(
            f"frame {leader.sequence}: {len(payload)} bytes arrived, leader says {leader.payload_bytes}, "
            f"trailer {trailer.payload_bytes}"
        )
    if payload_crc(payload) != trailer.payload_crc:
        raise RemoteProtocolError(f"frame {leader.sequence}: the payload's CRC-32 is wrong")
    return FrameHeader(
        sequence=leader.sequence,
        sweep=leader.sweep,
        index=leader.index,
        device_timestamp_ns=leader.device_timestamp_ns,
        alines=leader.alines,
        samples=leader.samples,
        pixel_format=leader.pixel_format,
        flags=trailer.flags,
        dropped_before=trailer.dropped_before,
        received_at_ns=received_at_ns,
    )


def _check(what: str, data: Bytes, size: int, magic: int) -> None:
    if len(data) != size:
        raise RemoteProtocolError(f"{what}: {len(data)} bytes where it has {size}")
    found = int.from_bytes(data[:4], "little")
    if found != magic:
        raise RemoteProtocolError(f"{what}: starts with {found:#010x}, not {magic:#010x}")
    if zlib.crc32(data[: size - _CRC.size]) != _CRC.unpack_from(data, size - _CRC.size)[0]:
        raise RemoteProtocolError(f"{what}: its CRC-32 is wrong")
