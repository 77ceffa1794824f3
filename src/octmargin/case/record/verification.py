"""Whether a record is as it was written: every hash, every link, every step, and the heads that somebody kept."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from octmargin.case.record.access import access_troubles
from octmargin.case.record.events import FIRST_PREVIOUS, Event
from octmargin.case.record.model import CaseSnapshot
from octmargin.case.record.reducer import evolve
from octmargin.case.record.rules import check_transition
from octmargin.case.record.store import Head
from octmargin.case.record.tables import connect, explained, schema_troubles
from octmargin.errors import InputError, OctMarginError, RecordError

_ALL_AS_BYTES = (
    "SELECT seq, CAST(at AS BLOB), CAST(actor AS BLOB), CAST(case_id AS BLOB), CAST(kind AS BLOB), "
    "CAST(payload AS BLOB), CAST(payload_sha256 AS BLOB), CAST(previous AS BLOB), CAST(hash AS BLOB) "
    "FROM events ORDER BY seq"
)
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found: `troubles` in words, empty where the record is as it was written, as far as can be known.

    `cases` and `events` that it holds, `erased` cases among them; `head` is the last event that fits.
    """

    cases: int
    events: int
    erased: int
    head: Head
    troubles: tuple[str, ...]


def parse_head(text: str) -> Head:
    """`SEQ:HASH` as `octmargin case head` and signed reports have it; InputError where it is none."""
    seq, _, hash_ = text.strip().partition(":")
    if not (seq.isascii() and seq.isdigit()) or len(hash_) != 64 or set(hash_) - set("0123456789abcdef"):
        raise InputError(
            f'"{text}": no head of a record; give SEQ:HASH, as `octmargin case head` or a report has it'
        )
    return Head(int(seq), hash_)


def verify(path: Path, heads: Sequence[Head] = ()) -> Verification:
    """Follow the whole log of the record at `path`; RecordError where it cannot be read at all.

    `heads` were written down elsewhere when each was the newest event: a log that was cut off before one of them, or
    that was written anew, is found by it alone.
    """
    walk = _Walk()
    with closing(connect(path, writable=False)) as connection:
        try:
            with explained(path):
                # One view of the file, whoever writes meanwhile.
                connection.execute("BEGIN")
                walk.troubles += _structure(connection)
                for row in connection.execute(_ALL_AS_BYTES):
                    walk.take(row)
                walk.troubles += access_troubles(connection, walk.hashes)
        except RecordError as error:
            walk.troubles.append(str(error))
    return walk.result(heads)


def _structure(connection: sqlite3.Connection) -> Iterator[str]:
    for (found,) in connection.execute("PRAGMA integrity_check(5)"):
        if found != "ok":
            yield f"the file is damaged: {found}"
    yield from schema_troubles(connection)


class _Walk:
    """Takes the rows in their order."""

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self._head = Head(0, FIRST_PREVIOUS)
        self.hashes: dict[int, str] = {}
        """Of the events, by their number."""
        self._cases: dict[str, CaseSnapshot | None] = {}
        """As far as they can be followed; None from the first event that cannot be read."""
        self._opened: set[str] = set()
        self._closed: set[str] = set()
        self._erased: dict[str, int] = {}
        self._emptied: dict[str, list[int]] = {}

    def take(self, row: tuple[int | bytes | None, ...]) -> None:
        try:
            event = _event(row)
        except ValueError:
            self.troubles.append(f"event {row[0]!r}: is no text that octmargin writes")
            return
        if event.seq != self._head.seq + 1:
            self.troubles.append(
                f"event {event.seq}: follows event {self._head.seq}; what was between them is gone"
            )
        elif event.previous != self._head.hash:
            self.troubles.append(f"event {event.seq}: does not follow from event {self._head.seq}")
        if event.hash != event.hash_of_content:
            self.troubles.append(f"event {event.seq}: was changed; its hash is another one")
        if event.payload is not None and hashlib.sha256(event.payload).hexdigest() != event.payload_sha256:
            self.troubles.append(f"event {event.seq}: what it says was changed")
        self._head = Head(event.seq, event.hash)
        self.hashes[event.seq] = event.hash
        self._opened.add(event.case_id)
        self._follow(event)

    def _follow(self, event: Event) -> None:
        if event.case_id in self._erased:
            self.troubles.append(f"event {event.seq}: is about case {event.case_id}, which was erased before")
        if event.kind == "closed":
            self._closed.add(event.case_id)
        if event.payload is None:
            self._emptied.setdefault(event.case_id, []).append(event.seq)
            self._cases[event.case_id] = None
            return
        if event.kind == "erased":
            self._erased[event.case_id] = event.seq
        case = self._cases.get(event.case_id)
        if case is None and event.case_id in self._cases:
            return
        try:
            body = event.body()
            check_transition(case, event.case_id, body)
            self._cases[event.case_id] = evolve(case, event, body)
        except OctMarginError as error:
            self.troubles.append(f"event {event.seq}: cannot have happened: {error}")
            self._cases[event.case_id] = None

    def result(self, heads: Sequence[Head]) -> Verification:
        for case_id, emptied in self._emptied.items():
            left = [seq for seq in emptied if seq > self._erased.get(case_id, 0)]
            if left:
                self.troubles.append(
                    f"event {left[0]}: what it said is gone, and case {case_id} was not erased"
                )
        for case_id, seq in self._erased.items():
            if case_id not in self._closed:
                self.troubles.append(f"event {seq}: erased case {case_id}, which was never closed")
        for head in heads:
            if head.seq not in self.hashes:
                self.troubles.append(
                    f"event {head.seq}, which was written down elsewhere, is not there: the end of the log is gone"
                )
            elif self.hashes[head.seq] != head.hash:
                self.troubles.append(f"event {head.seq} is not the one that was written down elsewhere")
        told = self.troubles[:_MOST_TOLD]
        if len(self.troubles) > _MOST_TOLD:
            told.append(f"and {len(self.troubles) - _MOST_TOLD} more")
        return Verification(
            cases=len(self._opened),
            events=len(self.hashes),
            erased=len(self._erased),
            head=self._head,
            troubles=tuple(told),
        )


def _event(row: tuple[int | bytes | None, ...]) -> Event:
    """ValueError where a column is not what is written there."""
    seq, *texts = row
    at, actor, case_id, kind, payload, payload_sha256, previous, hash_ = texts
    return Event(
        seq=_number(seq),
        at=_text(at),
        actor=_text(actor),
        case_id=_text(case_id),
        kind=_text(kind),
        payload=payload if isinstance(payload, bytes) else None,
        payload_sha256=_text(payload_sha256),
        previous=_text(previous),
        hash=_text(hash_),
    )


def _number(value: int | bytes | None) -> int:
    if not isinstance(value, int):
        raise ValueError("no number")  # noqa: TRY004 - as wrong as any other content
    return value


def _text(value: int | bytes | None) -> str:
    if not isinstance(value, bytes):
        raise ValueError("no text")  # noqa: TRY004 - as wrong as any other content
    return value.decode()
