"""The record: a file of events that is only ever added to. What `append` returns is on the disk."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from octmargin.case.record.access import Access, note_access, read_accesses
from octmargin.case.record.events import FIRST_PREVIOUS, CaseBody, Erased, Event, as_read_back, make_event
from octmargin.case.record.intact import SELECT, check_chain, read_intact
from octmargin.case.record.lock import LOCK_WAIT_S, writing
from octmargin.case.record.model import CaseSnapshot
from octmargin.case.record.reducer import evolve, fold
from octmargin.case.record.rules import check
from octmargin.case.record.tables import connect, create, explained
from octmargin.errors import CaseRefusedError

_ALL = f"{SELECT} ORDER BY events.seq"
_OF_CASE = f"{SELECT} WHERE events.case_id = ? ORDER BY events.seq"
_FROM = f"{SELECT} WHERE events.seq >= ? ORDER BY events.seq"
_NEWEST_OF_KIND = f"{SELECT} WHERE events.kind = ? ORDER BY events.seq DESC"
_INSERT = (
    "INSERT INTO events (seq, at, actor, case_id, kind, payload, payload_sha256, previous, hash) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_ERASE = "UPDATE events SET payload = NULL WHERE case_id = ? AND seq < ?"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event of the log: number and hash. It stands for the whole log; written as `SEQ:HASH`."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


class CaseStore:
    """The record at `path`; use `CaseStore.open`, and close it, or enter it.

    Several processes may have it open; one at a time writes, for as long as it takes to append.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, what: str, wait_s: float) -> None:
        self.path = path
        self._connection = connection
        self._what = what
        self._wait_s = wait_s

    @classmethod
    def create(cls, path: str | Path) -> None:
        """Make a new, empty record; RecordError where there is something, or it cannot be."""
        create(Path(path))

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        writable: bool = False,
        what: str = "octmargin",
        wait_s: float = LOCK_WAIT_S,
    ) -> Self:
        """Open it; RecordError where there is none, or none that is known here.

        `what` is what others are told who wait for this one to write; this one waits up to `wait_s` for others.
        """
        path = Path(path)
        return cls(path, connect(path, writable=writable), what=what, wait_s=wait_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def append(self, case_id: str, *bodies: CaseBody, actor: str, at: datetime | None = None) -> CaseSnapshot:
        """Record what happened, all of it or nothing, and give the case after it.

        CaseRefusedError where the case does not allow it; RecordBusyError where another process goes on writing;
        RecordError where the disk does not take it.
        """
        return self.append_made(case_id, lambda _: bodies, actor=actor, at=at)

    def append_made(
        self,
        case_id: str,
        make: Callable[[CaseSnapshot | None], Sequence[CaseBody]],
        *,
        actor: str,
        at: datetime | None = None,
        known: CaseSnapshot | None = None,
    ) -> CaseSnapshot:
        """As `append`, of what `make` gives for the case as it is by then, None where there is none; may be nothing.

        `known` is the case as it was before: where nothing was added to it since, its events are not read again.
        """
        with self._writing():
            is_known = known is not None and known.log_seq == self._newest_of(case_id)
            case = known if is_known else fold(self.events(case_id))
            if case is None and self._has(case_id):
                raise CaseRefusedError(f"case {case_id}: was erased; open another one")
            return self._append(case, case_id, make(case), actor, at or datetime.now(UTC))

    def consult(self, case_id: str, *, actor: str, what: str, at: datetime | None = None) -> CaseSnapshot:
        """A case for somebody who reads it, with the access noted before it is given.

        CaseRefusedError where there is no such case; RecordError also where the log was changed; otherwise as `append`.
        """
        with self._writing():
            check_chain(self.path, self._connection)
            case = self.case(case_id)
            note_access(
                self._connection,
                at=at or datetime.now(UTC),
                actor=actor,
                case_id=case_id,
                what=what,
                events_head=str(self.head()),
            )
        return case

    def accesses(self) -> Iterator[Access]:
        """Who looked at which case when, the oldest first."""
        with explained(self.path):
            yield from read_accesses(self._connection)

    def erase(self, case_id: str, rule: str, *, actor: str, at: datetime | None = None) -> bool:
        """Erase what the events of a closed case say; that there were such events stays, and the chain holds.

        What was there is overwritten in the file: False where somebody still reads it, so that it is overwritten when
        the last one has closed it. CaseRefusedError where the case is not closed.
        """
        self.append(case_id, Erased(rule=rule), actor=actor, at=at)
        with explained(self.path):
            # Until then the pages that were overwritten are still in the write-ahead log.
            (is_busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    def case(self, case_id: str) -> CaseSnapshot:
        """A case as it is; CaseRefusedError where there is none, or it was erased."""
        case = fold(self.events(case_id))
        if case is None:
            raise CaseRefusedError(
                f"case {case_id}: was erased; the log has its events, and nothing of what they said"
                if self._has(case_id)
                else f"case {case_id}: there is none; `octmargin case list` names those that are"
            )
        return case

    def case_at(self, case_id: str, seq: int) -> CaseSnapshot | None:
        """A case as it was up to event `seq`: what a report said that was signed then. None before its beginning."""
        return fold(event for event in self.events(case_id) if event.seq <= seq)

    def case_ids(self) -> list[str]:
        """Every case that was ever opened, also those that were erased, the oldest first."""
        with explained(self.path):
            rows = self._connection.execute("SELECT case_id FROM events GROUP BY case_id ORDER BY min(seq)")
            return [case_id for (case_id,) in rows]

    def cases(self) -> Iterator[CaseSnapshot]:
        """Every case that was not erased, the oldest first."""
        for case_id in self.case_ids():
            case = fold(self.events(case_id))
            if case is not None:
                yield case

    def events(self, case_id: str | None = None) -> Iterator[Event]:
        """The log, or that of one case, in its order; RecordError at an event that is not as it was written."""
        query, values = (_ALL, ()) if case_id is None else (_OF_CASE, (case_id,))
        with explained(self.path):
            yield from read_intact(self.path, self._connection.execute(query, values))

    def events_from(self, seq: int) -> Iterator[Event]:
        """The log from event `seq` on, in its order."""
        with explained(self.path):
            yield from read_intact(self.path, self._connection.execute(_FROM, (seq,)))

    def newest_of_kind(self, kind: str) -> Iterator[Event]:
        """Events of one kind, over all cases, the newest first; those that were erased have no payload; as `events`."""
        with explained(self.path):
            yield from read_intact(self.path, self._connection.execute(_NEWEST_OF_KIND, (kind,)))

    def head(self) -> Head:
        """The newest event; number 0 and no hash where there is none."""
        with explained(self.path):
            row = self._connection.execute(
                "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
            ).fetchone()
        return Head(*row) if row else Head(0, FIRST_PREVIOUS)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """All of it, on the disk, or nothing."""
        with writing(self.path, self._what, self._wait_s), explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _append(
        self,
        case: CaseSnapshot | None,
        case_id: str,
        bodies: Sequence[CaseBody],
        actor: str,
        at: datetime,
    ) -> CaseSnapshot:
        head = self.head()
        for body in bodies:
            check(case, case_id, as_read_back(body), at)
            event = make_event(
                seq=head.seq + 1, at=at, actor=actor, case_id=case_id, body=body, previous=head.hash
            )
            self._insert(event)
            if isinstance(body, Erased):
                self._connection.execute(_ERASE, (case_id, event.seq))
            case = evolve(case, event, event.body())
            head = Head(event.seq, event.hash)
        if case is None:
            raise CaseRefusedError(f"case {case_id}: nothing was to be recorded")
        return case

    def _insert(self, event: Event) -> None:
        payload = event.payload.decode() if event.payload is not None else None
        self._connection.execute(
            _INSERT,
            (
                event.seq,
                event.at,
                event.actor,
                event.case_id,
                event.kind,
                payload,
                event.payload_sha256,
                event.previous,
                event.hash,
            ),
        )

    def _newest_of(self, case_id: str) -> int | None:
        """Number of the newest event of a case; None where it has none."""
        (newest,) = self._connection.execute(
            "SELECT max(seq) FROM events WHERE case_id = ?", (case_id,)
        ).fetchone()
        return None if newest is None else int(newest)

    def _has(self, case_id: str) -> bool:
        with explained(self.path):
            found = self._connection.execute("SELECT 1 FROM events WHERE case_id = ? LIMIT 1", (case_id,))
            return found.fetchone() is not None
