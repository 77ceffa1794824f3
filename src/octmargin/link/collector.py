"""Host side of the serial stream: pieces in, parts of frames out."""

from __future__ import annotations

from dataclasses import dataclass

from octmargin.errors import RemoteProtocolError
from octmargin.link.commands import StreamPiece
from octmargin.link.stream import Leader, Trailer


@dataclass(frozen=True, slots=True)
class LeaderArrived:
    """A frame begins."""

    leader: Leader


@dataclass(frozen=True, slots=True)
class PayloadArrived:
    """`data` belongs at byte `offset` of the frame's spectra."""

    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class TrailerArrived:
    """A frame has ended; its trailer is not yet checked."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FrameBroken:
    """A frame cannot be completed; its sequence number will show up as lost."""

    sequence: int
    reason: str


StreamEvent = LeaderArrived | PayloadArrived | TrailerArrived | FrameBroken


class FrameCollector:
    """Puts the pieces of a serial stream back into frames, in order, and says where it cannot."""

    def __init__(self) -> None:
        self._leader: Leader | None = None
        self._expected_offset = 0
        self._head = bytearray()
        self._tail = bytearray()

    def collect(self, piece: StreamPiece) -> list[StreamEvent]:
        """What `piece` brings; an empty list while its frame is being skipped."""
        events: list[StreamEvent] = []
        if piece.offset == 0:
            if self._in_frame:
                events.append(FrameBroken(self._sequence, "its end is missing"))
            self._begin(piece.sequence)
        elif not self._in_frame:
            return events
        elif piece.sequence != self._sequence or piece.offset != self._expected_offset:
            events.append(FrameBroken(self._sequence, "a piece is missing"))
            self._reset()
            return events
        self._expected_offset = piece.offset + len(piece.data)
        try:
            self._take(memoryview(piece.data), piece.offset, events)
        except RemoteProtocolError as error:
            events.append(FrameBroken(piece.sequence, str(error)))
            self._reset()
        return events

    _sequence = -1

    @property
    def _in_frame(self) -> bool:
        return self._sequence >= 0

    def _begin(self, sequence: int) -> None:
        self._reset()
        self._sequence = sequence

    def _reset(self) -> None:
        self._sequence = -1
        self._leader = None
        self._head.clear()
        self._tail.clear()

    def _take(self, data: memoryview, offset: int, events: list[StreamEvent]) -> None:
        """Cut a piece at the borders of leader, payload and trailer."""
        if self._leader is None:
            missing = Leader.SIZE - len(self._head)
            self._head += data[:missing]
            if len(self._head) < Leader.SIZE:
                return
            self._leader = Leader.from_bytes(self._head)
            if self._leader.sequence != self._sequence:
                raise RemoteProtocolError(
                    f"leader of frame {self._leader.sequence} in frame {self._sequence}"
                )
            events.append(LeaderArrived(self._leader))
            data, offset = data[missing:], offset + missing
        payload_end = Leader.SIZE + self._leader.payload_bytes
        payload = data[: max(0, payload_end - offset)]
        if payload:
            events.append(PayloadArrived(offset - Leader.SIZE, payload))
        self._tail += data[len(payload) :]
        if len(self._tail) > Trailer.SIZE:
            raise RemoteProtocolError(f"frame {self._sequence} is longer than its leader says")
        if len(self._tail) == Trailer.SIZE:
            events.append(TrailerArrived(bytes(self._tail)))
            self._reset()
