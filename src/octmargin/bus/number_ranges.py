"""Many numbers in little memory, where they come in order, or nearly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class NumberRanges:
    """Numbers as ranges: one for each gap between them. What was added twice is there once or twice."""

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        self._ranges = list(ranges)

    def __iter__(self) -> Iterator[range]:
        return iter(self._ranges)

    def __len__(self) -> int:
        """How many numbers."""
        return sum(map(len, self._ranges))

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __add__(self, later: NumberRanges) -> NumberRanges:
        return NumberRanges((*self, *later))

    @property
    def gaps(self) -> int:
        """What it costs: ranges that are kept."""
        return len(self._ranges)

    def add(self, number: int) -> None:
        """Add a number."""
        added = range(number, number + 1)
        while self._ranges and added.start <= self._ranges[-1].stop and self._ranges[-1].start <= added.stop:
            last = self._ranges.pop()
            added = range(min(last.start, added.start), max(last.stop, added.stop))
        self._ranges.append(added)

    def discard(self, number: int) -> bool:
        """Take a number away; whether it was there."""
        for place, found in enumerate(self._ranges):
            if number in found:
                parts = (range(found.start, number), range(number + 1, found.stop))
                self._ranges[place : place + 1] = [part for part in parts if part]
                return True
        return False
