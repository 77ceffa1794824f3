"""What is to reach an archive waits in a folder until it has: a queue that outlives the process and any outage.

Each object is a file, synced before it is entered in a SQLite journal (`synchronous=FULL`): what was put is on disk. An
object is known by its SOP Instance UID, per destination: put again, it is the same one, also after it was delivered.
What was sent and not noted before the process died is sent again, and the archive knows it by its UID.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from octmargin.dicom._journal import open_journal, write_synced
from octmargin.errors import ConfigError, InputError, QueueFullError
from octmargin.transactions import transaction
from octmargin.words import counted, size

_FIELDS = "number, destination, action, sop_class, uid, file, bytes, state, tries, said, put_at"
_ORPHANED_S = 3600.0
_TURNED_AWAY = "turned_away"
_GIGABYTE = 1_000_000_000


class Destination(StrEnum):
    """Who is to get it: values are as the configuration names them."""

    ARCHIVE = "archive"
    WEB = "web"
    PERFORMED_STEP = "performed_step"


class Action(StrEnum):
    """What is done with it there."""

    STORE = "store"
    CREATE = "create"
    SET = "set"


class State(StrEnum):
    """What became of it."""

    WAITING = "waiting"
    SENT = "sent"
    """The archive has it, and is asked to commit itself to it."""
    DELIVERED = "delivered"
    COMMITTED = "committed"
    """The archive is responsible for it."""
    REFUSED = "refused"
    """It was told why, and is not tried again until somebody asks for it."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One object for one destination. `said` is what was said of it last; empty where nothing was."""

    number: int
    destination: Destination
    action: Action
    sop_class: str
    uid: str
    path: Path
    size_bytes: int
    state: State
    tries: int
    said: str
    put_at: datetime


