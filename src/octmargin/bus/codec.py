"""Between bytes on the bus and messages: strict on what is needed, deaf to what is unknown."""

from __future__ import annotations

from typing import get_args

import msgspec

from octmargin.bus.decisions import DecisionMessage
from octmargin.bus.messages import (
    SCHEMA,
    UNSTAMPED,
    Alarm,
    CaseMessage,
    Description,
    FlagMessage,
    Health,
    MapMessage,
    Message,
    State,
    VerdictMessage,
)
from octmargin.bus.topics import Kind
from octmargin.errors import MessageError, NewerMessageError

MESSAGES: dict[Kind, type[Message]] = {
    Kind.DESCRIPTION: Description,
    Kind.CASE: CaseMessage,
    Kind.FLAG: FlagMessage,
    Kind.MAP: MapMessage,
    Kind.VERDICT: VerdictMessage,
    Kind.DECISION: DecisionMessage,
    Kind.HEALTH: Health,
    Kind.ALARM: Alarm,
}
"""The struct of every kind; `$state` is a bare word and has none."""

_STATES: dict[bytes, State] = {word.encode("ascii"): word for word in get_args(State)}
_DECODERS = {kind: msgspec.json.Decoder(struct) for kind, struct in MESSAGES.items()}
_ENCODER = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """JSON of a message, UTF-8."""
    return _ENCODER.encode(message)


def decode(kind: Kind, payload: bytes) -> Message:
    """Message of a kind other than `$state`; `MessageError` names what is wrong with the payload.

    `NewerMessageError` where it is of a schema that this program does not know, whatever else is in it.
    """
    try:
        message = _DECODERS[kind].decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse_newer(kind, _schema_of(payload))
        reason = " ".join(str(error).split())
        raise MessageError(f"{kind.value} message: {reason}; is the publisher an octmargin?") from None
    _refuse_newer(kind, message.schema)
    if not message.session or UNSTAMPED in (message.published_at, message.valid_until):
        raise MessageError(
            f"{kind.value} message: session, published_at or valid_until is missing; not to be relied on"
        )
    return message


class _Version(msgspec.Struct, frozen=True):
    """What stays as it is in every version."""

    schema: int = 0


_VERSION = msgspec.json.Decoder(_Version)


def _schema_of(payload: bytes) -> int:
    """Schema number of a message that may be unreadable otherwise; 0 where it says none."""
    try:
        return _VERSION.decode(payload).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _refuse_newer(kind: Kind, schema: int) -> None:
    if schema > SCHEMA:
        raise NewerMessageError(
            f"{kind.value} message: schema {schema}, and {SCHEMA} is known; update this program", schema
        )


def decode_state(payload: bytes) -> State:
    """Word of `$state`; `MessageError` where it is none of the known ones."""
    try:
        return _STATES[payload]
    except KeyError:
        known = ", ".join(_STATES.values())
        raise MessageError(
            f"$state {payload[:40]!r} is none of {known}; is the publisher an octmargin?"
        ) from None
