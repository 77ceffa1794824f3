"""Users of the broker, and the names they have there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from octmargin.bus.rights import Role
from octmargin.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_MAX_USERNAME_CHARS = 64
"""What fits into the common name of a certificate."""


@dataclass(frozen=True, slots=True)
class User:
    """One user of one site. `ConfigError` where a name cannot be used."""

    site: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        for what, name in (("site", self.site), (str(self.role), self.name)):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"--{what} {name!r}: begins with a letter or digit, and has lower-case letters, digits and '-' only"
                )
        if len(self.username) > _MAX_USERNAME_CHARS:
            raise ConfigError(
                f"user {self.username}: has {len(self.username)} characters, and a certificate has room for "
                f"{_MAX_USERNAME_CHARS}; shorten the site or the {self.role}"
            )

    @property
    def username(self) -> str:
        """Name at the broker: the site is part of it, since several sites may share one. No part has a dot."""
        return f"{self.site}.{self.role}.{self.name}"

    @classmethod
    def parse(cls, username: str) -> Self | None:
        """User of that name; None where it is not one of ours."""
        site, _, rest = username.partition(".")
        role, _, name = rest.partition(".")
        try:
            return cls(site, Role(role), name)
        except (ValueError, ConfigError):
            return None
