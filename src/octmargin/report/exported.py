"""A case out of a file that `octmargin case export` wrote: taken only where its events still have their hashes."""

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
from octmargin.errors import InputError, RecordError


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


@dataclass(frozen=True, slots=True)
class ExportedCase:
    """A case with its events."""

    case: CaseSnapshot
    events: tuple[Event, ...]

    def at(self, seq: int) -> CaseSnapshot | None:
        """The case as it was up to event `seq`; None before its beginning."""
        return fold(event for event in self.events if event.seq <= seq)


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
    try:
        case = fold(events)
    except RecordError as error:
        raise InputError(f"{path}: {error}") from error
    if case is None or case != export.case:
        raise InputError(f"{path}: was changed: its events do not make its case; export it anew")
    return ExportedCase(case, tuple(events))


def _checked(path: Path, case_id: str, said: _ExportedEvent) -> Event:
    # Indented for people in the file, and as it was hashed here.
    payload = msgspec.json.encode(said.payload, order="sorted")
    payload_sha256 = hashlib.sha256(payload).hexdigest()
    expected = event_hash(
        seq=said.seq,
        at=said.at,
        actor=said.actor,
        case_id=case_id,
        kind=said.kind,
        payload_sha256=payload_sha256,
        previous=said.previous,
    )
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
