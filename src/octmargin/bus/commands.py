"""The door for commands: who comes in with what, each of them at most once, and each of them answered.

What a command does is not known here. No input or output; clocks are given.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import msgspec
import structlog

from octmargin.bus.messages import SCHEMA
from octmargin.bus.orders import ORDERS, Command, Order, Reply, may
from octmargin.bus.rights import CommandAddress, Sender, parse_command
from octmargin.bus.topics import Topics
from octmargin.errors import OrderRefusedError
from octmargin.wrong_values import explain

MOST_REMEMBERED = 10_000
REMEMBERED_FOR = timedelta(hours=1)
LONGEST_VALIDITY = timedelta(minutes=5)
"""A command that holds for longer is refused: it could be remembered no more when it comes again."""
MOST_AHEAD = timedelta(seconds=10)
"""So far a sender's clock may be ahead."""
MOST_BYTES = 65_536
MOST_REASON = 300
"""Characters of a reason: an answer is remembered, and what was asked for must not come back at length."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Request:
    """A command that is in order as far as the bus can tell; its sender may give it."""

    sender: Sender
    name: str
    command: Command
    order: Order


@dataclass(frozen=True, slots=True)
class Promise:
    """What was done, and is to be answered once it is known what is to be said beside it: whether it was kept."""

    done: str
    beside: asyncio.Future[str]


@dataclass(slots=True)
class _Past:
    reply: Reply
    is_answered: bool
    digest: bytes
    """Of what was asked for: an id that comes with something else is a mistake of its sender."""
    at: datetime
    holds_until: datetime


class _Memory:
    """What was answered, so that a command that comes again is not carried out again. Bounded in number and time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._past: OrderedDict[tuple[Sender, str], _Past] = OrderedDict()

    def of(self, sender: Sender, command_id: str) -> _Past | None:
        """What was answered to it; None where it is new."""
        return self._past.get((sender, command_id))

    def has_room(self, now: datetime) -> bool:
        """Whether one more can be remembered. What could still be carried out again is never forgotten."""
        while self._past:
            oldest = next(iter(self._past.values()))
            is_over = oldest.holds_until < now
            if not is_over or (len(self._past) < self._most and now - oldest.at <= REMEMBERED_FOR):
                break
            self._past.popitem(last=False)
        return len(self._past) < self._most

    def keep(self, sender: Sender, past: _Past) -> None:
        """Remember one more."""
        self._past[sender, past.reply.id] = past


