"""What happened while a recording was made: one line of JSON per entry, each with the hash of the line before it.

A line that was changed, taken out or put in breaks the chain from there on; the hash of the last line is kept in the
recording's description when it is complete. A process that is killed leaves at most half a line at the end.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec

from octmargin.errors import InputError

LOG_FILE = "log.jsonl"
_MOST_WAITING = 100_000
_PATIENCE_S = 5.0
_PIECE_BYTES = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Logbook:
    """Writes the entries in the order in which they are noted, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        """Begin a new file; OSError where that cannot be."""
        self._file = path.open("xb", buffering=0)
        self._waiting: SimpleQueue[Callable[[], dict[str, Any]] | None] = SimpleQueue()
        self._missed = 0
        self._counting = threading.Lock()
        self._lines = 0
        self.noted = 0
        """Entries that were noted, written or not yet."""
        self.last_hash = ""
        """SHA-256 of the last line, hexadecimal; empty before the first one."""
        self.failure = ""
        """Why nothing is written any more; empty while all is well."""
        self._thread = threading.Thread(target=self._work, name="logbook", daemon=True)
        self._thread.start()

    def note(self, kind: str, content: Any) -> None:
        """Have an entry written: `content` is a mapping or anything that msgspec writes as one. Never blocks."""
        if self.failure:
            return
        self.noted += 1
        if self._waiting.qsize() >= _MOST_WAITING:
            with self._counting:
                self._missed += 1
            return
        self._waiting.put(_entry(kind, content))

    def close(self) -> None:
        """Write what waits, and end; `failure` then says whether the disk took it, which is waited for seconds."""
        self.leave()
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            self.failure = self.failure or "the disk stands still"

    def leave(self) -> None:
        """Have it end when what waits is written; never blocks."""
        self._waiting.put(None)

    def _work(self) -> None:
        try:
            with self._file:
                self._write_all()
        except OSError as error:
            self.failure = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 - a log that ends without a word would pass for whole
            self.failure = f"{type(error).__name__}: {error}"

    def _write_all(self) -> None:
        while (make := self._waiting.get()) is not None:
            self._write(make())
        if self._missed:
            self._write(_entry("missed", {})())

    def _write(self, content: dict[str, Any]) -> None:
        entry = {"n": self._lines, "before": self.last_hash} | content
        with self._counting:
            missed, self._missed = self._missed, 0
        if missed:
            entry["missed"] = missed
        line = msgspec.json.encode(entry)
        whole = memoryview(line + b"\n")
        while whole:
            whole = whole[self._file.write(whole) :]
        self._lines += 1
        self.last_hash = hashlib.sha256(line).hexdigest()


def _entry(kind: str, content: Any) -> Callable[[], dict[str, Any]]:
    """Made where it is written, with the time at which it was noted."""
    at = _EPOCH + timedelta(microseconds=time.time_ns() // 1000)
    return lambda: {"at": at, "kind": kind} | msgspec.to_builtins(content)


@dataclass(frozen=True, slots=True)
class LogState:
    """Whether a log is as it was written: `broken_at` is the first entry that does not fit, -1 without any.

    `is_cut` where its last line is not whole: the process was killed while it wrote. `last_hash` of the last that fits.
    """

    entries: int
    broken_at: int = -1
    is_cut: bool = False
    last_hash: str = ""

    def trouble(self, last_hash: str | None) -> str:
        """What is wrong with a log whose last line had `last_hash`, in words; empty where nothing is.

        None where nobody knows the last line, because the log was cut short or still grows: it may end anywhere then.
        """
        if self.broken_at == 0:
            return "the log was changed: its first line does not begin a log"
        if self.broken_at > 0:
            return f"the log was changed: entry {self.broken_at} does not follow from the one before"
        if last_hash is None or (self.last_hash == last_hash and not self.is_cut):
            return ""
        if self.last_hash == last_hash:
            return (
                f"the log was changed: something stands behind entry {self.entries - 1}, which was its last"
            )
        if self.entries == 0:
            return "the log was changed: it has no entry any more"
        return f"the log was changed: it ends with entry {self.entries - 1}, which was not its last"


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Entries of the log at `path` as far as the chain holds; nothing where there is none.

    InputError where it cannot be read.
    """
    for entry, state in _walk(path):
        if entry and state.broken_at < 0:
            yield entry


def check_log(path: Path) -> LogState:
    """Follow the whole chain; InputError where the file cannot be read."""
    last = LogState(0)
    for _, state in _walk(path):
        last = state
    return last


def drop_half_line(path: Path) -> None:
    """Take away the half line that a killed process left; every whole line stays where it is on the disk."""
    if path.exists():
        os.truncate(path, _whole_bytes(path))


def _whole_bytes(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _PIECE_BYTES)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def _walk(path: Path) -> Iterator[tuple[dict[str, Any], LogState]]:
    entries, last_hash = 0, ""
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    yield {}, LogState(entries, broken_at=-1, is_cut=True, last_hash=last_hash)
                    return
                entry = _parse(line)
                if entry.get("n") != entries or entry.get("before") != last_hash:
                    yield {}, LogState(entries, broken_at=entries, last_hash=last_hash)
                    return
                entries, last_hash = entries + 1, hashlib.sha256(line[:-1]).hexdigest()
                yield entry, LogState(entries, last_hash=last_hash)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _parse(line: bytes) -> dict[str, Any]:
    try:
        entry = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
