"""The register map of a console: one address space, little-endian, the same on every wire.

Addresses below 0x10000 are the bootstrap registers of GenCP, where machine-vision cameras have them;
those from 0x10000 on are the OCT part. docs/protocol.md describes each for a firmware engineer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from octmargin.errors import LocalProtocolError, RemoteProtocolError

PROTOCOL_VERSION = 0x0001_0002
"""Major version in the upper, minor version in the lower 16 bits."""
RESUMES_SINCE_MINOR = 1
"""Minor version from which on a console can begin within a sweep."""
PEDAL_SINCE_MINOR = 2
"""Minor version from which on a console counts how often its foot pedal was pressed."""

USB_VENDOR_ID = 0x1209
USB_PRODUCT_ID = 0x0C7A
"""Default USB identity of a console that speaks this link (a test id: makers use their own)."""


class Access(IntEnum):
    """Who may write a register."""

    READ_ONLY = 0
    READ_WRITE = 1


@dataclass(frozen=True, slots=True)
class Register:
    """One register: where it is, how many bytes it has, and how they are read.

    `code` is the struct code of an unsigned integer ("I" or "Q") or "s" for NUL-padded UTF-8 text.
    """

    name: str
    address: int
    size: int
    code: str
    access: Access = Access.READ_ONLY

    def pack(self, value: int | str) -> bytes:
        """Bytes of `value` as they lie in the register; LocalProtocolError where it does not fit."""
        if self.code == "s":
            text = str(value).encode()
            if len(text) >= self.size:
                raise LocalProtocolError(
                    f"register {self.name}: {value!r} has {len(text)} bytes, at most {self.size - 1} fit"
                )
            return text.ljust(self.size, b"\0")
        try:
            return struct.pack("<" + self.code, value)
        except struct.error as error:
            raise LocalProtocolError(f"register {self.name}: {value!r} does not fit ({error})") from error

    def unpack_int(self, data: bytes) -> int:
        """The register's number; RemoteProtocolError where `data` has not the register's size."""
        if self.code == "s" or len(data) != self.size:
            raise RemoteProtocolError(
                f"register {self.name}: {len(data)} bytes where {self.size} were asked for"
            )
        value: int = struct.unpack("<" + self.code, data)[0]
        return value

    def unpack_text(self, data: bytes) -> str:
        """The register's text up to its first NUL; bytes that are not UTF-8 are shown as such."""
        return data.split(b"\0", 1)[0].decode("utf-8", errors="backslashreplace")


def _u32(name: str, address: int, access: Access = Access.READ_ONLY) -> Register:
    return Register(name, address, 4, "I", access)


def _u64(name: str, address: int, access: Access = Access.READ_ONLY) -> Register:
    return Register(name, address, 8, "Q", access)


def _text(name: str, address: int, size: int = 64, access: Access = Access.READ_ONLY) -> Register:
    return Register(name, address, size, "s", access)


# Bootstrap, at the addresses of GenCP.
GENCP_VERSION = _u32("GenCP version", 0x0000)
MAKER = _text("maker", 0x0004)
MODEL = _text("model", 0x0044)
FIRMWARE = _text("firmware", 0x00C4)
SERIAL_NUMBER = _text("serial number", 0x0144)
MAX_RESPONSE_MS = _u32("maximum response time", 0x01CC)
HEARTBEAT_TIMEOUT_MS = _u32("heartbeat timeout", 0x01E8, Access.READ_WRITE)
TIMESTAMP_NS = _u64("timestamp", 0x01F0)
TIMESTAMP_LATCH = _u32("timestamp latch", 0x01F8, Access.READ_WRITE)

# OCT part: identity of the protocol and self-description.
OCT_PROTOCOL = _u32("OCT protocol version", 0x1_0000)
DESCRIPTION_ADDRESS = _u64("self-description address", 0x1_0008)
DESCRIPTION_SIZE = _u32("self-description size", 0x1_0010)

