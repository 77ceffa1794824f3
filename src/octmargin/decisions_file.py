"""What readers said, on disk: one line of JSON each, appended and synced, for the next run of the daemon."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import msgspec
import structlog

from octmargin.bus.decisions import Decision, Mark
from octmargin.errors import ConfigError

DECISIONS_FAULT = "decisions"
KEPT_WITHIN_S = 3.0
"""So long an answer to a reader waits for the disk; whoever asked waits ten seconds."""
MOST_WAITING = 1000
"""Decisions and marks that wait for the disk; what comes beyond is not written."""
_PATIENCE_S = 1.0
_BEGINNING = b'{"case_id":'
"""Of every line, also of one that a killed daemon left half."""

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
    """The file at `path`, read whole at the start; `on_fault(text)` is told once, on any thread, when it cannot go on.

    ConfigError where it cannot be read or written, or is something else. A half line, which a killed daemon leaves at
    the end, is ended there and counted as `unreadable`, as is any line that cannot be read.
    """

    def __init__(self, path: Path, *, on_fault: Callable[[str], None]) -> None:
        self._path = path
        self._on_fault = on_fault
        self._waiting: SimpleQueue[tuple[KeptReading, Future[str]] | None] = SimpleQueue()
        self._answers: set[asyncio.Future[str]] = set()
        self._kept: dict[tuple[str, str], list[KeptReading]] = {}
        self.unreadable = 0
        """Lines that could not be read."""
        self._is_broken = False
        """Whether the disk did not take the last one."""
        self._is_told = False
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

    def put(self, reading: KeptReading) -> Future[str]:
        """Have one more written; never blocks. Resolves to why it is not on the disk, to nothing once it is."""
        written: Future[str] = Future()
        if self._waiting.qsize() >= MOST_WAITING:
            self._fail(why := f"{MOST_WAITING} wait for the disk already")
            written.set_result(why)
        else:
            self._waiting.put((reading, written))
        return written

    def keep(self, reading: KeptReading, otherwise: str) -> asyncio.Future[str]:
        """The same on the event loop; resolves to what is to be said beside "kept": nothing once it is on the disk.

        `otherwise` says how long it is kept where it is not.
        """
        answer = asyncio.ensure_future(self._outcome(asyncio.wrap_future(self.put(reading)), otherwise))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        return answer

    async def _outcome(self, written: asyncio.Future[str], otherwise: str) -> str:
        try:
            async with asyncio.timeout(KEPT_WITHIN_S):
                why = await asyncio.shield(written)
        except TimeoutError:
            self._tell(f"the disk has not answered for {KEPT_WITHIN_S:.0f} s")
            return f"{otherwise}; NOT on the disk yet, which does not answer"
        return f"{otherwise}; NOT on the disk: {why}" if why else ""

    def close(self) -> None:
        """Write what waits, and end; waits a second for the disk."""
        self._waiting.put(None)
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            log.error("readers' decisions may be lost: the disk stands still", path=str(self._path))

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        is_ours = True
        for line in content.splitlines():
            if not line:
                continue
            is_ours = is_ours and (line.startswith(_BEGINNING) or _BEGINNING.startswith(line))
            try:
                reading = msgspec.json.decode(line, type=KeptReading)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.unreadable += 1
                continue
            self._kept.setdefault((reading.case_id, reading.specimen_id), []).append(reading)
        if not is_ours and not self._kept:
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
            while (one := self._waiting.get()) is not None:
                reading, written = one
                try:
                    if self._is_broken:
                        # What the disk did not take whole must not run into the next line.
                        self._append(b"\n")
                    self._append(msgspec.json.encode(reading) + b"\n")
                except OSError as error:
                    self._is_broken = True
                    self._fail(why := error.strerror or str(error))
                    written.set_result(why)
                else:
                    self._is_broken = self._is_told = False
                    written.set_result("")

    def _append(self, content: bytes) -> None:
        whole = memoryview(content)
        while whole:
            whole = whole[self._file.write(whole) :]
        os.fsync(self._file.fileno())

    def _fail(self, why: str) -> None:
        log.error("a reader's decision is in this log alone", path=str(self._path), reason=why)
        self._tell(why)

    def _tell(self, why: str) -> None:
        was_told, self._is_told = self._is_told, True
        if not was_told:
            self._on_fault(f"case.decisions_file cannot be written ({why})")
