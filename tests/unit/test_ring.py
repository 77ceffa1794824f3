"""The ring: every frame reaches every consumer once, as a frame or as a loss, and held data stays as it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octmargin.errors import LocalProtocolError
from octmargin.frames import Frame, FrameHeader, LossCause, LostFrames, PixelFormat
from octmargin.ring import Cursor, FrameRing, RingClosedError, Slot

ALINES, SAMPLES = 4, 8
FRAME_BYTES = ALINES * SAMPLES * 2


def header_of(sequence: int) -> FrameHeader:
    return FrameHeader(sequence, 1, sequence, 0, ALINES, SAMPLES, PixelFormat.MONO12)


def value_of(sequence: int) -> int:
    return (sequence * 31 + 7) % 4096


def produce(ring: FrameRing, sequence: int) -> None:
    slot = ring.reserve()
    slot.memory.view("<u2")[: ALINES * SAMPLES] = value_of(sequence)
    ring.commit(slot, header_of(sequence))


def assert_is_frame(entry: Frame | LostFrames | None, sequence: int) -> Frame:
    assert isinstance(entry, Frame)
    assert entry.header.sequence == sequence
    assert entry.spectra.shape == (ALINES, SAMPLES)
    assert entry.spectra.dtype == np.dtype("<u2")
    assert (entry.spectra == value_of(sequence)).all()
    return entry


def waiting(cursor: Cursor) -> list[Slot | LostFrames]:
    return [*cursor._lost, *cursor._entries]


def ring_of(slots: int) -> FrameRing:
    return FrameRing(slots, FRAME_BYTES)


def test_frames_come_in_the_order_in_which_they_were_committed() -> None:
    ring = ring_of(8)
    cursor = ring.cursor("engine")
    for sequence in range(5):
        produce(ring, sequence)
    assert len(cursor._entries) == 5
    for sequence in range(5):
        cursor.release(assert_is_frame(cursor.take(0), sequence))
    assert cursor.take(0) is None


def test_losses_stand_between_the_frames_where_they_happened() -> None:
    ring = ring_of(8)
    cursor = ring.cursor("engine")
    produce(ring, 0)
    ring.lose(LostFrames(1, 2, LossCause.WIRE))
    produce(ring, 3)
    ring.lose(LostFrames(4, 1, LossCause.DAMAGED, "a piece is missing"))
    cursor.release(assert_is_frame(cursor.take(0), 0))
    assert cursor.take(0) == LostFrames(1, 2, LossCause.WIRE)
    cursor.release(assert_is_frame(cursor.take(0), 3))
    assert cursor.take(0) == LostFrames(4, 1, LossCause.DAMAGED, "a piece is missing")


def test_every_consumer_goes_at_its_own_pace() -> None:
    ring = ring_of(8)
    fast, slow = ring.cursor("engine"), ring.cursor("recorder")
    for sequence in range(4):
        produce(ring, sequence)
        fast.release(assert_is_frame(fast.take(0), sequence))
    assert (len(fast._entries), len(slow._entries)) == (0, 4)
    for sequence in range(4):
        slow.release(assert_is_frame(slow.take(0), sequence))


def test_the_oldest_waiting_frame_makes_room_and_its_loss_is_told() -> None:
    ring = ring_of(4)
    fast, slow = ring.cursor("engine"), ring.cursor("recorder")
    for sequence in range(6):
        produce(ring, sequence)
        fast.release(assert_is_frame(fast.take(0), sequence))
    assert fast.dropped == 0
    assert slow.dropped == 2
    assert slow.take(0) == LostFrames(0, 2, LossCause.CONSUMER_SLOW, "recorder")
    for sequence in (2, 3, 4, 5):
        slow.release(assert_is_frame(slow.take(0), sequence))


def test_a_consumer_that_stands_still_has_no_more_entries_than_the_ring_has_slots() -> None:
    ring = ring_of(6)
    goes_on, stands_still = ring.cursor("engine"), ring.cursor("recorder")
    produce(ring, 0)
    goes_on.release(assert_is_frame(goes_on.take(0), 0))
    held = assert_is_frame(stands_still.take(0), 0)
    for sequence in range(1, 10_000):
        produce(ring, sequence)
        goes_on.release(assert_is_frame(goes_on.take(0), sequence))
        assert len(waiting(stands_still)) <= 6
    stands_still.release(held)
    lost = stands_still.take(0)
    assert isinstance(lost, LostFrames)
    assert (lost.first_sequence, lost.count) == (1, stands_still.dropped)
    for sequence in range(1 + lost.count, 10_000):
        stands_still.release(assert_is_frame(stands_still.take(0), sequence))
    assert stands_still.take(0) is None
    assert stands_still.entered == stands_still.arrived == 10_000


def test_a_consumer_that_stands_still_is_not_searched_for_losses_of_the_wire() -> None:
    ring = ring_of(4)
    stands_still = ring.cursor("recorder")
    for sequence in range(0, 2000, 2):
        produce(ring, sequence)
        ring.lose(LostFrames(sequence + 1, 1, LossCause.DAMAGED))
        # What is searched: frames that still wait, and what was lost between them.
        assert len(stands_still._entries) <= 2 * 4 + 1
    told = []
    while (entry := stands_still.take(0)) is not None:
        if isinstance(entry, Frame):
            told.append((entry.header.sequence, 1))
            stands_still.release(entry)
        else:
            told.append((entry.first_sequence, entry.count))
    assert told == [(sequence, 1) for sequence in range(2000)]


def test_losses_on_both_sides_of_a_frame_that_is_given_up_become_one_with_it() -> None:
    ring = ring_of(5)
    holder, slow = ring.cursor("engine"), ring.cursor("recorder")
    produce(ring, 0)
    produce(ring, 1)
    holder.release(assert_is_frame(holder.take(0), 0))
    held = assert_is_frame(holder.take(0), 1)
    for sequence in range(2, 8):  # 0, 2 and 3 have to go; 1 is held
        produce(ring, sequence)
    assert [type(entry) is LostFrames for entry in waiting(slow)[:3]] == [True, False, True]
    holder.release(held)
    produce(ring, 8)
    assert slow.take(0) == LostFrames(0, 4, LossCause.CONSUMER_SLOW, "recorder")


def test_what_was_lost_on_the_wire_stays_told_apart_from_what_a_slow_consumer_lost() -> None:
    ring = ring_of(3)
    slow = ring.cursor("engine")
    produce(ring, 0)
    ring.lose(LostFrames(1, 2, LossCause.WIRE))
    for sequence in range(3, 8):
        produce(ring, sequence)
    assert slow.take(0) == LostFrames(0, 1, LossCause.CONSUMER_SLOW, "engine")
    assert slow.take(0) == LostFrames(1, 2, LossCause.WIRE)
    assert slow.take(0) == LostFrames(3, 2, LossCause.CONSUMER_SLOW, "engine")
    assert (slow.arrived, slow.entered) == (6, 8)


def test_a_held_frame_is_never_overwritten() -> None:
    ring = ring_of(4)
    cursor = ring.cursor("engine", holding=2)
    produce(ring, 0)
    produce(ring, 1)
    first, second = cursor.take(0), cursor.take(0)
    for sequence in range(2, 20):
        produce(ring, sequence)
        cursor_frames = (assert_is_frame(first, 0), assert_is_frame(second, 1))
    for frame in cursor_frames:
        cursor.release(frame)
    assert cursor.dropped == 16
    assert cursor.take(0) == LostFrames(2, 16, LossCause.CONSUMER_SLOW, "engine")
    for sequence in (18, 19):
        cursor.release(assert_is_frame(cursor.take(0), sequence))


def test_a_frame_that_one_consumer_holds_still_comes_to_the_other() -> None:
    ring = ring_of(4)
    holder, late = ring.cursor("engine"), ring.cursor("recorder")
    produce(ring, 0)
    held = assert_is_frame(holder.take(0), 0)
    for sequence in range(1, 8):
        produce(ring, sequence)
    late.release(assert_is_frame(late.take(0), 0))
    assert_is_frame(held, 0)
    holder.release(held)


def test_a_consumer_sees_what_comes_after_it_joined() -> None:
    ring = ring_of(8)
    produce(ring, 0)
    cursor = ring.cursor("engine")
    produce(ring, 1)
    assert_is_frame(cursor.take(0), 1)


def test_an_abandoned_slot_is_seen_by_nobody_and_used_again() -> None:
    ring = ring_of(3)
    cursor = ring.cursor("engine")
    for _ in range(10):
        ring.abandon(ring.reserve())
    assert cursor.take(0) is None
    produce(ring, 0)
    assert_is_frame(cursor.take(0), 0)


def test_a_producer_that_can_wait_waits_for_a_slot() -> None:
    ring = ring_of(3)
    cursor = ring.cursor("engine")
    for sequence in range(3):
        assert ring.wait_for_room(0)
        produce(ring, sequence)
    assert not ring.wait_for_room(0)
    frame = assert_is_frame(cursor.take(0), 0)
    giving_back = threading.Timer(0.01, cursor.release, [frame])
    giving_back.start()
    assert ring.wait_for_room(5)
    giving_back.join()
    produce(ring, 3)
    assert cursor.dropped == 0


def test_without_a_consumer_frames_go_nowhere_and_slots_come_back() -> None:
    ring = ring_of(3)
    for sequence in range(10):
        produce(ring, sequence)


def test_a_closed_ring_is_emptied_and_then_says_so() -> None:
    ring = ring_of(4)
    cursor = ring.cursor("engine")
    produce(ring, 0)
    ring.lose(LostFrames(1, 1, LossCause.WIRE))
    ring.close()
    cursor.release(assert_is_frame(cursor.take(0), 0))
    assert cursor.take(0) == LostFrames(1, 1, LossCause.WIRE)
    for _ in range(2):
        with pytest.raises(RingClosedError, match="engine"):
            cursor.take()


def test_closing_wakes_a_consumer_that_waits_for_ever() -> None:
    ring = ring_of(4)
    cursor = ring.cursor("engine")
    outcome: list[BaseException] = []

    def consume() -> None:
        try:
            cursor.take()
        except RingClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=consume)
    thread.start()
    ring.close()
    thread.join(5)
    assert len(outcome) == 1


def test_no_more_frames_are_out_than_a_consumer_may_hold() -> None:
    ring = ring_of(6)
    cursor = ring.cursor("engine", holding=2)
    for sequence in range(3):
        produce(ring, sequence)
    frames = [assert_is_frame(cursor.take(0), sequence) for sequence in range(2)]
    with pytest.raises(LocalProtocolError, match="engine already works on 2"):
        cursor.take(0)
    cursor.release(frames[1])  # in any order
    assert_is_frame(cursor.take(0), 2)


def test_a_frame_is_given_back_once() -> None:
    ring = ring_of(4)
    engine, recorder = ring.cursor("engine"), ring.cursor("recorder")
    produce(ring, 0)
    frame = assert_is_frame(engine.take(0), 0)
    with pytest.raises(LocalProtocolError, match="recorder does not hold frame 0"):
        recorder.release(frame)
    engine.release(frame)
    with pytest.raises(LocalProtocolError, match="engine does not hold frame 0"):
        engine.release(frame)


def test_two_frames_of_the_same_number_are_two_frames() -> None:
    """A console that was switched off and on numbers from zero again."""
    ring = ring_of(4)
    cursor = ring.cursor("engine", holding=2)
    for _ in range(10):
        produce(ring, 0)
        produce(ring, 0)
        frames = [assert_is_frame(cursor.take(0), 0) for _ in range(2)]
        for frame in frames:
            cursor.release(frame)
    assert cursor.dropped == 0


def test_a_ring_refuses_consumers_that_could_hold_every_slot() -> None:
    ring = ring_of(5)
    ring.cursor("engine", holding=2)
    with pytest.raises(LocalProtocolError, match="at least 6 slots"):
        ring.cursor("recorder", holding=2)
    ring.cursor("recorder")
    with pytest.raises(LocalProtocolError, match="at least 3"):
        ring_of(2)


def test_a_producer_and_two_slow_consumers_lose_count_of_nothing() -> None:
    total = 3000
    ring = ring_of(8)
    cursors = [ring.cursor("engine", holding=3), ring.cursor("recorder", holding=2)]
    seen: dict[str, list[int]] = {cursor.name: [] for cursor in cursors}
    frames: dict[str, int] = dict.fromkeys(seen, 0)
    torn: list[int] = []
    rng = np.random.default_rng(3)
    work = {cursor.name: rng.integers(0, 400, total) for cursor in cursors}

    def entries(cursor: Cursor) -> Iterator[Frame | LostFrames]:
        while True:
            try:
                entry = cursor.take(10)
            except RingClosedError:
                return
            assert entry is not None
            yield entry

    def consume(cursor: Cursor) -> None:
        held: list[Frame] = []

        def give_back(frame: Frame) -> None:
            if not (frame.spectra == value_of(frame.header.sequence)).all():
                torn.append(frame.header.sequence)
            cursor.release(frame)

        for entry in entries(cursor):
            if isinstance(entry, LostFrames):
                seen[cursor.name] += range(entry.first_sequence, entry.first_sequence + entry.count)
                continue
            seen[cursor.name].append(entry.header.sequence)
            frames[cursor.name] += 1
            held.append(entry)
            np.sin(np.arange(work[cursor.name][entry.header.sequence]))  # work of uneven length
            if len(held) == cursor.holding:
                give_back(held.pop(0))
        for frame in held:
            give_back(frame)

    threads = [threading.Thread(target=consume, args=(cursor,)) for cursor in cursors]
    for thread in threads:
        thread.start()
    for sequence in range(total):
        produce(ring, sequence)
    ring.close()
    for thread in threads:
        thread.join(30)
    assert torn == []
    for cursor in cursors:
        assert seen[cursor.name] == list(range(total))
        assert frames[cursor.name] + cursor.dropped == total


class RingMachine(RuleBasedStateMachine):
    """Any order of producing, losing, taking and giving back."""

    @initialize(holding=st.lists(st.integers(1, 3), min_size=1, max_size=3), spare=st.integers(2, 5))
    def build(self, holding: list[int], spare: int) -> None:
        self.ring = ring_of(sum(holding) + spare)
        self.cursors = [self.ring.cursor(f"c{i}", holding=count) for i, count in enumerate(holding)]
        self.held: list[list[Frame]] = [[] for _ in holding]
        self.seen: list[list[int]] = [[] for _ in holding]
        self.dropped = [0 for _ in holding]
        self.lost_on_the_wire: set[int] = set()
        self.next = 0

    @rule()
    def commit(self) -> None:
        produce(self.ring, self.next)
        self.next += 1

    @rule()
    def abandon(self) -> None:
        slot = self.ring.reserve()
        slot.memory.fill(0xEE)
        self.ring.abandon(slot)

    @rule(count=st.integers(1, 3))
    def lose(self, count: int) -> None:
        self.ring.lose(LostFrames(self.next, count, LossCause.WIRE))
        self.lost_on_the_wire.update(range(self.next, self.next + count))
        self.next += count

    @rule(which=st.integers(0, 2))
    def take(self, which: int) -> None:
        self.take_from(which % len(self.cursors))

    def take_from(self, at: int) -> bool:
        cursor = self.cursors[at]
        if len(self.held[at]) == cursor.holding:
            self.give_back(at, 0)
        entry = cursor.take(0)
        if entry is None:
            return False
        if isinstance(entry, LostFrames):
            self.seen[at] += range(entry.first_sequence, entry.first_sequence + entry.count)
            if entry.cause is not LossCause.WIRE:
                self.dropped[at] += entry.count
                assert entry.first_sequence not in self.lost_on_the_wire
        else:
            self.seen[at].append(entry.header.sequence)
            self.held[at].append(entry)
        return True

    @precondition(lambda self: any(self.held))
    @rule(which=st.integers(0, 2), place=st.integers(0, 2))
    def release(self, which: int, place: int) -> None:
        at = which % len(self.cursors)
        if self.held[at]:
            self.give_back(at, place % len(self.held[at]))

    def give_back(self, at: int, place: int) -> None:
        self.cursors[at].release(self.held[at].pop(place))

    @invariant()
    def what_is_held_never_changes(self) -> None:
        for frames in getattr(self, "held", []):
            for frame in frames:
                assert (frame.spectra == value_of(frame.header.sequence)).all()

    @invariant()
    def every_frame_has_been_taken_or_waits(self) -> None:
        for cursor, seen in zip(getattr(self, "cursors", []), getattr(self, "seen", []), strict=True):
            to_come = sum(e.count if isinstance(e, LostFrames) else 1 for e in waiting(cursor))
            assert cursor.entered == len(seen) + to_come == self.next
            assert cursor.arrived == self.next - len(self.lost_on_the_wire)

    @invariant()
    def losses_of_a_slow_consumer_never_stand_beside_each_other(self) -> None:
        for cursor in getattr(self, "cursors", []):
            slow = [getattr(entry, "cause", None) is LossCause.CONSUMER_SLOW for entry in waiting(cursor)]
            assert not any(before and after for before, after in pairwise(slow))

    def teardown(self) -> None:
        if not hasattr(self, "ring"):
            return
        for at, cursor in enumerate(self.cursors):
            while self.take_from(at):
                pass
            assert self.seen[at] == list(range(self.next))
            assert self.dropped[at] == cursor.dropped


TestRingInAnyOrder = RingMachine.TestCase
TestRingInAnyOrder.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
