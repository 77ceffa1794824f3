"""The file of a record: its tables, version by version, and opening it as what it is."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from octmargin.case.record.lock import writing
from octmargin.errors import RecordError

APPLICATION_ID: Final = 0x6F637263  # "ocrc"
_BUSY_S: Final = 5.0

MIGRATIONS: Final = (
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        actor TEXT NOT NULL,
        case_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        payload TEXT,
        payload_sha256 TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_of_case ON events (case_id, seq);
    CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    WHEN NOT (
        NEW.payload IS NULL AND NEW.seq = OLD.seq AND NEW.at = OLD.at AND NEW.actor = OLD.actor
        AND NEW.case_id = OLD.case_id AND NEW.kind = OLD.kind AND NEW.payload_sha256 = OLD.payload_sha256
        AND NEW.previous = OLD.previous AND NEW.hash = OLD.hash
        AND EXISTS (SELECT 1 FROM events WHERE case_id = OLD.case_id AND kind = 'erased' AND seq > OLD.seq)
    )
    BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
    CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
    """,
    """
    CREATE TABLE accesses (
        n INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        actor TEXT NOT NULL,
        case_id TEXT NOT NULL,
        what TEXT NOT NULL,
        events_head TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER accesses_are_not_changed BEFORE UPDATE ON accesses
    BEGIN SELECT RAISE(ABORT, 'accesses are never changed'); END;
    CREATE TRIGGER accesses_are_not_deleted BEFORE DELETE ON accesses
    BEGIN SELECT RAISE(ABORT, 'accesses are never deleted'); END;
    """,
)
"""What makes each version of the file from the one before it."""


_SCHEMA: Final = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"


def create(path: Path) -> None:
    """Make a new, empty record that only its owner reads; RecordError where there is something, or it cannot be.

    It takes its name when it is whole.
    """
    if path.exists():
        raise RecordError(f"{path}: is there already; a record is never overwritten")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            with explained(path), contextlib.closing(_connect(unfinished, "rw")) as connection:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                _migrate(connection, 0)
            os.link(unfinished, path)
            _sync(path.parent)
        finally:
            unfinished.unlink()
    except FileExistsError as error:
        raise RecordError(f"{path}: is there already; a record is never overwritten") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be made ({error.strerror}); name a folder that exists") from error


def schema_troubles(connection: sqlite3.Connection) -> Iterator[str]:
    """In words what of tables and triggers is not as octmargin makes it; the file is of the newest version."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as as_made:
        _migrate(as_made, 0)
        expected = dict(as_made.execute(_SCHEMA))
    found = dict(connection.execute(_SCHEMA))
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name} is gone from the file: what it refuses can have happened"
        elif found[name] != expected.get(name):
            yield f"{name} of the file is not one that octmargin makes"


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open a record, and bring an older one up to date where it may be written.

    RecordError where there is none, or where it is another program's or a newer octmargin's.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such record; `octmargin case init` makes one")
    with explained(path):
        if writable:
            # Another program's file is left as it is, the mode of its journal too.
            with contextlib.closing(_connect(path, "ro")) as looked_at:
                _version(path, looked_at)
        connection = _connect(path, "rw" if writable else "ro")
        try:
            if _version(path, connection) < len(MIGRATIONS):
                _bring_up_to_date(path, connection, writable=writable)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """What SQLite says, in a line that names the record and what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise RecordError(f"{path}: is in use by another program; try again") from error
        if primary == sqlite3.SQLITE_FULL:
            raise RecordError(f"{path}: its disk is full; make room, nothing was recorded") from error
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise RecordError(f"{path}: cannot be used ({error}); check its permissions") from error
        raise RecordError(f"{path}: cannot be used ({error}); check its disk") from error
    except sqlite3.DatabaseError as error:
        raise RecordError(f"{path}: is no record, or is damaged ({error}); restore it from a copy") from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if mode == "rw":
            connection.execute("PRAGMA journal_mode = WAL")
            # What was acknowledged is on the disk, also after a power failure.
            connection.execute("PRAGMA synchronous = FULL")
            # What is erased is overwritten.
            connection.execute("PRAGMA secure_delete = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _sync(folder: Path) -> None:
    """Have the file's name on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """The version of the file; RecordError where it is none of ours, or newer."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise RecordError(f"{path}: is no record of octmargin; name one that `octmargin case init` made")
    if version > len(MIGRATIONS):
        raise RecordError(
            f"{path}: is a record of version {version}, and {len(MIGRATIONS)} is known here; use a newer octmargin"
        )
    return int(version)


def _bring_up_to_date(path: Path, connection: sqlite3.Connection, *, writable: bool) -> None:
    if not writable:
        raise RecordError(
            f"{path}: is a record of an earlier octmargin, which must be brought up to date before it is read; "
            "`octmargin case migrate` does that"
        )
    with writing(path, "octmargin, bringing it up to date"):
        _migrate(connection, _version(path, connection))


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """From `version` to the newest: each step whole, or not at all."""
    for after, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {statements} PRAGMA user_version = {after}; COMMIT;")
