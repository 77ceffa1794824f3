from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.bus.codec import MESSAGES, decode, decode_state, encode
from octmargin.bus.decisions import MOST_ENTRIES, Decision, Mark
from octmargin.bus.messages import (
    MOST_KEY_VIEWS,
    Message,
    StateCounts,
    count_states,
    grid_letters,
    rounded,
    utc_from_ns,
)
from octmargin.bus.topics import Kind
from octmargin.errors import MessageError, NewerMessageError
from octmargin.frames import BlockState

from .examples import (
    NOON,
    ONE_OF_EACH,
    case,
    decision,
    description,
    face_map,
    flag,
    key_view,
    verdict,
)

KINDS = sorted(MESSAGES, key=lambda kind: kind.value)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def decoded_or_error(kind: Kind, payload: bytes) -> Message | str:
    try:
        return decode(kind, payload)
    except MessageError as error:
        return str(error)


def stamped(message: Message) -> Message:
    return msgspec.structs.replace(
        message, session="s", sequence=1, published_at=NOON, valid_until=NOON + timedelta(seconds=5)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_survives_the_wire(kind: Kind) -> None:
    message = stamped(ONE_OF_EACH[kind])
    assert decode(kind, encode(message)) == message


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_says_its_schema_session_sequence_and_times(kind: Kind) -> None:
    said = json.loads(encode(stamped(ONE_OF_EACH[kind])))
    assert (said["schema"], said["session"], said["sequence"], said["synthetic"]) == (1, "s", 1, True)
    assert said["acquired_at"] == "2031-05-06T12:00:00.250000Z"
    assert said["valid_until"] == "2031-05-06T12:00:05.250000Z"
    assert not {name for name in said if "patient" in name or "birth" in name}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_was_never_stamped_is_not_accepted(kind: Kind) -> None:
    with pytest.raises(MessageError, match="published_at or valid_until is missing"):
        decode(kind, encode(ONE_OF_EACH[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_a_newer_version_are_ignored_but_a_newer_schema_is_refused(kind: Kind) -> None:
    message = stamped(ONE_OF_EACH[kind])
    said = json.loads(encode(message)) | {"mood": "good"}
    assert decode(kind, json.dumps(said).encode()) == message
    with pytest.raises(MessageError, match="schema 2, and 1 is known"):
        decode(kind, json.dumps(said | {"schema": 2}).encode())


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_schema_is_named_whatever_else_the_message_holds(kind: Kind) -> None:
    """A later version may have dropped or changed every other field."""
    with pytest.raises(NewerMessageError, match="schema 7, and 1 is known; update this program") as caught:
        decode(kind, b'{"schema": 7, "session": {"of": "another kind"}}')
    assert caught.value.schema == 7


@pytest.mark.parametrize("kind", KINDS)
@given(payload=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_message_or_an_error_of_one_line(kind: Kind, payload: bytes) -> None:
    outcome = decoded_or_error(kind, payload)
    assert isinstance(outcome, MESSAGES[kind]) or "\n" not in outcome


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_wrong_field_is_a_message_or_an_error(kind: Kind, data: st.DataObject) -> None:
    said = json.loads(encode(stamped(ONE_OF_EACH[kind])))
    said[data.draw(st.sampled_from(sorted(said)))] = data.draw(JSON)
    outcome = decoded_or_error(kind, json.dumps(said).encode())
    assert isinstance(outcome, MESSAGES[kind]) or outcome.startswith(f"{kind.value} message: ")


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(MessageError):
        decode(Kind.DESCRIPTION, b'{"policy":' + b"[" * 100_000)


@given(st.binary())
def test_state_is_one_of_its_words_or_an_error(payload: bytes) -> None:
    for word in ("init", "ready", "alert", "disconnected", "lost"):
        assert decode_state(word.encode()) == word
    with pytest.raises(MessageError):
        decode_state(payload + b"!")


def test_flags_of_32_blocks_stay_under_4_kib() -> None:
    message = stamped(
        flag(
            blocks=32,
            case_id="c" * 64,
            specimen_id="s" * 64,
            frame_sequence=2**64 - 1,
            state=[BlockState.SUSPICIOUS] * 32,
            suspicion=rounded(np.full(32, 0.98765432), 3),
            distance_mm=rounded(np.full(32, 1.23456789), 3),
            visualised_depth_mm=rounded(np.full(32, 1.98765432), 3),
            quality=[15] * 32,
        )
    )
    assert len(encode(message)) < 4096


def test_flags_are_columns_of_equal_length_also_when_they_come_from_the_wire() -> None:
    with pytest.raises(ValueError, match="not all of 4 blocks"):
        flag(quality=[0] * 3)
    said = json.loads(encode(stamped(flag()))) | {"quality": [0] * 3}
    with pytest.raises(MessageError, match="not all of 4 blocks"):
        decode(Kind.FLAG, json.dumps(said).encode())


@pytest.mark.parametrize(
    "changes", [{"coverage": 0.0}, {"visualised_depth_mm": None}, {"visualised_depth_mm": 0.0}]
)
def test_nothing_suspicious_is_never_said_without_coverage_and_depth(changes: dict[str, object]) -> None:
    verdict(word="nothing_suspicious")
    verdict(word="indeterminate", **changes)
    with pytest.raises(ValueError, match="nothing_suspicious needs a coverage and a visualised depth"):
        verdict(word="nothing_suspicious", **changes)


@pytest.mark.parametrize(
    "changes",
    [{"grid": ["SNNN", "NPLN"]}, {"grid": ["SNNN", "NPLN", "..."]}, {"grid": ["SNNN", "NPLN", "...X"]},
     {"grid": ["NNNN", "NPLN", "...."]}],
)  # fmt: skip
def test_a_map_whose_grid_and_counts_disagree_is_refused(changes: dict[str, object]) -> None:
    face_map()
    with pytest.raises(ValueError, match="grid"):
        face_map(**changes)


@pytest.mark.parametrize(("subject", "cluster"), [("face", 1), ("cluster", None)])
def test_a_decision_is_on_a_face_or_on_one_of_its_clusters(subject: str, cluster: int | None) -> None:
    said = json.loads(encode(stamped(decision())))
    said["decisions"][0] |= {"subject": subject, "cluster": cluster}
    with pytest.raises(MessageError, match="a decision on a cluster names it, one on the face names none"):
        decode(Kind.DECISION, json.dumps(said).encode())


@pytest.mark.parametrize(
    "changes", [{"last_frame": 0, "first_frame": 1}, {"last_block": 0, "first_block": 1}]
)
def test_a_mark_has_an_extent(changes: dict[str, int]) -> None:
    said = json.loads(encode(stamped(decision())))
    said["marks"][0] |= changes
    with pytest.raises(MessageError, match="a mark ends before it begins"):
        decode(Kind.DECISION, json.dumps(said).encode())


def test_the_fullest_decision_message_is_a_packet_that_brokers_take() -> None:
    person = {
        "id": "i" * 64,
        "by": "b" * 64,
        "role": "reader",
        "at": NOON,
        "sweep": 10**6,
        "note": "🩺" * 500,
    }
    place = dict.fromkeys(("first_frame", "last_frame", "first_block", "last_block"), 10**4)
    full = decision(
        decisions=[Decision(subject="cluster", cluster=16, word="disagree", **person)] * MOST_ENTRIES,
        marks=[Mark(**person, **place)] * MOST_ENTRIES,
    )
    assert len(encode(stamped(full))) < 1024 * 1024


def test_a_verdict_names_sixteen_key_views_at_most() -> None:
    most = [key_view(number=number) for number in range(1, MOST_KEY_VIEWS + 1)]
    said = json.loads(encode(stamped(verdict(clusters=40, key_views=most))))
    assert decode(Kind.VERDICT, json.dumps(said).encode()).key_views == most
    said["key_views"].append(said["key_views"][0])
    with pytest.raises(MessageError, match="key_views"):
        decode(Kind.VERDICT, json.dumps(said).encode())


def test_what_a_daemon_of_before_did_not_say_is_not_made_up() -> None:
    said = json.loads(encode(stamped(description())))
    for name in ("axial_um", "depth", "display_url"):
        del said[name]
    before = decode(Kind.DESCRIPTION, json.dumps(said).encode())
    assert (before.axial_um, before.depth, before.display_url) == (None, None, "")
    said = json.loads(encode(stamped(case())))
    del said["specimen"]["laterality"]
    with pytest.raises(MessageError, match="laterality"):
        decode(Kind.CASE, json.dumps(said).encode())


def test_block_states_become_letters_and_counts() -> None:
    states = np.array([[0, 1, 2], [3, 4, 4]], dtype=np.uint8)
    assert grid_letters(states) == [".LP", "NSS"]
    assert count_states(states) == StateCounts(
        not_scanned=1, lost=1, poor=1, nothing_suspicious=1, suspicious=2
    )
    assert count_states(states).total == 6


def test_rounded_gives_plain_numbers_and_null_for_what_is_not_one() -> None:
    values = rounded(np.array([0.12345, np.nan, np.inf], dtype=np.float32), 3)
    assert values == [0.123, None, None]
    assert type(values[0]) is float


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_an_instant_keeps_its_microseconds_exactly(nanoseconds: int) -> None:
    instant = utc_from_ns(nanoseconds)
    microseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert 0 <= nanoseconds - 1000 * microseconds < 1000
