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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import msgspec

from octmargin.bus.codec import MESSAGES, encode
from octmargin.bus.messages import SCHEMA, Message
from octmargin.bus.outbox import Leftovers, Parcel
from octmargin.bus.topics import Kind
from octmargin.errors import ConfigError
from octmargin.own_thread import OwnThread

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
_STANDSTILL_S = 5.0
_RETRY_S = 1.0
_MOST_KEPT = 4096
_WRITTEN_AT_ONCE = 256

_Key = tuple[Kind, int]


class OutboxStore:
    """The file at `path`; `open` takes it for this process alone.

    `session` is this run's: messages of any other are late. Those of topics that do not begin with `base` are another
    console's, and left where they are. `most_pages` bounds the file, 4096 bytes each. No disk holds up the caller.
    """

    def __init__(self, path: Path, session: str, base: str, *, most_pages: int | None = None) -> None:
        self.path = path
        self.left = 0
        """Messages of earlier runs that were there at the start."""
        self.foreign = 0
        """Messages of other consoles that were there too."""
        self.failures = 0
        """Times that the disk failed: what was to be written or read then waits in memory at best."""
        self.failure = ""
        """How it did the last time."""
        self.unreadable = 0
        """Messages that were found and cannot be read any more: they are gone."""
        self._session = session
        self._prefix = f"{base}/".encode()
        self._most_pages = most_pages
        self._thread = OwnThread("octmargin outbox")
        self._connection: sqlite3.Connection
        self._is_open = False
        self._lock = threading.Lock()
        self._kept: dict[_Key, Parcel] = {}
        """Not in the file yet."""
        self._forgotten = _nothing()
        """Still in the file."""
        self._write_is_due = False
        self._retry_is_due = False
        self._is_failing = False
        # The thread's own from here on.
        self._found: dict[Kind, list[int]] = {}
        """Numbers in the file of what was found, in its order; what comes is numbered from `_beyond` on."""
        self._beyond: dict[Kind, int] = {}

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, in words; empty while all is well."""
        busy_s = self._thread.busy_s
        if busy_s > _STANDSTILL_S:
            return f"{self.path}: the disk has not answered for {busy_s:.0f} s"
        return self.failure if self._is_failing else ""

    @property
    def unsaved(self) -> int:
        """Messages that are in memory alone."""
        with self._lock:
            return len(self._kept)

    def open(self) -> Future[Leftovers]:
        """Open the file and see what an earlier run did not get said; ConfigError where that cannot be."""
        return self._thread.submit(self._open)

    def keep(self, number: int, parcel: Parcel) -> None:
        """Write it soon; never blocks."""
        with self._lock:
            self._kept[parcel.kind, number] = parcel
            if len(self._kept) > _MOST_KEPT:
                # A disk that stands still must not cost memory without end; final verdicts are few.
                oldest = next((key for key, kept in self._kept.items() if not kept.is_final), None)
                if oldest is not None:
                    del self._kept[oldest]
        self._write_soon()

    def forget(self, kind: Kind, number: int) -> None:
        """Delete it soon, or do not write it at all; never blocks."""
        with self._lock:
            if self._kept.pop((kind, number), None) is not None:
                return
            _add(self._forgotten[kind], number)
        self._write_soon()

    def flags(self, asked: range) -> Future[Mapping[int, Parcel]]:
        """Read flags by their numbers: those that are not there any more are missing. OSError where the disk fails."""
        return self._thread.submit(self._read_flags, asked)

    def close(self) -> Future[int]:
        """Write what is not written yet, and let the file go; gives how many messages wait in it for the next run.

        The process need not wait for a disk that hangs.
        """
        closed = self._thread.submit(self._close)
        self._thread.end()
        return closed

    # -- in the thread -----------------------------------------------------------------------------------

    def _open(self) -> Leftovers:
        with self._explained():
            connection = _connect(self.path, self._most_pages)
            self._connection = connection
            try:
                leftovers = self._take_stock()
            except BaseException:
                connection.close()
                raise
            self._is_open = True
            return leftovers

    def _close(self) -> int:
        if not self._is_open:
            return 0
        self._write()
        try:
            (waiting,) = self._connection.execute(
                "SELECT count(*) FROM parcels WHERE substr(CAST(topic AS BLOB), 1, ?) = ?", self._ours
            ).fetchone()
        finally:
            self._connection.close()
        return int(waiting)

    def _write_soon(self) -> None:
        if not self._write_is_due:
            self._write_is_due = True
            self._thread.submit(self._write)

    def _write(self) -> None:
        """Write what is new and delete what has arrived; what the disk does not take is tried again."""
        with self._lock:
            self._write_is_due = False
            kept = dict(self._kept)
            forgotten, self._forgotten = self._forgotten, _nothing()
        if not (kept or any(forgotten.values()) or self._is_failing):
            return
        # Final verdicts first, with what makes room: a disk that is all but full may still take them.
        finals = [key for key, parcel in kept.items() if parcel.is_final]
        flags = [key for key, parcel in kept.items() if not parcel.is_final]
        try:
            self._write_some(kept, finals, forgotten)
        except sqlite3.Error as error:
            with self._lock:
                for kind, ranges in forgotten.items():
                    self._forgotten[kind] = ranges + self._forgotten[kind]
            self._fail(error)
            return
        try:
            for first in range(0, len(flags), _WRITTEN_AT_ONCE):
                self._write_some(kept, flags[first : first + _WRITTEN_AT_ONCE], _nothing())
        except sqlite3.Error as error:
            self._fail(error)
        else:
            self._is_failing = False

    def _write_some(
        self, kept: Mapping[_Key, Parcel], keys: Sequence[_Key], forgotten: Mapping[Kind, list[range]]
    ) -> None:
        rows = [row for key in keys if (row := self._row(*key, kept[key]))]
        with self._transaction():
            # Of its own alone: between them may be what another console left.
            self._connection.executemany(
                "DELETE FROM parcels WHERE kind = ? AND number >= ? AND number <= ? "
                "AND substr(CAST(topic AS BLOB), 1, ?) = ?",
                [
                    (kind.value, self._in_file(kind, gone[0]), self._in_file(kind, gone[-1]), *self._ours)
                    for kind, ranges in forgotten.items()
                    for gone in ranges
                ],
            )
            self._connection.executemany("INSERT OR REPLACE INTO parcels VALUES (?, ?, ?, ?)", rows)
        with self._lock:
            arrived = [key for key in keys if self._kept.pop(key, None) is None]
            for kind, number in arrived:
                _add(self._forgotten[kind], number)
        if arrived:
            self._write_soon()

    def _row(self, kind: Kind, number: int, parcel: Parcel) -> tuple[str, int, str, bytes] | None:
        if not isinstance(parcel.content, Message):
            return None
        try:
            return kind.value, self._in_file(kind, number), parcel.topic, encode(parcel.content)
        except (TypeError, ValueError, msgspec.MsgspecError):
            # Nor can it be sent; whoever sends it says so.
            return None

    def _fail(self, error: sqlite3.Error) -> None:
        self.failures += 1
        self.failure = f"{self.path}: {error}"
        self._is_failing = True
        if not self._retry_is_due:
            self._retry_is_due = True
            retry = threading.Timer(_RETRY_S, self._retry)
            retry.daemon = True
            retry.start()

    def _retry(self) -> None:
        self._retry_is_due = False
        self._write_soon()

    def _in_file(self, kind: Kind, number: int) -> int:
        found = self._found[kind]
        return found[number] if number < len(found) else number - len(found) + self._beyond[kind]

    @property
    def _ours(self) -> tuple[int, bytes]:
        """What topics begin with, for SQL: length and content."""
        return len(self._prefix), self._prefix

    def _read_flags(self, asked: range) -> Mapping[int, Parcel]:
        self._write()
        numbers = {self._in_file(Kind.FLAG, n): n for n in asked}
        if not numbers:
            return {}
        try:
            rows = self._connection.execute(
                f"{_SELECT} WHERE kind = ? AND number >= ? AND number <= ?",
                (Kind.FLAG.value, min(numbers), max(numbers)),
            ).fetchall()
        except sqlite3.Error as error:
            self._fail(error)
            raise OSError(self.failure) from error
        with self._lock:
            waiting = {n: self._kept[Kind.FLAG, n] for n in asked if (Kind.FLAG, n) in self._kept}
        readable = self._readable(Kind.FLAG, (row for row in rows if row[0] in numbers))
        return waiting | {numbers[number]: parcel for number, parcel in readable}

    def _take_stock(self) -> Leftovers:
        """See what is there, without writing: the disk may be full."""
        for kind in (Kind.FLAG, Kind.VERDICT):
            rows = self._connection.execute(
                "SELECT number, substr(CAST(topic AS BLOB), 1, ?) = ? FROM parcels WHERE kind = ? ORDER BY number",
                (*self._ours, kind.value),
            ).fetchall()
            self._found[kind] = [number for number, is_ours in rows if is_ours]
            self._beyond[kind] = rows[-1][0] + 1 if rows else 0
            self.foreign += len(rows) - len(self._found[kind])
        rows = self._connection.execute(f"{_SELECT} WHERE kind = ?", (Kind.VERDICT.value,)).fetchall()
        found = {number: n for n, number in enumerate(self._found[Kind.VERDICT])}
        readable = dict(self._readable(Kind.VERDICT, (row for row in rows if row[0] in found)))
        finals = {n: readable[number] for number, n in found.items() if number in readable}
        for n in found.values():
            if n not in finals:
                _add(self._forgotten[Kind.VERDICT], n)
        leftovers = Leftovers(finals, len(found), len(self._found[Kind.FLAG]))
        self.left = len(finals) + leftovers.flags
        return leftovers

    def _readable(self, kind: Kind, rows: Iterable[tuple[int, bytes, bytes]]) -> Iterator[tuple[int, Parcel]]:
        for number, topic, content in rows:
            try:
                message = msgspec.json.decode(content, type=MESSAGES[kind])
                if message.schema != SCHEMA:
                    raise ValueError("another schema")  # noqa: TRY301 - as unreadable as any other
                parcel = Parcel(topic.decode(), kind, message, late=message.session != self._session)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                self.unreadable += 1
            else:
                yield number, parcel

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
            # Errors that Python finds before SQLite does have no code.
            primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise ConfigError(f"{key} is in use; stop the other daemon or name another file") from None
            if primary == sqlite3.SQLITE_FULL:
                raise ConfigError(f"{key} finds its disk full; make room") from None
            raise ConfigError(
                f"{key} cannot be used ({error}); name a file in a folder that exists"
            ) from None
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{key} is not a store of messages ({error}); move it away or name another"
            ) from None
        except ValueError as error:
            raise ConfigError(
                f"{key} cannot be used ({error}); name a file in a folder that exists"
            ) from None


def _nothing() -> dict[Kind, list[range]]:
    return {Kind.FLAG: [], Kind.VERDICT: []}


def _add(ranges: list[range], number: int) -> None:
    """Most come in order, or nearly: what is given up while a disk stands still must not fill memory."""
    added = range(number, number + 1)
    while ranges and added.start <= ranges[-1].stop and ranges[-1].start <= added.stop:
        last = ranges.pop()
        added = range(min(last.start, added.start), max(last.stop, added.stop))
    ranges.append(added)


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
