"""The door for commands: at most once, always answered, and to nobody who may not."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.bus.commands import LONGEST_VALIDITY, MOST_AHEAD, CommandDoor, Promise, Request
from octmargin.bus.orders import ORDERS, Command, Decide, Reply, Select
from octmargin.bus.rights import Role, Sender, command_topic
from octmargin.bus.topics import Topics
from octmargin.errors import OrderRefusedError

from .examples import NOON

TOPICS = Topics("north", "or-1")
OTTO = Sender(Role.OPERATOR, "otto")
RITA = Sender(Role.READER, "rita")


class Desk:
    """A door, and all that went through it."""

    def __init__(self, *, most_remembered: int = 100) -> None:
        self.now = NOON
        self.done: list[Request] = []
        self.answers: list[tuple[Sender, Reply]] = []
        self.noted: list[tuple[str, str]] = []
        self.refuse_because = ""
        self.fails: Exception | None = None
        self.promise: Promise | None = None
        self.cannot_note: Exception | None = None
        self.door = CommandDoor(
            TOPICS,
            "this-run",
            carry_out=self.carry_out,
            answer=lambda sender, reply: self.answers.append((sender, reply)),
            note=self.note,
            clock=lambda: self.now,
            most_remembered=most_remembered,
        )

    def note(self, _sender: Sender, name: str, _command: Command, reply: Reply) -> None:
        if self.cannot_note is not None:
            raise self.cannot_note
        self.noted.append((name, reply.outcome))

    def carry_out(self, request: Request) -> str | Promise:
        if self.fails is not None:
            raise self.fails
        if self.refuse_because:
            raise OrderRefusedError(self.refuse_because)
        self.done.append(request)
        return self.promise or "as you wish"

    def send(
        self, name: str = "select", sender: Sender = OTTO, *, retained: bool = False, **changes: Any
    ) -> None:
        payload = msgspec.json.encode(command(**({"issued_at": self.now} | changes)))
        self.door.take(command_topic(TOPICS, sender, name), payload, retained=retained)

    def give(
        self, name: str = "select", sender: Sender = OTTO, *, retained: bool = False, **changes: Any
    ) -> Reply:
        before = len(self.answers)
        self.send(name, sender, retained=retained, **changes)
        [(to, reply)] = self.answers[before:]
        assert to == sender
        return reply


def command(**changes: Any) -> Command:
    fields: dict[str, Any] = {
        "id": "c-1",
        "issued_at": NOON,
        "expected_session": "this-run",
        "case_id": "C-7",
        "specimen_id": "S-1",
        "arguments": {"face": "superior"},
    }
    return Command(**(fields | changes))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_command_is_carried_out_and_answered_to_who_gave_it(desk: Desk) -> None:
    reply = desk.give()
    [request] = desk.done
    assert (request.sender, request.name, request.order) == (OTTO, "select", Select(face="superior"))
    assert (reply.id, reply.command, reply.outcome, reply.reason) == ("c-1", "select", "done", "as you wish")
    assert (reply.session, reply.at, reply.repeated) == ("this-run", NOON, False)
    assert desk.noted == [("select", "done")]


def test_a_command_that_comes_again_gets_the_same_answer_and_is_not_carried_out_again(desk: Desk) -> None:
    first = desk.give()
    desk.now += timedelta(minutes=30)
    again = desk.give(issued_at=NOON)
    assert again == msgspec.structs.replace(first, repeated=True)
    assert len(desk.done) == len(desk.noted) == 1


def test_so_does_one_that_was_refused_though_it_would_be_taken_by_now(desk: Desk) -> None:
    desk.refuse_because = "superior is being scanned"
    assert desk.give().outcome == "refused"
    desk.refuse_because = ""
    again = desk.give()
    assert (again.outcome, again.reason, again.repeated) == ("refused", "superior is being scanned", True)
    assert desk.done == []


def test_the_same_id_of_another_person_is_another_command(desk: Desk) -> None:
    assert desk.give().outcome == desk.give(sender=RITA).outcome == "done"
    assert len(desk.done) == 2


@pytest.mark.parametrize(
    "other",
    [{"name": "rescan"}, {"arguments": {"face": "inferior"}}, {"specimen_id": "S-2"}, {"case_id": "C-8"}],
)
def test_an_id_that_was_used_for_something_else_is_refused_and_not_taken_for_it(
    desk: Desk, other: dict[str, Any]
) -> None:
    first = desk.give()
    reply = desk.give(**other)
    assert (reply.outcome, reply.repeated) == ("refused", False)
    assert reply.reason == "the id was used for another command; give each an id of its own"
    assert desk.give() == msgspec.structs.replace(first, repeated=True), (
        "the first one is not forgotten for that"
    )
    assert len(desk.done) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"expected_session": "last-run"}, "another run of the daemon"),
        ({"issued_at": NOON - timedelta(seconds=10.5)}, "0.5 s too late"),
        ({"issued_at": NOON, "valid_until": NOON - timedelta(seconds=1)}, "1.0 s too late"),
        ({"issued_at": NOON + timedelta(seconds=11)}, "11 s from now; set the clocks"),
        ({"valid_until": NOON + timedelta(days=1)}, "holds for more than 300 s"),
        ({"schema": 2}, "schema 2, and 1 is known"),
        ({"arguments": {}}, 'select: argument "face" is missing'),
        (
            {"arguments": {"face": "superior", "all": True}},
            'select: unknown argument "all"; known here: face',
        ),
        (
            {"arguments": {"face": 7}},
            'select: argument "face" takes text of at least 1 character and at most 31 characters',
        ),
    ],
)
def test_what_is_not_in_order_is_refused_with_the_reason(
    desk: Desk, changes: dict[str, Any], why: str
) -> None:
    reply = desk.give(**changes)
    assert (reply.outcome, reply.id) == ("refused", "c-1")
    assert why in reply.reason
    assert desk.done == []


def test_an_unknown_command_is_refused_with_those_that_there_are(desk: Desk) -> None:
    assert desk.give("explode").reason == f"there is no command 'explode'; known: {', '.join(ORDERS)}"


def test_an_operator_does_not_decide_and_a_reader_does(desk: Desk) -> None:
    arguments = {"face": "superior", "sweep": 3, "subject": "face", "word": "disagree"}
    refused = desk.give("decide", OTTO, arguments=arguments)
    assert (refused.outcome, refused.reason) == ("refused", "operator otto may not decide; a reader may")
    assert desk.give("decide", RITA, arguments=arguments).outcome == "done"
    [request] = desk.done
    assert request.order == Decide(face="superior", sweep=3, subject="face", word="disagree")


@pytest.mark.parametrize("role", ["viewer", "archive", "console", "king"])
def test_nobody_else_is_answered(desk: Desk, role: str) -> None:
    desk.door.take(f"{TOPICS.base}/cmd/{role}/w/select", msgspec.json.encode(command()), retained=False)
    assert desk.done == desk.answers == desk.noted == []


@pytest.mark.parametrize("user", ["$otto", "o" * 65, "ot\tto", "\x00"])
def test_a_user_to_whom_no_answer_can_go_is_nobody(desk: Desk, user: str) -> None:
    desk.door.take(
        f"{TOPICS.base}/cmd/operator/{user}/select", msgspec.json.encode(command()), retained=False
    )
    assert desk.done == desk.answers == desk.noted == []


def test_a_failure_to_answer_is_no_failure_of_the_connection(desk: Desk) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no answer")

    topic = command_topic(TOPICS, OTTO, "select")
    desk.door._answer = fail
    desk.door.take(topic, msgspec.json.encode(command()), retained=False)
    assert len(desk.done) == 1


def test_what_the_broker_remembers_is_not_a_command(desk: Desk) -> None:
    topic = command_topic(TOPICS, OTTO, "select")
    desk.door.take(topic, msgspec.json.encode(command()), retained=True)
    desk.door.take(topic, b"", retained=False)
    assert desk.done == desk.answers == desk.noted == []


def test_a_command_that_cannot_be_read_is_answered_with_its_id_where_that_can() -> None:
    desk = Desk()
    topic = command_topic(TOPICS, OTTO, "select")
    for payload, command_id in ((b"not json", ""), (b'{"id": "c-9", "issued_at": "yesterday"}', "c-9")):
        desk.door.take(topic, payload, retained=False)
        reply = desk.answers[-1][1]
        assert (reply.outcome, reply.id) == ("refused", command_id)
        assert "cannot be read" in reply.reason
    desk.door.take(topic, b"[" * 70_000, retained=False)
    assert "70000 bytes, more than 65536" in desk.answers[-1][1].reason


def test_a_failure_of_ours_is_an_answer_and_the_next_command_is_taken(desk: Desk) -> None:
    desk.fails = KeyError("superior")
    reply = desk.give()
    assert reply.outcome == "refused"
    assert "KeyError" in reply.reason
    desk.fails = None
    assert desk.give(id="c-2").outcome == "done"


@pytest.mark.parametrize("outcome", ["fails", "is cancelled"])
async def test_a_promise_of_which_nothing_is_known_is_answered_and_says_so(desk: Desk, outcome: str) -> None:
    beside = asyncio.get_running_loop().create_future()
    desk.promise = Promise("kept as d1", beside)
    desk.send()
    assert desk.answers == [], "nothing is known yet"
    if outcome == "fails":
        beside.set_exception(OSError("the disk is gone"))
    else:
        beside.cancel()
    await asyncio.sleep(0)
    [(to, reply)] = desk.answers
    assert (to, reply.outcome) == (OTTO, "done")
    assert reply.reason == "kept as d1; whether it was kept is not known"


async def test_what_cannot_be_noted_is_answered_all_the_same(desk: Desk) -> None:
    desk.cannot_note = OSError("no space left")
    assert desk.give().outcome == "done"
    beside = asyncio.get_running_loop().create_future()
    desk.promise = Promise("kept as d1", beside)
    desk.send(id="c-2")
    beside.set_result("")
    await asyncio.sleep(0)
    assert [reply.reason for _, reply in desk.answers] == ["as you wish", "kept as d1"]


def test_what_could_still_be_carried_out_again_is_never_forgotten() -> None:
    desk = Desk(most_remembered=3)
    for number in range(3):
        assert desk.give(id=f"c-{number}").outcome == "done"
    refused = desk.give(id="c-3")
    assert (refused.outcome, len(desk.done)) == ("refused", 3)
    assert "too many commands at once" in refused.reason
    assert desk.give(id="c-0", issued_at=NOON).repeated
    # Their ten seconds are over: they would be refused for that if they came again.
    desk.now += timedelta(seconds=11)
    assert desk.give(id="c-3").outcome == "done"
    forgotten = desk.give(id="c-0", issued_at=NOON)
    assert (forgotten.outcome, forgotten.repeated) == ("refused", False)
    assert "too late" in forgotten.reason


def test_what_is_over_for_an_hour_is_forgotten(desk: Desk) -> None:
    desk.give()
    desk.now += timedelta(minutes=59)
    assert desk.give(id="c-2").outcome == "done"
    assert desk.give(issued_at=NOON).repeated
    desk.now += timedelta(minutes=2)
    desk.give(id="c-3")
    assert not desk.give(issued_at=NOON).repeated


def test_a_command_that_is_said_to_hold_for_years_is_not_remembered_for_years() -> None:
    desk = Desk(most_remembered=1)
    far = NOON + timedelta(days=3650)
    assert desk.give(id="c-1", issued_at=far).outcome == "refused"
    assert "too many commands" in desk.give(id="c-2").reason
    desk.now += LONGEST_VALIDITY + MOST_AHEAD + timedelta(seconds=1)
    assert desk.give(id="c-2").outcome == "done"


def test_a_command_at_the_end_of_the_calendar_is_refused_in_one_line(desk: Desk) -> None:
    reply = desk.give(issued_at=datetime.max.replace(tzinfo=UTC))
    assert reply.outcome == "refused"
    assert "s from now; set the clocks" in reply.reason


@pytest.mark.parametrize("about", ["case_id", "specimen_id"])
def test_an_identifier_without_end_is_not_taken(desk: Desk, about: str) -> None:
    reply = desk.give(**{about: "s" * 65})
    assert reply.outcome == "refused"
    assert "cannot be read" in reply.reason


def test_a_reason_is_short_whatever_was_asked_for(desk: Desk) -> None:
    desk.refuse_because = "x" * 60_000
    reply = desk.give()
    assert len(reply.reason) == 300
    assert reply.reason.endswith("…")


INSTANTS = st.sampled_from([NOON + timedelta(seconds=seconds) for seconds in (-60, -5, 0, 5, 60)])


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), INSTANTS, st.none() | INSTANTS, st.sampled_from(["superior", "inferior"])
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(1, 4),
)
def test_whatever_comes_in_whatever_order_nothing_is_done_twice(
    commands: list[tuple[str, datetime, datetime | None, str]], pauses_s: list[int], most: int
) -> None:
    desk = Desk(most_remembered=most)
    for number, (command_id, issued_at, valid_until, face) in enumerate(commands):
        desk.now += timedelta(seconds=pauses_s[number] if number < len(pauses_s) else 0)
        reply = desk.give(
            id=command_id, issued_at=issued_at, valid_until=valid_until, arguments={"face": face}
        )
        assert reply.id == command_id
    done = [(request.command.id, request.command.issued_at, request.order) for request in desk.done]
    assert len(done) == len(set(done))


@given(
    payload=st.binary() | st.dictionaries(st.text(), st.text()).map(lambda value: json.dumps(value).encode()),
    topic=st.text() | st.sampled_from([f"{TOPICS.base}/cmd/reader/rita/decide", f"{TOPICS.base}/cmd/a/b/c"]),
    retained=st.booleans(),
)
def test_anything_may_come_and_nothing_is_done(payload: bytes, topic: str, retained: bool) -> None:
    desk = Desk()
    desk.door.take(topic, payload, retained=retained)
    assert desk.done == []
    assert all("\n" not in reply.reason for _, reply in desk.answers)
