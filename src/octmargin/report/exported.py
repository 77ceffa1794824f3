"""A case as a file that `octmargin case export` writes: taken again only where its events are whole and unchanged.

Beside the events of the case it has what the hashes of all others stand on, from the first event of the case to the
head of the record: without them an event that was left out would look like one of another case.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from octmargin.case.record.events import Event, event_hash
from octmargin.case.record.model import CaseSnapshot
from octmargin.case.record.reducer import fold
from octmargin.case.record.store import CaseStore
from octmargin.errors import InputError, RecordError


class _Link(Struct, frozen=True, kw_only=True):
    """An event of another case, without what it says."""

    seq: int
    at: str
    actor: str
    case_id: str
    kind: str
    payload_sha256: str
    previous: str
    hash: str


class _ExportedEvent(Struct, frozen=True, kw_only=True):
    seq: int
    at: str
    actor: str
    kind: str
    payload: Any
    payload_sha256: str
    previous: str
    hash: str


class _Export(Struct, frozen=True, kw_only=True):
    case: CaseSnapshot
    events: list[_ExportedEvent]
    others: list[_Link] = []
    """Of other cases, between those of this one and up to `head`."""
    head: str


@dataclass(frozen=True, slots=True)
class ExportedCase:
    """A case with its events."""

    case: CaseSnapshot
    events: tuple[Event, ...]

    def at(self, seq: int) -> CaseSnapshot | None:
        """The case as it was up to event `seq`; None before its beginning."""
        return fold(event for event in self.events if event.seq <= seq)


def export_of(store: CaseStore, case_id: str) -> bytes:
    """A case with all its events as JSON. CaseRefusedError where there is none, or it was erased."""
    first = next((event.seq for event in store.events(case_id)), 0)
    # Read once, so that case, events and head go together whatever is added meanwhile.
    log = list(store.events_from(first)) if first else []
    own = [event for event in log if event.case_id == case_id]
    case = fold(own)
    if case is None:
        case = store.case(case_id)
    content = {
        "case": case,
        "events": [{**_hashed(event), "payload": msgspec.Raw(event.payload or b"null")} for event in own],
        "others": [{**_hashed(event), "case_id": event.case_id} for event in log if event.case_id != case_id],
        "head": f"{log[-1].seq}:{log[-1].hash}" if log else str(store.head()),
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2)


def _hashed(event: Event) -> dict[str, Any]:
    names = ("seq", "at", "actor", "kind", "payload_sha256", "previous", "hash")
    return {name: getattr(event, name) for name in names}


def read_export(path: Path) -> ExportedCase:
    """The case as its events tell it. InputError where the file is no export, or was changed since.

    Whoever changes an export and makes its hashes anew is found by the head of the record, which the report names.
    """
    try:
        export = msgspec.json.decode(path.read_bytes(), type=_Export)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path}: is no export of a case ({error}); `octmargin case export` writes one"
        ) from error
    events = [_checked(path, export.case.case_id, one) for one in export.events]
    _check_whole(path, export)
    try:
        case = fold(events)
    except RecordError as error:
        raise InputError(f"{path}: {error}") from error
    if case is None or case != export.case:
        raise InputError(f"{path}: was changed: its events do not make its case; export it anew")
    return ExportedCase(case, tuple(events))


def _check_whole(path: Path, export: _Export) -> None:
    """InputError where an event is missing between the beginning of the case and the head, or is not in its place."""
    case_id = export.case.case_id
    for link in export.others:
        if link.case_id == case_id or link.hash != _hash_of(link, link.case_id, link.payload_sha256):
            raise InputError(
                f"{path}: was changed: event {link.seq} is not as it was recorded; export it anew"
            )
    if not export.events or export.events[0].kind != "opened":
        raise InputError(f"{path}: was changed: the beginning of the case is missing; export it anew")
    before: _Link | _ExportedEvent = export.events[0]
    rest: list[_Link | _ExportedEvent] = [*export.events[1:], *export.others]
    for event in sorted(rest, key=lambda one: one.seq):
        if (event.seq, event.previous) != (before.seq + 1, before.hash):
            raise InputError(
                f"{path}: was changed: event {before.seq + 1} is missing, or not in its place; export it anew"
            )
        before = event
    if export.head != f"{before.seq}:{before.hash}":
        raise InputError(
            f"{path}: was changed: it ends with event {before.seq}, and its head is another one; export it anew"
        )


def _hash_of(said: _Link | _ExportedEvent, case_id: str, payload_sha256: str) -> str:
    return event_hash(
        seq=said.seq,
        at=said.at,
        actor=said.actor,
        case_id=case_id,
        kind=said.kind,
        payload_sha256=payload_sha256,
        previous=said.previous,
    )


def _checked(path: Path, case_id: str, said: _ExportedEvent) -> Event:
    # Indented for people in the file, and as it was hashed here.
    payload = msgspec.json.encode(said.payload, order="sorted")
    payload_sha256 = hashlib.sha256(payload).hexdigest()
    expected = _hash_of(said, case_id, payload_sha256)
    if (payload_sha256, expected) != (said.payload_sha256, said.hash):
        raise InputError(f"{path}: was changed: event {said.seq} is not as it was recorded; export it anew")
    return Event(
        seq=said.seq,
        at=said.at,
        actor=said.actor,
        case_id=case_id,
        kind=said.kind,
        payload=payload,
        payload_sha256=payload_sha256,
        previous=said.previous,
        hash=said.hash,
    )
