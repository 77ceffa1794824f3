"""What waits for the broker: bounded, so that a slow broker costs old flags and never memory.

Two lanes. Flags are a history: first in, first out, the oldest dropped and counted when the lane is
full. Everything else is a present: per topic only the newest waits, a replaced one is counted
as coalesced, and nothing is ever dropped. The lanes take turns, so neither can starve the other.
No input or output, no clock; one event loop's thread may use it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from octmargin.bus.messages import Message
from octmargin.bus.topics import DELIVERY, Delivery, Kind


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """One message on its way: `content` is a message, a bare word, or None to clear the topic."""

    topic: str
    kind: Kind
    content: Message | str | None

    @property
    def delivery(self) -> Delivery:
        """How the broker is to treat it."""
        return DELIVERY[self.kind]


class Outbox:
    """Parcels that wait and parcels that are under way. `flag_bound` flags may wait at most."""

    def __init__(self, flag_bound: int) -> None:
        if flag_bound < 1:
            raise ValueError(f"an outbox for {flag_bound} flags holds none; give at least 1")
        self._flag_bound = flag_bound
        self._flags: deque[Parcel] = deque()
        self._latest: dict[str, Parcel] = {}
        self._under_way: dict[Parcel, None] = {}
        self._flags_are_next = False
        self.dropped = 0
        """Flags that were given up because the lane was full."""
        self.coalesced = 0
        """Parcels that a newer one for the same topic replaced."""

    @property
    def waiting(self) -> int:
        """Parcels not yet handed to the broker."""
        return len(self._flags) + len(self._latest)

    @property
    def under_way(self) -> int:
        """Parcels handed to the broker and not yet acknowledged."""
        return len(self._under_way)

    @property
    def empty(self) -> bool:
        """True when nothing waits and everything is acknowledged."""
        return not (self._flags or self._latest or self._under_way)

    def put(self, parcel: Parcel) -> None:
        """Accept a parcel."""
        if parcel.delivery.every_one_counts:
            self._flags.append(parcel)
            self._drop_oldest_flags()
        else:
            self.coalesced += parcel.topic in self._latest
            self._latest[parcel.topic] = parcel

    def put_missing(self, parcels: Iterable[Parcel]) -> None:
        """Accept those parcels whose topic has nothing newer waiting."""
        for parcel in parcels:
            self._latest.setdefault(parcel.topic, parcel)

    def take(self) -> Parcel | None:
        """Next parcel, which is under way from now on; None when nothing waits."""
        if not (self._flags or self._latest):
            return None
        if self._flags and (self._flags_are_next or not self._latest):
            parcel = self._flags.popleft()
            self._flags_are_next = False
        else:
            parcel = self._latest.pop(next(iter(self._latest)))
            self._flags_are_next = True
        self._under_way[parcel] = None
        return parcel

    def acknowledge(self, parcel: Parcel) -> None:
        """Forget a parcel that the broker has."""
        del self._under_way[parcel]

    def restore(self) -> None:
        """Put what was under way back in front, in its order, because its connection is gone."""
        returned = list(self._under_way)
        self._under_way.clear()
        self._flags.extendleft(p for p in reversed(returned) if p.delivery.every_one_counts)
        self._drop_oldest_flags()
        self._latest = self._newest_per_topic(returned) | self._latest

    def _newest_per_topic(self, returned: list[Parcel]) -> dict[str, Parcel]:
        newest: dict[str, Parcel] = {}
        for parcel in returned:
            if parcel.delivery.every_one_counts:
                continue
            self.coalesced += parcel.topic in newest
            newest[parcel.topic] = parcel
        self.coalesced += len(newest.keys() & self._latest.keys())
        return newest

    def _drop_oldest_flags(self) -> None:
        while len(self._flags) > self._flag_bound:
            self._flags.popleft()
            self.dropped += 1
