"""The ledger: every number is received or lost, exactly once, whatever the wire does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octmargin.frames import LossCause, LostFrames
from octmargin.link.ledger import SequenceLedger


@given(
    first=st.integers(0, 1 << 40),
    numbered=st.integers(0, 60),
    arrivals=st.lists(st.integers(-5, 59), max_size=80),
    breaks=st.sets(st.integers(0, 79)),
)
def test_the_books_balance_for_any_pattern_of_arrivals(
    first: int, numbered: int, arrivals: list[int], breaks: set[int]
) -> None:
    ledger = SequenceLedger(first)
    received: list[int] = []
    lost: list[LostFrames] = []
    for at, arrival in enumerate(arrivals):
        if arrival >= numbered:
            continue
        if at in breaks:
            ledger.broken("a broken one")
        is_new, gap = ledger.received(first + arrival, 0)
        if is_new:
            received.append(first + arrival)
        lost += gap
        assert ledger.next_sequence == first + len(received) + sum(entry.count for entry in lost)
    lost += ledger.close(first + numbered, 0)
    accounted = received + [entry.first_sequence + i for entry in lost for i in range(entry.count)]
    assert sorted(accounted) == list(range(first, first + numbered))
    assert received == sorted(received)
    assert all(entry.count > 0 for entry in lost)


def test_frames_that_never_arrived_are_lost_before_the_next_one() -> None:
    ledger = SequenceLedger(10)
    assert ledger.received(10, 0) == (True, [])
    assert ledger.received(13, 0) == (True, [LostFrames(11, 2, LossCause.WIRE)])
    assert ledger.close(16, 0) == [LostFrames(14, 2, LossCause.WIRE)]
    assert ledger.close(16, 0) == []


def test_a_duplicate_is_not_new_and_changes_nothing() -> None:
    ledger = SequenceLedger(0)
    ledger.received(0, 0)
    ledger.received(1, 0)
    assert ledger.received(0, 0) == (False, [])
    assert ledger.received(1, 0) == (False, [])
    assert ledger.received(2, 0) == (True, [])


def test_a_broken_frame_is_lost_with_its_reason() -> None:
    ledger = SequenceLedger(0)
    ledger.broken("the payload's CRC-32 is wrong")
    assert ledger.received(1, 0) == (
        True,
        [LostFrames(0, 1, LossCause.DAMAGED, "the payload's CRC-32 is wrong")],
    )


def test_a_reason_does_not_outlive_its_gap() -> None:
    ledger = SequenceLedger(0)
    ledger.broken("noise that was no frame of ours")
    assert ledger.received(0, 0) == (True, [])
    assert ledger.received(2, 0) == (True, [LostFrames(1, 1, LossCause.WIRE)])


def test_the_consoles_own_drops_are_told_from_losses_on_the_wire() -> None:
    ledger = SequenceLedger(0, dropped_by_console=7)
    assert ledger.received(2, 9) == (True, [LostFrames(0, 2, LossCause.CONSOLE_FIFO)])
    assert ledger.received(3, 9) == (True, [])
    ledger.broken("a piece is missing")
    damaged = LostFrames(4, 2, LossCause.DAMAGED, "a piece is missing")
    assert ledger.received(7, 10) == (True, [damaged, LostFrames(6, 1, LossCause.CONSOLE_FIFO)])
    assert ledger.close(9, 12) == [LostFrames(8, 1, LossCause.CONSOLE_FIFO)]
    assert ledger.dropped_by_console == 12
