"""Who may say what on the bus: the roles, and the topics by which a broker proves the sender of a command.

A command goes to `<console>/cmd/<role>/<user>/<command>`, its answer to `<console>/reply/<role>/<user>`. The broker
lets each user write under the role and name of its own alone, so that the topic of a command tells who sent it.
Where a broker knows no users (the embedded one), the topic proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from octmargin.bus.topics import Topics, require_name, why_not_a_name


class Role(StrEnum):
    """What a user of the broker is there for."""

    CONSOLE = "console"
    """The daemon beside a console: has the console's whole tree."""
    OPERATOR = "operator"
    """The display of whoever runs the console."""
    READER = "reader"
    """The display of a person who may decide about a face."""
    VIEWER = "viewer"
    """A display that only shows."""
    ARCHIVE = "archive"
    """Keeps everything: results, commands and replies."""

    @property
    def commands(self) -> bool:
        """True where its users may send commands; which ones, the daemon decides."""
        return self in (Role.OPERATOR, Role.READER)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a command, as the broker proves it."""

    role: Role
    user: str


@dataclass(frozen=True, slots=True)
class CommandAddress:
    """What the topic of a command means."""

    sender: Sender
    command: str


def all_commands(topics: Topics) -> str:
    """Filter for every command to a console."""
    return f"{topics.base}/cmd/+/+/+"


def command_topic(topics: Topics, sender: Sender, command: str) -> str:
    """Topic on which `sender` gives a command; `ConfigError` where a name is no topic level."""
    return f"{topics.base}/cmd/{sender.role}/{require_name('user', sender.user)}/{require_name('command', command)}"


def reply_topic(topics: Topics, sender: Sender) -> str:
    """Topic of the answers to `sender`; nobody else of the site but the archive reads it."""
    return f"{topics.base}/reply/{sender.role}/{require_name('user', sender.user)}"


def parse_command(topics: Topics, topic: str) -> CommandAddress | None:
    """Meaning of a topic; None where it is no command to this console, or of a role that gives none."""
    prefix = f"{topics.base}/cmd/"
    levels = topic.removeprefix(prefix).split("/") if topic.startswith(prefix) else []
    if len(levels) != 3 or any(why_not_a_name(level) for level in levels):
        return None
    role, user, command = levels
    if role not in {each.value for each in Role if each.commands}:
        return None
    return CommandAddress(Sender(Role(role), user), command)
