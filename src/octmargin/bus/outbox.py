"""What waits for the broker: bounded, so that a slow broker costs old flags and never memory.

Three lanes. Final verdicts are never given up: first in, first out, ahead of everything. Flags are a history: first
in, first out, the oldest dropped and counted when there is no room for more. Everything else is a present: per
topic only the newest waits, a replaced one is counted as coalesced. Flags and present take turns, so neither can
starve the other.

A `Journal` keeps the first two lanes beyond the end of the process, and has room for more flags than memory; those
that are in it alone are `behind`, and come back by `refill`. No input or output, no clock; one event loop's
thread may use it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from octmargin.bus.messages import Message, VerdictMessage
from octmargin.bus.topics import DELIVERY, Delivery, Kind


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """One message on its way: `content` is a message, a bare word, or None to clear the topic.

    `late` where an earlier run said it: it is history, so that the broker is not to remember it as the present.
    """

    topic: str
    kind: Kind
    content: Message | str | None
    late: bool = False

    @property
    def delivery(self) -> Delivery:
        """How the broker is to treat it."""
        return DELIVERY[self.kind]

    @property
    def is_final(self) -> bool:
        """Whether it is the last word on a sweep."""
        return isinstance(self.content, VerdictMessage) and not self.content.provisional


class Journal(Protocol):
    """Keeps parcels of a kind by their number; never blocks."""

    def keep(self, number: int, parcel: Parcel) -> None:
        """Keep it until it is forgotten."""

    def forget(self, kind: Kind, number: int) -> None:
        """It has arrived, or is given up."""


@dataclass(frozen=True, slots=True, eq=False)
class Leftovers:
    """What an earlier run did not get said: final verdicts by their numbers, below `next_final`; flags from 0 on."""

    finals: Mapping[int, Parcel] = field(default_factory=dict)
    next_final: int = 0
    flags: int = 0


class Outbox:
    """Parcels that wait and parcels that are under way.

    `flag_bound` flags may wait in memory at most, `journal_bound` with those in the journal.
    """

    def __init__(
        self,
        flag_bound: int,
        journal: Journal | None = None,
        journal_bound: int = 0,
    ) -> None:
        if flag_bound < 1:
            raise ValueError(f"an outbox for {flag_bound} flags holds none; give at least 1")
        self._flag_bound = flag_bound
        self._journal = journal
        self._bound = flag_bound if journal is None else max(flag_bound, journal_bound)
        self._finals: deque[Parcel] = deque()
        self._flags: deque[Parcel] = deque()
        self._latest: dict[str, Parcel] = {}
        self._under_way: dict[Parcel, None] = {}
        self._numbers: dict[Parcel, int] = {}
        self._next_final = 0
        self._next_flag = 0
        self._first_behind = 0
        """Flags from this number on are in the journal alone."""
        self._flags_are_next = False
        self.dropped = 0
        """Flags that were given up because there was no room, or the journal could not give them back."""
        self.coalesced = 0
        """Parcels that a newer one for the same topic replaced."""
        self.refused = 0
        """Parcels that the broker will never take."""

    def take_over(self, leftovers: Leftovers) -> None:
        """Begin with what an earlier run left in the journal; before anything is put."""
        if self._next_final or self._next_flag:
            raise ValueError("what an earlier run left comes before anything new")
        self._finals.extend(leftovers.finals.values())
        self._numbers = {parcel: number for number, parcel in leftovers.finals.items()}
        self._next_final = leftovers.next_final
        self._next_flag = leftovers.flags
        self._drop_oldest_flags()

    @property
    def behind(self) -> int:
        """Flags that wait in the journal alone."""
        return self._next_flag - self._first_behind

    @property
    def waiting(self) -> int:
        """Parcels not yet handed to the broker."""
        return len(self._finals) + len(self._flags) + len(self._latest) + self.behind

    @property
    def under_way(self) -> int:
        """Parcels handed to the broker and not yet acknowledged."""
        return len(self._under_way)

    @property
    def history(self) -> int:
        """Flags and final verdicts that the broker does not have: nobody says them again."""
        on_their_way = sum(parcel.is_final or parcel.delivery.every_one_counts for parcel in self._under_way)
        return len(self._finals) + len(self._flags) + self.behind + on_their_way

    @property
    def empty(self) -> bool:
        """True when nothing waits and everything is acknowledged."""
        return not (self.waiting or self._under_way)

    def put(self, parcel: Parcel) -> None:
        """Accept a parcel."""
        if parcel.is_final:
            # What was said of the sweep before its end, and is not even on its way, is not needed any more.
            self.coalesced += self._latest.pop(parcel.topic, None) is not None
            self._finals.append(parcel)
            self._numbers[parcel] = self._next_final
            if self._journal is not None:
                self._journal.keep(self._next_final, parcel)
            self._next_final += 1
        elif parcel.delivery.every_one_counts:
            number, self._next_flag = self._next_flag, self._next_flag + 1
            if self._journal is None or (
                self._first_behind == number and len(self._flags) < self._flag_bound
            ):
                self._first_behind = self._next_flag
                self._flags.append(parcel)
                self._numbers[parcel] = number
            if self._journal is not None:
                self._journal.keep(number, parcel)
            self._drop_oldest_flags()
        else:
            self.coalesced += parcel.topic in self._latest
            self._latest[parcel.topic] = parcel

    def put_missing(self, parcels: Iterable[Parcel]) -> None:
        """Accept the newest that was said on some topics, but where a newer one waits or it waits itself."""
        finals = set(self._finals)
        for parcel in parcels:
            if parcel not in finals:
                self._latest.setdefault(parcel.topic, parcel)

    def take(self) -> Parcel | None:
        """Next parcel, which is under way from now on; None when nothing waits in memory."""
        if self._finals:
            parcel = self._finals.popleft()
        elif self._flags and (self._flags_are_next or not self._latest):
            parcel = self._flags.popleft()
            self._flags_are_next = False
        elif self._latest:
            parcel = self._latest.pop(next(iter(self._latest)))
            self._flags_are_next = True
        else:
            return None
        self._under_way[parcel] = None
        return parcel

    def wanted(self, most: int) -> range:
        """Numbers of flags to be had from the journal now, `most` or fewer: none while enough are in memory."""
        if len(self._flags) > self._flag_bound // 2:
            return range(0)
        room = min(most, self._flag_bound - len(self._flags))
        return range(self._first_behind, min(self._first_behind + room, self._next_flag))

    def refill(self, asked: range, found: Mapping[int, Parcel]) -> None:
        """Take back what the journal gave for `wanted`; what it could not give is dropped and counted."""
        # Some of it may have been dropped meanwhile, to make room.
        for number in range(max(asked.start, self._first_behind), asked.stop):
            parcel = found.get(number)
            if parcel is None:
                self._give_up(number)
            else:
                self._flags.append(parcel)
                self._numbers[parcel] = number
        self._first_behind = max(self._first_behind, asked.stop)

    def acknowledge(self, parcel: Parcel) -> None:
        """Forget a parcel that the broker has."""
        del self._under_way[parcel]
        self._forget(parcel)

    def refuse(self, parcel: Parcel) -> None:
        """Give up a parcel that the broker will never take."""
        del self._under_way[parcel]
        self.refused += 1
        self._forget(parcel)

    def restore(self) -> None:
        """Put what was under way back in front, in its order, because its connection is gone."""
        returned = list(self._under_way)
        self._under_way.clear()
        self._finals.extendleft(p for p in reversed(returned) if p.is_final)
        self._flags.extendleft(p for p in reversed(returned) if p.delivery.every_one_counts)
        self._drop_oldest_flags()
        self._latest = self._newest_per_topic(returned) | self._latest

    def _newest_per_topic(self, returned: list[Parcel]) -> dict[str, Parcel]:
        newest: dict[str, Parcel] = {}
        finals = self._topics_of_finals()
        for parcel in returned:
            if parcel.delivery.every_one_counts or parcel.is_final:
                continue
            self.coalesced += parcel.topic in newest
            newest[parcel.topic] = parcel
        # A final verdict that waits came after what was under way before it, or the other way round: it stands, and
        # what is newest on the topic is put again with the next connection.
        for topic in newest.keys() & finals:
            del newest[topic]
            self.coalesced += 1
        self.coalesced += len(newest.keys() & self._latest.keys())
        return newest

    def _topics_of_finals(self) -> set[str]:
        """Topics whose newest word waits among the final verdicts."""
        return {parcel.topic for parcel in self._finals if not parcel.late}

    def _drop_oldest_flags(self) -> None:
        while len(self._flags) + self.behind > self._bound:
            if self._flags:
                parcel = self._flags.popleft()
                self.dropped += 1
                self._forget(parcel)
            else:
                self._give_up(self._first_behind)
                self._first_behind += 1

    def _forget(self, parcel: Parcel) -> None:
        number = self._numbers.pop(parcel, None)
        if self._journal is not None and number is not None:
            self._journal.forget(parcel.kind, number)

    def _give_up(self, number: int) -> None:
        """Drop a flag that is in the journal alone."""
        assert self._journal is not None  # noqa: S101 - else nothing is behind
        self.dropped += 1
        self._journal.forget(Kind.FLAG, number)
