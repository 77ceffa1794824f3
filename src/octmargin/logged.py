"""What the log of a recording says of results: enough to say the same again, and to know that it is the same."""

from __future__ import annotations

import hashlib
from typing import Self

from msgspec import Struct

from octmargin.bus import FlagMessage, KeyView, MapMessage, StateCounts, VerdictMessage
from octmargin.frames import BlockState, FrameHeader
from octmargin.margin import BlockFlags


class LoggedFlags(Struct, frozen=True, kw_only=True):
    """Flags of one frame as they were published, and a hash of their bits before they were rounded.

    `sweep` and `frame_sequence` are the console's: they tell which recorded frame it was.
    """

    case_id: str
    specimen_id: str
    face: str
    sweep: int
    frame_index: int
    frame_sequence: int
    state: list[BlockState]
    suspicion: list[float | None]
    distance_mm: list[float | None]
    visualised_depth_mm: list[float | None]
    quality: list[int]
    bits: str

    @classmethod
    def of(cls, message: FlagMessage, header: FrameHeader, flags: BlockFlags) -> Self:
        """From what was published and what it was made of."""
        names = (name for name in cls.__struct_fields__ if name not in ("sweep", "bits"))
        said = {name: getattr(message, name) for name in names}
        return cls(sweep=header.sweep, bits=bits_of(flags), **said)


class LoggedMap(Struct, frozen=True, kw_only=True):
    """The map of a face with which its final verdict was published."""

    face: str
    sweep: int
    grid: list[str]

    @classmethod
    def of(cls, message: MapMessage) -> Self:
        """From what was published."""
        return cls(**{name: getattr(message, name) for name in cls.__struct_fields__})


class LoggedVerdict(Struct, frozen=True, kw_only=True):
    """A final verdict as it was published."""

    case_id: str
    specimen_id: str
    face: str
    sweep: int
    verdict: str
    coverage: float
    visualised_depth_mm: float | None
    distance_mm: float | None
    clusters: int
    counts: StateCounts
    reasons: list[str]
    key_views: list[KeyView] = []
    """What readers decided on; not compared, for the clusters are. Older logs have none."""

    @classmethod
    def of(cls, message: VerdictMessage) -> Self:
        """From what was published."""
        return cls(**{name: getattr(message, name) for name in cls.__struct_fields__})


def bits_of(flags: BlockFlags) -> str:
    """SHA-256 over what is said of the blocks of a frame, to the last bit, hexadecimal."""
    digest = hashlib.sha256()
    for values in (flags.state, flags.suspicion, flags.distance_mm, flags.visualised_depth_mm, flags.quality):
        digest.update(values.tobytes())
    return digest.hexdigest()
