"""What can be asked of a daemon: commands and replies as they are on the bus, and the arguments of each command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from octmargin.bus.decisions import DecisionWord, Note
from octmargin.bus.messages import SCHEMA, Count, Identifier, Instant, SpecimenKind
from octmargin.bus.rights import Role

COMMAND_S = 10.0
"""For so long a command holds that does not say until when."""
REPLY_EXPIRY_S = 30

Face = Annotated[str, Meta(min_length=1, max_length=31)]


class Command(Struct, frozen=True, kw_only=True):
    """What somebody asks for. Which command it is and who gives it, its topic says."""

    schema: Annotated[int, Meta(ge=1)] = SCHEMA
    id: Annotated[
        str, Meta(min_length=1, max_length=64, description="The client's, another one for each command.")
    ]
    issued_at: Instant
    valid_until: Annotated[Instant | None, Meta(description="Ten seconds after `issued_at` where null.")] = (
        None
    )
    expected_session: Annotated[
        str, Meta(max_length=64, description="`session` of `$description`: another daemon refuses it.")
    ]
    case_id: Annotated[Identifier, Meta(description="`case_id` of `case`, as the person saw it.")]
    specimen_id: Annotated[Identifier, Meta(description="`specimen_id` of `case`, as the person saw it.")]
    arguments: Annotated[dict[str, Any], Meta(description="Those of the command.")] = field(
        default_factory=dict
    )

    @property
    def holds_until(self) -> datetime:
        """After this it is not carried out any more; never, where the calendar ends before."""
        if self.valid_until is not None:
            return self.valid_until
        try:
            return self.issued_at + timedelta(seconds=COMMAND_S)
        except OverflowError:
            return self.issued_at


class Reply(Struct, frozen=True, kw_only=True):
    """What became of a command; on the topic of whoever gave it."""

    schema: Annotated[int, Meta(ge=1)] = SCHEMA
    session: Annotated[str, Meta(max_length=64, description="Of the daemon that answers.")]
    id: Annotated[str, Meta(max_length=64, description="Of the command; empty where it could not be read.")]
    command: str
    outcome: Literal["done", "refused"]
    reason: Annotated[str, Meta(description="Why it was refused, or what was done; for a person.")]
    at: Instant
    repeated: Annotated[
        bool, Meta(description="True where the command had come before: it was not carried out again.")
    ] = False


class _Arguments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An argument that is not here is an error, never ignored."""


class Register(_Arguments, frozen=True, kw_only=True):
    """A new specimen is on the stage; the one before it is over."""

    kind: SpecimenKind
    laterality: Literal["left", "right"]
    specimen_id: Annotated[str, Meta(description="Opaque; drawn where it is not given.")] | None = None
    case_id: (
        Annotated[str, Meta(description="Another case begins; the same one goes on where it is not given.")]
        | None
    ) = None
    orientation: Annotated[str, Meta(max_length=200)] = ""
    label: Annotated[str, Meta(max_length=64)] = ""
    faces: Annotated[list[Face], Meta(min_length=1, max_length=32)] | None = None


class Select(_Arguments, frozen=True, kw_only=True):
    """A face is turned to the console."""

    face: Face


class Start(_Arguments, frozen=True, kw_only=True):
    """Scan the face that is selected, or `face`, or `all` planned faces that were not scanned whole, in their order."""

    face: Face | None = None
    all: bool = False

    def __post_init__(self) -> None:
        if self.all and self.face is not None:
            raise ValueError("give a face, or all, not both")


class Pause(_Arguments, frozen=True, kw_only=True):
    """Hold the sweep."""


class Resume(_Arguments, frozen=True, kw_only=True):
    """Go on behind the last frame."""


class Stop(_Arguments, frozen=True, kw_only=True):
    """End the sweep as it is, and scan nothing after it."""


class Rescan(_Arguments, frozen=True, kw_only=True):
    """Scan a face that was scanned before, anew."""

    face: Face


class Acknowledge(_Arguments, frozen=True, kw_only=True):
    """Somebody knows of an alarm; it stays active."""

    alarm_id: Annotated[str, Meta(min_length=1, max_length=64)]


class Decide(_Arguments, frozen=True, kw_only=True):
    """A reader's word on the verdict of a face, or on one of its key views."""

    face: Face
    sweep: Count
    subject: Literal["face", "cluster"]
    cluster: Annotated[int, Meta(ge=1)] | None = None
    word: DecisionWord
    note: Note = ""

    def __post_init__(self) -> None:
        if (self.subject == "cluster") != (self.cluster is not None):
            raise ValueError("a decision on a cluster names it, one on the face names none")


class MarkRegion(_Arguments, frozen=True, kw_only=True):
    """A reader's region of interest; ranges are inclusive, counted from 0."""

    face: Face
    sweep: Count
    first_frame: Count
    last_frame: Count
    first_block: Count
    last_block: Count
    note: Note = ""

    def __post_init__(self) -> None:
        if self.last_frame < self.first_frame or self.last_block < self.first_block:
            raise ValueError("a mark ends before it begins")


class Close(_Arguments, frozen=True, kw_only=True):
    """The specimen is over; only `register` is taken after it."""


Order = Register | Select | Start | Pause | Resume | Stop | Rescan | Acknowledge | Decide | MarkRegion | Close
"""The arguments of a command, by which it is told from others."""

ORDERS: Mapping[str, type[Order]] = {
    "register": Register,
    "select": Select,
    "start": Start,
    "pause": Pause,
    "resume": Resume,
    "stop": Stop,
    "rescan": Rescan,
    "acknowledge": Acknowledge,
    "decide": Decide,
    "mark": MarkRegion,
    "close": Close,
}
"""What each command takes, by its name."""

_READERS_ALONE = ("decide", "mark")


def may(role: Role, command: str) -> bool:
    """Whether users of a role may give a command: readers all of them, operators all that decide nothing."""
    return command in ORDERS and role.commands and (role is Role.READER or command not in _READERS_ALONE)
