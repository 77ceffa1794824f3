"""What an independent subscriber makes of the stream: what it may believe, and what it counted.

Safety rule 1 lives in `stale_reason`: a result is good only while the broker is reached, the daemon says
`ready`, has given a sign of life within seconds, and the result itself is of this run, of this
specimen and within its validity. No input or output, no clock of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil

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

_LATENCY_SAMPLES = 10_000
_RATE_WINDOW_S = 2.0
_GAP_MEMORY = 10_000
_SESSIONS_REMEMBERED = 64


@dataclass(slots=True)
class FaceResults:
    """The last that was said of a face; `unreadable` tells why the last verdict or map could not be read.

    `decision` is what readers said, apart from the algorithm's: nothing of it makes a verdict stale or good.
    """

    verdict: VerdictMessage | None = None
    map: MapMessage | None = None
    unreadable: dict[Kind, str] = field(default_factory=dict)
    decision: DecisionMessage | None = None


@dataclass(slots=True)
class FlagStream:
    """The flags of one session of the daemon, as they arrived."""

    messages: int = 0
    """Distinct flag messages, one per frame."""
    blocks: int = 0
    """Flags of blocks in them."""
    duplicates: int = 0
    """Messages that came again, as QoS 1 allows."""
    _highest: int = -1
    _missing: dict[int, None] = field(default_factory=dict)
    _forgotten: int = 0
    _latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCY_SAMPLES))
    _recent: deque[tuple[int, int]] = field(default_factory=deque)

    @property
    def gaps(self) -> int:
        """Sequence numbers that were passed over and never came."""
        return len(self._missing) + self._forgotten

    def add(self, flag: FlagMessage, received_at_ns: int) -> None:
        """Count a flag message."""
        if not self._is_new(flag.sequence):
            self.duplicates += 1
            return
        self.messages += 1
        self.blocks += len(flag.state)
        self._latencies_ms.append((received_at_ns - flag.received_at_ns) / 1e6)
        self._recent.append((received_at_ns, len(flag.state)))
        while self._recent[0][0] < received_at_ns - _RATE_WINDOW_S * 1e9:
            self._recent.popleft()

    def latency_ms(self) -> LatencyMs | None:
        """Time from a frame's last byte at the daemon to its flags here, over the last 10 000 messages.

        Wall clocks of two machines are compared as if they were one. Quantiles are exact, by nearest
        rank. None where there was no message.
        """
        if not self._latencies_ms:
            return None
        ordered = sorted(self._latencies_ms)
        p50, p99 = (ordered[ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
        return LatencyMs(p50=p50, p99=p99)

    def rate_blocks_per_s(self, now_ns: int) -> float:
        """Count flags of blocks per second over the last 2 s."""
        since_ns = now_ns - _RATE_WINDOW_S * 1e9
        return sum(blocks for at_ns, blocks in self._recent if at_ns > since_ns) / _RATE_WINDOW_S

    def _is_new(self, sequence: int) -> bool:
        if self._highest < 0:
            self._highest = sequence
            return True
        if sequence > self._highest:
            self._note_gap(self._highest + 1, sequence)
            self._highest = sequence
            return True
        if sequence in self._missing:
            del self._missing[sequence]
            return True
        return False

    def _note_gap(self, first: int, end: int) -> None:
        remembered_from = max(first, end - _GAP_MEMORY)
        self._forgotten += remembered_from - first
        self._missing.update(dict.fromkeys(range(remembered_from, end)))
        while len(self._missing) > _GAP_MEMORY:
            del self._missing[next(iter(self._missing))]
            self._forgotten += 1


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

        With `face`, also why its verdict may not: it expired, or is about something else.
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
        if self.state != "ready":
            return f"state is {self.state}" if self.state else "nobody publishes for this console"
        if self._alive_at_ns is None:
            return "no sign of life yet"
        silent_s = (now - utc_from_ns(self._alive_at_ns)).total_seconds()
        if silent_s > SILENCE_LIMIT_S:
            return f"silent for {silent_s:.0f} s"
        return None

    def _why_not_valid(self, face: FaceResults | None, now: datetime) -> str | None:
        if face is None:
            return "no result"
        results = [result for result in (face.verdict, face.map) if result is not None]
        if face.unreadable or not results:
            return next(iter(face.unreadable.values()), "no result")
        if any(result.session != self._session for result in results):
            return "from an earlier run"
        if self.case and any(not self.case.is_about(result) for result in results):
            return "of another specimen"
        over_s = max((now - result.valid_until).total_seconds() for result in results)
        if over_s > 0:
            return f"expired {over_s:.0f} s ago"
        return None

    def _forget_what_the_broker_repeats(self) -> None:
        """Start from the broker's memory: what was taken back while we were away is not in it."""
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
