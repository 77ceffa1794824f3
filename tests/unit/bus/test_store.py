"""What waits for the broker outlives the process: the file, and the publisher with it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from octmargin.bus.connection import BrokerSettings
from octmargin.bus.events import FlagReceived, VerdictReceived
from octmargin.bus.messages import Message
from octmargin.bus.outbox import Parcel
from octmargin.bus.publisher import Publisher
from octmargin.bus.store import OutboxStore
from octmargin.bus.subscriber import Subscriber
from octmargin.bus.topics import Kind, Topics
from octmargin.errors import BrokerError, ConfigError

from .conftest import Mosquitto, free_port, running_mosquitto
from .examples import flag, verdict


def now() -> datetime:
    return datetime.now(UTC)


def flag_parcel(frame: int, session: str = "one") -> Parcel:
    return Parcel("octmargin/1/or/c/flag", Kind.FLAG, flag(frame, session=session, sequence=frame))


def final_parcel(sweep: int, session: str = "one") -> Parcel:
    content = verdict(session=session, sequence=sweep, sweep=sweep)
    return Parcel("octmargin/1/or/c/verdict/superior", Kind.VERDICT, content)


def test_what_was_kept_and_not_forgotten_is_there_again_in_its_order(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path / "outbox", "one")
    for n in range(6):
        store.keep(n, flag_parcel(n))
    for n in range(3):
        store.keep(n, final_parcel(n))
    for n in (0, 3):
        store.forget(Kind.FLAG, n)
    store.forget(Kind.VERDICT, 1)
    store.close()

    again = OutboxStore(tmp_path / "outbox", "two")
    assert [parcel.content for parcel in again.leftovers.finals] == [final_parcel(n).content for n in (0, 2)]
    assert all(parcel.late for parcel in again.leftovers.finals)
    assert again.leftovers.flags == 4
    found = again.flags(range(10)).result()
    assert {n: parcel.content for n, parcel in found.items()} == {
        number: flag_parcel(n).content for number, n in enumerate((1, 2, 4, 5))
    }
    again.close()


def test_messages_of_this_run_are_not_late(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path / "outbox", "one")
    store.keep(0, flag_parcel(0))
    assert not store.flags(range(1)).result()[0].late
    store.close()


def test_what_is_forgotten_before_it_was_written_is_not_written(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path / "outbox", "one")
    for n in range(100):
        store.keep(n, flag_parcel(n))
        store.forget(Kind.FLAG, n)
    store.close()
    assert OutboxStore(tmp_path / "outbox", "two").leftovers.flags == 0


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path / "outbox", "one")
    with pytest.raises(ConfigError, match=r"broker\.outbox_file .* is in use; stop the other daemon"):
        OutboxStore(tmp_path / "outbox", "two")
    store.close()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.*name a file in a folder that exists"):
        OutboxStore(tmp_path / "nowhere" / "outbox", "one")


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("do not touch " * 1000)
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE patients (name TEXT)")
    for path, before in ((text, text.read_bytes()), (other, other.read_bytes())):
        with pytest.raises(ConfigError, match="is not a store of messages"):
            OutboxStore(path, "one")
        assert path.read_bytes()[100:] == before[100:]


def test_a_message_that_cannot_be_read_any_more_is_counted_and_the_others_stay(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path / "outbox", "one")
    for n in range(3):
        store.keep(n, final_parcel(n))
        store.keep(n, flag_parcel(n))
    store.close()
    with closing(sqlite3.connect(tmp_path / "outbox")) as connection, connection:
        connection.execute("UPDATE parcels SET content = '{' WHERE number = 1")
    again = OutboxStore(tmp_path / "outbox", "two")
    assert [parcel.content for parcel in again.leftovers.finals] == [final_parcel(n).content for n in (0, 2)]
    assert set(again.flags(range(3)).result()) == {0, 2}
    assert again.unreadable == 2
    again.close()


def test_a_full_disk_is_told_and_over_when_there_is_room_again(tmp_path: Path) -> None:
    store = OutboxStore(tmp_path / "outbox", "one", most_pages=8)
    for n in range(200):
        store.keep(n, flag_parcel(n))
    store.keep(0, final_parcel(0))
    kept = set(store.flags(range(200)).result())
    assert kept < set(range(200))
    assert "full" in store.failure
    failures = store.failures
    assert failures > 0
    for n in kept:
        store.forget(Kind.FLAG, n)
    store.keep(200, flag_parcel(200))
    assert set(store.flags(range(201)).result()) == {200}
    assert store.failures == failures
    store.close()
    assert len(OutboxStore(tmp_path / "outbox", "two").leftovers.finals) == 1, (
        "a final verdict is tried again"
    )


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
    settings = settings_for(mosquitto.port, tmp_path, outbox_frames=4)
    async with Publisher(settings, topics) as first:
        for frame in range(20):
            first.publish_flag(flag(frame, acquired_at=now()))
        for sweep in range(3):
            first.publish_verdict(verdict(sweep=sweep, acquired_at=now()))
        first.publish_verdict(verdict(sweep=3, provisional=True, acquired_at=now()))
    mosquitto.start()
    heard = Heard()
    async with Subscriber(mosquitto.settings, topics) as events:
        listening = asyncio.create_task(heard.listen(events))
        async with Publisher(settings, topics) as second:
            second.publish_flag(flag(20, acquired_at=now()))
            assert await second.drain(10)
            assert (second.queue_counts.late, second.flag_counts.messages) == (23, 1)
        events.stop()
        await listening
    assert list(heard.flags) == [*((first.session, n) for n in range(20)), (second.session, 0)]
    assert list(heard.finals.values()) == [0, 1, 2]
    assert heard.repeated == 0
    async with Subscriber(mosquitto.settings, topics) as late:
        late.stop()
        retained = [event async for event in late if isinstance(event, VerdictReceived)]
    assert not retained, "a verdict of an earlier run is not the present one"
    assert OutboxStore(tmp_path / "outbox", "three").leftovers.flags == 0


async def test_a_broker_that_refuses_is_an_error_at_the_start_also_with_a_store(tmp_path: Path) -> None:
    with (
        running_mosquitto(tmp_path, "allow_anonymous false") as mosquitto,
        pytest.raises(BrokerError) as caught,
    ):
        async with Publisher(settings_for(mosquitto.port, tmp_path), Topics("or", "c")):
            pass
    assert "refuses" in str(caught.value)
    OutboxStore(tmp_path / "outbox", "again").close()


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
                await asyncio.wait_for(_heard_everything(mosquitto.settings, topics, heard), 20)
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
        await asyncio.wait_for(_heard_everything(mosquitto.settings, topics, heard), 20)
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


async def _heard_everything(settings: BrokerSettings, topics: Topics, heard: Heard) -> None:
    """Wait until the subscriber under test hears the broker, and with that all that it took before."""
    async with Publisher(settings, topics) as probe:
        while all(session != probe.session for session, _ in heard.flags):
            probe.publish_flag(flag(acquired_at=now()))
            assert await probe.drain(10)
    heard.flags = {key: frame for key, frame in heard.flags.items() if key[0] != probe.session}
