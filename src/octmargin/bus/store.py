"""Keeps what was said and has not arrived in a file, so that it outlives the process: a journal of the outbox.

SQLite in WAL mode. A message is written as soon as it is put, together with what else came meanwhile, in a thread
of the store's own, and deleted when the broker has it: at `kill -9` what is lost at most is what was put in the last
few milliseconds. Without an fsync for each message (`synchronous=NORMAL`), for the recorder may be filling the same
disk; a power failure may therefore take the last seconds, never the file. What arrived and was not deleted before
the end is said again, as the same message: session and sequence tell that it is a repetition.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from octmargin.bus.codec import MESSAGES, encode
from octmargin.bus.messages import SCHEMA, Message
from octmargin.bus.outbox import Leftovers, Parcel
from octmargin.bus.topics import Kind
from octmargin.errors import ConfigError

_APPLICATION_ID = 0x6F63746D  # "octm"
_FORMAT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS parcels (
    kind TEXT NOT NULL, number INTEGER NOT NULL, topic TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (kind, number)
) WITHOUT ROWID
"""
_LOCK_WAIT_S = 1.0


class OutboxStore:
    """The file. Opening takes it for this process alone; ConfigError where that cannot be.

    `leftovers` is what an earlier run did not get said. `session` is this run's: messages of any other are late.
    `most_pages` bounds the file, 4096 bytes each.
    """

    def __init__(self, path: Path, session: str, *, most_pages: int | None = None) -> None:
        self.path = path
        self.failures = 0
        """Times that the disk failed: what was to be written or read then waits in memory at best."""
        self.failure = ""
        """How it did the last time."""
        self.unreadable = 0
        """Messages that were found and cannot be read any more: they are gone."""
        self._session = session
        self._lock = threading.Lock()
        self._kept: dict[tuple[Kind, int], Parcel] = {}
        self._forgotten: list[tuple[str, int]] = []
        self._written: set[tuple[str, int]] = set()
        """What is in the file; the thread's own."""
        self._write_is_due = False
        with self._explained():
            self._connection = _connect(path, most_pages)
            try:
                self.leftovers = self._take_stock()
            except BaseException:
                self._connection.close()
                raise
        self.left = len(self.leftovers.finals) + self.leftovers.flags
        """Messages of earlier runs that were there at the start."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="octmargin outbox")

    def keep(self, number: int, parcel: Parcel) -> None:
        """Write it soon; never blocks."""
        with self._lock:
            self._kept[parcel.kind, number] = parcel
        self._write_soon()

    def forget(self, kind: Kind, number: int) -> None:
        """Delete it soon, or do not write it at all; never blocks."""
        with self._lock:
            if self._kept.pop((kind, number), None) is not None:
                return
            self._forgotten.append((kind.value, number))
        self._write_soon()

    def flags(self, asked: range) -> Future[Mapping[int, Parcel]]:
        """Read flags by their numbers; those that cannot be had are missing."""
        return self._thread.submit(self._read_flags, asked)

    def close(self) -> None:
        """Write what is not written yet, and let the file go. Blocks for as long as the disk takes."""
        self._thread.submit(self._write).result()
        self._thread.shutdown()
        self._connection.close()

    # -- in the thread, once it runs ---------------------------------------------------------------------

    def _write_soon(self) -> None:
        if not self._write_is_due:
            self._write_is_due = True
            self._thread.submit(self._write)

    def _write(self) -> None:
        with self._lock:
            self._write_is_due = False
            kept, self._kept = self._kept, {}
            forgotten, self._forgotten = self._forgotten, []
        if not (kept or forgotten):
            return
        rows = [
            (kind.value, number, parcel.topic, encode(parcel.content))
            for (kind, number), parcel in kept.items()
            if isinstance(parcel.content, Message)
        ]
        try:
            with self._transaction():
                self._connection.executemany("DELETE FROM parcels WHERE kind = ? AND number = ?", forgotten)
                self._connection.executemany("INSERT OR REPLACE INTO parcels VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._note(error)
            with self._lock:
                # Tried again with the next write. Flags are not: there may be no end of them.
                finals = {key: parcel for key, parcel in kept.items() if parcel.is_final}
                self._kept = finals | self._kept
                self._forgotten = [key for key in forgotten if key in self._written] + self._forgotten
        else:
            self._written.difference_update(forgotten)
            self._written.update((kind, number) for kind, number, _, _ in rows)

    def _note(self, error: sqlite3.Error) -> None:
        self.failures += 1
        self.failure = f"{self.path}: {error}"

    def _read_flags(self, asked: range) -> Mapping[int, Parcel]:
        self._write()
        try:
            rows = self._connection.execute(
                "SELECT number, topic, content FROM parcels WHERE kind = ? AND number >= ? AND number < ?",
                (Kind.FLAG.value, asked.start, asked.stop),
            ).fetchall()
        except sqlite3.Error as error:
            self._note(error)
            return {}
        return dict(self._readable(Kind.FLAG, rows))

    def _take_stock(self) -> Leftovers:
        """Number what is there from 0 on, in its order, without holes."""
        with self._transaction():
            for kind in (Kind.FLAG, Kind.VERDICT):
                numbers = self._connection.execute(
                    "SELECT number FROM parcels WHERE kind = ? ORDER BY number", (kind.value,)
                ).fetchall()
                # Upwards, each onto a number that is free already: it is its own or one that was passed.
                self._connection.executemany(
                    "UPDATE parcels SET number = ? WHERE kind = ? AND number = ?",
                    ((n, kind.value, number) for n, (number,) in enumerate(numbers) if n != number),
                )
        finals = self._connection.execute(
            "SELECT number, topic, content FROM parcels WHERE kind = ? ORDER BY number", (Kind.VERDICT.value,)
        ).fetchall()
        flags = self._connection.execute(
            "SELECT count(*) FROM parcels WHERE kind = ?", (Kind.FLAG.value,)
        ).fetchone()[0]
        self._written = {(Kind.FLAG.value, n) for n in range(flags)} | {
            (Kind.VERDICT.value, n) for n in range(len(finals))
        }
        readable = dict(self._readable(Kind.VERDICT, finals))
        if len(readable) < len(finals):
            with self._transaction():
                self._connection.executemany(
                    "DELETE FROM parcels WHERE kind = ? AND number = ?",
                    [(Kind.VERDICT.value, number) for number, _, _ in finals if number not in readable],
                )
            return self._take_stock()
        return Leftovers(tuple(readable.values()), int(flags))

    def _readable(self, kind: Kind, rows: Iterable[tuple[int, str, bytes]]) -> Iterator[tuple[int, Parcel]]:
        for number, topic, content in rows:
            try:
                message = msgspec.json.decode(content, type=MESSAGES[kind])
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.unreadable += 1
                continue
            if message.schema != SCHEMA:
                self.unreadable += 1
                continue
            yield number, Parcel(topic, kind, message, late=message.session != self._session)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        key = f"broker.outbox_file {str(self.path)!r}"
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ConfigError(f"{key} is in use; stop the other daemon or name another file") from None
            raise ConfigError(
                f"{key} cannot be used ({error}); name a file in a folder that exists"
            ) from None
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{key} is not a store of messages ({error}); move it away or name another"
            ) from None


def _connect(path: Path, most_pages: int | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
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
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.execute(_TABLES)
        if most_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {int(most_pages)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _require_ours(application: int, version: int) -> None:
    if application != _APPLICATION_ID:
        raise sqlite3.DatabaseError("it is another program's")
    if version != _FORMAT:
        raise sqlite3.DatabaseError(f"its format is {version}, and {_FORMAT} is known")
