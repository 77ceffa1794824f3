"""The page judges what may be shown as current as `octmargin.bus.tally` does, on the same random courses."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.conftest import needs_program
from tests.unit.bus.examples import NOON, ONE_OF_EACH

from octmargin.bus import Topics
from octmargin.bus.codec import encode
from octmargin.bus.decisions import MOST_ENTRIES
from octmargin.bus.events import Connected, ConnectionLost, to_event
from octmargin.bus.messages import UNSTAMPED, Message
from octmargin.bus.tally import SILENCE_LIMIT_S, Tally
from octmargin.bus.topics import Kind

COURSES = 4000
SPOILED_OF_EACH = 3000
TOPICS = Topics("north", "or-1")
NOON_MS = round((NOON - UNSTAMPED) / timedelta(milliseconds=1))
FACES = ("superior", "inferior")
PAGE = Path(str(files("octmargin.display") / "static"))
RUNNER = Path(__file__).with_name("page_courses.mjs")
SPECIFICATIONS = Path(__file__).with_name("page")

_CODES = {
    "nobody publishes for this console": "nobody",
    "state is .*": "state",
    "no sign of life yet": "no-sign",
    r"silent for \d+ s": "silent",
    "no result": "no-result",
    "unreadable: .*": "unreadable",
    "from an earlier run": "earlier-run",
    "not known which specimen is on the stage": "no-case",
    "of another specimen": "other-specimen",
    r"expired \d+ s ago": "expired",
}


@dataclass(frozen=True)
class Course:
    """What the page is sent, and what a subscriber in Python made of the same."""

    sent: dict[str, Any]
    expected: dict[str, Any]


def test_the_page_believes_what_the_tally_believes() -> None:
    courses = [_course(Random(seed)) for seed in range(COURSES)]  # noqa: S311
    answers = _answers_of_the_page([course.sent for course in courses])
    reasons = set()
    for seed, (course, answer) in enumerate(zip(courses, answers, strict=True)):
        assert answer["answers"] == course.expected["answers"], f"course {seed}"
        assert _rounded(answer) == _rounded(course.expected), f"course {seed}"
        reasons |= {reason and reason["code"] for reason in answer["answers"]}
    # A course that leads nowhere proves nothing.
    assert reasons == {None, "broker", *_CODES.values()}


def _answers_of_the_page(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = "".join(f"{json.dumps(each)}\n" for each in sent)
    answers = [json.loads(line) for line in _node(str(RUNNER), str(PAGE), sent=lines).splitlines()]
    for answer in answers:
        answer["answers"] = [_plain(reason) for reason in answer["answers"]]
    return answers


def _node(*arguments: str, sent: str = "") -> str:
    """What a program for node writes; the test fails where it ends with an error."""
    command = [needs_program("node"), *arguments]
    environment = {**os.environ, "OCTMARGIN_PAGE": str(PAGE)}
    done = subprocess.run(
        command, input=sent, capture_output=True, text=True, timeout=100, check=False, env=environment
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def _plain(reason: dict[str, Any] | None) -> dict[str, Any] | None:
    """A reason without what each says in its own words."""
    if reason is None:
        return None
    kept = {key: reason[key] for key in ("code", "state", "seconds") if key in reason}
    if reason["code"] == "broker":
        kept["text"] = reason["text"]
    if "seconds" in kept:
        # What a person is told is rounded, to the even one in the middle between two.
        kept["seconds"] = round(kept["seconds"])
    return kept


def _rounded(result: dict[str, Any]) -> dict[str, Any]:
    latency = result["latency_ms"]
    rounded = None if latency is None else {key: round(value, 2) for key, value in latency.items()}
    kept = {key: value for key, value in result.items() if key not in ("answers", "refused")}
    return {**kept, "latency_ms": rounded}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.STATE])
def test_the_page_reads_what_the_codec_reads_and_nothing_else(kind: Kind) -> None:
    rng = Random(kind.value)  # noqa: S311
    tally = Tally()
    steps: list[dict[str, Any]] = []
    refused = []
    name = "console" if kind is Kind.ALARM else FACES[0] if kind.named else ""
    for place in range(SPOILED_OF_EACH):
        payload = _spoiled(rng, _payload(rng, kind, name, "run-1", NOON_MS, soundly=True))
        before = tally.malformed
        _say(steps, tally, NOON_MS, TOPICS.of(kind, name), payload, False)
        if tally.malformed > before:
            refused.append(place)
    sent = {"base": TOPICS.base, "silence_limit_s": SILENCE_LIMIT_S, "steps": steps}
    [answer] = _answers_of_the_page([sent])
    differs = sorted(set(answer["refused"]) ^ set(refused))
    assert not differs, base64.b64decode(steps[differs[0]]["payload"])
    assert 0.2 < len(refused) / SPOILED_OF_EACH < 0.95


# -- courses -------------------------------------------------------------------------------------------


def _course(rng: Random) -> Course:
    tally = Tally()
    steps: list[dict[str, Any]] = []
    answers: list[dict[str, Any] | None] = []
    unknown = 0
    at_ms = NOON_MS
    for _ in range(rng.randrange(4, 40)):
        at_ms += rng.choice((0, 1, 20, 250, 1000, 3000, 6000))
        roll = rng.random()
        if roll < 0.04:
            steps.append({"lost": "no MQTT broker"})
            tally.add(ConnectionLost(received_at_ns=at_ms * 10**6, reason="no MQTT broker"))
        elif roll < 0.12 or not steps:
            steps.append({"connected": True})
            tally.add(Connected(received_at_ns=at_ms * 10**6))
            steps += _remembered(rng, tally, at_ms)
        elif roll < 0.35:
            face = rng.choice((None, *FACES))
            steps.append({"ask": face, "at_ms": at_ms})
            answers.append(_reason(tally.stale_reason(UNSTAMPED + timedelta(milliseconds=at_ms), face)))
        else:
            unknown += _say(steps, tally, at_ms, *_random_message(rng, at_ms))
    sent = {"base": TOPICS.base, "silence_limit_s": SILENCE_LIMIT_S, "steps": steps}
    latency = tally.latency_ms
    return Course(
        sent,
        {
            "answers": answers,
            "unknown": unknown,
            "malformed": tally.malformed,
            "late": tally.late,
            "synthetic": tally.synthetic,
            "alarms": sorted(tally.alarms),
            "flags": {key: getattr(tally.flags, key) for key in ("messages", "blocks", "duplicates", "gaps")},
            "latency_ms": None if latency is None else msgspec.to_builtins(latency),
            "decided": sorted(face for face in tally.faces if tally.decision_of(face) is not None),
        },
    )


def _remembered(rng: Random, tally: Tally, at_ms: int) -> list[dict[str, Any]]:
    """What a broker hands out at a connection, mostly of one run and in order."""
    steps: list[dict[str, Any]] = []
    session = rng.choice(("run-1", "run-2"))
    said = [Kind.DESCRIPTION, Kind.CASE, Kind.VERDICT, Kind.MAP, Kind.STATE]
    for kind in (each for each in said if rng.random() < 0.9):
        name = FACES[0] if kind.named else ""
        payload = b"ready" if kind is Kind.STATE else _payload(rng, kind, name, session, at_ms, soundly=True)
        _say(steps, tally, at_ms, TOPICS.of(kind, name), payload, True)
    if rng.random() < 0.8:
        payload = _payload(rng, Kind.HEALTH, "", session, at_ms, soundly=True)
        _say(steps, tally, at_ms, TOPICS.health, payload, False)
    return steps


def _say(
    steps: list[dict[str, Any]], tally: Tally, at_ms: int, topic: str, payload: bytes, retained: bool
) -> int:
    """Say it to both; 1 where the topic means nothing."""
    said = base64.b64encode(payload).decode()
    steps.append({"topic": topic, "payload": said, "retained": retained, "at_ms": at_ms})
    address = TOPICS.parse(topic)
    if address is None:
        return 1
    tally.add(to_event(address, payload, retained, at_ms * 10**6))
    return 0


def _random_message(rng: Random, at_ms: int) -> tuple[str, bytes, bool]:
    kind = rng.choice((*Kind, Kind.FLAG, Kind.FLAG, Kind.HEALTH, Kind.VERDICT))
    name = "console" if kind is Kind.ALARM else rng.choice(FACES) if kind.named else ""
    topic = TOPICS.of(kind, name)
    if rng.random() < 0.02:
        topic = rng.choice(
            (
                "octmargin/1/north/or-2/health",
                f"{TOPICS.base}/preview",
                f"{TOPICS.base}/map",
                f"{TOPICS.base}/map/a/b",
            )
        )
    retained = rng.random() < 0.3
    if rng.random() < 0.04:
        return topic, b"", True
    if kind is Kind.STATE:
        words = (b"ready", b"ready", b"ready", b"init", b"alert", b"disconnected", b"lost", b"Ready", b"\xff")
        return topic, rng.choice(words), retained
    session = rng.choice(("run-1", "run-1", "run-2", "run-3"))
    return topic, _payload(rng, kind, name, session, at_ms), retained


def _payload(rng: Random, kind: Kind, name: str, session: str, at_ms: int, *, soundly: bool = False) -> bytes:
    changes: dict[str, Any] = {
        "session": session,
        "sequence": rng.randrange(12),
        "synthetic": rng.random() < 0.3,
        "published_at": _instant(at_ms),
        "valid_until": _instant(at_ms + rng.choice((500, 5000, 60_000))),
    }
    example: Message = ONE_OF_EACH[kind]
    if kind in (Kind.MAP, Kind.VERDICT, Kind.DECISION):
        changes["face"] = name
    if kind is Kind.ALARM:
        changes |= {"id": name, "active": rng.random() < 0.7}
    if kind is Kind.FLAG:
        changes["received_at_ns"] = (at_ms - rng.randrange(200)) * 10**6
    if hasattr(example, "specimen_id"):
        changes["specimen_id"] = rng.choice(("S-1", "S-1", "S-1", "S-2"))
        changes["case_id"] = rng.choice(("C-7", "C-7", "C-7", "C-8"))
    if kind in (Kind.FLAG, Kind.VERDICT) and not soundly:
        changes["late"] = rng.random() < 0.1
    payload = encode(msgspec.structs.replace(example, **changes))
    return payload if soundly or rng.random() < 0.8 else _spoiled(rng, payload)


def _instant(at_ms: int) -> Any:
    return UNSTAMPED + timedelta(milliseconds=at_ms)


def _spoiled(rng: Random, payload: bytes) -> bytes:
    """Something is missing, of another kind, out of its range, or no JSON at all; or has a field more."""
    if rng.random() < 0.1:
        return rng.choice((payload[:-1], b"[]", b"null", b"{}", b"\xff\xfe", b"nonsense"))
    content = json.loads(payload)
    holder: Any = content
    while True:
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        if not holder[key] or not isinstance(holder[key], dict | list) or rng.random() < 0.3:
            break
        holder = holder[key]
    roll = rng.random()
    if roll < 0.2 and isinstance(holder, dict):
        del holder[key]
    elif roll < 0.3 and isinstance(holder, dict):
        holder["a field that nobody knows"] = rng.choice((1, "x", None, [], {}))
    else:
        holder[key] = rng.choice(
            (None, -1, 0, 1, 2, 7, 0.5, 1.5, 10**9, True, "", "x", "suspicious", "x" * 80, [], {}, [1], ["x"])
        )
    return json.dumps(content).encode()


def _reason(text: str | None) -> dict[str, Any] | None:
    """A reason of the tally as the page says it."""
    if text is None:
        return None
    code = next((code for pattern, code in _CODES.items() if re.fullmatch(pattern, text)), "broker")
    reason: dict[str, Any] = {"code": code}
    if code == "broker":
        reason["text"] = text
    if code == "state":
        reason["state"] = text.removeprefix("state is ")
    if code in ("silent", "expired"):
        reason["seconds"] = int(re.sub(r"\D", "", text))
    return reason


@pytest.mark.parametrize("entries", ["decisions", "marks"])
def test_the_page_reads_as_many_entries_as_the_codec_and_no_more(entries: str) -> None:
    sound = _payload(Random(1), Kind.DECISION, FACES[0], "run-1", NOON_MS, soundly=True)  # noqa: S311
    example = json.loads(sound)
    tally = Tally()
    steps: list[dict[str, Any]] = []
    for many in (MOST_ENTRIES, MOST_ENTRIES + 1):
        payload = json.dumps({**example, entries: example[entries][:1] * many}).encode()
        _say(steps, tally, NOON_MS, TOPICS.of(Kind.DECISION, FACES[0]), payload, False)
    [answer] = _answers_of_the_page(
        [{"base": TOPICS.base, "silence_limit_s": SILENCE_LIMIT_S, "steps": steps}]
    )
    assert (answer["refused"], tally.malformed) == ([1], 1)


def test_the_page_says_that_it_cannot_show_what_is_newer() -> None:
    message = msgspec.structs.replace(
        ONE_OF_EACH[Kind.VERDICT],
        schema=2,
        session="run",
        published_at=NOON,
        valid_until=NOON + timedelta(hours=1),
    )
    steps: list[dict[str, Any]] = [
        {"connected": True},
        {
            "topic": TOPICS.state,
            "payload": base64.b64encode(b"ready").decode(),
            "retained": True,
            "at_ms": NOON_MS,
        },
    ]
    tally = Tally()
    _say(
        steps,
        tally,
        NOON_MS,
        TOPICS.health,
        _payload(Random(1), Kind.HEALTH, "", "run", NOON_MS, soundly=True),  # noqa: S311
        False,
    )
    _say(steps, tally, NOON_MS, TOPICS.verdict("superior"), encode(message), False)
    steps.append({"ask": "superior", "at_ms": NOON_MS + 1})
    course = json.dumps({"base": TOPICS.base, "silence_limit_s": 5, "steps": steps})
    [reason] = json.loads(_node(str(RUNNER), str(PAGE), sent=course))["answers"]
    assert (reason["code"], reason["schema"]) == ("unreadable", 2)
    assert "version 2" in reason["text"]
    assert "update the display" in reason["text"]


@pytest.mark.parametrize("name", sorted(path.name for path in SPECIFICATIONS.glob("*.test.mjs")))
def test_the_page_s_own_specification_holds(name: str) -> None:
    _node("--test", str(SPECIFICATIONS / name))


@pytest.mark.parametrize("name", sorted(path.name for path in PAGE.glob("*.js")))
def test_every_module_is_sound_javascript(name: str) -> None:
    _node("--check", str(PAGE / name))
