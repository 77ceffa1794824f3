"""What a subscriber sees happen on a console's part of the bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from octmargin.bus.codec import decode, decode_state
from octmargin.bus.decisions import DecisionMessage
from octmargin.bus.messages import (
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
from octmargin.bus.topics import Address, Kind
from octmargin.errors import MessageError, NewerMessageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; `received_at_ns` is the subscriber's wall clock (Unix epoch, ns)."""

    received_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Event):
    """The broker is reached, and the console's tree subscribed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost(Event):
    """The broker is not reached any more; the subscriber keeps trying."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BusEvent(Event):
    """A message of the console. `retained`: the broker's memory, so no sign that anyone is alive."""

    retained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(BusEvent):
    """`$state`."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Described(BusEvent):
    """`$description`."""

    message: Description


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChanged(BusEvent):
    """`case`."""

    message: CaseMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagReceived(BusEvent):
    """`flag`."""

    message: FlagMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class MapReceived(BusEvent):
    """`map/<face>`."""

    message: MapMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictReceived(BusEvent):
    """`verdict/<face>`."""

    message: VerdictMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReceived(BusEvent):
    """`decision/<face>`."""

    message: DecisionMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReceived(BusEvent):
    """`health`."""

    message: Health


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReceived(BusEvent):
    """`alarm/<id>`."""

    message: Alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared(BusEvent):
    """An empty payload: what the topic said is taken back."""

    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed(BusEvent):
    """A payload that is not what its topic announces: whatever was known there cannot be relied on.

    `schema` is that of a message which is newer than this program, else 0.
    """

    address: Address
    reason: str
    schema: int = 0


_EVENTS: dict[Kind, Callable[..., Event]] = {
    Kind.DESCRIPTION: Described,
    Kind.CASE: CaseChanged,
    Kind.FLAG: FlagReceived,
    Kind.MAP: MapReceived,
    Kind.VERDICT: VerdictReceived,
    Kind.DECISION: DecisionReceived,
    Kind.HEALTH: HealthReceived,
    Kind.ALARM: AlarmReceived,
}


def to_event(address: Address, payload: bytes, retained: bool, received_at_ns: int) -> Event:
    """Event of one MQTT message; `Malformed` where the payload is not what the topic announces."""
    if not payload:
        return Cleared(received_at_ns=received_at_ns, retained=retained, address=address)
    try:
        if address.kind is Kind.STATE:
            state = decode_state(payload)
            return StateChanged(received_at_ns=received_at_ns, retained=retained, state=state)
        message = decode(address.kind, payload)
        _require_own_name(message, address)
    except MessageError as error:
        schema = error.schema if isinstance(error, NewerMessageError) else 0
        return Malformed(
            received_at_ns=received_at_ns,
            retained=retained,
            address=address,
            reason=str(error),
            schema=schema,
        )
    return _EVENTS[address.kind](received_at_ns=received_at_ns, retained=retained, message=message)


def _require_own_name(message: Message, address: Address) -> None:
    """Raise `MessageError` where a message on one face would pass for one on another."""
    match message:
        case MapMessage() | VerdictMessage() | DecisionMessage():
            said = message.face
        case Alarm():
            said = message.id
        case _:
            return
    if said != address.name:
        raise MessageError(
            f"{address.kind.value} message: it is about {said!r}, its topic about {address.name!r}; "
            "neither is to be relied on"
        )
