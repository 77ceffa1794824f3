"""A command is given in the name of the broker's user, and who may give none is told who may."""

from __future__ import annotations

import getpass

import pytest

from octmargin.bus.rights import Role, Sender
from octmargin.command_sender import sender_of
from octmargin.errors import ConfigError


@pytest.mark.parametrize(
    ("username", "sender"),
    [
        ("north.reader.rita", Sender(Role.READER, "rita")),
        ("north.operator.otto", Sender(Role.OPERATOR, "otto")),
        ("north.console.or-1", Sender(Role.OPERATOR, "or-1")),
        ("Hospital User 7", Sender(Role.OPERATOR, "hospital-user-7")),
    ],
)
def test_the_brokers_user_is_who_says_it(username: str, sender: Sender) -> None:
    assert sender_of(username, site="north") == sender


def test_without_a_login_it_is_who_is_at_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "Dr.Rita")
    assert sender_of("", site="north") == Sender(Role.OPERATOR, "dr-rita")
    assert sender_of("", site="north", user="anna", role="reader") == Sender(Role.READER, "anna")


def test_the_console_speaks_for_whom_it_is_told_to() -> None:
    said = sender_of("north.console.or-1", site="north", user="anna", role="reader")
    assert said == Sender(Role.READER, "anna")


@pytest.mark.parametrize("role", ["viewer", "archive"])
def test_who_gives_no_commands_is_told_who_does_and_how_to_become_one(role: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sender_of(f"north.{role}.wall", site="north", user="otto", role="operator")
    said = str(caught.value)
    assert said.startswith(
        f"broker.username is north.{role}.wall: {role} users give no commands, operators do"
    )
    assert "readers, who decide and mark too" in said
    assert "octmargin broker init FOLDER --site north --operator NAME" in said


@pytest.mark.parametrize(("user", "role"), [("otto", ""), ("", "operator"), ("otto", "operator")])
def test_nobody_speaks_for_somebody_else(user: str, role: str) -> None:
    with pytest.raises(ConfigError, match="lets nobody speak for somebody else; leave out --user and --role"):
        sender_of("north.reader.rita", site="north", user=user, role=role)
    # Said again, it is the same.
    assert sender_of("north.reader.rita", site="north", user="rita", role="reader").user == "rita"


def test_a_user_of_another_site_is_none_of_this() -> None:
    with pytest.raises(ConfigError, match="a user of another site than north; log in as one of north"):
        sender_of("south.operator.otto", site="north")
