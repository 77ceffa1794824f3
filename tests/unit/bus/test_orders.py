"""What can be asked of a daemon, and by whom."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from octmargin.bus.orders import ORDERS, Command, Decide, MarkRegion, Start, may
from octmargin.bus.rights import Role

from .examples import NOON

FOR_BOTH = {"register", "select", "start", "pause", "resume", "stop", "rescan", "acknowledge", "close"}
FOR_READERS = {"decide", "mark"}


def command(**changes: object) -> Command:
    fields: dict[str, object] = {
        "id": "1",
        "issued_at": NOON,
        "expected_session": "s",
        "case_id": "C-7",
        "specimen_id": "S-1",
    }
    return Command(**(fields | changes))


def test_an_operator_commands_the_scan_and_a_reader_decides_too() -> None:
    assert {name for name in ORDERS if may(Role.OPERATOR, name)} == FOR_BOTH
    assert {name for name in ORDERS if may(Role.READER, name)} == FOR_BOTH | FOR_READERS


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ARCHIVE, Role.CONSOLE])
def test_nobody_else_commands_anything(role: Role) -> None:
    assert not any(may(role, name) for name in ORDERS)


def test_a_command_that_nobody_knows_is_nobodys_to_give() -> None:
    assert not may(Role.READER, "explode")


def test_a_command_holds_for_ten_seconds_unless_it_says_until_when() -> None:
    assert command().holds_until == NOON + timedelta(seconds=10)
    assert command(valid_until=NOON + timedelta(seconds=3)).holds_until == NOON + timedelta(seconds=3)


@pytest.mark.parametrize("kind", ORDERS.values())
def test_an_argument_that_a_command_does_not_know_is_refused(kind: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"fase": "superior"}, kind)


def test_arguments_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="a face, or all"):
        Start(face="superior", all=True)
    with pytest.raises(ValueError, match="names it"):
        Decide(face="superior", sweep=1, subject="cluster", word="agree")
    with pytest.raises(ValueError, match="names none"):
        Decide(face="superior", sweep=1, subject="face", cluster=1, word="agree")
    with pytest.raises(ValueError, match="ends before it begins"):
        MarkRegion(face="superior", sweep=1, first_frame=4, last_frame=3, first_block=0, last_block=0)
