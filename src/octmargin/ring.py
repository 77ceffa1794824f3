"""The frame ring: preallocated slots between a driver's reader thread and its consumers.

The producer never waits. Each consumer has a cursor of its own and sees every frame in order, either as a
`Frame` or, where it was too slow or the wire lost it, as `LostFrames`: nothing disappears silently.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from octmargin.buffers import CACHE_LINE, aligned_zeros
from octmargin.errors import LocalProtocolError
from octmargin.frames import Frame, FrameHeader, LossCause, LostFrames


@dataclass(eq=False, slots=True)
class Slot:
    """One preallocated piece of memory for the spectra of a frame."""

    memory: NDArray[np.uint8]
    header: FrameHeader | None = None
    waiting: set[Cursor] = field(default_factory=set)
    """Cursors that have not taken the frame yet."""
    holders: int = 0
    """Cursors that work on the frame now: it cannot be overwritten."""


class RingClosedError(LocalProtocolError):
    """The ring was closed and everything in it was taken."""


class Cursor:
    """A consumer's place in the ring. At most `holding` of its frames are out at the same time."""

    def __init__(self, ring: FrameRing, name: str, holding: int) -> None:
        self.name = name
        self.holding = holding
        self.dropped = 0
        """Frames that this consumer was too slow for."""
        self.arrived = 0
        """Frames that were ever put before this consumer."""
        self.entered = 0
        """The same, and those that were lost before they came."""
        self._ring = ring
        self._lost: deque[LostFrames] = deque()
        """Before all entries."""
        self._entries: deque[Slot | LostFrames] = deque()
        self._held: list[Slot] = []

    def take(self, timeout_s: float | None = None) -> Frame | LostFrames | None:
        """The next frame or loss, waiting at most `timeout_s` (None: for ever); None when time is up.

        A `Frame` must be given back with `release`. Raises RingClosedError at the end.
        """
        return self._ring._take(self, timeout_s)  # noqa: SLF001 - ring and cursor are one thing in two parts

    def release(self, frame: Frame) -> None:
        """Give a frame back; its spectra must not be touched any more."""
        self._ring._release(self, frame)  # noqa: SLF001

    def _give_up(self, slot: Slot) -> None:
        """The memory of a frame that waits is needed: it becomes a loss, in its place."""
        header = slot.header
        assert header is not None  # noqa: S101 - what waits has been committed
        lost = LostFrames(header.sequence, 1, LossCause.CONSUMER_SLOW, self.name)
        entries = self._entries
        self._gather_losses()
        # The first one, but where others hold what waits before it: nothing long is searched while the producer waits.
        at = next(at for at, entry in enumerate(entries) if entry is slot)
        joined = _joined(entries[at - 1], lost) if at else None
        if joined is None:
            entries[at] = lost
        else:
            entries[at - 1] = joined
            del entries[at]
        self._gather_losses()
        self.dropped += 1

    def _gather_losses(self) -> None:
        """Take the losses off the left end, as one where they can be: a consumer that stands still has ever more."""
        while self._entries and isinstance(lost := self._entries[0], LostFrames):
            self._entries.popleft()
            joined = _joined(self._lost[-1], lost) if self._lost else None
            if joined is None:
                self._lost.append(lost)
            else:
                self._lost[-1] = joined

    def _next(self) -> Slot | LostFrames | None:
        if self._lost:
            return self._lost.popleft()
        return self._entries.popleft() if self._entries else None


def _joined(before: Slot | LostFrames, after: LostFrames) -> LostFrames | None:
    """Two losses of a slow consumer as one, where no number is between them."""
    if (
        isinstance(before, LostFrames)
        and before.cause is after.cause is LossCause.CONSUMER_SLOW
        and before.first_sequence + before.count == after.first_sequence
    ):
        return replace(before, count=before.count + after.count)
    return None


