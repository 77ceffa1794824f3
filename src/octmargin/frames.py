"""The words of the project as plain types: what a scan is, and what a frame off the wire is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError

ALINES_PER_BLOCK = 16
"""Neighbouring A-lines of a B-scan that share one flag."""

FACES = ("superior", "inferior", "medial", "lateral", "anterior", "posterior")
"""The six faces of a lumpectomy, in the order in which they are scanned unless configured otherwise."""

FACE_NAME = r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,30}$"
"""Pattern of the name of a face, shave or node: fits the console's register and one level of a topic."""
IDENTIFIER = r"^[a-z0-9][a-z0-9-]*$"
"""Pattern of what a case, a specimen, a site or a console is known by."""


class PixelFormat(Enum):
    """How one sample of a spectrum lies in memory; values are the PFNC codes of GenICam."""

    MONO8 = 0x01080001
    MONO12 = 0x01100005
    """12 significant bits in a little-endian uint16."""
    MONO16 = 0x01100007

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little-endian dtype of one sample."""
        return np.dtype(np.uint8) if self is PixelFormat.MONO8 else np.dtype("<u2")

    @property
    def bits(self) -> int:
        """Significant bits per sample."""
        return {PixelFormat.MONO8: 8, PixelFormat.MONO12: 12, PixelFormat.MONO16: 16}[self]

    @property
    def full_scale(self) -> int:
        """Largest value of a sample, in counts: a sample that reaches it is saturated."""
        return (1 << self.bits) - 1


class FrameFlags(IntFlag):
    """Conditions that the console reports in a frame's trailer."""

    NONE = 0
    SATURATED = 1 << 0
    TRIGGER_TOO_FAST = 1 << 1
    LASER_OFF = 1 << 2
    SHUTTER_CLOSED = 1 << 3
    LAST_OF_SWEEP = 1 << 4


class BlockState(IntEnum):
    """What is known of one planned block."""

    NOT_SCANNED = 0
    LOST = 1
    POOR = 2
    NOTHING_SUSPICIOUS = 3
    SUSPICIOUS = 4


class BlockQuality(IntFlag):
    """Why a block is poor; OK when nothing is set."""

    OK = 0
    NO_SURFACE = 1 << 0
    """More than half of its A-lines show no tissue surface, or cannot be used for it and other reasons together."""
    SATURATED = 1 << 1
    """More than a quarter of its spectra are saturated."""
    LOW_SIGNAL = 1 << 2
    """The tissue below the surface hardly rises above the noise."""
    SHALLOW = 1 << 3
    """The profile is lost in the noise before anything can be judged."""
    UNFAMILIAR = 1 << 4
    """Its pixels are of sizes that the model was not validated for."""


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """One sweep: the planned grid over one face.

    `alines` spectra of `samples` samples per frame, `frames` frames; `width_mm` along a frame and
    `height_mm` across frames; `line_rate_hz` the A-line rate. `face` names the face or shave. `first_frame` is where
    scanning begins: above 0 where an interrupted sweep goes on.
    """

    face: str
    samples: int
    alines: int
    frames: int
    width_mm: float
    height_mm: float
    line_rate_hz: float
    pixel_format: PixelFormat = PixelFormat.MONO12
    first_frame: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.first_frame < max(self.frames, 1):
            raise InputError(
                f"scan plan: first_frame is {self.first_frame}; give a place of the {self.frames} frames, from 0"
            )
        for name in ("samples", "alines", "frames"):
            if getattr(self, name) < 1:
                raise InputError(f"scan plan: {name} is {getattr(self, name)}; give a number of at least 1")
        for name in ("width_mm", "height_mm", "line_rate_hz"):
            if not getattr(self, name) > 0:
                raise InputError(f"scan plan: {name} is {getattr(self, name)}; give a number above 0")

    @property
    def frame_bytes(self) -> int:
        """Bytes of the spectra of one frame."""
        return self.alines * self.samples * self.pixel_format.dtype.itemsize

    @property
    def frame_um(self) -> float:
        """Distance of neighbouring frames, µm."""
        return 1000 * self.height_mm / self.frames

    @property
    def blocks(self) -> int:
        """Blocks per frame; the last one may hold fewer than `ALINES_PER_BLOCK` A-lines."""
        return -(-self.alines // ALINES_PER_BLOCK)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What is known of one frame beside its spectra.

    `sequence` counts every frame the console numbered since it started to stream; `sweep` and `index`
    place it. `device_timestamp_ns` is the console's clock at the first trigger. `received_at_ns` is the
    host's wall clock (Unix epoch, ns) at the frame's last byte. `dropped_before` counts the frames
    that the console itself had to drop so far.
    """

    sequence: int
    sweep: int
    index: int
    device_timestamp_ns: int
    alines: int
    samples: int
    pixel_format: PixelFormat
    flags: FrameFlags = FrameFlags.NONE
    dropped_before: int = 0
    received_at_ns: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame in a ring slot: its header and a view of its spectra, (alines, samples).

    The view is valid only until the frame is released to the ring.
    """

    header: FrameHeader
    spectra: NDArray[np.unsignedinteger[Any]]


class LossCause(StrEnum):
    """Why a frame that the console numbered will never be processed: what losses are counted by."""

    WIRE = "never arrived"
    DAMAGED = "damaged on the wire"
    CONSOLE_FIFO = "dropped by the console, the host was too slow"
    UNREAD = "numbered while nobody was connected"
    CONSUMER_SLOW = "arrived, but judging was too slow"
    UNUSABLE = "arrived, but the console says that it does not show the tissue"
    NOT_JUDGED = "arrived, but could not be judged"
    UNRECORDED = "missing from the recording"
    SPOILED = "recorded, but damaged since"

    @property
    def arrived(self) -> bool:
        """Whether such a frame had reached this machine."""
        return self in (LossCause.CONSUMER_SLOW, LossCause.UNUSABLE, LossCause.NOT_JUDGED)


@dataclass(frozen=True, slots=True)
class LostFrames:
    """`count` frames from `first_sequence` on that the console numbered and that will never be processed.

    `detail` says more in words, for the log.
    """

    first_sequence: int
    count: int
    cause: LossCause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ConsoleInfo:
    """Who a console is and what it can do; `address` is what `open` of its driver takes."""

    driver: str
    address: str
    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    note: str = ""
    """Why the fields above may be empty, such as "in use by another program"."""
    capabilities: dict[str, Any] = field(default_factory=dict)
    """The console's self-description; empty until it was identified."""
