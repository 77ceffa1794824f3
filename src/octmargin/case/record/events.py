"""What can happen to a case: one frozen struct per kind of event, and the event as it stands in the log.

The log is one chain over all cases. An event's hash is the SHA-256 of canonical JSON (keys sorted, no spaces) of
everything else that it has, the hash of the event before it among them. Of the payload its own SHA-256 is in there,
so that a payload can be erased when its time is over and the chain still holds; a salt in each payload keeps what was
erased from being guessed by its hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from octmargin.case.record.model import (
    Decision,
    DiagnosisCode,
    Discontinuation,
    FaceName,
    Identifier,
    Instant,
    Interpretation,
    Interpreter,
    Laterality,
    Mark,
    Order,
    PathologyResult,
    PatientIdentity,
    ReExcision,
    SpecimenKind,
    Staging,
    Statement,
    SweepRecord,
)
from octmargin.errors import CaseRefusedError, RecordError

HASH_VERSION: Final = 1
"""Of the rule by which hashes are made; part of what is hashed."""
FIRST_PREVIOUS: Final = ""
_SALT_BYTES: Final = 16


class CaseBody(Struct, frozen=True, kw_only=True):
    """What an event on a case as a whole says."""


class SpecimenBody(CaseBody, frozen=True, kw_only=True):
    """What an event on one specimen says."""

    specimen_id: Identifier


class Opened(CaseBody, frozen=True, kw_only=True):
    """The case begins."""


class Identified(CaseBody, frozen=True, kw_only=True):
    """Who the patient is, or rather is; `why` where it is another one than was recorded before."""

    patient: PatientIdentity
    why: str = ""


class Ordered(CaseBody, frozen=True, kw_only=True):
    """What was asked for; it replaces what was said before."""

    order: Order


class Indicated(CaseBody, frozen=True, kw_only=True):
    """Why margins are assessed during the operation."""

    indication: str


class Closed(CaseBody, frozen=True, kw_only=True):
    """Every specimen has its signed report, or was withdrawn."""


class Erased(CaseBody, frozen=True, kw_only=True):
    """The time for which the case is kept is over: its payloads were erased with this event."""

    rule: str


class Registered(SpecimenBody, frozen=True, kw_only=True):
    """A specimen is there."""

    specimen_kind: SpecimenKind
    laterality: Laterality
    orientation: str = ""
    label: str = ""
    container: str = ""
    faces: tuple[FaceName, ...]
    excised_at: Instant | None = None


class Described(SpecimenBody, frozen=True, kw_only=True):
    """What was not known of a specimen before, or was wrong; None leaves it as it was."""

    label: str | None = None
    container: str | None = None
    excised_at: Instant | None = None


class Fixed(SpecimenBody, frozen=True, kw_only=True):
    """A specimen went into formalin."""

    formalin_at: Instant


class Stated(SpecimenBody, frozen=True, kw_only=True):
    """Where a specimen came from, as a source other than the record says."""

    statement: Statement


class Confirmed(SpecimenBody, frozen=True, kw_only=True):
    """Where a specimen came from, as a person says who looked into it: the record holds this from now on."""

    by: str
    laterality: Laterality
    orientation: str
    why: str


class Diagnosed(SpecimenBody, frozen=True, kw_only=True):
    """The diagnosis codes of one specimen; they replace those that it had, and those of the order."""

    diagnoses: tuple[DiagnosisCode, ...]


class Staged(SpecimenBody, frozen=True, kw_only=True):
    """A specimen came onto the stage of a console, or is over there."""

    staging: Staging


class Swept(SpecimenBody, frozen=True, kw_only=True):
    """A face was scanned; of the same sweep a later event replaces an earlier, provisional one."""

    sweep: SweepRecord


class Decided(SpecimenBody, frozen=True, kw_only=True):
    """A reader said a word."""

    decision: Decision


class Marked(SpecimenBody, frozen=True, kw_only=True):
    """A reader drew a region."""

    mark: Mark


class ReExcised(SpecimenBody, frozen=True, kw_only=True):
    """More tissue was taken, in the same operation or in another one."""

    re_excision: ReExcision


class Discontinued(SpecimenBody, frozen=True, kw_only=True):
    """The acquisition was given up."""

    discontinuation: Discontinuation


class Withdrawn(SpecimenBody, frozen=True, kw_only=True):
    """It was no specimen of this case; everything that was said of it stays in the log."""

    why: str


class Interpreted(SpecimenBody, frozen=True, kw_only=True):
    """What the interpreter says, preliminary or final."""

    interpretation: Interpretation


class Signed(SpecimenBody, frozen=True, kw_only=True):
    """The interpreter signed the report. What it stands on is everything before: the hash that this event follows."""

    by: Interpreter


class Addended(SpecimenBody, frozen=True, kw_only=True):
    """Something is said after signing."""

    by: Interpreter
    text: str
    corrects: bool = False


class Correlated(SpecimenBody, frozen=True, kw_only=True):
    """Pathology's results, or further ones."""

    results: tuple[PathologyResult, ...]


