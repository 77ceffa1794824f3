"""Whether events are as they were written, checked each time they are read: nothing is told of a changed record.

What only the whole file shows (its structure, steps that cannot have happened, accesses, a head that was kept
elsewhere) is for `octmargin.case.record.verification`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from octmargin.case.record.events import FIRST_PREVIOUS, Event, event_hash
from octmargin.errors import RecordError

SELECT = (
    "SELECT events.seq, events.at, events.actor, events.case_id, events.kind, events.payload, events.payload_sha256, "
    "events.previous, events.hash, before.hash, after.previous FROM events "
    "LEFT JOIN events AS before ON before.seq = events.seq - 1 "
    "LEFT JOIN events AS after ON after.seq = events.seq + 1"
)
"""Events with the hash before them and the one that the event after them follows; of the newest NULL."""
_CHAIN = "SELECT seq, at, actor, case_id, kind, payload_sha256, previous, hash FROM events ORDER BY seq"


def read_intact(path: Path, rows: Iterator[tuple[int | str | None, ...]]) -> Iterator[Event]:
    """The events of rows that `SELECT` gives; RecordError at the first that is not as it was written."""
    for *columns, before, after in rows:
        seq, at, actor, case_id, kind, payload, payload_sha256, previous, hash_ = columns
        said = payload.encode() if isinstance(payload, str) else None
        event = Event(
            seq=int(seq or 0),
            at=str(at),
            actor=str(actor),
            case_id=str(case_id),
            kind=str(kind),
            payload=said,
            payload_sha256=str(payload_sha256),
            previous=str(previous),
            hash=str(hash_),
        )
        is_as_written = (
            (payload is None or (said is not None and hashlib.sha256(said).hexdigest() == payload_sha256))
            and event.hash == event.hash_of_content
            and event.previous == (FIRST_PREVIOUS if event.seq == 1 else before)
            and (after is None or after == event.hash)
        )
        if not is_as_written:
            raise _changed(path, event.seq)
        yield event


def check_chain(path: Path, connection: sqlite3.Connection) -> None:
    """RecordError where an event of whatever case was changed, moved or taken out: it may have been of any case."""
    expected_seq, expected_previous = 1, FIRST_PREVIOUS
    for seq, at, actor, case_id, kind, payload_sha256, previous, hash_ in connection.execute(_CHAIN):
        made = event_hash(
            seq=seq,
            at=at,
            actor=actor,
            case_id=case_id,
            kind=kind,
            payload_sha256=payload_sha256,
            previous=previous,
        )
        if (seq, previous, hash_) != (expected_seq, expected_previous, made):
            raise _changed(path, seq)
        expected_seq, expected_previous = seq + 1, made


def _changed(path: Path, seq: int) -> RecordError:
    return RecordError(
        f"{path}: event {seq} is not as it was written, or one beside it is not; nothing of it is used: "
        "run `octmargin case verify`, and restore the record from a copy"
    )
