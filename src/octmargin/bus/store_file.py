"""The file of an outbox: messages by kind and number in SQLite, of one console and perhaps others.

SQLite in WAL mode, for one process alone. Without an fsync for each message (`synchronous=NORMAL`), for the recorder
may be filling the same disk; a power failure may therefore take the last seconds, never the file. Every call may be
held up by the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from octmargin.bus.topics import Kind
from octmargin.errors import ConfigError
from octmargin.transactions import transaction

_APPLICATION_ID = 0x6F63746D  # "octm"
_FORMAT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS parcels (
    kind TEXT NOT NULL, number INTEGER NOT NULL, topic TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (kind, number)
) WITHOUT ROWID
"""
_SELECT = "SELECT number, CAST(topic AS BLOB), CAST(content AS BLOB) FROM parcels"
"""As bytes: what cannot be decoded is to cost itself, and not the others."""
_LOCK_WAIT_S = 1.0

Row = tuple[Kind, int, str, bytes]
"""Kind, number, topic, content."""
Found = tuple[int, bytes, bytes]
"""Number, topic, content."""


class StoreFile:
    """The file at `path`, open until closed. Topics of this console begin with `base`; what others left stays.

    `sqlite3.Error`, or `ValueError` for a name that no file can have; `explained` says them to a person.
    `most_pages` bounds it, 4096 bytes each.
    """

    def __init__(self, path: Path, base: str, *, most_pages: int | None = None) -> None:
        self._prefix = f"{base}/".encode()
        self._connection = _connect(path, most_pages)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def numbers(self, kind: Kind) -> tuple[list[int], int, int]:
        """Numbers of this console's in their order, how many are of others, and from where on numbers are free."""
        rows = self._connection.execute(
            "SELECT number, substr(CAST(topic AS BLOB), 1, ?) = ? FROM parcels WHERE kind = ? ORDER BY number",
            (*self._ours, kind.value),
        ).fetchall()
        ours = [number for number, is_ours in rows if is_ours]
        return ours, len(rows) - len(ours), rows[-1][0] + 1 if rows else 0

    def read(self, kind: Kind, between: tuple[int, int] | None = None) -> list[Found]:
        """What is there of a kind, of whatever console; with numbers of `between`, ends included."""
        first, last = between or (-(2**63), 2**63 - 1)
        return self._connection.execute(
            f"{_SELECT} WHERE kind = ? AND number >= ? AND number <= ?", (kind.value, first, last)
        ).fetchall()

    def change(self, gone: Iterable[tuple[Kind, int, int]], rows: Sequence[Row]) -> None:
        """Delete this console's from one number of a kind to another, and write rows; all of it or nothing."""
        with transaction(self._connection):
            # Of its own alone: between them may be what another console left.
            self._connection.executemany(
                "DELETE FROM parcels WHERE kind = ? AND number >= ? AND number <= ? "
                "AND substr(CAST(topic AS BLOB), 1, ?) = ?",
                [(kind.value, first, last, *self._ours) for kind, first, last in gone],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO parcels VALUES (?, ?, ?, ?)",
                [(kind.value, number, topic, content) for kind, number, topic, content in rows],
            )

    def waiting(self) -> int:
        """How many messages of this console are there."""
        (waiting,) = self._connection.execute(
            "SELECT count(*) FROM parcels WHERE substr(CAST(topic AS BLOB), 1, ?) = ?", self._ours
        ).fetchone()
        return int(waiting)

    @property
    def _ours(self) -> tuple[int, bytes]:
        """What topics begin with, for SQL: length and content."""
        return len(self._prefix), self._prefix


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise `ConfigError` in one line where the file at `path` cannot be opened."""
    key = f"broker.outbox_file {str(path)!r}"
    try:
        yield
    except sqlite3.OperationalError as error:
        # Errors that Python finds before SQLite does have no code.
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ConfigError(f"{key} is in use; stop the other daemon or name another file") from None
        if primary == sqlite3.SQLITE_FULL:
            raise ConfigError(f"{key} finds its disk full; make room") from None
        raise ConfigError(f"{key} cannot be used ({error}); name a file in a folder that exists") from None
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"{key} is not a store of messages ({error}); move it away or name another"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{key} cannot be used ({error}); name a file in a folder that exists") from None


def _connect(path: Path, most_pages: int | None) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path.absolute(), timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
    )
    try:
        # Before anything else: nobody else may so much as look at it.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if tables:
            _require_ours(application, version)
        else:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute(_TABLES)
        if most_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {int(most_pages)}")
        # Found out now whether it may be written, without writing.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def _require_ours(application: int, version: int) -> None:
    if application != _APPLICATION_ID:
        raise sqlite3.DatabaseError("it is another program's")
    if version != _FORMAT:
        raise sqlite3.DatabaseError(f"its format is {version}, and {_FORMAT} is known")
