"""In whose name a command is given: the broker's user, for nobody else can be proved."""

from __future__ import annotations

import getpass
import re

from octmargin.bus.rights import Role, Sender
from octmargin.errors import ConfigError
from octmargin.site.users import User

_COMMANDING = tuple(role.value for role in Role if role.commands)


def sender_of(username: str, *, site: str, user: str = "", role: str = "") -> Sender:
    """Whoever logs in as `username`; `user` and `role`, where given, instead.

    The name of the console's own login, of one that is none of ours, and without a login that on this machine, is an
    operator's. `ConfigError` where the login gives no commands, is of another site, or is a person's who would speak
    for somebody else.
    """
    if role and role not in _COMMANDING:
        raise ConfigError(f"--role {role!r} gives no commands; use one of {', '.join(_COMMANDING)}")
    login = User.parse(username)
    if login is not None and login.role is not Role.CONSOLE:
        _check_login(login, site, user, role)
        return Sender(login.role, login.name)
    name = login.name if login is not None else username or getpass.getuser()
    return Sender(Role(role or Role.OPERATOR), user or _as_name(name))


def _check_login(login: User, site: str, user: str, role: str) -> None:
    is_of = f"broker.username is {login.username}"
    if not login.role.commands:
        raise ConfigError(
            f"{is_of}: {login.role.value} users give no commands, operators do, and readers, who decide and mark too; "
            f"log in as one of them (`octmargin broker init FOLDER --site {login.site} --operator NAME` makes one)"
        )
    if login.site != site:
        raise ConfigError(f"{is_of}, a user of another site than {site}; log in as one of {site}")
    if (user or login.name, role or login.role.value) != (login.name, login.role.value):
        raise ConfigError(
            f"{is_of}, and the broker lets nobody speak for somebody else; leave out --user and --role, or log in as "
            f"{user or login.name}"
        )


def _as_name(word: str) -> str:
    """What fits one level of a topic."""
    return re.sub(r"[^a-z0-9-]+", "-", word.lower()).strip("-") or "someone"
