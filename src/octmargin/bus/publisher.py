"""Says on the bus what the daemon found: never blocks, and counts what it could not say."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import aiomqtt
import msgspec
from paho.mqtt.subscribeoptions import SubscribeOptions

from octmargin.bus.codec import encode
from octmargin.bus.connection import BrokerSettings, Connector
from octmargin.bus.decisions import DecisionMessage
from octmargin.bus.messages import (
    Alarm,
    CaseMessage,
    Description,
    FlagCounts,
    FlagMessage,
    FrameCounts,
    Health,
    LatencyMs,
    LifecycleWord,
    MapMessage,
    Message,
    Priority,
    QueueCounts,
    RecordingCounts,
    State,
    VerdictMessage,
)
from octmargin.bus.orders import REPLY_EXPIRY_S, Reply
from octmargin.bus.outbox import Leftovers, Outbox, Parcel
from octmargin.bus.rights import Sender, all_commands, reply_topic
from octmargin.bus.store import OutboxStore
from octmargin.bus.topics import Kind, Topics
from octmargin.bus.transmitter import Sealed, Transmitter
from octmargin.bus.validity import Validity
from octmargin.errors import BrokerError, ConfigError

_OPENING_S = 5.0
_CLOSING_S = 1.0
"""For how long a disk may hold up the start and the end."""


def _what_we_say(topics: Topics) -> Iterator[str]:
    """Filters for what an earlier run may have left behind, and for the word that says that we are heard."""
    yield topics.state
    for kind in Kind:
        if kind.named:
            yield f"{topics.base}/{kind.value}/+"


def utc_now() -> datetime:
    """Wall clock, UTC."""
    return datetime.now(UTC)


class CommandTaker(Protocol):
    """Whoever takes commands."""

    def take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Something came on a topic of a command; nothing that it does may raise."""


