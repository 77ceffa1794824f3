"""The queue on disk: what was put is there, once, until it was delivered; bounded, counted, for several processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from octmargin.dicom.outgoing import Action, Destination, Outgoing, State
from octmargin.errors import ConfigError, InputError, QueueFullError

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.7.3"
ARCHIVE, STEP = Destination.ARCHIVE, Destination.PERFORMED_STEP


def put(queue: Outgoing, uid: str, content: bytes = b"object", action: Action = Action.STORE) -> bool:
    destination = ARCHIVE if action is Action.STORE else STEP
    return queue.put(destination, action, SOP_CLASS, uid, content)


def uids(queue: Outgoing, destination: Destination = ARCHIVE) -> list[str]:
    return [parcel.uid for parcel in queue.waiting(destination)]


@pytest.fixture
def queue(tmp_path: Path) -> Outgoing:
    return Outgoing(tmp_path / "queue")


def test_what_was_put_waits_in_its_order_and_is_the_file_that_it_was(queue: Outgoing) -> None:
    put(queue, "1.1", b"first")
    put(queue, "1.2", b"second")
    assert uids(queue) == ["1.1", "1.2"]
    assert [parcel.path.read_bytes() for parcel in queue.waiting(ARCHIVE)] == [b"first", b"second"]


def test_it_outlives_the_process(queue: Outgoing) -> None:
    put(queue, "1.1")
    queue.close()
    assert uids(Outgoing(queue.folder)) == ["1.1"]


def test_put_again_it_is_the_same_object_also_after_it_was_delivered(queue: Outgoing) -> None:
    assert put(queue, "1.1") is True
    assert put(queue, "1.1") is False
    queue.note_delivered(queue.waiting(ARCHIVE)[0])
    assert put(queue, "1.1") is False
    assert uids(queue) == []
    assert queue.counts()[State.DELIVERED] == 1


def test_another_object_with_its_uid_is_refused_and_the_first_one_kept(queue: Outgoing) -> None:
    put(queue, "1.1", b"first")
    with pytest.raises(InputError, match=r"1\.1.*another object"):
        put(queue, "1.1", b"other")
    assert queue.waiting(ARCHIVE)[0].path.read_bytes() == b"first"


def test_the_file_goes_when_every_destination_has_it(queue: Outgoing) -> None:
    put(queue, "1.1")
    queue.put(Destination.WEB, Action.STORE, SOP_CLASS, "1.1", b"object")
    path = queue.waiting(ARCHIVE)[0].path
    queue.note_delivered(queue.waiting(ARCHIVE)[0])
    assert path.exists()
    queue.note_delivered(queue.waiting(Destination.WEB)[0])
    assert not path.exists()


def test_the_file_of_what_the_archive_has_to_commit_itself_to_stays_until_it_does(queue: Outgoing) -> None:
    put(queue, "1.1")
    parcel = queue.waiting(ARCHIVE)[0]
    queue.note_sent(parcel)
    assert [one.uid for one in queue.uncommitted()] == ["1.1"]
    assert parcel.path.exists()
    queue.note_committed(parcel)
    assert queue.uncommitted() == []
    assert not parcel.path.exists()


def test_what_failed_goes_behind_the_others_so_that_it_blocks_nobody(queue: Outgoing) -> None:
    put(queue, "1.1")
    put(queue, "1.2")
    queue.note_failed(queue.waiting(ARCHIVE)[0], "aborted")
    assert uids(queue) == ["1.2", "1.1"]
    assert (queue.waiting(ARCHIVE)[1].tries, queue.waiting(ARCHIVE)[1].said) == (1, "aborted")


def test_what_was_refused_waits_for_somebody_to_ask_again(queue: Outgoing) -> None:
    put(queue, "1.1")
    queue.note_refused(queue.waiting(ARCHIVE)[0], "not its class")
    assert uids(queue) == []
    assert queue.counts()[State.REFUSED] == 1
    assert queue.retry_refused() == 1
    assert uids(queue) == ["1.1"]


def test_a_step_ends_after_it_began(queue: Outgoing) -> None:
    put(queue, "1.1", b"begin", Action.CREATE)
    put(queue, "1.1", b"end", Action.SET)
    assert [parcel.action for parcel in queue.waiting(STEP)] == [Action.CREATE]
    queue.note_delivered(queue.waiting(STEP)[0])
    assert [parcel.action for parcel in queue.waiting(STEP)] == [Action.SET]


def test_the_end_of_a_step_that_was_refused_is_refused_with_it(queue: Outgoing) -> None:
    put(queue, "1.1", b"begin", Action.CREATE)
    put(queue, "1.1", b"end", Action.SET)
    queue.note_refused(queue.waiting(STEP)[0], "no such order")
    assert queue.counts()[State.REFUSED] == 2
    assert "no such order" in queue.all()[1].said


@pytest.mark.parametrize("limits", [{"most_objects": 2}, {"most_gb": 13e-9}])
def test_beyond_its_bound_nothing_is_taken_and_what_was_turned_away_is_counted(
    tmp_path: Path, limits: dict[str, float]
) -> None:
    queue = Outgoing(tmp_path, **limits)  # type: ignore[arg-type]
    put(queue, "1.1", b"sixone")
    put(queue, "1.2", b"sixtwo")
    with pytest.raises(QueueFullError, match="2 objects of 12 bytes wait"):
        put(queue, "1.3", b"three!")
    assert queue.turned_away == 1
    queue.note_delivered(queue.waiting(ARCHIVE)[0])
    assert put(queue, "1.3", b"three!")


def test_only_one_delivers_at_a_time(queue: Outgoing) -> None:
    with queue.delivering() as first, Outgoing(queue.folder).delivering() as second:
        assert (first, second) == (True, False)
    with Outgoing(queue.folder).delivering() as third:
        assert third


def test_killed_at_any_moment_every_object_that_was_acknowledged_is_there_whole(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from octmargin.dicom.outgoing import Action, Destination, Outgoing\n"
        "queue = Outgoing(Path(sys.argv[1]))\n"
        "for n in range(100000):\n"
        "    queue.put(Destination.ARCHIVE, Action.STORE, '1.2', f'1.{n}', b'x' * 5000)\n"
        "    print(n, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().splitlines() if line]
    queue = Outgoing(tmp_path)
    waiting = queue.waiting(ARCHIVE, 100_000)
    assert len(waiting) >= len(acknowledged)
    assert {f"1.{n}" for n in acknowledged} <= {parcel.uid for parcel in waiting}
    assert all(parcel.path.read_bytes() == b"x" * 5000 for parcel in waiting)


def test_a_file_of_a_process_that_died_before_it_entered_it_is_swept_up(queue: Outgoing) -> None:
    put(queue, "1.1")
    orphan = queue.folder / "objects" / "store-9.9-12345678.dcm"
    orphan.write_bytes(b"orphan")
    old = 1_000_000_000
    os.utime(orphan, (old, old))
    os.utime(queue.waiting(ARCHIVE)[0].path, (old, old))
    again = Outgoing(queue.folder)
    assert not orphan.exists()
    assert again.waiting(ARCHIVE)[0].path.exists()


def test_a_file_that_was_changed_or_is_gone_is_found(queue: Outgoing) -> None:
    put(queue, "1.1")
    (parcel,) = queue.waiting(ARCHIVE)
    assert queue.trouble_of(parcel) == ""
    parcel.path.write_bytes(b"objecT")
    assert "was changed since" in queue.trouble_of(parcel)
    parcel.path.unlink()
    assert "cannot be read any more" in queue.trouble_of(parcel)


def put_version(queue: Outgoing, uid: str, destination: Destination = ARCHIVE) -> None:
    queue.put(destination, Action.STORE, "1.2", uid, b"object", "1.2.9")


def test_what_came_before_an_object_of_a_series_is_what_was_put_before_it(queue: Outgoing) -> None:
    put(queue, "1.1")
    assert queue.preceding("1.2.9", "1.3") is None
    for uid in ("1.3", "1.4", "1.5"):
        put_version(queue, uid)
    put_version(queue, "1.3", Destination.WEB)
    (_, _, refused, *_) = queue.waiting(ARCHIVE)
    queue.note_refused(refused, "no")
    assert [queue.preceding("1.2.9", uid) for uid in ("1.3", "1.4", "1.5")] == [None, "1.3", "1.3"]
    assert queue.preceding("1.2.9", "1.6") == "1.3"


def test_a_queue_of_the_format_before_is_brought_up_to_date(tmp_path: Path) -> None:
    queue = Outgoing(tmp_path / "queue")
    put(queue, "1.1")
    queue.close()
    with closing(sqlite3.connect(tmp_path / "queue" / "queue.sqlite")) as journal:
        journal.executescript("ALTER TABLE parcels DROP COLUMN series; PRAGMA user_version = 1;")
    for _ in range(2):
        queue = Outgoing(tmp_path / "queue")
        assert uids(queue) == ["1.1"]
        assert queue.preceding("1.2.9", "1.2") is None
        queue.close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"dicom\.queue_folder"):
        Outgoing(tmp_path / "file")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "queue.sqlite") as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ConfigError, match="not a queue"):
        Outgoing(tmp_path)