class Outgoing:
    """The queue in `folder`, which is made where it is missing. Several processes may put; see `delivering`.

    At most `most_objects`, of `most_gb` together, may wait: beyond that nothing is taken, and what was turned away is
    counted. ConfigError where the folder cannot be used. Safe for several threads.
    """

    def __init__(self, folder: Path, *, most_objects: int = 10_000, most_gb: float = 50.0) -> None:
        self.folder = folder
        self._most_objects = most_objects
        self._most_bytes = int(most_gb * _GIGABYTE)
        self._lock = threading.RLock()
        self._objects = folder / "objects"
        try:
            # It holds patients' identities.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._objects.mkdir(mode=0o700, exist_ok=True)
            self._connection = open_journal(folder / "queue.sqlite")
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"dicom.queue_folder {str(folder)!r} cannot be used ({error}); name another, or check its disk"
            ) from error
        self._sweep_up()

    def close(self) -> None:
        """Let the journal go."""
        self._connection.close()

    def put(
        self,
        destination: Destination,
        action: Action,
        sop_class: str,
        uid: str,
        content: bytes,
        series: str = "",
    ) -> bool:
        """Take an object, a DICOM file; it is on disk when this returns. False where it has been taken before.

        `series` is the UID of its series; see `preceding`.

        InputError where another object with this UID was taken; QueueFullError where there is no room for it.
        """
        digest = hashlib.sha256(content).hexdigest()
        name = f"{action}-{uid}-{digest[:8]}.dcm"
        with self._lock, self._explained():
            known = self._known(destination, action, uid)
            if known is None:
                self._make_room(destination, name, len(content))
                write_synced(self._objects / name, content)
                now = _now()
                with transaction(self._connection):
                    # Another process may have put it meanwhile.
                    known = self._known(destination, action, uid)
                    if known is None:
                        self._connection.execute(
                            "INSERT INTO parcels (destination, action, sop_class, uid, file, bytes, sha256, state, "
                            "put_at, changed_at, series) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            (
                                destination,
                                action,
                                sop_class,
                                uid,
                                name,
                                len(content),
                                digest,
                                State.WAITING,
                                now,
                                now,
                                series,
                            ),
                        )
                        return True
        if known != digest:
            raise InputError(f"{uid}: the queue has another object with this UID; it is not replaced")
        return False

    def knows(self, destination: Destination, action: Action, uid: str) -> bool:
        """Whether such an object was ever put."""
        with self._lock, self._explained():
            return self._known(destination, action, uid) is not None

    def preceding(self, series: str, uid: str) -> str | None:
        """The UID of the object of a series that was put last before `uid`; None where none was, or was refused."""
        with self._lock, self._explained():
            row = self._connection.execute(
                "SELECT uid FROM parcels WHERE series = ? AND uid != ? AND action = ? AND state != ? AND number < "
                "coalesce((SELECT min(number) FROM parcels WHERE uid = ?), 9e18) ORDER BY number DESC LIMIT 1",
                (series, uid, Action.STORE, State.REFUSED, uid),
            ).fetchone()
        return None if row is None else str(row[0])

    def waiting(self, destination: Destination, most: int = 1000) -> list[Parcel]:
        """What is to be tried next, in this order: what failed before comes last, a step's end after its beginning."""
        return self._select(
            "destination = ? AND state = ? AND NOT (action = 'set' AND EXISTS (SELECT 1 FROM parcels AS other WHERE "
            "other.destination = parcels.destination AND other.uid = parcels.uid AND other.action = 'create' AND "
            "other.state = 'waiting')) ORDER BY tries, number LIMIT ?",
            (destination, State.WAITING, most),
        )

    def trouble_of(self, parcel: Parcel) -> str:
        """In words what is wrong with its file, which is read whole; empty where it is what was put."""
        with self._lock, self._explained():
            (sha256,) = self._connection.execute(
                "SELECT sha256 FROM parcels WHERE number = ?", (parcel.number,)
            ).fetchone()
        try:
            with parcel.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"its file cannot be read any more ({error.strerror}); send the specimen again"
        return "" if found == sha256 else "its file was changed since; send the specimen again"

    def uncommitted(self, most: int = 1000) -> list[Parcel]:
        """What the archive has and is not responsible for yet."""
        return self._select(
            "destination = ? AND state = ? AND action = ? ORDER BY number LIMIT ?",
            (Destination.ARCHIVE, State.SENT, Action.STORE, most),
        )

    def all(self) -> list[Parcel]:
        """Everything that was ever put, in its order."""
        return self._select("1 ORDER BY number", ())

    def note_sent(self, parcel: Parcel, said: str = "") -> None:
        """The archive has it; its file stays until the archive has committed itself to it."""
        self._note(parcel, State.SENT, said, is_try=True)

    def note_delivered(self, parcel: Parcel, said: str = "") -> None:
        """It arrived: its file goes."""
        self._note(parcel, State.DELIVERED, said, is_try=parcel.state is State.WAITING)
        self._drop_file(parcel)

    def note_committed(self, parcel: Parcel) -> None:
        """The archive is responsible for it: its file goes."""
        self._note(parcel, State.COMMITTED, "")
        self._drop_file(parcel)

    def note_failed(self, parcel: Parcel, said: str) -> None:
        """It did not arrive, and is tried again."""
        self._note(parcel, State.WAITING, said, is_try=True)

    def note_refused(self, parcel: Parcel, said: str) -> None:
        """It never will be taken. Its file stays; the end of a step whose beginning was refused is refused with it."""
        self._note(parcel, State.REFUSED, said, is_try=True)
        if parcel.action is Action.CREATE:
            with self._lock, self._explained(), transaction(self._connection):
                self._connection.execute(
                    "UPDATE parcels SET state = ?, said = ?, changed_at = ? "
                    "WHERE destination = ? AND uid = ? AND action = ? AND state = ?",
                    (
                        State.REFUSED,
                        f"the step was not begun: {said}",
                        _now(),
                        parcel.destination,
                        parcel.uid,
                        Action.SET,
                        State.WAITING,
                    ),
                )

    def retry_refused(self) -> int:
        """Try again what was refused; gives how much that is."""
        with self._lock, self._explained(), transaction(self._connection):
            return self._connection.execute(
                "UPDATE parcels SET state = ?, tries = 0, changed_at = ? WHERE state = ?",
                (State.WAITING, _now(), State.REFUSED),
            ).rowcount

    def counts(self) -> dict[State, int]:
        """How many objects are in each state."""
        with self._lock, self._explained():
            rows = self._connection.execute("SELECT state, count(*) FROM parcels GROUP BY state").fetchall()
        return {state: dict(rows).get(state.value, 0) for state in State}

    @property
    def turned_away(self) -> int:
        """How many objects found no room, ever."""
        with self._lock, self._explained():
            row = self._connection.execute(
                "SELECT count FROM counts WHERE name = ?", (_TURNED_AWAY,)
            ).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def delivering(self) -> Iterator[bool]:
        """Be the one who delivers: False where another process or thread is at it."""
        with self._explained():
            lock = (self.folder / "delivering.lock").open("a")
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    def _known(self, destination: Destination, action: Action, uid: str) -> str | None:
        row = self._connection.execute(
            "SELECT sha256 FROM parcels WHERE destination = ? AND action = ? AND uid = ?",
            (destination, action, uid),
        ).fetchone()
        return None if row is None else str(row[0])

    def _make_room(self, destination: Destination, name: str, size_bytes: int) -> None:
        # The file of a second destination is the first one's.
        objects, used = self._connection.execute(
            "SELECT count(*), coalesce((SELECT sum(bytes) FROM (SELECT max(bytes) AS bytes FROM parcels "
            "WHERE state IN ('waiting', 'refused', 'sent') AND file != ? GROUP BY file)), 0) "
            "FROM parcels WHERE state IN ('waiting', 'refused', 'sent')",
            (name,),
        ).fetchone()
        if objects < self._most_objects and used + size_bytes <= self._most_bytes:
            return
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO counts VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET count = count + 1",
                (_TURNED_AWAY,),
            )
        raise QueueFullError(
            f"{self.folder}: {counted(objects, 'object')} of {size(used)} wait, and no more may; bring {destination} "
            "back, or raise dicom.queue_objects and dicom.queue_gb"
        )

    def _select(self, condition: str, arguments: tuple[object, ...]) -> list[Parcel]:
        with self._lock, self._explained():
            # The condition is one of this module.
            select = f"SELECT {_FIELDS} FROM parcels WHERE {condition}"  # noqa: S608
            rows = self._connection.execute(select, arguments).fetchall()
        return [self._parcel(row) for row in rows]

    def _parcel(self, row: tuple[Any, ...]) -> Parcel:
        number, destination, action, sop_class, uid, file, n_bytes, state, tries, said, put_at = row
        return Parcel(
            number,
            Destination(destination),
            Action(action),
            sop_class,
            uid,
            self._objects / file,
            n_bytes,
            State(state),
            tries,
            said,
            datetime.fromisoformat(put_at),
        )

    def _note(self, parcel: Parcel, state: State, said: str, *, is_try: bool = False) -> None:
        with self._lock, self._explained(), transaction(self._connection):
            self._connection.execute(
                "UPDATE parcels SET state = ?, said = ?, tries = tries + ?, changed_at = ? WHERE number = ?",
                (state, said, int(is_try), _now(), parcel.number),
            )

    def _drop_file(self, parcel: Parcel) -> None:
        with self._lock, self._explained():
            (others,) = self._connection.execute(
                "SELECT count(*) FROM parcels "
                "WHERE file = ? AND number != ? AND state IN ('waiting', 'refused', 'sent')",
                (parcel.path.name, parcel.number),
            ).fetchone()
        if not others:
            with contextlib.suppress(OSError):
                parcel.path.unlink()

    def _sweep_up(self) -> None:
        """Delete files that were written for a process that died before it entered them."""
        with self._lock, self._explained():
            for path in self._objects.iterdir():
                # A younger one may be about to be entered.
                if (
                    time.time() - path.stat().st_mtime > _ORPHANED_S
                    and not self._connection.execute(
                        "SELECT count(*) FROM parcels WHERE file = ? AND state IN ('waiting', 'refused', 'sent')",
                        (path.name,),
                    ).fetchone()[0]
                ):
                    path.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"{self.folder}: the queue cannot be written or read ({error}); check its disk"
            ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat()


def destinations(parcels: Iterable[Parcel]) -> list[Destination]:
    """Those that the parcels are for, each once, in the order of `Destination`."""
    there = {parcel.destination for parcel in parcels}
    return [destination for destination in Destination if destination in there]
