from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octmargin.bus.number_ranges import NumberRanges


def numbers_in(ranges: NumberRanges) -> list[int]:
    return [number for each in ranges for number in each]


@given(st.lists(st.integers(0, 40), unique=True), st.lists(st.integers(0, 40)))
def test_they_are_a_set_of_numbers(added: list[int], taken: list[int]) -> None:
    ranges, expected = NumberRanges(), set()
    for number in added:
        ranges.add(number)
        expected.add(number)
    for number in taken:
        assert ranges.discard(number) == (number in expected)
        expected.discard(number)
    assert sorted(numbers_in(ranges)) == sorted(expected)
    assert len(ranges) == len(expected)
    assert bool(ranges) == bool(expected)


def test_what_comes_in_order_and_goes_in_order_costs_next_to_nothing() -> None:
    ranges = NumberRanges()
    for number in range(100_000):
        ranges.add(number)
    for number in range(0, 50_000, 2):  # nearly in order
        ranges.discard(number + 1)
        ranges.discard(number)
        assert ranges.gaps <= 2
    assert len(ranges) == 50_000


def test_two_are_added_in_their_order() -> None:
    first, second = NumberRanges([range(3)]), NumberRanges([range(7, 9)])
    assert numbers_in(first + second) == [0, 1, 2, 7, 8]
