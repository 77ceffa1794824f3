"""Who looked at which case when, and what for: a chain of its own beside the events, in the same file.

Each access has the head of the events at its time, so that events which were cut off since are missed here too.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import msgspec

_READ = "SELECT n, at, actor, case_id, what, events_head, previous, hash FROM accesses ORDER BY n"
_NEWEST = "SELECT n, hash FROM accesses ORDER BY n DESC LIMIT 1"
_INSERT = (
    "INSERT INTO accesses (n, at, actor, case_id, what, events_head, previous, hash) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One look at a case; `events_head` is `SEQ:HASH` of the newest event then."""

    n: int
    at: str
    actor: str
    case_id: str
    what: str
    events_head: str
    previous: str
    hash: str

    def expected_hash(self) -> str:
        """SHA-256 of everything else that it has, hexadecimal."""
        content = asdict(self)
        del content["hash"]
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def note_access(
    connection: sqlite3.Connection, *, at: datetime, actor: str, case_id: str, what: str, events_head: str
) -> None:
    """Add one, within the caller's transaction."""
    newest = connection.execute(_NEWEST).fetchone()
    n, previous = newest or (0, "")
    access = Access(
        n=n + 1,
        at=at.astimezone(UTC).isoformat(timespec="microseconds"),
        actor=actor,
        case_id=case_id,
        what=what,
        events_head=events_head,
        previous=previous,
        hash="",
    )
    connection.execute(_INSERT, (*tuple(asdict(access).values())[:-1], access.expected_hash()))


def read_accesses(connection: sqlite3.Connection) -> Iterator[Access]:
    """All of them, the oldest first."""
    names = ("n", "at", "actor", "case_id", "what", "events_head", "previous", "hash")
    for row in connection.execute(_READ):
        yield Access(**dict(zip(names, row, strict=True)))


def access_troubles(connection: sqlite3.Connection, events: dict[int, str]) -> Iterator[str]:
    """In words what is not as it was written; `events` are the hashes of the log by number.

    sqlite3.Error where the rows cannot be read.
    """
    n, previous = 0, ""
    for access in read_accesses(connection):
        if (access.n, access.previous) != (n + 1, previous) or access.hash != access.expected_hash():
            yield f"access {access.n}: was changed, or does not follow from access {n}"
        n, previous = access.n, access.hash
        seq, _, event_hash = access.events_head.partition(":")
        if seq != "0" and events.get(int(seq) if seq.isdecimal() else -1) != event_hash:
            yield f"access {access.n}: saw event {seq}, which is not in the log any more"
