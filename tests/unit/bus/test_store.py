"""What waits for the broker outlives the process: the file, and the publisher with it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ports import free_port

from octmargin.bus.connection import BrokerSettings
from octmargin.bus.events import FlagReceived, VerdictReceived
from octmargin.bus.messages import FlagMessage, Message, VerdictMessage
from octmargin.bus.outbox import Leftovers, Parcel
from octmargin.bus.publisher import Publisher
from octmargin.bus.store import OutboxStore
from octmargin.bus.subscriber import Subscriber
from octmargin.bus.topics import Kind, Topics
from octmargin.errors import BrokerError, ConfigError

from .conftest import Mosquitto, running_mosquitto, silent_port
from .examples import flag, verdict


def now() -> datetime:
    return datetime.now(UTC)


def flag_parcel(frame: int, session: str = "one") -> Parcel:
    return Parcel("octmargin/1/or/c/flag", Kind.FLAG, flag(frame, session=session, sequence=frame))


def final_parcel(sweep: int, session: str = "one") -> Parcel:
    content = verdict(session=session, sequence=sweep, sweep=sweep)
    return Parcel("octmargin/1/or/c/verdict/superior", Kind.VERDICT, content)


BASE = "octmargin/1/or/c"


def sweep_of(parcel: Parcel) -> int:
    assert isinstance(parcel.content, VerdictMessage)
    return parcel.content.sweep


def opened(folder: Path, session: str, base: str = BASE, **options: int) -> tuple[OutboxStore, Leftovers]:
    """The store in `folder`, and what it held."""
    store = OutboxStore(folder / "outbox", session, base, **options)
    return store, store.open().result(10)


def leftovers_of(folder: Path, base: str = BASE) -> Leftovers:
    store, leftovers = opened(folder, "somebody", base)
    store.close().result(10)
    return leftovers


def test_what_was_kept_and_not_forgotten_is_there_again_in_its_order(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    for n in range(6):
        store.keep(n, flag_parcel(n))
    for n in range(3):
        store.keep(n, final_parcel(n))
    for n in (0, 3):
        store.forget(Kind.FLAG, n)
    store.forget(Kind.VERDICT, 1)
    store.close().result()

    again, leftovers = opened(tmp_path, "two")
    assert [p.content for p in leftovers.finals.values()] == [final_parcel(n).content for n in (0, 2)]
    assert all(parcel.late for parcel in leftovers.finals.values())
    assert leftovers.flags == 4
    found = again.flags(range(10)).result()
    assert {n: parcel.content for n, parcel in found.items()} == {
        number: flag_parcel(n).content for number, n in enumerate((1, 2, 4, 5))
    }
    again.close().result()


@given(
    course=st.lists(
        st.lists(st.tuples(st.sampled_from(["keep", "forget"]), st.integers(0, 9)), max_size=15), max_size=4
    )
)
@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=50,
)
def test_any_course_of_runs_leaves_what_was_kept_and_not_forgotten(
    tmp_path: Path, course: list[list[tuple[str, int]]]
) -> None:
    """Each run numbers from where the leftovers end, and may forget some of these and of its own."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    expected: list[int] = []
    frame = 0
    for run, steps in enumerate(course):
        store, leftovers = opened(folder, f"run {run}")
        assert leftovers.flags == len(expected)
        there = dict(enumerate(expected))
        next_number = len(expected)
        for word, number in steps:
            if word == "keep":
                store.keep(next_number, flag_parcel(frame))
                there[next_number] = frame
                next_number, frame = next_number + 1, frame + 1
            elif there.pop(number, None) is not None:
                store.forget(Kind.FLAG, number)
        found = store.flags(range(next_number)).result()
        assert {
            n: p.content.frame_index for n, p in found.items() if isinstance(p.content, FlagMessage)
        } == there
        store.close().result()
        expected = list(there.values())