# OCT part: the plan of the next sweep.
SAMPLES = _u32("samples", 0x1_0100, Access.READ_WRITE)
ALINES = _u32("A-lines per frame", 0x1_0104, Access.READ_WRITE)
FRAMES = _u32("frames per sweep", 0x1_0108, Access.READ_WRITE)
PIXEL_FORMAT = _u32("pixel format", 0x1_010C, Access.READ_WRITE)
LINE_RATE_MILLIHZ = _u64("line rate", 0x1_0110, Access.READ_WRITE)
WIDTH_UM = _u32("width", 0x1_0118, Access.READ_WRITE)
HEIGHT_UM = _u32("height", 0x1_011C, Access.READ_WRITE)
FACE = _text("face", 0x1_0120, 32, Access.READ_WRITE)
FIRST_FRAME = _u32("first frame", 0x1_0140, Access.READ_WRITE)

# OCT part: scanning and its state.
SCAN_CONTROL = _u32("scan control", 0x1_0200, Access.READ_WRITE)
SCAN_STATE = _u32("scan state", 0x1_0204)
SWEEP = _u32("sweep", 0x1_0208)
FAULTS = _u32("faults", 0x1_020C)
SWEEP_FIRST_SEQUENCE = _u64("first sequence of the sweep", 0x1_0210)
FRAMES_NUMBERED = _u64("frames numbered", 0x1_0218)
FRAMES_DROPPED = _u64("frames dropped", 0x1_0220)
PEDAL_PRESSES = _u32("pedal presses", 0x1_0228)

DESCRIPTION_BASE = 0x2_0000

ALL: tuple[Register, ...] = (
    GENCP_VERSION, MAKER, MODEL, FIRMWARE, SERIAL_NUMBER, MAX_RESPONSE_MS, HEARTBEAT_TIMEOUT_MS, TIMESTAMP_NS,
    TIMESTAMP_LATCH, OCT_PROTOCOL, DESCRIPTION_ADDRESS, DESCRIPTION_SIZE, SAMPLES, ALINES, FRAMES, PIXEL_FORMAT,
    LINE_RATE_MILLIHZ, WIDTH_UM, HEIGHT_UM, FACE, FIRST_FRAME, SCAN_CONTROL, SCAN_STATE, SWEEP, FAULTS,
    SWEEP_FIRST_SEQUENCE, FRAMES_NUMBERED, FRAMES_DROPPED, PEDAL_PRESSES,
)  # fmt: skip


class ScanCommand(IntEnum):
    """Values that the host writes to `SCAN_CONTROL`."""

    STOP = 0
    START = 1


class ScanState(IntEnum):
    """Values of `SCAN_STATE`."""

    IDLE = 0
    SCANNING = 1


class Faults(IntFlag):
    """Bits of `FAULTS`; they describe the present sweep, or the last one when idle."""

    NONE = 0
    HEARTBEAT_LOST = 1 << 0
    """The host was silent for the heartbeat timeout; the console stopped the sweep."""
    TRIGGER_TOO_FAST = 1 << 1
    """A trigger came before the line camera had read out the last spectrum."""
    INTERLOCK = 1 << 2
    """The laser interlock is open."""
    FIFO_OVERFLOW = 1 << 3
    """The host did not fetch frames in time; the console dropped some (see `FRAMES_DROPPED`)."""


@dataclass(frozen=True, slots=True)
class ScanStatus:
    """The status block, read in one access so that its fields belong together."""

    state: ScanState
    sweep: int
    faults: Faults
    first_sequence: int
    frames_numbered: int
    frames_dropped: int

    ADDRESS = SCAN_STATE.address
    SIZE = FRAMES_DROPPED.address + FRAMES_DROPPED.size - SCAN_STATE.address

    @classmethod
    def from_bytes(cls, data: bytes) -> ScanStatus:
        """Read `SIZE` bytes from `ADDRESS` on; RemoteProtocolError for another size or an unknown state."""
        if len(data) != cls.SIZE:
            raise RemoteProtocolError(f"status block: {len(data)} bytes where {cls.SIZE} were asked for")
        state, sweep, faults, first, numbered, dropped = _STATUS.unpack(data)
        try:
            return cls(ScanState(state), sweep, Faults(faults), first, numbered, dropped)
        except ValueError as error:
            raise RemoteProtocolError(f"status block: {error}") from error

    def to_bytes(self) -> bytes:
        """The status block as it lies in the console's memory."""
        return _STATUS.pack(
            self.state,
            self.sweep,
            self.faults,
            self.first_sequence,
            self.frames_numbered,
            self.frames_dropped,
        )


_STATUS = struct.Struct("<IIIQQQ")
