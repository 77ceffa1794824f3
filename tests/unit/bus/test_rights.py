"""Topics of commands and replies, which tell who gave a command."""

from __future__ import annotations

import pytest

from octmargin.bus.rights import (
    CommandAddress,
    Role,
    Sender,
    all_commands,
    command_topic,
    parse_command,
    reply_topic,
)
from octmargin.bus.topics import Kind, Topics
from octmargin.errors import ConfigError

TOPICS = Topics("north", "or-1")
RITA = Sender(Role.READER, "rita")


def test_a_command_tells_who_gave_it_and_where_the_answer_goes() -> None:
    topic = command_topic(TOPICS, RITA, "decide")
    assert topic == "octmargin/1/north/or-1/cmd/reader/rita/decide"
    assert parse_command(TOPICS, topic) == CommandAddress(RITA, "decide")
    assert reply_topic(TOPICS, RITA) == "octmargin/1/north/or-1/reply/reader/rita"
    assert all_commands(TOPICS) == "octmargin/1/north/or-1/cmd/+/+/+"


@pytest.mark.parametrize(
    "topic",
    [
        "octmargin/1/north/or-3/cmd/reader/rita/decide",
        "octmargin/1/north/or-1/flag",
        "octmargin/1/north/or-1/cmd/decide",
        "octmargin/1/north/or-1/cmd/reader/rita",
        "octmargin/1/north/or-1/cmd/reader/rita/decide/now",
        "octmargin/1/north/or-1/cmd/reader//decide",
        "octmargin/1/north/or-1/cmd/viewer/wall/decide",
        "octmargin/1/north/or-1/cmd/archive/store/decide",
        "octmargin/1/north/or-1/cmd/console/or-3/decide",
        "octmargin/1/north/or-1/cmd/king/rita/decide",
        "octmargin/1/north/or-1/cmd/reader/$rita/decide",
        "octmargin/1/north/or-1/cmd/reader/rita\n/decide",
        f"octmargin/1/north/or-1/cmd/reader/{'r' * 65}/decide",
        f"octmargin/1/north/or-1/cmd/reader/rita/{'d' * 65}",
    ],
)
def test_what_is_no_command_of_a_role_that_gives_some_is_none(topic: str) -> None:
    assert parse_command(TOPICS, topic) is None


def test_names_that_are_no_topic_level_are_refused() -> None:
    with pytest.raises(ConfigError, match="user 'a/b' cannot be part of an MQTT topic"):
        reply_topic(TOPICS, Sender(Role.READER, "a/b"))
    with pytest.raises(ConfigError, match="command '' cannot"):
        command_topic(TOPICS, RITA, "")


def test_what_a_console_says_is_within_the_two_levels_that_displays_may_read() -> None:
    """The access lists that brokers were given tell results from commands and replies by their levels."""
    for kind in Kind:
        below = TOPICS.of(kind, "x" if kind.named else "").removeprefix(f"{TOPICS.base}/")
        assert below.count("/") <= 1
    assert reply_topic(TOPICS, RITA).removeprefix(f"{TOPICS.base}/").count("/") == 2