KINDS: Final[Mapping[str, type[CaseBody]]] = {
    "opened": Opened,
    "identified": Identified,
    "ordered": Ordered,
    "indicated": Indicated,
    "closed": Closed,
    "erased": Erased,
    "registered": Registered,
    "described": Described,
    "fixed": Fixed,
    "stated": Stated,
    "confirmed": Confirmed,
    "diagnosed": Diagnosed,
    "staged": Staged,
    "swept": Swept,
    "decided": Decided,
    "marked": Marked,
    "re_excised": ReExcised,
    "discontinued": Discontinued,
    "withdrawn": Withdrawn,
    "interpreted": Interpreted,
    "signed": Signed,
    "addended": Addended,
    "correlated": Correlated,
}
_KIND_OF: Final = {body: kind for kind, body in KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event as it stands in the log; `payload` is None where it was erased."""

    seq: int
    at: str
    """RFC 3339, UTC, as it was hashed."""
    actor: str
    case_id: str
    kind: str
    payload: bytes | None
    payload_sha256: str
    previous: str
    hash: str

    @property
    def hash_of_content(self) -> str:
        """What `hash` is as long as nobody changed anything."""
        return event_hash(
            seq=self.seq,
            at=self.at,
            actor=self.actor,
            case_id=self.case_id,
            kind=self.kind,
            payload_sha256=self.payload_sha256,
            previous=self.previous,
        )

    @property
    def instant(self) -> datetime:
        """When it was recorded; RecordError where the text is no time."""
        try:
            return datetime.fromisoformat(self.at)
        except ValueError as error:
            raise RecordError(
                f'event {self.seq} was recorded at "{self.at}", which is no time; restore the record from a copy'
            ) from error

    def body(self) -> CaseBody:
        """What it says; RecordError where it was erased, or is of a kind that this octmargin does not know."""
        if self.payload is None:
            raise RecordError(f"event {self.seq} was erased with case {self.case_id}; nothing is left of it")
        try:
            return msgspec.json.decode(self.payload, type=KINDS[self.kind])
        except KeyError as error:
            raise RecordError(
                f'event {self.seq} is of kind "{self.kind}", which is not known here; use the octmargin that wrote it'
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RecordError(
                f"event {self.seq} cannot be read ({error}); restore the record from a copy"
            ) from error


def make_event(*, seq: int, at: datetime, actor: str, case_id: str, body: CaseBody, previous: str) -> Event:
    """The event that follows the one with hash `previous`."""
    content = msgspec.to_builtins(body) | {"salt": secrets.token_hex(_SALT_BYTES)}
    payload = msgspec.json.encode(content, order="sorted")
    said_at = at.astimezone(UTC).isoformat(timespec="microseconds")
    kind = _KIND_OF[type(body)]
    payload_sha256 = hashlib.sha256(payload).hexdigest()
    return Event(
        seq=seq,
        at=said_at,
        actor=actor,
        case_id=case_id,
        kind=kind,
        payload=payload,
        payload_sha256=payload_sha256,
        previous=previous,
        hash=event_hash(
            seq=seq,
            at=said_at,
            actor=actor,
            case_id=case_id,
            kind=kind,
            payload_sha256=payload_sha256,
            previous=previous,
        ),
    )


def as_read_back(body: CaseBody) -> CaseBody:
    """The body as it will be read; CaseRefusedError where it could not be: nothing is recorded that nobody can read."""
    try:
        return msgspec.json.decode(msgspec.json.encode(body), type=type(body))
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise CaseRefusedError(f"{_KIND_OF[type(body)]}: cannot be recorded ({error}); correct it") from error


def event_hash(
    *, seq: int, at: str, actor: str, case_id: str, kind: str, payload_sha256: str, previous: str
) -> str:
    """SHA-256 of everything that an event has, hexadecimal."""
    content = {
        "version": HASH_VERSION,
        "seq": seq,
        "at": at,
        "actor": actor,
        "case_id": case_id,
        "kind": kind,
        "payload_sha256": payload_sha256,
        "previous": previous,
    }
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