class CommandDoor:
    """Takes what comes on the topics of commands, has it carried out, and answers.

    `carry_out(request)` says in words what was done, now or as a promise, or raises `OrderRefusedError`;
    `answer(sender, reply)` sends it.
    `note(sender, name, command, reply)` is told of every command once, with what became of it. `session` is this
    daemon's.
    """

    def __init__(
        self,
        topics: Topics,
        session: str,
        *,
        carry_out: Callable[[Request], str | Promise],
        answer: Callable[[Sender, Reply], None],
        note: Callable[[Sender, str, Command, Reply], None],
        clock: Callable[[], datetime],
        most_remembered: int = MOST_REMEMBERED,
    ) -> None:
        self._topics = topics
        self._session = session
        self._carry_out = carry_out
        self._answer = answer
        self._note = note
        self._clock = clock
        self._memory = _Memory(most_remembered)

    def take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Something came on a topic of a command; never raises."""
        try:
            self._hear(topic, payload, retained=retained)
        except Exception:  # the connection, and what is said over it, must outlive it
            log.exception("a command is dropped", topic=topic)

    def _hear(self, topic: str, payload: bytes, *, retained: bool) -> None:
        if not payload:
            return  # somebody took a retained one away
        address = parse_command(self._topics, topic)
        if address is None:
            log.warning("a command is ignored: its topic is of no role that gives any", topic=topic)
            return
        who = {"command": address.command, "role": address.sender.role.value, "user": address.sender.user}
        if retained:
            # It would come again with every connection, long after anybody meant it.
            log.warning("a command is ignored: it is retained; have it taken away at the broker", **who)
            return
        try:
            command = _decoded(payload)
        except OrderRefusedError as refusal:
            log.warning("command refused", **who, reason=str(refusal))
            self._answer(address.sender, self._reply(address, _id_of(payload), "refused", str(refusal)))
            return
        self._take(address, command)

    def _take(self, address: CommandAddress, command: Command) -> None:
        sender, now, digest = address.sender, self._clock(), _digest(address, command)
        past = self._memory.of(sender, command.id)
        if past is not None:
            if past.digest == digest and not past.is_answered:
                # Its answer is about to come, and has its id.
                return
            if past.digest == digest:
                reply = msgspec.structs.replace(past.reply, repeated=True)
            else:
                why = "the id was used for another command; give each an id of its own"
                reply = self._reply(address, command.id, "refused", why)
            log.info("command came again", command=address.command, user=sender.user, id=command.id)
            self._answer(sender, reply)
            return
        if not self._memory.has_room(now):
            why = "too many commands at once; try again in a minute"
            log.warning("command refused", command=address.command, user=sender.user, reason=why)
            self._answer(sender, self._reply(address, command.id, "refused", why))
            return
        reply, beside = self._carried_out(address, command, now)
        # What holds for longer is refused: a wrong clock must not fill the memory for as long as it says.
        until = min(command.holds_until, now + LONGEST_VALIDITY + MOST_AHEAD)
        past = _Past(reply, beside is None, digest, now, until)
        self._memory.keep(sender, past)
        if beside is not None:
            beside.add_done_callback(partial(self._keep_promise, sender, past))
        try:
            self._note(sender, address.command, command, reply)
        finally:
            # It was carried out, whatever becomes of the note.
            if beside is None:
                self._answer(sender, reply)

    def _keep_promise(self, sender: Sender, past: _Past, beside: asyncio.Future[str]) -> None:
        # Cancelled: the daemon ends, and nobody knows.
        failure = None if beside.cancelled() else beside.exception()
        if failure is not None:
            log.error("whether a command was kept is not known", id=past.reply.id, exc_info=failure)
        is_known = not beside.cancelled() and failure is None
        more = beside.result() if is_known else "; whether it was kept is not known"
        past.reply = msgspec.structs.replace(
            past.reply, reason=_short(past.reply.reason + more), at=self._clock()
        )
        past.is_answered = True
        self._answer(sender, past.reply)

    def _carried_out(
        self, address: CommandAddress, command: Command, now: datetime
    ) -> tuple[Reply, asyncio.Future[str] | None]:
        """The answer, and what is still to come beside it; None where it is whole."""
        try:
            self._check(address, command, now)
            order = _arguments(address.command, command)
            done = self._carry_out(Request(address.sender, address.command, command, order))
        except OrderRefusedError as refusal:
            return self._reply(address, command.id, "refused", str(refusal)), None
        except Exception as error:  # whoever asked is to know of it too
            log.exception("command failed", command=address.command, id=command.id)
            why = f"octmargin failed at it ({type(error).__name__}: {error}); see its log"
            return self._reply(address, command.id, "refused", why), None
        if isinstance(done, Promise):
            return self._reply(address, command.id, "done", done.done), done.beside
        return self._reply(address, command.id, "done", done), None

    def _check(self, address: CommandAddress, command: Command, now: datetime) -> None:
        """Raise `OrderRefusedError` where the sender may not give it, or not now, or not to this daemon."""
        name, role = address.command, address.sender.role
        if name not in ORDERS:
            raise OrderRefusedError(f"there is no command {name!r}; known: {', '.join(ORDERS)}")
        if not may(role, name):
            raise OrderRefusedError(f"{role.value} {address.sender.user} may not {name}; a reader may")
        if command.schema != SCHEMA:
            raise OrderRefusedError(
                f"schema {command.schema}, and {SCHEMA} is known; update the older program"
            )
        if command.expected_session != self._session:
            raise OrderRefusedError("it is meant for another run of the daemon; look again, and repeat it")
        if command.issued_at - now > MOST_AHEAD:
            ahead_s = (command.issued_at - now).total_seconds()
            raise OrderRefusedError(f"it was issued {ahead_s:.0f} s from now; set the clocks")
        if command.holds_until < now:
            late_s = (now - command.holds_until).total_seconds()
            raise OrderRefusedError(
                f"it came {late_s:.1f} s too late; repeat it, and where that fails set the clocks"
            )
        if command.holds_until - now > LONGEST_VALIDITY:
            most_s = LONGEST_VALIDITY.total_seconds()
            raise OrderRefusedError(f"it holds for more than {most_s:.0f} s; give it a shorter validity")

    def _reply(
        self, address: CommandAddress, command_id: str, outcome: Literal["done", "refused"], reason: str
    ) -> Reply:
        return Reply(
            session=self._session,
            id=command_id,
            command=address.command,
            outcome=outcome,
            reason=_short(reason),
            at=self._clock(),
        )


def _short(reason: str) -> str:
    return reason if len(reason) <= MOST_REASON else f"{reason[: MOST_REASON - 1]}…"


def _digest(address: CommandAddress, command: Command) -> bytes:
    asked = (address.command, command.case_id, command.specimen_id, command.arguments)
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).digest()


class _WithId(msgspec.Struct):
    id: str


def _decoded(payload: bytes) -> Command:
    if len(payload) > MOST_BYTES:
        raise OrderRefusedError(f"the command has {len(payload)} bytes, more than {MOST_BYTES}")
    try:
        return msgspec.json.decode(payload, type=Command)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OrderRefusedError(f"the command cannot be read: {_one_line(error)}") from None


def _id_of(payload: bytes) -> str:
    """The id of a command that cannot be read, where that can."""
    try:
        command_id = msgspec.json.decode(payload[:MOST_BYTES], type=_WithId).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return command_id if len(command_id) <= 64 else ""


def _arguments(name: str, command: Command) -> Order:
    try:
        return msgspec.convert(command.arguments, ORDERS[name])
    except (msgspec.ValidationError, RecursionError) as error:
        # Without the value: it may name a patient.
        wrong = explain(_one_line(error), ORDERS[name], noun="argument")
        raise OrderRefusedError(f"{name}: {wrong}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
