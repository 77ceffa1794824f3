"""What the log says of the recording as a whole, so that its description is not changed without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from octmargin.archive.logbook import LOG_FILE, read_log
from octmargin.archive.metadata import Metadata
from octmargin.errors import InputError

_KEY: Final = "recording"
_KNOWN_LATER: Final = ("complete", "log_sha256")


def logged_description(metadata: Metadata) -> dict[str, Any]:
    """For the first entry of the log: the description as far as it is known then."""
    return {_KEY: msgspec.structs.replace(metadata, complete=False)}


class LoggedDescription:
    """The description in the log of the recording at `path`; nothing where there is none that can be read."""

    def __init__(self, path: Path) -> None:
        self._said: Metadata | None = None
        self._is_none = False
        try:
            first = next(read_log(path / LOG_FILE), {})
        except InputError:
            return  # whoever follows the chain finds that out too
        if _KEY not in first:
            return
        try:
            self._said = msgspec.convert(first[_KEY], Metadata)
        except msgspec.ValidationError:
            self._is_none = True

    @property
    def synthetic(self) -> bool:
        """Whether it calls the spectra computed."""
        return self._said is not None and self._said.synthetic

    def trouble(self, metadata: Metadata) -> str:
        """In words where `metadata` is not what was written; empty where it is, as far as can be known."""
        if self._is_none:
            return "the log was changed: entry 0 describes no recording"
        if self._said is None:
            return ""
        changed = [
            name
            for name in Metadata.__struct_fields__
            if name not in _KNOWN_LATER and getattr(self._said, name) != getattr(metadata, name)
        ]
        return f"the description was changed: {', '.join(changed)} not as in the log" if changed else ""
