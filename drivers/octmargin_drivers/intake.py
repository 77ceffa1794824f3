"""From the wire into the ring: one frame at a time, checked and accounted for."""

from __future__ import annotations

import time
from collections.abc import Callable

from octmargin.errors import RemoteProtocolError
from octmargin.frames import FrameFlags
from octmargin.link.ledger import SequenceLedger
from octmargin.link.stream import Leader, close_frame
from octmargin.ring import FrameRing, Slot


class FrameIntake:
    """Takes the frames of one sweep; used by one reader thread.

    `on_last` is called when the sweep's last frame has arrived; `on_broken` with the reason for each frame
    that did not arrive whole.
    """

    def __init__(
        self,
        ring: FrameRing,
        first_sequence: int,
        dropped_by_console: int,
        *,
        on_last: Callable[[], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self._ring = ring
        self._ledger = SequenceLedger(first_sequence, dropped_by_console)
        self._on_last = on_last
        self._on_broken = on_broken
        self._leader: Leader | None = None
        self._slot: Slot | None = None
        self.duplicates = 0
        self.ended = False
        """Whether the sweep's last frame has arrived."""

    @property
    def next_sequence(self) -> int:
        """The first frame not yet accounted for."""
        return self._ledger.next_sequence

    def begin(self, leader: Leader) -> memoryview | None:
        """A frame begins: where its payload is to be written; None where no slot can take it."""
        if self._slot is not None:
            self.broken("its trailer is missing")
        if leader.payload_bytes > self._ring.slot_bytes:
            self.broken(f"frame {leader.sequence} has {leader.payload_bytes} bytes, a slot {self._ring.slot_bytes}")
            return None
        self._leader = leader
        self._slot = self._ring.reserve()
        return memoryview(self._slot.memory)[: leader.payload_bytes]

    def finish(self, trailer: bytes) -> None:
        """A frame has ended: check it and hand it on, or count it as lost."""
        leader, slot = self._leader, self._slot
        if leader is None or slot is None:
            return  # the frame was given up at its leader
        payload = memoryview(slot.memory)[: leader.payload_bytes]
        try:
            header = close_frame(leader, payload, trailer, time.time_ns())
        except RemoteProtocolError as error:
            self.broken(str(error))
            return
        self._leader = self._slot = None
        is_new, lost = self._ledger.received(header.sequence, header.dropped_before)
        if lost is not None:
            self._ring.lose(lost)
        if not is_new:
            self.duplicates += 1
            self._ring.abandon(slot)
            return
        self._ring.commit(slot, header)
        if header.flags & FrameFlags.LAST_OF_SWEEP:
            self.ended = True
            self._on_last()

    def broken(self, reason: str) -> None:
        """The present frame cannot be completed; the ledger counts it when the next one arrives."""
        if self._slot is not None:
            self._ring.abandon(self._slot)
        self._leader = self._slot = None
        self._ledger.broken(reason)
        self._on_broken(reason)

    def close(self, numbered: int, dropped_by_console: int) -> None:
        """The sweep is over: what the console numbered below `numbered` and did not arrive is lost."""
        if self._slot is not None:
            self.broken("the sweep ended within it")
        lost = self._ledger.close(numbered, dropped_by_console)
        if lost is not None:
            self._ring.lose(lost)
