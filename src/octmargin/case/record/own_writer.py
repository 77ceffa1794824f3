"""Writing the record beside something that must not wait: in a thread of its own, in order, counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from octmargin.case.record.events import CaseBody
from octmargin.case.record.store import CaseStore
from octmargin.errors import CaseRefusedError, RecordError
from octmargin.own_thread import OwnThread

MOST_WAITING = 10_000
STANDSTILL_S = 5.0
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Note:
    case_id: str
    body: CaseBody
    actor: str
    at: datetime


class CaseWriter:
    """Adds events to the record at `path` as `what`; neither the caller nor the end of the process waits for the disk.

    An event that its case refuses is counted and told. One that cannot be written, because the disk or another writer
    is in the way, is tried again; nothing overtakes it. `on_trouble` is called in the thread with what is wrong, and
    with "" when it is over.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        *,
        wait_s: float = 1.0,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._what = what
        self._wait_s = wait_s
        self._on_trouble = on_trouble
        self._thread = OwnThread("case record")
        self._lock = threading.Lock()
        self._waiting: deque[_Note] = deque()
        self._retry_is_due = False
        self._trouble = ""
        self.written = 0
        """Events that are on the disk."""
        self.refused = 0
        """Events that their case did not allow."""
        self.last_refusal = ""
        self.missed = 0
        """Events for which there was no place any more."""

    @property
    def waiting(self) -> int:
        """Events that are not written yet."""
        with self._lock:
            return len(self._waiting)

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present; empty while all is well."""
        busy_s = self._thread.busy_s
        if busy_s > STANDSTILL_S:
            return f"{self._path}: the disk has not answered for {busy_s:.0f} s"
        return self._trouble

    def note(self, case_id: str, body: CaseBody, actor: str) -> None:
        """Have it written, with the present time; never blocks."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self.missed += 1
                return
            self._waiting.append(_Note(case_id, body, actor, datetime.now(UTC)))
        self._thread.submit(self._write)

    def close(self, patience_s: float = STANDSTILL_S) -> int:
        """Write what waits, and give how many events are not written after that time."""
        written: Future[None] = self._thread.submit(self._write)
        self._thread.end()
        try:
            written.result(timeout=patience_s)
        except FutureTimeoutError:
            self._trouble = f"{self._path}: the disk stands still"
        return self.waiting

    # -- in the thread -----------------------------------------------------------------------------------

    def _write(self) -> None:
        if not self.waiting:
            return
        try:
            with CaseStore.open(self._path, writable=True, what=self._what, wait_s=self._wait_s) as store:
                while self._write_next(store):
                    pass
        except RecordError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - a record that ends without a word would pass for whole
            self._fail(f"{self._path}: {type(error).__name__}: {error}")
        else:
            self._tell("")

    def _write_next(self, store: CaseStore) -> bool:
        with self._lock:
            note = self._waiting[0] if self._waiting else None
        if note is None:
            return False
        try:
            store.append(note.case_id, note.body, actor=note.actor, at=note.at)
        except CaseRefusedError as error:
            self.refused += 1
            self.last_refusal = str(error)
        else:
            self.written += 1
        with self._lock:
            self._waiting.popleft()
        return True

    def _fail(self, trouble: str) -> None:
        self._tell(trouble)
        if not self._retry_is_due:
            self._retry_is_due = True
            retry = threading.Timer(RETRY_S, self._retry)
            retry.daemon = True
            retry.start()

    def _retry(self) -> None:
        self._retry_is_due = False
        self._thread.submit(self._write)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_trouble(trouble)