class FrameRing:
    """`slots` buffers of `slot_bytes` each, allocated and touched once."""

    def __init__(self, slots: int, slot_bytes: int) -> None:
        if slots < 3:
            raise LocalProtocolError(f"a ring of {slots} slots; it needs at least 3")
        self.slot_bytes = slot_bytes
        # Every slot begins on a cache line.
        between = -(-slot_bytes // CACHE_LINE) * CACHE_LINE
        self._memory = aligned_zeros((slots, between), np.uint8)[:, :slot_bytes]
        self._memory.fill(0)  # touches every page now, not under the first frames
        self._free = deque(Slot(self._memory[i]) for i in range(slots))
        self._ready: deque[Slot] = deque()
        """Committed slots, oldest first."""
        self._cursors: list[Cursor] = []
        self._slots = slots
        self._closed = False
        self._condition = threading.Condition()

    def cursor(self, name: str, *, holding: int = 1) -> Cursor:
        """Add a consumer that works on up to `holding` frames at the same time."""
        with self._condition:
            held = sum(cursor.holding for cursor in self._cursors) + holding
            if held + 2 > self._slots:
                raise LocalProtocolError(
                    f"ring of {self._slots} slots: {held} can be in work at once; it needs at least {held + 2} slots"
                )
            cursor = Cursor(self, name, holding)
            self._cursors.append(cursor)
            return cursor

    def reserve(self) -> Slot:
        """A slot to write the next frame into; drops the oldest waiting frame if there is no free one."""
        with self._condition:
            if not self._free:
                self._evict_oldest()
            return self._free.popleft()

    def commit(self, slot: Slot, header: FrameHeader) -> None:
        """Hand a written slot to every consumer."""
        with self._condition:
            if not self._cursors or self._closed:
                self._free.append(slot)
                return
            slot.header = header
            slot.waiting = set(self._cursors)
            self._ready.append(slot)
            for cursor in self._cursors:
                cursor._entries.append(slot)  # noqa: SLF001
                cursor.arrived += 1
                cursor.entered += 1
            self._condition.notify_all()

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until a slot is free, for a producer that can wait; False when time is up."""
        with self._condition:
            return self._condition.wait_for(lambda: bool(self._free), timeout_s)

    def abandon(self, slot: Slot) -> None:
        """Give back a slot whose frame did not arrive whole."""
        with self._condition:
            self._free.append(slot)

    def lose(self, lost: LostFrames) -> None:
        """Tell every consumer, in order, of frames that will never come."""
        with self._condition:
            for cursor in self._cursors:
                cursor._entries.append(lost)  # noqa: SLF001
                cursor.entered += lost.count
            self._condition.notify_all()

    def close(self) -> None:
        """No more frames: consumers take what is left, then see RingClosedError."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _evict_oldest(self) -> None:
        for slot in self._ready:
            if slot.holders == 0:
                break
        else:
            raise LocalProtocolError("every slot of the ring is held; release frames before taking more")
        for cursor in slot.waiting:
            cursor._give_up(slot)  # noqa: SLF001
        slot.waiting.clear()
        self._recycle(slot)

    def _recycle(self, slot: Slot) -> None:
        self._ready.remove(slot)
        slot.header = None
        self._free.append(slot)
        self._condition.notify_all()

    def _take(self, cursor: Cursor, timeout_s: float | None) -> Frame | LostFrames | None:
        deadline = None if timeout_s is None else monotonic() + timeout_s
        with self._condition:
            if len(cursor._held) >= cursor.holding:  # noqa: SLF001
                raise LocalProtocolError(f"{cursor.name} already works on {cursor.holding} frames")
            while (entry := cursor._next()) is None:  # noqa: SLF001
                if self._closed:
                    raise RingClosedError(f"the ring of {cursor.name} is closed")
                remaining = None if deadline is None else deadline - monotonic()
                if remaining is not None and remaining <= 0:
                    return None
                self._condition.wait(remaining)
            if isinstance(entry, LostFrames):
                return entry
            header = entry.header
            assert header is not None  # noqa: S101 - an entry's slot stays committed until it was taken
            entry.waiting.discard(cursor)
            entry.holders += 1
            cursor._held.append(entry)  # noqa: SLF001
        dtype = header.pixel_format.dtype
        size = header.alines * header.samples * dtype.itemsize
        return Frame(header, entry.memory[:size].view(dtype).reshape(header.alines, header.samples))

    def _release(self, cursor: Cursor, frame: Frame) -> None:
        with self._condition:
            held = cursor._held  # noqa: SLF001
            # By identity: a console that was restarted numbers from zero again.
            slot = next((slot for slot in held if slot.header is frame.header), None)
            if slot is None:
                raise LocalProtocolError(f"{cursor.name} does not hold frame {frame.header.sequence}")
            held.remove(slot)
            slot.holders -= 1
            if slot.holders == 0 and not slot.waiting:
                self._recycle(slot)
