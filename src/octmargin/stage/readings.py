"""What readers said of the faces of one specimen, sweep by sweep. Entries are added, never changed or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from octmargin.bus.decisions import MOST_ENTRIES, Decision, Mark
from octmargin.bus.orders import Decide, MarkRegion
from octmargin.bus.rights import Sender
from octmargin.errors import OrderRefusedError
from octmargin.identifiers import why_not_said


@dataclass(frozen=True, slots=True)
class Swept:
    """One sweep over a face: `frames` of `blocks` were planned.

    `key_views` that its final verdict names, None while there is none; `is_whole` where every place was scanned.
    """

    number: int
    face: str
    frames: int
    blocks: int
    key_views: int | None = None
    is_whole: bool = False


class Readings:
    """Decisions and marks on the sweeps that `begun` and `ended` told of."""

    def __init__(self) -> None:
        self._sweeps: dict[int, Swept] = {}
        self._decisions: dict[str, list[Decision]] = {}
        self._marks: dict[str, list[Mark]] = {}
        self._entries = 0

    def begun(self, swept: Swept) -> None:
        """A sweep has begun."""
        self._sweeps[swept.number] = swept

    def ended(self, swept: Swept) -> None:
        """Its final verdict is said."""
        self._sweeps[swept.number] = swept

    def remember(self, face: str, said: Decision | Mark) -> None:
        """Take over what an earlier run of the daemon heard of this specimen.

        It keeps its id. Where its sweep was not taken over too it counts as of sweep 0: that run's sweeps are none of
        this one's, whatever their numbers.
        """
        is_known = said.sweep in self._sweeps and self._sweeps[said.sweep].face == face
        said = said if is_known else replace(said, sweep=0)
        self._entries = max(self._entries, int(said.id[1:]) if said.id[1:].isdecimal() else 0)
        if isinstance(said, Decision):
            self._decisions.setdefault(face, []).append(said)
        else:
            self._marks.setdefault(face, []).append(said)

    @property
    def faces(self) -> Sequence[str]:
        """Faces of which anything was said."""
        return tuple({**self._decisions, **self._marks})

    @property
    def newest(self) -> dict[str, Swept]:
        """The newest sweep over each face, in the order in which faces were begun first."""
        return {swept.face: swept for swept in self._sweeps.values()}

    def decisions(self, face: str) -> Sequence[Decision]:
        """What was said of a face, in its order."""
        return tuple(self._decisions.get(face, ()))

    def marks(self, face: str) -> Sequence[Mark]:
        """What was marked on a face, in its order."""
        return tuple(self._marks.get(face, ()))

    def decide(self, order: Decide, sender: Sender, at: datetime) -> Decision:
        """Add a decision; `OrderRefusedError` where there is nothing that it could be about."""
        swept = self._swept(order.face, order.sweep)
        if swept.key_views is None:
            raise OrderRefusedError(
                f"sweep {swept.number} over {swept.face} has no final verdict yet; decide when it is over"
            )
        if order.cluster is not None and order.cluster > swept.key_views:
            raise OrderRefusedError(
                f"sweep {swept.number} over {swept.face} has {swept.key_views} key views, none is {order.cluster}"
            )
        check_text("note", order.note)
        told = self._decisions.setdefault(swept.face, [])
        decision = Decision(
            id=self._next_id("d", len(told), swept.face),
            by=sender.user,
            role=sender.role.value,
            at=at,
            sweep=swept.number,
            subject=order.subject,
            cluster=order.cluster,
            word=order.word,
            note=order.note,
        )
        told.append(decision)
        return decision

    def mark(self, order: MarkRegion, sender: Sender, at: datetime) -> Mark:
        """Add a region of interest; `OrderRefusedError` where it lies outside what was planned."""
        swept = self._swept(order.face, order.sweep)
        if order.last_frame >= swept.frames or order.last_block >= swept.blocks:
            raise OrderRefusedError(
                f"sweep {swept.number} over {swept.face} has {swept.frames} frames of {swept.blocks} blocks; "
                "the region lies outside"
            )
        check_text("note", order.note)
        told = self._marks.setdefault(swept.face, [])
        mark = Mark(
            id=self._next_id("m", len(told), swept.face),
            by=sender.user,
            role=sender.role.value,
            at=at,
            sweep=swept.number,
            first_frame=order.first_frame,
            last_frame=order.last_frame,
            first_block=order.first_block,
            last_block=order.last_block,
            note=order.note,
        )
        told.append(mark)
        return mark

    def _swept(self, face: str, number: int) -> Swept:
        swept = self._sweeps.get(number)
        if swept is None or swept.face != face:
            raise OrderRefusedError(f"there is no sweep {number} over that face of this specimen; look again")
        return swept

    def _next_id(self, kind: str, told: int, face: str) -> str:
        if told >= MOST_ENTRIES:
            raise OrderRefusedError(
                f"{MOST_ENTRIES} entries on {face} are the most; nothing is taken away for it"
            )
        self._entries += 1
        return f"{kind}{self._entries}"


def check_text(what: str, text: str) -> None:
    """OrderRefusedError where a text that a person typed cannot be shown, or may name a person."""
    if not text.replace("\n", " ").isprintable():
        raise OrderRefusedError(f"{what}: has characters that cannot be shown; leave them out")
    if reason := why_not_said(what, text):
        raise OrderRefusedError(reason)