class Publisher:
    """Publishes one console's messages while entered; use it in one event loop's thread.

    With `BrokerSettings.outbox_file` flags and final verdicts outlive the process: what an earlier run did not get said
    is said first, as that run said it. Then entering goes on without a broker, and is no error.

    Else entering connects, announces `$state` init with the last will `lost`, waits until the broker hands
    that word back, and takes away results that an earlier run left behind; `BrokerError` in one line
    where that fails. From then on a lost connection is made anew in the background, and what is
    retained is said again. Every `publish_*` only puts a message into the outbox.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Topics,
        *,
        validity: Validity | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.topics = topics
        self.session = secrets.token_hex(8)
        """Drawn anew for each publisher; `Description.instance_id` must be it."""
        self._settings = settings
        self._validity = validity or Validity()
        self._clock = clock
        self.store = (
            OutboxStore(Path(settings.outbox_file), self.session, topics.base)
            if settings.outbox_file
            else None
        )
        """Where messages wait beyond the end of the process."""
        self._of_commands = f"{topics.base}/cmd/"
        self._outbox = Outbox(settings.outbox_frames, self.store, settings.outbox_file_frames)
        self._retained: dict[str, Parcel] = {}
        self.left_on_disk: int | None = None
        """After leaving: messages that wait in the store for the next run; None where nobody can tell."""
        self._sequences: Counter[Kind] = Counter()
        self._state: State = "init"
        self._flags_acknowledged = 0
        self._flag_messages_acknowledged = 0
        self._late_acknowledged = 0
        self._last_failure = ""
        self.refusal = ""
        """What the broker will never take, and why: the last such message; empty where there was none."""
        self._is_lost = asyncio.Event()
        self._heard_itself = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._transmitter = Transmitter(
            Connector(settings),
            self._outbox,
            self.store,
            self,
            client_id=settings.client_id or f"octmargin-{topics.site}-{topics.console}",
            will=aiomqtt.Will(topics.state, b"lost", qos=1, retain=True),
            listen_to=(
                *((topic, SubscribeOptions(qos=0)) for topic in _what_we_say(topics)),
                # As it was published: a command that is retained must be known for one, though it comes live.
                (all_commands(topics), SubscribeOptions(qos=1, retainAsPublished=True)),
            ),
        )
        self.commands: CommandTaker | None = None
        """Is told of all that comes on the topics of commands."""

    async def __aenter__(self) -> Self:
        if self.store is not None:
            self._outbox.take_over(await self._opened(self.store))
        self.set_state("init")
        self._running = asyncio.create_task(self._transmitter.link.run(), name="octmargin bus")
        hearing = asyncio.create_task(self._heard_itself.wait())
        losing = asyncio.create_task(self._is_lost.wait())
        try:
            await asyncio.wait(
                (self._running, hearing, losing),
                timeout=2 * self._settings.timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            with contextlib.suppress(BrokerError):
                await self._stop()
            raise
        finally:
            hearing.cancel()
            losing.cancel()
        is_mute = self._transmitter.link.connected and not self._heard_itself.is_set()
        may_come = self._heard_itself.is_set() or self._is_lost.is_set() or self.store is not None
        if self._running.done() or is_mute or not may_come:
            await self._stop()
            raise BrokerError(self._unheard)
        # From now on the loss of the broker is no reason to give up.
        self._transmitter.link.prove()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A goodbye takes its turn, and would overtake flags that wait: whoever hears it has heard everything. That
        # something failed is said at once.
        has_failed = isinstance(error, Exception)
        if self.connected and not has_failed:
            await self.drain(self._settings.timeout_s / 2)
        self.set_state("lost" if has_failed else "disconnected")
        if self.connected:
            await self.drain(self._settings.timeout_s / 2)
        await self._stop()

    @property
    def connected(self) -> bool:
        """True while the broker is reached, and does what is needed of it."""
        return self._transmitter.link.connected and self._heard_itself.is_set()

    @property
    def reconnects(self) -> int:
        """Times that a lost connection was made anew."""
        return self._transmitter.link.reconnects

    @property
    def last_failure(self) -> str:
        """Why the connection was lost, or could not be made anew, last time; for the log."""
        if self._transmitter.link.connected:
            return self._unheard
        return self._last_failure or f"the MQTT broker at {self._settings.address} has not answered yet"

    @property
    def state(self) -> State:
        """The last state that was set."""
        return self._state

    def set_state(self, state: State) -> None:
        """Say `$state`; displays show results as good only while it is `ready`."""
        self._state = state
        self._put(self.topics.state, Kind.STATE, state)

    def describe(self, description: Description) -> None:
        """Say `$description`; `TypeError` where its policy cannot be written as JSON."""
        encode(description)
        if description.instance_id != self.session:
            raise ValueError("Description.instance_id must be the publisher's session")
        self._put(self.topics.description, Kind.DESCRIPTION, description)

    def publish_case(self, case: CaseMessage) -> None:
        """Say which case and specimen is being scanned."""
        self._put(self.topics.case, Kind.CASE, case)

    def publish_flag(self, flag: FlagMessage) -> None:
        """Say the flags of one frame; when too many wait, the oldest is dropped and counted."""
        self._put(self.topics.flag, Kind.FLAG, flag)

    def publish_map(self, face_map: MapMessage) -> None:
        """Say the map of a face; replaces one that still waits."""
        self._put(self.topics.map(face_map.face), Kind.MAP, face_map)

    def publish_verdict(self, verdict: VerdictMessage) -> None:
        """Say the verdict on a face; replaces one that still waits, and is never dropped."""
        self._put(self.topics.verdict(verdict.face), Kind.VERDICT, verdict)

    def publish_decision(self, decision: DecisionMessage) -> None:
        """Say everything that readers said of a face; replaces what still waits."""
        self._put(self.topics.decision(decision.face), Kind.DECISION, decision)

    def forget_results(self) -> None:
        """Take back what was said of faces: another specimen is on the stage. Final verdicts that wait come first."""
        for topic, parcel in list(self._retained.items()):
            if parcel.kind in (Kind.MAP, Kind.VERDICT, Kind.DECISION):
                self._put(topic, parcel.kind, None)

    def publish_health(
        self,
        frames: FrameCounts,
        *,
        rate_alines_per_s: float,
        latency_ms: LatencyMs | None,
        over_budget: float | None,
        recording: RecordingCounts | None,
        uptime_s: float,
        lifecycle: LifecycleWord,
        reasons: list[str],
        synthetic: bool,
    ) -> Health:
        """Say how the daemon does, with the publisher's own counters; gives what is said."""
        health = Health(
            acquired_at=self._clock(),
            synthetic=synthetic,
            state=self._state,
            frames=frames,
            flags=self.flag_counts,
            queue=self.queue_counts,
            rate_alines_per_s=rate_alines_per_s,
            latency_ms=latency_ms,
            reconnects=self.reconnects,
            over_budget=over_budget,
            recording=recording,
            uptime_s=uptime_s,
            lifecycle=lifecycle,
            reasons=reasons,
        )
        self._put(self.topics.health, Kind.HEALTH, health)
        return health

    def raise_alarm(
        self, alarm_id: str, priority: Priority, text: str, remedy: str, *, synthetic: bool = False
    ) -> None:
        """Say a technical fault until it is cleared; one that is said again in the same words stays acknowledged."""
        before = self._alarm(alarm_id)
        alarm = Alarm(
            acquired_at=self._clock(),
            synthetic=synthetic,
            id=alarm_id,
            priority=priority,
            text=text,
            remedy=remedy,
            active=True,
            acknowledged_by=before.acknowledged_by if before is not None and before.text == text else "",
        )
        self._put(self.topics.alarm(alarm_id), Kind.ALARM, alarm)

    def acknowledge_alarm(self, alarm_id: str, by: str) -> bool:
        """Say that somebody knows of a fault, which stays; False where there is none of this id."""
        alarm = self._alarm(alarm_id)
        if alarm is None:
            return False
        known = msgspec.structs.replace(alarm, acknowledged_by=by, acquired_at=self._clock())
        self._put(self.topics.alarm(alarm_id), Kind.ALARM, known)
        return True

    def clear_alarm(self, alarm_id: str) -> None:
        """Say that a fault is over; nothing happens where it is not raised."""
        raised = self._alarm(alarm_id)
        if raised is not None:
            over = msgspec.structs.replace(raised, active=False, acquired_at=self._clock())
            self._put(self.topics.alarm(alarm_id), Kind.ALARM, over)

    def _alarm(self, alarm_id: str) -> Alarm | None:
        """The alarm of this id while it is active."""
        raised = self._retained.get(self.topics.alarm(alarm_id))
        alarm = raised.content if raised is not None else None
        return alarm if isinstance(alarm, Alarm) and alarm.active else None

    @property
    def flag_counts(self) -> FlagCounts:
        """Flags and flag messages that the broker acknowledged."""
        return FlagCounts(published=self._flags_acknowledged, messages=self._flag_messages_acknowledged)

    @property
    def queue_counts(self) -> QueueCounts:
        """What waits, was dropped and was replaced; `waiting` includes what is not acknowledged yet."""
        box = self._outbox
        return QueueCounts(
            waiting=box.waiting + box.under_way,
            dropped=box.dropped,
            coalesced=box.coalesced,
            late=self._late_acknowledged,
            refused=box.refused,
        )

    @property
    def unsaid(self) -> int:
        """Flags and final verdicts that the broker does not have."""
        return self._outbox.history

    def answer(self, sender: Sender, reply: Reply) -> None:
        """Answer a command; given up where the broker is away for longer than anybody waits."""
        payload = msgspec.json.encode(reply)
        self._transmitter.answers.put(reply_topic(self.topics, sender), payload, REPLY_EXPIRY_S)

    @property
    def answers_given_up(self) -> int:
        """Answers to commands that could not be said in time, or that the broker refused."""
        return self._transmitter.answers.given_up

    async def drain(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged everything; False where `timeout_s` is not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._transmitter.drained()
        except TimeoutError:
            return False
        return True

    def on_connected(self) -> None:
        """Say again what is retained, `$state` last: until then displays stay grey."""
        now = self._clock()
        still_true = [
            parcel
            for parcel in self._retained.values()
            if not isinstance(parcel.content, Message)
            or self._validity.until(parcel.kind, parcel.content, now) > now
        ]
        self._outbox.put_missing(sorted(still_true, key=lambda parcel: parcel.kind is Kind.STATE))
        self._transmitter.wake()

    def seal(self, parcel: Parcel) -> Sealed:
        """Stamp and encode a parcel as of now."""
        content, retain = parcel.content, parcel.delivery.retain
        if content is None:
            return Sealed(b"", retain)
        if isinstance(content, str):
            return Sealed(content.encode("ascii"), retain)
        now = self._clock()
        valid_until = self._validity.until(parcel.kind, content, now)
        content = msgspec.structs.replace(content, published_at=now, valid_until=valid_until)
        if parcel.late and isinstance(content, FlagMessage | VerdictMessage):
            content = msgspec.structs.replace(content, late=True)
        if parcel.late or valid_until <= now:
            # History: nothing that the broker is to remember, nor to withhold from a subscriber that is slow.
            return Sealed(encode(content), retain=False)
        if not parcel.delivery.expires or (retain and not self._settings.retained_expiry):
            return Sealed(encode(content), retain)
        return Sealed(encode(content), retain, max(1, math.ceil((valid_until - now).total_seconds())))

    def on_acknowledged(self, parcel: Parcel) -> None:
        """Count the flags that the broker has."""
        if parcel.late:
            self._late_acknowledged += 1
        elif isinstance(parcel.content, FlagMessage):
            self._flag_messages_acknowledged += 1
            self._flags_acknowledged += len(parcel.content.state)

    def on_refused(self, parcel: Parcel, reason: str) -> None:
        """Keep what and why; what the broker remembers on the topic is not the newest any more."""
        self.refusal = reason
        if parcel.content is not None and self._retained.get(parcel.topic) is parcel:
            self._put(parcel.topic, parcel.kind, None)

    def on_lost(self, reason: str) -> None:
        """Keep why."""
        self._last_failure = reason
        self._is_lost.set()

    def on_heard(self, message: aiomqtt.Message) -> None:
        """Hear what the bus says in our name."""
        topic, payload = str(message.topic), bytes(message.payload)
        if topic.startswith(self._of_commands):
            if self.commands is not None:
                self.commands.take(topic, payload, retained=message.retain)
        elif topic == self.topics.state:
            self._heard_state(payload, remembered=message.retain)
        elif message.retain and payload and topic not in self._retained:
            self._clear_leftover(topic)

    def _heard_state(self, payload: bytes, *, remembered: bool) -> None:
        if payload == b"lost" and self._state != "lost":
            # The last will of an earlier connection, come late: we are still here.
            self.set_state(self._state)
        elif payload == self._state.encode("ascii") and not remembered:
            self._heard_itself.set()

    def _clear_leftover(self, topic: str) -> None:
        """Take away what an earlier run left behind, or we ourselves took back while the connection broke."""
        address = self.topics.parse(topic)
        if address is not None:
            self._put(topic, address.kind, None)

    def _put(self, topic: str, kind: Kind, content: Message | State | None) -> None:
        if self._running is not None and self._running.done():
            # Nobody would send it: let the failure surface where it is noticed.
            self._running.result()
        if isinstance(content, Message):
            content = msgspec.structs.replace(content, session=self.session, sequence=self._sequences[kind])
            self._sequences[kind] += 1
        parcel = Parcel(topic, kind, content)
        if content is None:
            self._retained.pop(topic, None)
        elif parcel.delivery.retain:
            self._retained[topic] = parcel
        self._outbox.put(parcel)
        self._transmitter.wake()

    async def _stop(self) -> None:
        """End the connection; `BrokerError` where there never was one."""
        self._transmitter.link.stop()
        try:
            if self._running is not None:
                await self._running
        finally:
            if self.store is not None:
                # A disk that takes longer is left alone.
                with contextlib.suppress(TimeoutError, sqlite3.Error):
                    async with asyncio.timeout(_CLOSING_S):
                        self.left_on_disk = await asyncio.wrap_future(self.store.close())

    async def _opened(self, store: OutboxStore) -> Leftovers:
        opening = store.open()
        try:
            async with asyncio.timeout(_OPENING_S):
                return await asyncio.wrap_future(opening)
        except BaseException as error:
            store.close()
            if not isinstance(error, TimeoutError):
                raise
            raise ConfigError(
                f"broker.outbox_file {str(store.path)!r}: its disk has not answered for {_OPENING_S:.0f} s; "
                "check it, or name a file on another"
            ) from None

    @property
    def _unheard(self) -> str:
        return (
            f"the MQTT broker at {self._settings.address} does not hand back what is published under "
            f"{self.topics.base}; give its user the right to write and read {self.topics.everything}"
        )
