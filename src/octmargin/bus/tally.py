"""What an independent subscriber makes of the stream: what it may believe, and what it counted.

Safety rule 1 lives in `stale_reason`: a result is good only while the broker is reached, the daemon says
`ready`, has given a sign of life within seconds, and the result itself is of this run, of this
specimen and within its validity. No input or output, no clock of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from octmargin.bus.decisions import DecisionMessage
from octmargin.bus.events import (
    AlarmReceived,
    CaseChanged,
    Cleared,
    Connected,
    ConnectionLost,
    DecisionReceived,
    Described,
    Event,
    FlagReceived,
    HealthReceived,
    Malformed,
    MapReceived,
    StateChanged,
    VerdictReceived,
)
from octmargin.bus.flag_stream import FlagStream
from octmargin.bus.messages import (
    Alarm,
    CaseMessage,
    Description,
    FlagMessage,
    Health,
    LatencyMs,
    MapMessage,
    State,
    VerdictMessage,
    utc_from_ns,
)
from octmargin.bus.topics import Address, Kind

SILENCE_LIMIT_S = 5.0
"""Health comes twice a second; after this long without any live message the daemon counts as gone."""

_STANDS_UNREAD = (Kind.STATE, Kind.DESCRIPTION, Kind.CASE)
"""Nothing can be believed while one of these cannot be read: whose results they are is not known."""
_STANDS_UNREAD_IF_NEWER = (Kind.FLAG, Kind.HEALTH)
"""One of these that is broken is made good by the next; where they are newer, none will."""
_SESSIONS_REMEMBERED = 64


_KINDS: dict[type[Event], Kind] = {
    StateChanged: Kind.STATE,
    Described: Kind.DESCRIPTION,
    CaseChanged: Kind.CASE,
    FlagReceived: Kind.FLAG,
    HealthReceived: Kind.HEALTH,
}


@dataclass(slots=True)
class FaceResults:
    """The last that was said of a face; `unreadable` tells why the last verdict or map could not be read.

    `decision` is what readers said, apart from the algorithm's: nothing of it makes a verdict stale or good.
    """

    verdict: VerdictMessage | None = None
    map: MapMessage | None = None
    unreadable: dict[Kind, str] = field(default_factory=dict)
    decision: DecisionMessage | None = None


class Tally:
    """Feed it a subscriber's events in their order; read the attributes at any time."""

    def __init__(self) -> None:
        self.disconnected_because = "not connected yet"
        """Why the broker is not reached; empty while it is."""
        self.state: State | None = None
        self.description: Description | None = None
        self.case: CaseMessage | None = None
        self.health: Health | None = None
        self.last_flag: FlagMessage | None = None
        self.faces: dict[str, FaceResults] = {}
        self.alarms: dict[str, Alarm] = {}
        """Active ones, by id."""
        self.flags = FlagStream()
        self.malformed = 0
        self.late = 0
        """Flags and verdicts of earlier runs, said late: history, nothing to be shown."""
        self._unreadable: dict[Kind, str] = {}
        """Why nothing can be believed, by the kind of the message that could not be read."""
        self._session = ""
        self._past: deque[str] = deque(maxlen=_SESSIONS_REMEMBERED)
        self._alive_at_ns: int | None = None

    @property
    def synthetic(self) -> bool:
        """True where anything that is shown comes from computed spectra."""
        results = [
            result for face in self.faces.values() for result in (face.verdict, face.map, face.decision)
        ]
        shown = (self.description, self.case, self.health, self.last_flag, *self.alarms.values(), *results)
        return any(message is not None and message.synthetic for message in shown)

    @property
    def latency_ms(self) -> LatencyMs | None:
        """Latency of the flags of this session, end to end."""
        return self.flags.latency_ms()

    def add(self, event: Event) -> None:
        """Take note of an event."""
        self._note_readability(event)
        match event:
            case Connected():
                self.disconnected_because = ""
                self._forget_what_the_broker_repeats()
            case ConnectionLost():
                self.disconnected_because = event.reason
            case StateChanged():
                self.state = event.state
            case Described():
                self._begin_session(event.message.session)
                self.description = event.message
            case CaseChanged():
                self.case = event.message
            case FlagReceived() | VerdictReceived() if self._is_history(event):
                self.late += 1
            case FlagReceived() | HealthReceived():
                self._take_live(event)
            case MapReceived() | VerdictReceived() | DecisionReceived():
                self._take_of_face(event.message)
            case AlarmReceived():
                self._take_alarm(event.message)
            case Cleared():
                self._forget(event.address)
            case Malformed():
                self.malformed += 1
                self._distrust(event.address, event.reason)
            case _:
                raise AssertionError(event)

    def is_stale(self, now: datetime, face: str | None = None) -> bool:
        """Whether nothing (of `face`) may be shown as good; see `stale_reason`."""
        return self.stale_reason(now, face) is not None

    def stale_reason(self, now: datetime, face: str | None = None) -> str | None:
        """Why nothing may be shown as good, in words for a person; None where all is well.

        With `face`, also why its verdict may not: it expired, is about something else, or a newer sweep has begun.
        """
        return self._why_not_live(now) or (self._why_not_valid(self.faces.get(face), now) if face else None)

    def decision_of(self, face: str) -> DecisionMessage | None:
        """What readers said of a face of the specimen on the stage, in this run; None where they said nothing."""
        decision = self.faces.get(face, FaceResults()).decision
        if decision is None or self.case is None or decision.session != self._session:
            return None
        return decision if self.case.is_about(decision) else None

    def _why_not_live(self, now: datetime) -> str | None:
        if self.disconnected_because:
            return self.disconnected_because
        if self._unreadable:
            return next(iter(self._unreadable.values()))
        if self.state != "ready":
            return f"state is {self.state}" if self.state else "nobody publishes for this console"
        if self._alive_at_ns is None:
            return "no sign of life yet"
        silent_s = (now - utc_from_ns(self._alive_at_ns)).total_seconds()
        if silent_s > SILENCE_LIMIT_S:
            return f"silent for {silent_s:.0f} s"
        return None

    def _why_not_valid(self, face: FaceResults | None, now: datetime) -> str | None:
        face = face or FaceResults()
        results = [result for result in (face.verdict, face.map) if result is not None]
        if face.unreadable or not results:
            return next(iter(face.unreadable.values()), "no result")
        if (reason := self._why_not_of_this(results)) is not None:
            return reason
        over_s = max((now - result.valid_until).total_seconds() for result in results)
        if over_s > 0:
            return f"expired {over_s:.0f} s ago"
        return None

    def _why_not_of_this(self, results: list[VerdictMessage | MapMessage]) -> str | None:
        """Why results are about something else than what is on the stage now."""
        if any(result.session != self._session for result in results):
            return "from an earlier run"
        if self.case is None:
            return "not known which specimen is on the stage"
        if any(not self.case.is_about(result) for result in results):
            return "of another specimen"
        if any(result.sweep < self.case.sweeps.get(result.face, 0) for result in results):
            # What is said of the newer sweep comes with its first frames, or not for long.
            return "being scanned anew"
        return None

    def _note_readability(self, event: Event) -> None:
        if isinstance(event, Malformed):
            kind = event.address.kind
            if kind in _STANDS_UNREAD or (event.schema and kind in _STANDS_UNREAD_IF_NEWER):
                self._unreadable[kind] = f"unreadable: {event.reason}"
        elif (
            read := event.address.kind if isinstance(event, Cleared) else _KINDS.get(type(event))
        ) is not None:
            self._unreadable.pop(read, None)

    def _forget_what_the_broker_repeats(self) -> None:
        """Start from the broker's memory: what was taken back while we were away is not in it."""
        self._unreadable = {}
        self.state = None
        self.description = None
        self.case = None
        self.faces = {}
        self.alarms = {}
        self._alive_at_ns = None

    def _is_history(self, event: FlagReceived | VerdictReceived) -> bool:
        """Whether an earlier run said it: it waited on that run's disk, or at the broker."""
        return not event.retained and (event.message.late or event.message.session in self._past)

    def _take_of_face(self, said: MapMessage | VerdictMessage | DecisionMessage) -> None:
        face = self._face(said.face)
        if isinstance(said, DecisionMessage):
            face.decision = said
            return
        if isinstance(said, MapMessage):
            face.map = said
            face.unreadable.pop(Kind.MAP, None)
        else:
            face.verdict = said
            face.unreadable.pop(Kind.VERDICT, None)

    def _take_live(self, event: FlagReceived | HealthReceived) -> None:
        self._begin_session(event.message.session)
        if not event.retained:
            self._alive_at_ns = event.received_at_ns
        if isinstance(event, HealthReceived):
            self.health = event.message
        else:
            self.last_flag = event.message
            self.flags.add(event.message, event.received_at_ns)

    def _begin_session(self, session: str) -> None:
        if session == self._session:
            return
        if session in self._past:
            # The broker had forgotten, and remembered an earlier one meanwhile.
            self._past.remove(session)
        if self._session:
            self._past.append(self._session)
        self._session = session
        self.flags = FlagStream()
        self.health = None
        self.last_flag = None

    def _face(self, face: str) -> FaceResults:
        return self.faces.setdefault(face, FaceResults())

    def _take_alarm(self, alarm: Alarm) -> None:
        if alarm.active:
            self.alarms[alarm.id] = alarm
        else:
            self.alarms.pop(alarm.id, None)

    def _forget(self, address: Address) -> None:
        match address.kind:
            case Kind.STATE:
                self.state = None
            case Kind.DESCRIPTION:
                self.description = None
            case Kind.CASE:
                self.case = None
            case Kind.MAP:
                self._face(address.name).map = None
            case Kind.VERDICT:
                self._face(address.name).verdict = None
            case Kind.DECISION:
                self._face(address.name).decision = None
            case Kind.ALARM:
                self.alarms.pop(address.name, None)
            case _:
                pass  # flags and health are not retained: there is nothing to take back

    def _distrust(self, address: Address, reason: str) -> None:
        """Something newer was said and cannot be read: what was known before may be wrong by now."""
        self._forget(address)
        if address.kind in (Kind.MAP, Kind.VERDICT):
            self._face(address.name).unreadable[address.kind] = f"unreadable: {reason}"
