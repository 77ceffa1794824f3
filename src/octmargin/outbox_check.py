"""What waits in the outbox on disk, found out without touching it."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from octmargin.bus import OutboxStore
from octmargin.device import Finding
from octmargin.errors import ConfigError
from octmargin.words import counted

_FLOCK = "hhqqi4x"
"""Linux's `struct flock`: type, whence, start, length, process."""


def outbox_findings(path: Path, base: str) -> Iterator[Finding]:
    """Whether what waits for the broker can be kept in `path`, and what waits there of earlier runs.

    `base` is what the console's topics begin with.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        yield Finding("outbox", "problem", f"{path} can be no file ({error})", "name another")
        return
    if not path.exists():
        if path.parent.is_dir() and os.access(path.parent, os.W_OK):
            yield Finding("outbox", "ok", f"{path}, not there yet")
        else:
            yield Finding(
                "outbox", "problem", f"{path.parent} is no folder that can be written", "name another"
            )
        return
    if not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        yield Finding("outbox", "problem", f"{path} is no file that can be read and written", "name another")
        return
    if (process := _user_of(path)) is not None:
        yield Finding("outbox", "ok", f"{path}, in use by process {process}")
        return
    try:
        store = _looked_into(path, base)
    except ConfigError as error:
        yield Finding("outbox", "problem", str(error))
        return
    except OSError as error:
        yield Finding("outbox", "note", f"{path} could not be looked into: {error.strerror}")
        return
    yield Finding("outbox", "ok", f"{path}, {counted(store.left, 'message')} of earlier runs waiting")
    if store.unreadable:
        yield Finding(
            "outbox",
            "note",
            f"{path}, {counted(store.unreadable, 'message')} that cannot be read, and will not be said",
        )
    if store.foreign:
        yield Finding(
            "outbox", "note", f"{path}, {counted(store.foreign, 'message')} of another console, to stay there"
        )


def _user_of(path: Path) -> int | None:
    """The process that has it open as an outbox: SQLite locks it against all others."""
    with path.open("rb") as file:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, process = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(process)


def _looked_into(path: Path, base: str) -> OutboxStore:
    """The store as it was opened from a copy: to open an outbox is to write to it."""
    with tempfile.TemporaryDirectory(prefix="octmargin-") as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                shutil.copyfile(part, copy.with_name(part.name))
        store = OutboxStore(copy, "doctor", base)
        try:
            store.open().result()
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(copy), str(path))) from error
        finally:
            store.close().result()
        return store
