"""The files of the queue: its journal, and objects that are whole or not there."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

_APPLICATION_ID = 0x6F636471  # "ocdq"
_FORMAT = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS parcels (
    number INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, action TEXT NOT NULL,
    sop_class TEXT NOT NULL, uid TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0, said TEXT NOT NULL DEFAULT '', put_at TEXT NOT NULL,
    changed_at TEXT NOT NULL, series TEXT NOT NULL DEFAULT '', UNIQUE (destination, action, uid)
);
CREATE INDEX IF NOT EXISTS by_state ON parcels (destination, state, tries, number);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
"""
_SERIES = "ALTER TABLE parcels ADD COLUMN series TEXT NOT NULL DEFAULT ''"
"""Format 1 did not have it: what was put then is nobody's predecessor."""
_LOCK_WAIT_S = 10.0


def open_journal(path: Path) -> sqlite3.Connection:
    """The journal at `path`, made where it is missing; sqlite3.Error where it cannot be used."""
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        _bring_up_to_date(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def write_synced(path: Path, content: bytes) -> None:
    """Whole or not at all, and there after a power failure."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """The tables of an older format in the present one; sqlite3.DatabaseError where it is no queue of ours."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        return
    if application != _APPLICATION_ID or version not in (1, _FORMAT):
        raise sqlite3.DatabaseError("queue.sqlite is not a queue of this version")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have done it meanwhile.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 1:
        connection.execute(_SERIES)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    connection.execute("COMMIT")
