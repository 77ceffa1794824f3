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

    `on_last` is called when the sweep's last frame has arrived; `on_trouble` with one line for each frame
    that did not arrive whole, or came again.
    """

    def __init__(
        self,
        ring: FrameRing,
        first_sequence: int,
        dropped_by_console: int,
        *,
        on_last: Callable[[], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._ring = ring
        self._ledger = SequenceLedger(first_sequence, dropped_by_console)
        self._on_last = on_last
        self._on_trouble = on_trouble
        self._leader: Leader | None = None
        self._slot: Slot | None = None
        self._heard_at_s = time.monotonic()
        self.ended = False
        """Whether the sweep's last frame has arrived."""

    @property
    def next_sequence(self) -> int:
        """The first frame not yet accounted for."""
        return self._ledger.next_sequence

    @property
    def dropped_by_console(self) -> int:
        """The console's count of dropped frames, as the last trailer gave it."""
        return self._ledger.dropped_by_console

    @property
    def quiet_s(self) -> float:
        """Seconds since the wire last brought something."""
        return time.monotonic() - self._heard_at_s

    def heard(self) -> None:
        """Note that a part of a frame has come: on a slow line, one frame takes seconds."""
        self._heard_at_s = time.monotonic()

    def begin(self, leader: Leader) -> memoryview | None:
        """Begin a frame: where its payload is to be written; None where no slot can take it."""
        self.heard()
        if self._slot is not None:
            self.broken("its trailer is missing")
        if leader.payload_bytes > self._ring.slot_bytes:
            self.broken(
                f"frame {leader.sequence} has {leader.payload_bytes} bytes, a slot {self._ring.slot_bytes}"
            )
            return None
        self._leader = leader
        self._slot = self._ring.reserve()
        return self._slot.memory.data[: leader.payload_bytes]

    def finish(self, trailer: bytes) -> None:
        """End the frame: check it and hand it on, or count it as lost."""
        self.heard()
        leader, slot = self._leader, self._slot
        if leader is None or slot is None:
            return  # the frame was given up at its leader
        payload = slot.memory.data[: leader.payload_bytes]
        try:
            header = close_frame(leader, payload, trailer, time.time_ns())
        except RemoteProtocolError as error:
            self.broken(str(error))
            return
        self._leader = self._slot = None
        is_new, lost = self._ledger.received(header.sequence, header.dropped_before)
        for entry in lost:
            self._ring.lose(entry)
        if not is_new:
            self._ring.abandon(slot)
            self._on_trouble(f"frame {header.sequence} came when it was already accounted for")
            return
        self._ring.commit(slot, header)
        if header.flags & FrameFlags.LAST_OF_SWEEP:
            self.ended = True
            self._on_last()

    def broken(self, reason: str) -> None:
        """Give the present frame up; the ledger counts it when the next one arrives."""
        if self._slot is not None:
            self._ring.abandon(self._slot)
        self._leader = self._slot = None
        self._ledger.broken(reason)
        self._on_trouble(reason)

    def close(self, numbered: int, dropped_by_console: int) -> None:
        """End the sweep: what the console numbered below `numbered` and did not arrive is lost."""
        if self._slot is not None:
            self.broken("the sweep ended within it")
        for entry in self._ledger.close(numbered, dropped_by_console):
            self._ring.lose(entry)
