"""Unique identifiers that follow from what they name: the same content has the same UID wherever it is made again.

So an object that is made and put into the queue twice is one object, and one whose content changed is another.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

_NAMESPACE = uuid.UUID("0f9d3c1e-6b52-4b0e-9c43-6f4a9b0d7c11")
_UUID_ROOT = "2.25"
"""UIDs made from UUIDs, PS3.5 B.2: nobody has to be asked for a root."""


@dataclass(frozen=True, slots=True)
class UidMaker:
    """Makes UIDs under a site's own root, or under 2.25 without one."""

    root: str | None = None

    def uid(self, *names: object) -> str:
        """The UID of what `names` name; at most 64 characters."""
        # No name holds a NUL, so that ("ab", "c") and ("a", "bc") differ.
        number = uuid.uuid5(_NAMESPACE, "\0".join(str(name) for name in names)).int
        return f"{self.root or _UUID_ROOT}.{number}"
