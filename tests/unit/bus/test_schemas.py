"""docs/schemas/ says what the structs say, and is strict where a program relies on it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.bus.codec import MESSAGES, decode, encode
from octmargin.bus.orders import ORDERS, Command, Reply
from octmargin.bus.schema import schema_documents
from octmargin.bus.topics import Kind
from octmargin.errors import MessageError

from .examples import NOON, ONE_OF_EACH

FOLDER = Path(__file__).parents[3] / "docs" / "schemas"
KINDS = sorted(MESSAGES, key=lambda kind: kind.value)
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def schema_of(kind: Kind | str) -> dict[str, Any]:
    name = kind if isinstance(kind, str) else kind.value.removeprefix("$")
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def complaints(kind: Kind | str, said: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema_of(kind), format_checker=FORMATS)
    return [error.message for error in validator.iter_errors(said)]


def said(kind: Kind) -> dict[str, Any]:
    """A message as it is on the wire."""
    message = msgspec.structs.replace(
        ONE_OF_EACH[kind], session="s", sequence=1, published_at=NOON, valid_until=NOON + timedelta(seconds=5)
    )
    return json.loads(encode(message))


def test_there_is_a_file_for_every_message_and_no_other_and_each_is_up_to_date() -> None:
    found = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in FOLDER.iterdir()}
    wanted = json.loads(json.dumps(schema_documents()))
    assert found == wanted, "run scripts/write_contract.py"


@pytest.mark.parametrize("name", sorted(schema_documents()))
def test_each_is_a_valid_schema_that_is_whole_in_itself(name: str) -> None:
    schema = schema_of(name.removesuffix(".json"))
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    assert text.count('"$ref": "#/$defs/') == text.count('"$ref"')


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_as_its_schema_says(kind: Kind) -> None:
    assert not complaints(kind, said(kind))


COMMANDS = {
    "register": {"kind": "lumpectomy", "laterality": "left", "faces": ["superior", "inferior"]},
    "select": {"face": "superior"},
    "start": {"all": True},
    "pause": {},
    "resume": {},
    "stop": {},
    "rescan": {"face": "superior"},
    "acknowledge": {"alarm_id": "console"},
    "decide": {"face": "superior", "sweep": 3, "subject": "cluster", "cluster": 1, "word": "disagree", "note": "air"},
    "mark": {
        "face": "superior", "sweep": 3, "first_frame": 0, "last_frame": 9, "first_block": 2, "last_block": 4
    },
    "close": {},
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_a_command_is_as_its_schema_says_and_an_unknown_argument_is_not(name: str) -> None:
    command: dict[str, Any] = {
        "schema": 1, "id": "1", "issued_at": "2031-05-06T12:00:00Z", "expected_session": "s", "case_id": "c-7",
        "specimen_id": "s-1", "arguments": COMMANDS[name],
    }  # fmt: skip
    msgspec.convert(msgspec.json.decode(json.dumps(command), type=Command).arguments, ORDERS[name])
    assert not complaints(f"cmd-{name}", command)
    assert not complaints(f"cmd-{name}", command | {"mood": "good"})
    assert complaints(f"cmd-{name}", command | {"arguments": COMMANDS[name] | {"mood": "good"}})
    assert complaints(f"cmd-{name}", command | {"schema": 2})
    for required in schema_of(f"cmd-{name}")["required"]:
        assert complaints(f"cmd-{name}", {key: value for key, value in command.items() if key != required})


def test_a_reply_is_as_its_schema_says() -> None:
    reply = Reply(
        session="s", id="1", command="stop", outcome="refused", reason="nothing is scanned", at=NOON
    )
    on_the_wire = msgspec.json.decode(msgspec.json.encode(reply))
    assert not complaints("reply", on_the_wire)
    assert complaints("reply", on_the_wire | {"outcome": "perhaps"})
    assert complaints("reply", on_the_wire | {"schema": 2})


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_of_the_header_may_be_missing(kind: Kind) -> None:
    for name in ("schema", "session", "sequence", "acquired_at", "published_at", "valid_until", "synthetic"):
        less = said(kind)
        del less[name]
        assert complaints(kind, less) == [f"{name!r} is a required property"]


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_a_newer_version_are_valid_and_a_newer_schema_is_not(kind: Kind) -> None:
    assert not complaints(kind, said(kind) | {"mood": "good"})
    assert complaints(kind, said(kind) | {"schema": 2})


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_a_schema_refuses_our_own_subscriber_refuses_too(kind: Kind, data: st.DataObject) -> None:
    """So that nobody who validates misses what others are shown."""
    message = said(kind)
    values = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=70)
    message[data.draw(st.sampled_from(sorted(message)))] = data.draw(values | st.lists(values, max_size=3))
    try:
        decode(kind, json.dumps(message).encode())
    except MessageError:
        return
    assert not complaints(kind, message)
