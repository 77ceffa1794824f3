"""What readers said, on disk: one line of JSON each, appended and synced, for the next run of the daemon."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import msgspec
import structlog

from octmargin.bus.decisions import Decision, Mark
from octmargin.errors import ConfigError

DECISIONS_FAULT = "decisions"
_PATIENCE_S = 1.0

log = structlog.get_logger()


class KeptReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: a decision or a mark, and what it is about."""

    case_id: str
    specimen_id: str
    face: str
    synthetic: bool
    decision: Decision | None = None
    mark: Mark | None = None


class DecisionsFile:
    """The file at `path`, read whole at the start; `on_fault(text)` is told once, from a thread, when it cannot go on.

    ConfigError where it cannot be read or written, or is something else. A half line, which a killed daemon leaves at
    the end, is ended there and counted as `unreadable`, as is any line that cannot be read.
    """

    def __init__(self, path: Path, *, on_fault: Callable[[str], None]) -> None:
        self._path = path
        self._on_fault = on_fault
        self._waiting: SimpleQueue[KeptReading | None] = SimpleQueue()
        self._kept: dict[tuple[str, str], list[KeptReading]] = {}
        self.unreadable = 0
        """Lines that could not be read."""
        self.failure = ""
        """Why nothing is written any more; empty while all is well."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Notes are free text: a new file is its owner's alone.
            self._file = open(path, "a+b", buffering=0, opener=partial(os.open, mode=0o600))  # noqa: SIM115
            self._read()
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(
                f"case.decisions_file: {path} is no file that can be read and written ({why}); name another"
            ) from error
        self._thread = threading.Thread(target=self._work, name="decisions", daemon=True)
        self._thread.start()

    def of(self, case_id: str, specimen_id: str) -> Sequence[KeptReading]:
        """What was kept of a specimen by the time the file was opened, in its order."""
        return tuple(self._kept.get((case_id, specimen_id), ()))

    def put(self, reading: KeptReading) -> None:
        """Have one more written; never blocks."""
        self._waiting.put(reading)

    def close(self) -> None:
        """Write what waits, and end; waits a second for the disk."""
        self._waiting.put(None)
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            log.error("readers' decisions may be lost: the disk stands still", path=str(self._path))

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        for line in content.splitlines():
            try:
                reading = msgspec.json.decode(line, type=KeptReading)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.unreadable += 1
                continue
            self._kept.setdefault((reading.case_id, reading.specimen_id), []).append(reading)
        if content and not self._kept:
            self._file.close()
            raise OSError("it holds something else")
        if content and not content.endswith(b"\n"):
            self._append(b"\n")
        if self.unreadable:
            log.warning(
                "lines of readers' decisions are unreadable", path=str(self._path), count=self.unreadable
            )

    def _work(self) -> None:
        with self._file:
            while (reading := self._waiting.get()) is not None:
                try:
                    if self.failure:
                        # What the disk did not take whole must not run into the next line.
                        self._append(b"\n")
                    self._append(msgspec.json.encode(reading) + b"\n")
                except OSError as error:
                    self._fail(error.strerror or str(error))
                else:
                    self.failure = ""

    def _append(self, content: bytes) -> None:
        whole = memoryview(content)
        while whole:
            whole = whole[self._file.write(whole) :]
        os.fsync(self._file.fileno())

    def _fail(self, why: str) -> None:
        was_told, self.failure = bool(self.failure), why
        log.error("a reader's decision is in this log alone", path=str(self._path), reason=why)
        if not was_told:
            self._on_fault(f"case.decisions_file cannot be written ({why})")
