"""What readers said of a face, apart from what the algorithm says: neither ever replaces the other."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from octmargin.bus.messages import Count, Identifier, Instant, Message

MOST_ENTRIES = 200
"""Decisions, and marks, of one face: with the longest notes they stay below a packet of 1 MiB."""

DecisionWord = Literal["agree", "disagree", "unsure"]
Note = Annotated[str, Meta(max_length=500, description="Free text; never a patient's name or number.")]


class Decision(Struct, frozen=True, kw_only=True):
    """What one person said of the verdict on a face, or of one key view; the newest of a person on a subject counts."""

    id: Identifier
    by: Annotated[str, Meta(max_length=64, description="The user, as the broker proves it.")]
    role: str
    at: Instant
    sweep: Annotated[int, Meta(ge=0, description="The sweep that was looked at.")]
    subject: Literal["face", "cluster"]
    cluster: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="`number` of the key view; null where it is of the face."),
    ] = None
    word: DecisionWord
    note: Note = ""

    def __post_init__(self) -> None:
        if (self.subject == "cluster") != (self.cluster is not None):
            raise ValueError("a decision on a cluster names it, one on the face names none")


class Mark(Struct, frozen=True, kw_only=True):
    """A region of interest that one person drew; ranges are inclusive, counted from 0."""

    id: Identifier
    by: Annotated[str, Meta(max_length=64, description="The user, as the broker proves it.")]
    role: str
    at: Instant
    sweep: Annotated[int, Meta(ge=0, description="The sweep that was looked at.")]
    first_frame: Count
    last_frame: Count
    first_block: Count
    last_block: Count
    note: Note = ""

    def __post_init__(self) -> None:
        if self.last_frame < self.first_frame or self.last_block < self.first_block:
            raise ValueError("a mark ends before it begins")


class DecisionMessage(Message, frozen=True, kw_only=True):
    """Everything that readers said of a face of the specimen, in its order, also of sweeps before the newest."""

    case_id: Identifier
    specimen_id: Identifier
    face: str
    decisions: Annotated[list[Decision], Meta(max_length=MOST_ENTRIES)]
    marks: Annotated[list[Mark], Meta(max_length=MOST_ENTRIES)]
