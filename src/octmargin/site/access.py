"""What each user may read and write, in the words of mosquitto's `acl_file`. What is not listed is refused.

No line uses a pattern (`%u`, `%c`): patterns hold for every user of the broker, also for those of other sites.
"""

from __future__ import annotations

import re

from octmargin.bus.rights import Role
from octmargin.bus.topics import ROOT
from octmargin.site.users import User

_USER = re.compile(r"user (?P<username>\S+)")

HEAD = """\
# Rights of each user, added by `octmargin broker init`; nothing that is here is ever changed by it.
# A user without lines here has no rights. To take a user's rights away, delete its block, and reload the broker.
# The topics and roles: docs/brokers.md of octmargin.
"""


def block(user: User) -> str:
    """Lines of a user."""
    return "\n".join(("", f"user {user.username}", *(f"topic {line}" for line in _rights(user)), ""))


def users_in(text: str) -> tuple[User, ...]:
    """Those of our users that an access list has lines for."""
    named = (_USER.fullmatch(line.strip()) for line in text.splitlines())
    found = (User.parse(match["username"]) for match in named if match)
    return tuple(user for user in found if user is not None)


def _rights(user: User) -> tuple[str, ...]:
    site = f"{ROOT}/{user.site}"
    if user.role is Role.CONSOLE:
        # Reads as well: the publisher must hear its own $state, and clears away what an earlier run left behind.
        return (f"readwrite {site}/{user.name}/#",)
    if user.role is Role.ARCHIVE:
        return (f"read {site}/#",)
    # What a console says has one level below the console or two; a reply has three and a command four, so these
    # two filters hold for everything that is to be shown, and for nothing that is between a display and the daemon.
    shown = (f"read {site}/+/+", f"read {site}/+/+/+")
    if not user.role.commands:
        return shown
    own = f"{user.role}/{user.name}"
    return (*shown, f"write {site}/+/cmd/{own}/+", f"read {site}/+/reply/{own}")
