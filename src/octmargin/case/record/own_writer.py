"""Writing the record beside something that must not wait: in a thread of its own, in order, counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from octmargin.case.record.events import CaseBody
from octmargin.case.record.model import CaseSnapshot
from octmargin.case.record.store import CaseStore
from octmargin.errors import CaseRefusedError, OctMarginError, RecordError
from octmargin.own_thread import OwnThread

MOST_WAITING = 10_000
STANDSTILL_S = 5.0
RETRY_S = 1.0


MakeBodies = Callable[[CaseSnapshot | None], Sequence[CaseBody]]
"""What is to be added to a case, by what it is then; None where there is no such case yet."""


@dataclass(frozen=True, slots=True)
class _Note:
    case_id: str
    make: MakeBodies
    actor: str
    at: datetime
    written: Future[CaseSnapshot]


class CaseWriter:
    """Adds events to the record at `path` as `what`; neither the caller nor the end of the process waits for the disk.

    An event that its case refuses, or that cannot be made, is counted and told. One that cannot be written, because the
    disk or another writer is in the way, is tried again; nothing overtakes it. `on_trouble` is called in the thread
    with what is wrong, and with "" when it is over.
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
        self._known: CaseSnapshot | None = None
        """The case that was written last: one that is scanned for hours has many events."""
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

    def note(self, case_id: str, body: CaseBody, actor: str) -> Future[CaseSnapshot]:
        """Have it written, with the present time; never blocks."""
        return self.note_made(case_id, lambda _: (body,), actor)

    def note_made(self, case_id: str, make: MakeBodies, actor: str) -> Future[CaseSnapshot]:
        """As `note`, of what `make` gives when its turn comes: in the thread, all of it or nothing.

        The future has the case once it is on the disk; CaseRefusedError or RecordError where it never will be.
        """
        written: Future[CaseSnapshot] = Future()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self.missed += 1
                written.set_exception(
                    RecordError(f"{self._path}: {MOST_WAITING} events wait for it, and no more are kept")
                )
                return written
            self._waiting.append(_Note(case_id, make, actor, datetime.now(UTC), written))
        self._thread.submit(self._write)
        return written

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
        refusal: OctMarginError | None = None
        case: CaseSnapshot | None = None
        try:
            known = self._known if self._known is not None and self._known.case_id == note.case_id else None
            case = self._known = store.append_made(
                note.case_id, partial(_made, note), actor=note.actor, at=note.at, known=known
            )
        except CaseRefusedError as error:
            self.refused += 1
            self.last_refusal, refusal = str(error), error
        else:
            self.written += 1
        with self._lock:
            self._waiting.popleft()
        # Last: whoever waits for it may look at the counts.
        if case is not None:
            note.written.set_result(case)
        else:
            note.written.set_exception(refusal)
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


def _made(note: _Note, case: CaseSnapshot | None) -> Sequence[CaseBody]:
    """What is to be added. What cannot be made is refused: tried again, it would hold up all that come after it."""
    try:
        return note.make(case)
    except CaseRefusedError:
        raise
    except Exception as error:
        raise CaseRefusedError(
            f"case {note.case_id}: an event could not be made ({type(error).__name__}: {error}); report it"
        ) from error
