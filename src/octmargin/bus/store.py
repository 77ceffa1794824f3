"""Keeps what was said and has not arrived in a file, so that it outlives the process: a journal of the outbox.

A message is written as soon as it is put, together with what else came meanwhile, in a thread of the store's own, and
deleted when the broker has it: at `kill -9` what is lost at most is what was put in the last few milliseconds. What
arrived and was not deleted before the end is said again, as the same message: session and sequence tell that it is a
repetition.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec

from octmargin.bus.codec import MESSAGES, encode
from octmargin.bus.messages import SCHEMA, Message
from octmargin.bus.number_ranges import NumberRanges
from octmargin.bus.outbox import Leftovers, Parcel
from octmargin.bus.store_file import Found, Row, StoreFile, explained
from octmargin.bus.topics import Kind
from octmargin.own_thread import OwnThread

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
        self._base = base
        self._most_pages = most_pages
        self._thread = OwnThread("octmargin outbox")
        self._file: StoreFile | None = None
        self._lock = threading.Lock()
        self._kept: dict[_Key, Parcel] = {}
        """Not in the file yet."""
        self._fallen = NumberRanges()
        """Flags that are not in the file, and for which there was no room here either."""
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
        """Messages that are not in the file, and did not arrive: lost where the process ends now."""
        with self._lock:
            return len(self._kept) + len(self._fallen)

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
                    self._fallen.add(oldest[1])
        self._write_soon()

    def forget(self, kind: Kind, number: int) -> None:
        """Delete it soon, or do not write it at all; never blocks."""
        with self._lock:
            if self._kept.pop((kind, number), None) is not None:
                return
            if kind is Kind.FLAG and self._fallen.discard(number):
                return
            self._forgotten[kind].add(number)
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
        with explained(self.path):
            file = StoreFile(self.path, self._base, most_pages=self._most_pages)
            try:
                leftovers = self._take_stock(file)
            except BaseException:
                file.close()
                raise
            self._file = file
            return leftovers

    def _close(self) -> int:
        if self._file is None:
            return 0
        self._write()
        try:
            return self._file.waiting()
        finally:
            self._file.close()

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
        if self._file is None or not (kept or any(forgotten.values()) or self._is_failing):
            return
        # Final verdicts first, with what makes room: a disk that is all but full may still take them.
        finals = [key for key, parcel in kept.items() if parcel.is_final]
        flags = [key for key, parcel in kept.items() if not parcel.is_final]
        try:
            self._write_some(self._file, kept, finals, forgotten)
        except sqlite3.Error as error:
            with self._lock:
                for kind, ranges in forgotten.items():
                    self._forgotten[kind] = ranges + self._forgotten[kind]
            self._fail(error)
            return
        try:
            for first in range(0, len(flags), _WRITTEN_AT_ONCE):
                self._write_some(self._file, kept, flags[first : first + _WRITTEN_AT_ONCE], _nothing())
        except sqlite3.Error as error:
            self._fail(error)
        else:
            self._is_failing = False

    def _write_some(
        self,
        file: StoreFile,
        kept: Mapping[_Key, Parcel],
        keys: Sequence[_Key],
        forgotten: Mapping[Kind, NumberRanges],
    ) -> None:
        gone = [
            (kind, self._in_file(kind, numbers[0]), self._in_file(kind, numbers[-1]))
            for kind, ranges in forgotten.items()
            for numbers in ranges
        ]
        file.change(gone, [row for key in keys if (row := self._row(*key, kept[key]))])
        with self._lock:
            arrived = [key for key in keys if not self._is_wanted(*key)]
            for kind, number in arrived:
                self._forgotten[kind].add(number)
        if arrived:
            self._write_soon()

    def _is_wanted(self, kind: Kind, number: int) -> bool:
        """Whether what was just written had not arrived meanwhile; it waits in the file from now on."""
        fell = kind is Kind.FLAG and self._fallen.discard(number)
        return self._kept.pop((kind, number), None) is not None or fell

    def _row(self, kind: Kind, number: int, parcel: Parcel) -> Row | None:
        if not isinstance(parcel.content, Message):
            return None
        try:
            return kind, self._in_file(kind, number), parcel.topic, encode(parcel.content)
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

    def _read_flags(self, asked: range) -> Mapping[int, Parcel]:
        self._write()
        numbers = {self._in_file(Kind.FLAG, n): n for n in asked}
        if self._file is None or not numbers:
            return {}
        try:
            rows = self._file.read(Kind.FLAG, (min(numbers), max(numbers)))
        except sqlite3.Error as error:
            self._fail(error)
            raise OSError(self.failure) from error
        with self._lock:
            waiting = {n: self._kept[Kind.FLAG, n] for n in asked if (Kind.FLAG, n) in self._kept}
        readable = self._readable(Kind.FLAG, (row for row in rows if row[0] in numbers))
        return waiting | {numbers[number]: parcel for number, parcel in readable}

    def _take_stock(self, file: StoreFile) -> Leftovers:
        """See what is there, without writing: the disk may be full."""
        for kind in (Kind.FLAG, Kind.VERDICT):
            self._found[kind], foreign, self._beyond[kind] = file.numbers(kind)
            self.foreign += foreign
        found = {number: n for n, number in enumerate(self._found[Kind.VERDICT])}
        rows = [row for row in file.read(Kind.VERDICT) if row[0] in found]
        readable = dict(self._readable(Kind.VERDICT, rows))
        finals = {n: readable[number] for number, n in found.items() if number in readable}
        for n in found.values():
            if n not in finals:
                self._forgotten[Kind.VERDICT].add(n)
        leftovers = Leftovers(finals, len(found), len(self._found[Kind.FLAG]))
        self.left = len(finals) + leftovers.flags
        return leftovers

    def _readable(self, kind: Kind, rows: Iterable[Found]) -> Iterator[tuple[int, Parcel]]:
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


def _nothing() -> dict[Kind, NumberRanges]:
    return {Kind.FLAG: NumberRanges(), Kind.VERDICT: NumberRanges()}