def test_messages_of_this_run_are_not_late(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    store.keep(0, flag_parcel(0))
    assert not store.flags(range(1)).result()[0].late
    store.close().result()


def test_what_is_forgotten_before_it_was_written_is_not_written(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    for n in range(100):
        store.keep(n, flag_parcel(n))
        store.forget(Kind.FLAG, n)
    store.close().result()
    assert leftovers_of(tmp_path).flags == 0


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    with pytest.raises(ConfigError, match=r"broker\.outbox_file .* is in use; stop the other daemon"):
        opened(tmp_path, "two")
    store.close().result()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.*name a file in a folder that exists"):
        opened(tmp_path / "nowhere", "one")


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("do not touch " * 1000)
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE patients (name TEXT)")
    for path, before in ((text, text.read_bytes()), (other, other.read_bytes())):
        with pytest.raises(ConfigError, match="is not a store of messages"):
            OutboxStore(path, "one", BASE).open().result(10)
        assert path.read_bytes()[100:] == before[100:]


def test_a_message_that_cannot_be_read_any_more_is_counted_and_the_others_stay(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    for n in range(3):
        store.keep(n, final_parcel(n))
        store.keep(n, flag_parcel(n))
    store.close().result()
    with closing(sqlite3.connect(tmp_path / "outbox")) as connection, connection:
        connection.execute("UPDATE parcels SET content = '{' WHERE number = 1")
    again, leftovers = opened(tmp_path, "two")
    assert [p.content for p in leftovers.finals.values()] == [final_parcel(n).content for n in (0, 2)]
    assert set(again.flags(range(3)).result()) == {0, 2}
    assert again.unreadable == 2
    again.close().result()
    assert len(leftovers_of(tmp_path).finals) == 2
    third, _ = opened(tmp_path, "three")
    assert third.unreadable == 0, "what nobody can read is not found twice"
    third.close().result()


def test_what_another_console_left_stays_where_it_is(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    for n in range(3):
        store.keep(n, final_parcel(n))
        store.keep(n, flag_parcel(n))
    store.close().result()

    renamed, leftovers = opened(tmp_path, "two", "octmargin/1/or/renamed")
    assert (leftovers.flags, len(leftovers.finals), renamed.left, renamed.foreign) == (0, 0, 0, 6)
    renamed.keep(0, Parcel("octmargin/1/or/renamed/flag", Kind.FLAG, flag(9, session="two")))
    assert [parcel.topic for parcel in renamed.flags(range(9)).result().values()] == [
        "octmargin/1/or/renamed/flag"
    ]
    renamed.close().result()

    again, leftovers = opened(tmp_path, "three")
    assert (leftovers.flags, len(leftovers.finals), again.foreign) == (3, 3, 1)
    again.close().result()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about, of which there is no event."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def make_room(store: OutboxStore, pages: int = 10_000) -> None:
    store._thread.submit(lambda: store._file._connection.execute(f"PRAGMA max_page_count = {pages}")).result()


def tell_of_statements(store: OutboxStore, tell: Callable[[str], None] | None) -> None:
    """SQLite calls `tell` in the store's thread, and there it must be set.

    Setting it waits for the connection with Python's lock held, and whoever has the connection waits for the lock.
    """
    store._thread.submit(lambda: store._file._connection.set_trace_callback(tell)).result()


def on_disk(store: OutboxStore) -> int:
    return int(
        store._thread.submit(
            lambda: store._file._connection.execute("SELECT count(*) FROM parcels").fetchone()[0]
        ).result()
    )


async def test_a_full_disk_is_told_until_there_is_room_again(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one", most_pages=8)
    for n in range(200):
        store.keep(n, flag_parcel(n))
    store.keep(0, final_parcel(0))
    assert set(store.flags(range(200)).result()) == set(range(200)), "memory has what the disk did not take"
    assert 0 < on_disk(store) < 201
    failures = store.failures
    await until(lambda: store.failures > failures + 1)
    assert "full" in store.trouble, "tried again, and as full as before"
    assert store.unsaved == 201 - on_disk(store)
    assert sum(isinstance(thread, threading.Timer) for thread in threading.enumerate()) <= 1
    make_room(store)
    await until(lambda: not store.trouble)
    assert (store.unsaved, on_disk(store)) == (0, 201)
    store.close().result()
    leftovers = leftovers_of(tmp_path)
    assert (leftovers.flags, len(leftovers.finals)) == (200, 1)


async def test_a_disk_that_cannot_be_read_for_a_while_costs_nothing(
    tmp_path: Path, topics: Topics, absent: Mosquitto
) -> None:
    broker = settings_for(absent.port, tmp_path, outbox_frames=16)
    async with Publisher(broker, topics) as first:
        for frame in range(600):
            first.publish_flag(flag(frame, acquired_at=now()))
    absent.start()
    heard = Heard()
    async with Subscriber(absent.settings, topics) as events:
        listening = asyncio.create_task(heard.listen(events))
        second = Publisher(broker, topics)
        assert second.store is not None
        read, refusals = second.store._read_flags, [OSError("disk I/O error")] * 2

        def read_or_fail(asked: range) -> Mapping[int, Parcel]:
            if refusals:
                raise refusals.pop()
            return read(asked)

        second.store._read_flags = read_or_fail  # type: ignore[method-assign] # a disk that can be made to fail
        async with second:
            assert await second.drain(20)
            assert (second.queue_counts.late, second.queue_counts.dropped) == (600, 0)
        await heard.until(flags=600, finals=0)
        events.stop()
        await listening
    assert list(heard.flags.values()) == list(range(600))


def test_a_message_that_is_no_text_costs_itself_alone(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    for n in range(5):
        store.keep(n, flag_parcel(n))
    store.close().result()
    with closing(sqlite3.connect(tmp_path / "outbox")) as connection, connection:
        connection.execute("UPDATE parcels SET topic = CAST(topic || x'FF' AS TEXT) WHERE number = 1")
        connection.execute("UPDATE parcels SET content = CAST(x'FF' AS TEXT) WHERE number = 3")
    again, _ = opened(tmp_path, "two")
    assert set(again.flags(range(5)).result()) == {0, 2, 4}
    assert again.unreadable == 2
    again.close().result()


def test_what_another_console_left_between_is_not_deleted_with_what_arrived(tmp_path: Path) -> None:
    for session, base in (("one", BASE), ("two", "octmargin/1/or/other"), ("three", BASE)):
        store, leftovers = opened(tmp_path, session, base)
        for n in range(leftovers.flags, leftovers.flags + 3):
            store.keep(n, Parcel(f"{base}/flag", Kind.FLAG, flag(n, session=session, sequence=n)))
        store.close().result()
    store, leftovers = opened(tmp_path, "four")
    assert (leftovers.flags, store.foreign) == (6, 3)
    for n in range(6):
        store.forget(Kind.FLAG, n)
    store.close().result()
    assert leftovers_of(tmp_path).flags == 0
    assert leftovers_of(tmp_path, "octmargin/1/or/other").flags == 3


@pytest.mark.parametrize("name", ["out\0box", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"broker\.outbox_file .* cannot be used .*; name a file"):
        OutboxStore(tmp_path / name, "one", BASE).open().result(10)


async def test_flags_for_which_there_was_no_room_anywhere_are_counted_as_not_saved(tmp_path: Path) -> None:
    """Memory is bounded while a disk takes nothing: what falls out of both is lost with the process, and said."""
    said = 5000
    store, _ = opened(tmp_path, "one", most_pages=8)
    for n in range(said):
        store.keep(n, flag_parcel(n))
    store.flags(range(0)).result()
    saved, kept = on_disk(store), len(store._kept)
    fallen = said - saved - kept
    assert kept <= 4096
    assert fallen > 0
    assert store.unsaved == said - saved
    # What arrives all the same, or is given up and counted by the outbox, is none of them any more.
    for n in range(saved, saved + 10):
        store.forget(Kind.FLAG, n)
    assert store.unsaved == said - saved - 10
    make_room(store)
    await until(lambda: not store.trouble)
    assert (store.unsaved, on_disk(store)) == (fallen - 10, saved + kept)
    store.close().result()


def test_a_flag_that_falls_out_of_memory_while_it_is_written_is_saved(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    more = iter(range(256, 256 + 5000))

    def fill_memory(statement: str) -> None:
        # SQLite calls this in the store's thread as it begins a write, whose flags are the oldest there are.
        if statement.startswith("BEGIN"):
            for n in more:
                store.keep(n, flag_parcel(n))

    tell_of_statements(store, fill_memory)
    all_at_once = threading.Event()
    store._thread.submit(all_at_once.wait)
    for n in range(256):
        store.keep(n, flag_parcel(n))
    all_at_once.set()
    store.flags(range(0)).result()
    tell_of_statements(store, None)
    store.flags(range(0)).result()
    unsaved = store.unsaved
    store.close().result()
    assert leftovers_of(tmp_path).flags == 256 + 5000 - unsaved
    assert unsaved == 256 + 5000 - 256 - 4096


async def test_final_verdicts_that_could_not_be_written_are_trouble_until_they_are(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one", most_pages=8)
    for n in range(60):
        store.keep(n, final_parcel(n))
    store.flags(range(0)).result()
    for _ in range(3):
        store.flags(range(1)).result()
        assert "full" in store.trouble
    make_room(store)
    await until(lambda: not store.trouble)
    store.close().result()
    assert len(leftovers_of(tmp_path).finals) == 60, (
        "without another word they are written when there is room"
    )


def test_a_final_verdict_that_arrives_while_its_write_fails_is_not_written_later(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one", most_pages=8)

    def forget_meanwhile(statement: str) -> None:
        # SQLite calls this in the store's thread as it begins the write.
        if statement.startswith("BEGIN"):
            store.forget(Kind.VERDICT, 0)

    tell_of_statements(store, forget_meanwhile)
    all_at_once = threading.Event()
    store._thread.submit(all_at_once.wait)
    for n in range(200):
        store.keep(n, final_parcel(n))
    all_at_once.set()
    store.flags(range(0)).result()
    assert store.failures > 0
    make_room(store)
    tell_of_statements(store, None)
    store.close().result()
    assert [sweep_of(parcel) for parcel in leftovers_of(tmp_path).finals.values()] == list(range(1, 200))


def test_what_arrives_while_a_disk_stands_still_costs_no_memory(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    for n in range(4000):
        store.keep(n, flag_parcel(n))
    store.flags(range(0)).result()
    disk_answers = threading.Event()
    store._thread.submit(disk_answers.wait)
    for n in range(0, 4000, 2):  # as acknowledgements come: nearly in order
        store.forget(Kind.FLAG, n + 1)
        store.forget(Kind.FLAG, n)
    assert store._forgotten[Kind.FLAG].gaps <= 2
    disk_answers.set()
    store.close().result()
    assert leftovers_of(tmp_path).flags == 0


def test_a_disk_that_stands_still_costs_neither_memory_nor_the_end_of_the_process(tmp_path: Path) -> None:
    program = f"""
import os, sys, threading
from pathlib import Path
from octmargin.bus.store import OutboxStore
from tests.unit.bus.test_store import BASE, final_parcel, flag_parcel
store = OutboxStore(Path({str(tmp_path / "outbox")!r}), "one", BASE)
store.open().result(10)
store._thread.submit(threading.Event().wait)  # the disk
store.keep(0, final_parcel(0))
for n in range(20_000):
    store.keep(n, flag_parcel(n))
assert not store.close().done()
finals = [parcel for parcel in store._kept.values() if parcel.is_final]
print(len(store._kept), len(finals))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    kept, finals = map(int, ended.stdout.split())
    assert kept <= 4096
    assert finals == 1


def test_an_existing_file_on_a_full_disk_is_read(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, "one")
    for n in range(20):
        store.keep(n, flag_parcel(n))
    for n in range(0, 20, 2):
        store.forget(Kind.FLAG, n)
    store.close().result()
    pages = (tmp_path / "outbox").stat().st_size // 4096
    full, leftovers = opened(tmp_path, "two", most_pages=pages)
    assert leftovers.flags == 10
    assert len(full.flags(range(10)).result()) == 10
    full.close().result()


def settings_for(port: int, folder: Path, **changes: int) -> BrokerSettings:
    return BrokerSettings(
        port=port, outbox_file=str(folder / "outbox"), reconnect_min_s=0.02, reconnect_max_s=0.05, **changes
    )


@pytest.fixture
def absent(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is not there yet, and knows where it will be."""
    mosquitto = Mosquitto(tmp_path, port=free_port())
    yield mosquitto
    mosquitto.stop()


class Heard:
    """Flags and final verdicts as they come; what comes twice is told by session and sequence."""

    def __init__(self) -> None:
        self.flags: dict[tuple[str, int], int] = {}
        self.finals: dict[tuple[str, int], int] = {}
        self.repeated = 0
        self._came = asyncio.Event()

    async def until(self, *, flags: int, finals: int) -> None:
        """That the broker has them all does not say that they have come."""
        async with asyncio.timeout(60):
            while len(self.flags) < flags or len(self.finals) < finals:
                self._came.clear()
                await self._came.wait()

    async def listen(self, events: Subscriber) -> None:
        async for event in events:
            if isinstance(event, FlagReceived):
                self._note(self.flags, event.message, event.message.frame_index)
            elif isinstance(event, VerdictReceived) and not event.message.provisional:
                self._note(self.finals, event.message, event.message.sweep)

    def _note(self, kind: dict[tuple[str, int], int], message: Message, number: int) -> None:
        key = (message.session, message.sequence)
        self.repeated += key in kind
        kind.setdefault(key, number)
        self._came.set()


async def test_a_daemon_without_a_broker_starts_and_says_everything_when_it_comes(
    tmp_path: Path, topics: Topics, absent: Mosquitto
) -> None:
    mosquitto = absent
    heard = Heard()
    async with Publisher(settings_for(mosquitto.port, tmp_path, outbox_frames=8), topics) as publisher:
        assert not publisher.connected
        assert f"no MQTT broker at 127.0.0.1:{mosquitto.port}" in publisher.last_failure
        mosquitto.start()
        async with Subscriber(mosquitto.settings, topics) as events:
            listening = asyncio.create_task(heard.listen(events))
            for frame in range(500):
                publisher.publish_flag(flag(frame, acquired_at=now()))
            publisher.publish_verdict(verdict(acquired_at=now()))
            assert await publisher.drain(20)
            await heard.until(flags=500, finals=1)
            events.stop()
            await listening
        assert publisher.connected
        assert (publisher.reconnects, publisher.queue_counts.dropped) == (0, 0)
    assert list(heard.flags.values()) == list(range(500))
    assert list(heard.finals.values()) == [3]


async def test_what_one_run_did_not_get_said_the_next_one_says_as_history(
    tmp_path: Path, topics: Topics, absent: Mosquitto
) -> None:
    mosquitto = absent
    broker = settings_for(mosquitto.port, tmp_path, outbox_frames=4)
    async with Publisher(broker, topics) as first:
        for frame in range(20):
            first.publish_flag(flag(frame, acquired_at=now()))
        for sweep in range(3):
            first.publish_verdict(verdict(sweep=sweep, acquired_at=now()))
        first.publish_verdict(verdict(sweep=3, provisional=True, acquired_at=now()))
    mosquitto.start()
    heard = Heard()
    async with Subscriber(mosquitto.settings, topics) as events:
        listening = asyncio.create_task(heard.listen(events))
        async with Publisher(broker, topics) as second:
            second.publish_flag(flag(20, acquired_at=now()))
            assert await second.drain(10)
            assert (second.queue_counts.late, second.flag_counts.messages) == (23, 1)
        await heard.until(flags=21, finals=3)
        events.stop()
        await listening
    assert list(heard.flags) == [*((first.session, n) for n in range(20)), (second.session, 0)]
    assert list(heard.finals.values()) == [0, 1, 2]
    assert heard.repeated == 0
    async with Subscriber(mosquitto.settings, topics) as late:
        late.stop()
        retained = [event async for event in late if isinstance(event, VerdictReceived)]
    assert not retained, "a verdict of an earlier run is not the present one"
    assert leftovers_of(tmp_path, topics.base).flags == 0


async def test_a_broker_that_refuses_is_an_error_at_the_start_also_with_a_store(tmp_path: Path) -> None:
    with (
        running_mosquitto(tmp_path, "allow_anonymous false") as mosquitto,
        pytest.raises(BrokerError) as caught,
    ):
        async with Publisher(settings_for(mosquitto.port, tmp_path), Topics("or", "c")):
            pass
    assert "refuses" in str(caught.value)
    leftovers_of(tmp_path)  # not in use any more


async def test_what_one_console_left_does_not_hold_up_another(tmp_path: Path, absent: Mosquitto) -> None:
    broker = settings_for(absent.port, tmp_path)
    async with Publisher(broker, Topics("or", "old")) as old:
        old.publish_flag(flag(acquired_at=now()))
        old.publish_verdict(verdict(acquired_at=now()))
    (tmp_path / "acl").write_text("topic readwrite octmargin/1/or/new/#\n")
    absent.extra = f"allow_anonymous true\nacl_file {tmp_path / 'acl'}"
    absent.start()
    async with Publisher(broker, Topics("or", "new")) as new:
        assert new.store is not None
        assert new.store.foreign == 2
        new.publish_flag(flag(acquired_at=now()))
        assert await new.drain(10)
        assert (new.flag_counts.messages, new.queue_counts.late) == (1, 0)


async def test_what_waits_for_the_next_run_is_known_at_the_end(tmp_path: Path) -> None:
    old, new = (Publisher(settings_for(free_port(), tmp_path), Topics("or", name)) for name in ("old", "new"))
    async with old:
        old.publish_flag(flag(acquired_at=now()))
    assert old.left_on_disk == 1
    async with new:
        for frame in range(3):
            new.publish_flag(flag(frame, acquired_at=now()))
        assert new.store is not None
    assert (new.left_on_disk, new.store.unsaved) == (3, 0), "the other console's is not this one's"


async def test_what_a_full_disk_did_not_take_by_the_end_is_counted(tmp_path: Path) -> None:
    publisher = Publisher(settings_for(free_port(), tmp_path), Topics("or", "c"))
    assert publisher.store is not None
    publisher.store._most_pages = 8
    async with publisher:
        for sweep in range(100):
            publisher.publish_verdict(verdict(sweep=sweep, acquired_at=now()))
    assert publisher.left_on_disk is not None
    assert publisher.store.unsaved > 0
    assert publisher.left_on_disk + publisher.store.unsaved == 100


async def test_late_messages_wait_at_the_broker_for_who_is_slow(
    tmp_path: Path, topics: Topics, absent: Mosquitto
) -> None:
    """What is history has no time to lose: only what is shown live expires at the broker."""
    broker = settings_for(absent.port, tmp_path)
    async with Publisher(broker, topics) as first:
        first.publish_flag(flag(0, acquired_at=now()))
        first.publish_verdict(verdict(acquired_at=now()))
    absent.start()
    async with aiomqtt.Client("127.0.0.1", absent.port, protocol=aiomqtt.ProtocolVersion.V5) as archive:
        await archive.subscribe([(topics.flag, 1), (f"{topics.base}/verdict/+", 1)])
        async with Publisher(broker, topics) as second:
            second.publish_flag(flag(1, acquired_at=now()))
            assert await second.drain(10)
        heard = [await anext(archive.messages) for _ in range(3)]
    late = [json.loads(bytes(message.payload))["late"] for message in heard]
    expires = [hasattr(message.properties, "MessageExpiryInterval") for message in heard]
    assert sorted(zip(late, expires, strict=True)) == [(False, True), (True, False), (True, False)]


def test_a_process_ends_though_its_broker_does_not_answer(tmp_path: Path) -> None:
    program = """
import asyncio, sys, threading
from octmargin.bus.connection import BrokerSettings
from octmargin.bus.publisher import Publisher
from octmargin.bus.topics import Topics
async def main():
    settings = BrokerSettings(port=int(sys.argv[1]), outbox_file=sys.argv[2], timeout_s=0.2, reconnect_min_s=0.01)
    async with Publisher(settings, Topics("or", "c")):
        while not [t for t in threading.enumerate() if "connection" in t.name]:
            await asyncio.sleep(0.01)
    print("left", flush=True)
asyncio.run(main())
"""
    with silent_port() as port:
        command = [sys.executable, "-c", program, str(port), str(tmp_path / "outbox")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "left\n"
            # The connection is given five seconds by the client library.
            assert process.wait(timeout=4.5) == 0


async def test_a_broker_that_does_not_even_refuse_holds_up_neither_start_nor_end(
    tmp_path: Path, topics: Topics
) -> None:
    with silent_port() as port:
        broker = msgspec.structs.replace(settings_for(port, tmp_path), timeout_s=0.2)
        async with asyncio.timeout(60), Publisher(broker, topics) as publisher:
            assert not publisher.connected
            assert "has not answered yet" in publisher.last_failure
            publisher.publish_flag(flag(acquired_at=now()))
    assert leftovers_of(tmp_path, topics.base).flags == 1


async def test_a_disk_that_does_not_answer_at_the_start_is_told(
    tmp_path: Path, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.bus.publisher._OPENING_S", 0.1)
    before = set(threading.enumerate())
    publisher = Publisher(settings_for(free_port(), tmp_path), topics)
    assert publisher.store is not None
    disk_answers = threading.Event()
    publisher.store._thread.submit(disk_answers.wait)
    with pytest.raises(ConfigError, match=r"outbox.*disk has not answered for .* s; check it"):
        async with publisher:
            pass
    disk_answers.set()
    # It answers in the end, and the file is let go.
    await until(lambda: set(threading.enumerate()) <= before)
    leftovers_of(tmp_path)


PROGRAM = """
import asyncio, sys
from datetime import UTC, datetime
from octmargin.bus.connection import BrokerSettings
from octmargin.bus.publisher import Publisher
from octmargin.bus.topics import Topics
from tests.unit.bus.examples import flag, verdict
async def main(port, folder, site, console):
    settings = BrokerSettings(
        port=port, outbox_file=folder + "/outbox", outbox_frames=16, reconnect_min_s=0.02, reconnect_max_s=0.05
    )
    async with Publisher(settings, Topics(site, console)) as publisher:
        for n in range(1_000_000):
            publisher.publish_flag(flag(n, acquired_at=datetime.now(UTC)))
            if n % 10 == 0:
                publisher.publish_verdict(verdict(sweep=n, acquired_at=datetime.now(UTC)))
            # What the file holds now outlives whatever comes.
            await asyncio.wrap_future(publisher.store.flags(range(0)))
            print(publisher.session, n, flush=True)
asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
"""


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_or_doubled_over_kills_and_brokers_that_come_and_go(
    tmp_path: Path, topics: Topics, absent: Mosquitto, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - no secret
    mosquitto = absent
    said: list[tuple[str, int]] = []
    heard = Heard()
    mosquitto.start()
    async with Subscriber(mosquitto.settings, topics) as events:
        listening = asyncio.create_task(heard.listen(events))
        for _ in range(4):
            with_broker = rng.random() < 0.5
            if mosquitto.process is None and with_broker:
                mosquitto.start()
            if mosquitto.process is not None:
                # The subscriber is there, and has all that the broker took so far.
                await asyncio.wait_for(_heard_everything(mosquitto.settings, topics, heard), 60)
            if not with_broker:
                mosquitto.stop()
            arguments = (str(mosquitto.port), str(tmp_path), topics.site, topics.console)
            daemon = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE
            )
            assert daemon.stdout is not None
            for _ in range(rng.randint(1, 120)):
                session, n = (await daemon.stdout.readline()).split()
                said.append((session.decode(), int(n)))
            os.kill(daemon.pid, signal.SIGKILL)
            # What it said after the last line that was read here counts too.
            rest = (await daemon.stdout.read()).splitlines()
            said += [
                (words[0].decode(), int(words[1])) for words in map(bytes.split, rest) if len(words) == 2
            ]
            await daemon.wait()
        if mosquitto.process is None:
            mosquitto.start()
        await asyncio.wait_for(_heard_everything(mosquitto.settings, topics, heard), 60)
        async with Publisher(settings_for(mosquitto.port, tmp_path), topics) as last:
            assert await last.drain(20)
        events.stop()
        await listening
    assert said
    missing = [key for key in said if key not in heard.flags]
    assert not missing
    by_session: dict[str, list[int]] = {}
    for (session, _), frame in heard.flags.items():
        by_session.setdefault(session, []).append(frame)
    assert all(frames == list(range(len(frames))) for frames in by_session.values()), "in order, each once"
    finals = set(heard.finals.values())
    assert {n for _, n in said if n % 10 == 0} <= finals


async def _heard_everything(broker: BrokerSettings, topics: Topics, heard: Heard) -> None:
    """Wait until the subscriber under test hears the broker, and with that all that it took before."""
    async with Publisher(broker, topics) as probe:
        while all(session != probe.session for session, _ in heard.flags):
            probe.publish_flag(flag(acquired_at=now()))
            assert await probe.drain(10)
    heard.flags = {key: frame for key, frame in heard.flags.items() if key[0] != probe.session}
