"""Publisher and subscriber against real brokers."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import aiomqtt
import pytest
from tests.ports import free_port

from octmargin.bus.connection import BrokerSettings, TlsSettings
from octmargin.bus.events import (
    AlarmReceived,
    CaseChanged,
    Cleared,
    Connected,
    ConnectionLost,
    DecisionReceived,
    Described,
    Event,
    FlagReceived,
    HealthReceived,
    Malformed,
    MapReceived,
    StateChanged,
    VerdictReceived,
)
from octmargin.bus.messages import FrameCounts, LatencyMs, StateCounts
from octmargin.bus.publisher import Publisher
from octmargin.bus.subscriber import Subscriber
from octmargin.bus.topics import Kind, Topics
from octmargin.bus.validity import Validity
from octmargin.errors import BrokerError, ConfigError

from .conftest import Mosquitto, mosquitto_path, running_mosquitto
from .examples import case, decision, description, face_map, flag, verdict

EventT = TypeVar("EventT", bound=Event)


async def next_of(
    events: Subscriber, kind: type[EventT], where: Callable[[EventT], bool] = lambda _: True
) -> EventT:
    async with asyncio.timeout(60):
        async for event in events:
            if isinstance(event, kind) and where(event):
                return event
    raise AssertionError("the iteration ended")


async def state(events: Subscriber, word: str) -> StateChanged:
    return await next_of(events, StateChanged, lambda event: event.state == word)


def now() -> datetime:
    return datetime.now(UTC)


async def raw_client(settings: BrokerSettings) -> aiomqtt.Client:
    return aiomqtt.Client(settings.host, settings.port, protocol=aiomqtt.ProtocolVersion.V5, timeout=5)


async def retained_at(settings: BrokerSettings, topics: Topics) -> dict[str, bytes]:
    """What the broker remembers of the console, read up to a marker published afterwards."""
    remembered = {}
    async with await raw_client(settings) as client:
        await client.subscribe(topics.everything, qos=1)
        await client.publish(f"{topics.base}/marker", b"end", qos=1)
        async for message in client.messages:
            if str(message.topic).endswith("/marker"):
                return remembered
            if message.retain:
                remembered[str(message.topic).removeprefix(f"{topics.base}/")] = bytes(message.payload)
    raise AssertionError


async def test_every_kind_of_message_arrives_typed_and_stamped(
    broker: BrokerSettings, topics: Topics
) -> None:
    before = now()
    async with Subscriber(broker, topics) as events, Publisher(broker, topics) as publisher:
        assert isinstance(await anext(events), Connected)
        await state(events, "init")
        publisher.describe(description(publisher.session))
        publisher.publish_case(case())
        publisher.set_state("ready")
        assert (await next_of(events, Described)).message.scan.alines == 512
        assert (await next_of(events, CaseChanged)).message.specimen_id == "S-1"
        await state(events, "ready")

        acquired_at = now()
        publisher.publish_flag(flag(frame=7, acquired_at=acquired_at))
        received = await next_of(events, FlagReceived)
        sent = received.message
        assert not received.retained
        assert (sent.frame_index, sent.state, sent.suspicion) == (7, flag().state, flag().suspicion)
        assert sent.session == publisher.session
        assert sent.acquired_at == acquired_at
        assert before < sent.acquired_at <= sent.published_at <= now() < sent.valid_until

        publisher.publish_map(face_map(acquired_at=now()))
        assert (await next_of(events, MapReceived)).message.grid == face_map().grid
        publisher.publish_verdict(verdict(acquired_at=now()))
        assert (await next_of(events, VerdictReceived)).message.coverage == 0.5
        publisher.publish_decision(decision(acquired_at=now()))
        assert (await next_of(events, DecisionReceived)).message.decisions == decision().decisions
        publisher.publish_health(
            FrameCounts(sent=1, received=1, processed=1),
            rate_alines_per_s=512.0,
            latency_ms=LatencyMs(p50=1.0, p99=2.0),
            over_budget=0.01,
            recording=None,
            uptime_s=1.0,
            lifecycle="ready",
            reasons=[],
            synthetic=True,
        )
        health = (await next_of(events, HealthReceived)).message
        assert (health.state, health.flags.published, health.flags.messages) == ("ready", 4, 1)
        publisher.raise_alarm("console-lost", "medium", "the console does not answer", "check its cable")
        assert (await next_of(events, AlarmReceived)).message.active
        publisher.clear_alarm("console-lost")
        assert not (await next_of(events, AlarmReceived)).message.active
    async with Subscriber(broker, topics) as late:
        assert (await state(late, "disconnected")).retained


async def test_flags_arrive_in_order_with_consecutive_sequence_numbers(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with Subscriber(broker, topics) as events, Publisher(broker, topics) as publisher:
        for frame in range(300):
            publisher.publish_flag(flag(frame, blocks=32, acquired_at=now()))
        assert await publisher.drain(10)
        assert publisher.flag_counts.messages == 300
        assert publisher.flag_counts.published == 300 * 32
        assert publisher.queue_counts.dropped == 0
        got = [(await next_of(events, FlagReceived)).message for _ in range(300)]
    assert [message.frame_index for message in got] == list(range(300))
    assert [message.sequence for message in got] == list(range(300))


async def test_only_what_displays_must_remember_is_retained(broker: BrokerSettings, topics: Topics) -> None:
    async with Publisher(broker, topics) as publisher:
        publisher.describe(description(publisher.session))
        publisher.publish_case(case())
        publisher.publish_flag(flag(acquired_at=now()))
        publisher.publish_map(face_map(acquired_at=now()))
        publisher.publish_verdict(verdict(acquired_at=now()))
        publisher.publish_health(
            FrameCounts(),
            rate_alines_per_s=0,
            latency_ms=None,
            over_budget=None,
            recording=None,
            uptime_s=0,
            lifecycle="ready",
            reasons=[],
            synthetic=True,
        )
        publisher.publish_decision(decision(acquired_at=now()))
        publisher.raise_alarm("laser-off", "high", "the laser is off", "switch it on")
        publisher.set_state("ready")
        assert await publisher.drain(10)
        remembered = await retained_at(broker, topics)
        assert set(remembered) == {
            "$state", "$description", "case", "map/superior", "verdict/superior", "decision/superior",
            "alarm/laser-off",
        }  # fmt: skip
        assert remembered["$state"] == b"ready"


async def test_an_alarm_stays_acknowledged_as_long_as_it_says_the_same(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with Subscriber(broker, topics) as events, Publisher(broker, topics) as publisher:

        async def heard() -> tuple[str, bool, str]:
            alarm = (await next_of(events, AlarmReceived)).message
            return alarm.text, alarm.active, alarm.acknowledged_by

        assert not publisher.acknowledge_alarm("laser", "otto")
        publisher.raise_alarm("laser", "high", "the laser is off", "switch it on")
        assert await heard() == ("the laser is off", True, "")
        assert publisher.acknowledge_alarm("laser", "otto")
        assert await heard() == ("the laser is off", True, "otto")
        publisher.raise_alarm("laser", "high", "the laser is off", "switch it on")
        assert await heard() == ("the laser is off", True, "otto")
        publisher.raise_alarm("laser", "high", "the laser is too hot", "let it cool")
        assert await heard() == ("the laser is too hot", True, "")
        publisher.clear_alarm("laser")
        assert await heard() == ("the laser is too hot", False, "")
        assert not publisher.acknowledge_alarm("laser", "otto")


async def test_what_was_said_of_a_specimen_is_taken_back_when_another_is_on_the_stage(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with Publisher(broker, topics) as publisher:
        publisher.publish_case(case())
        publisher.publish_map(face_map(acquired_at=now()))
        publisher.publish_verdict(verdict(acquired_at=now()))
        publisher.publish_decision(decision(acquired_at=now()))
        publisher.raise_alarm("laser", "high", "the laser is off", "switch it on")
        assert await publisher.drain(10)
        publisher.publish_case(case(specimen_id="S-2"))
        publisher.forget_results()
        publisher.publish_verdict(verdict("inferior", acquired_at=now(), specimen_id="S-2"))
        assert await publisher.drain(10)
        assert set(await retained_at(broker, topics)) == {"$state", "case", "alarm/laser", "verdict/inferior"}


async def test_what_was_taken_back_while_the_connection_broke_is_taken_back_again(
    mosquitto: Mosquitto, topics: Topics
) -> None:
    broker = mosquitto.settings
    async with Publisher(broker, topics) as publisher:
        publisher.publish_verdict(verdict(acquired_at=now()))
        assert await publisher.drain(10)
        said = (await retained_at(broker, topics))["verdict/superior"]
        publisher.forget_results()
        assert await publisher.drain(10)
        async with await raw_client(broker) as client:
            await client.publish(topics.verdict("superior"), said, qos=1, retain=True)
        # Whoever comes with its name takes the connection from it.
        name = f"octmargin-{topics.site}-{topics.console}"
        async with aiomqtt.Client(broker.host, broker.port, identifier=name):
            pass
        async with asyncio.timeout(60):
            while "verdict/superior" in await retained_at(broker, topics):
                pass  # it is told by nobody that it was cleared
        assert publisher.reconnects


async def test_the_broker_forgets_a_verdict_when_its_validity_is_over(
    broker: BrokerSettings, topics: Topics
) -> None:
    validity = Validity(result_s=600.0)
    async with Publisher(broker, topics, validity=validity) as publisher:
        publisher.publish_verdict(verdict(acquired_at=now()))
        assert await publisher.drain(10)
        assert "verdict/superior" in await retained_at(broker, topics)
        publisher.publish_verdict(verdict(acquired_at=now() - timedelta(seconds=596)))
        assert await publisher.drain(10)
        async with asyncio.timeout(60):
            while "verdict/superior" in await retained_at(broker, topics):
                pass  # the broker's own clock runs: there is no event to await


async def test_what_an_earlier_run_left_behind_is_taken_away(broker: BrokerSettings, topics: Topics) -> None:
    async with Publisher(broker, topics) as first:
        first.publish_verdict(verdict(acquired_at=now()))
        first.publish_map(face_map(acquired_at=now()))
        first.raise_alarm("laser-off", "high", "the laser is off", "switch it on")
        assert await first.drain(10)
    async with await raw_client(broker) as vandal:
        await vandal.publish(topics.verdict("inferior"), b"not a verdict", qos=1, retain=True)
    assert {"verdict/superior", "verdict/inferior"} < set(await retained_at(broker, topics))
    async with Publisher(broker, topics) as second:
        second.publish_verdict(verdict("medial", acquired_at=now()))
        assert await second.drain(10)
        assert set(await retained_at(broker, topics)) == {"$state", "verdict/medial"}


async def test_a_killed_daemon_is_declared_lost(broker: BrokerSettings, topics: Topics) -> None:
    program = f"""
import asyncio
from octmargin.bus.connection import BrokerSettings
from octmargin.bus.publisher import Publisher
from octmargin.bus.topics import Topics
async def main():
    topics = Topics({topics.site!r}, {topics.console!r})
    async with Publisher(BrokerSettings(port={broker.port}), topics) as publisher:
        publisher.set_state("ready")
        await asyncio.Event().wait()
asyncio.run(main())
"""
    async with Subscriber(broker, topics) as events:
        daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        await state(events, "ready")
        os.kill(daemon.pid, signal.SIGKILL)
        await daemon.wait()
        assert not (await state(events, "lost")).retained
    async with Subscriber(broker, topics) as late:
        assert (await state(late, "lost")).retained


async def test_a_daemon_that_fails_says_lost_and_one_that_ends_says_disconnected(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with Subscriber(broker, topics) as events:
        with pytest.raises(ZeroDivisionError):
            async with Publisher(broker, topics):
                raise ZeroDivisionError
        await state(events, "lost")
        async with Publisher(broker, topics):
            pass
        await state(events, "disconnected")


async def test_a_goodbye_comes_behind_all_that_was_said(broker: BrokerSettings, topics: Topics) -> None:
    """Also where much waits: whoever hears it knows that nothing more is to come."""
    async with Subscriber(broker, topics) as events:
        async with Publisher(broker, topics) as publisher:
            for frame in range(200):
                publisher.publish_flag(flag(frame, acquired_at=now()))
        heard = []
        async with asyncio.timeout(60):
            async for event in events:
                if isinstance(event, FlagReceived):
                    heard.append(event.message.frame_index)
                elif isinstance(event, StateChanged) and event.state == "disconnected":
                    break
    assert heard == list(range(200))


async def test_a_late_last_will_is_contradicted_while_the_daemon_lives(
    broker: BrokerSettings, topics: Topics
) -> None:
    async with Subscriber(broker, topics) as events, Publisher(broker, topics) as publisher:
        publisher.set_state("ready")
        await state(events, "ready")
        async with await raw_client(broker) as ghost:
            await ghost.publish(topics.state, b"lost", qos=1, retain=True)
        await state(events, "lost")
        await state(events, "ready")


async def test_both_sides_come_back_after_the_broker_was_restarted(
    mosquitto: Mosquitto, topics: Topics
) -> None:
    settings = mosquitto.settings
    async with Subscriber(settings, topics) as events, Publisher(settings, topics) as publisher:
        publisher.describe(description(publisher.session))
        publisher.publish_verdict(verdict(acquired_at=now()))
        publisher.publish_flag(flag(0, acquired_at=now()))
        publisher.set_state("ready")
        assert await publisher.drain(10)

        mosquitto.stop()
        lost = await next_of(events, ConnectionLost)
        assert "127.0.0.1" in lost.reason
        publisher.publish_flag(flag(1, acquired_at=now()))  # said while nobody listens: waits
        assert not await publisher.drain(0.01)
        mosquitto.start()

        assert await publisher.drain(10)
        await next_of(events, Connected)
        said_again: set[type[Event]] = set()
        while said_again < {Described, VerdictReceived, StateChanged}:
            said_again.add(type(await asyncio.wait_for(anext(events), 60)))
    assert publisher.reconnects == 1
    assert publisher.flag_counts.messages == 2


async def test_the_loss_of_a_broker_is_told_by_nobody_else(
    mosquitto: Mosquitto, topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    async with Publisher(mosquitto.settings, topics) as publisher:
        mosquitto.stop()
        async with asyncio.timeout(60):
            while publisher.connected:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_while_the_broker_is_away_flags_are_bounded_and_verdicts_kept(
    mosquitto: Mosquitto, topics: Topics
) -> None:
    settings = BrokerSettings(
        port=mosquitto.port, outbox_frames=10, reconnect_min_s=0.05, reconnect_max_s=0.2
    )
    async with Subscriber(mosquitto.settings, topics) as events, Publisher(settings, topics) as publisher:
        mosquitto.stop()
        await next_of(events, ConnectionLost)
        for frame in range(25):
            publisher.publish_flag(flag(frame, acquired_at=now()))
            publisher.publish_verdict(verdict(sweep=frame, acquired_at=now()))
            publisher.publish_verdict(verdict(sweep=frame, provisional=True, acquired_at=now()))
        assert publisher.queue_counts.dropped == 15
        assert publisher.queue_counts.coalesced >= 24
        mosquitto.start()
        assert await publisher.drain(10)
        said = [(await next_of(events, VerdictReceived)).message for _ in range(26)]
        assert [(each.sweep, each.provisional) for each in said] == [
            *((sweep, False) for sweep in range(25)),
            (24, True),
        ]
        assert publisher.flag_counts.messages == 10


async def test_what_the_broker_refuses_is_told_and_waits(tmp_path: Path, topics: Topics) -> None:
    acl = tmp_path / "acl"
    rules = [f"topic readwrite {topics.base}/{kind}" for kind in ("$state", "verdict/#")]
    acl.write_text("\n".join([*rules, f"topic read {topics.everything}"]))
    with running_mosquitto(tmp_path, f"allow_anonymous true\nacl_file {acl}") as mosquitto:
        async with (
            Subscriber(mosquitto.settings, topics) as events,
            Publisher(mosquitto.settings, topics) as publisher,
        ):
            for frame in range(3):
                publisher.publish_flag(flag(frame, acquired_at=now()))
            publisher.publish_verdict(verdict(acquired_at=now()))
            assert (await next_of(events, VerdictReceived)).message.sweep == 3, "what is allowed goes through"
            async with asyncio.timeout(60):
                while "refuses" not in publisher.last_failure:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            assert f"refuses what is said on {topics.flag}" in publisher.last_failure
            assert "give its user the right to write there" in publisher.last_failure
            assert publisher.flag_counts.messages == 0

            acl.write_text(acl.read_text() + f"\ntopic readwrite {topics.flag}")
            assert mosquitto.process is not None
            mosquitto.process.send_signal(signal.SIGHUP)
            got = [(await next_of(events, FlagReceived)).message.frame_index for _ in range(3)]
            assert got == [0, 1, 2]
            assert await publisher.drain(10)
            assert publisher.queue_counts.dropped == 0


@pytest.mark.parametrize("acknowledged", range(0, 1000, 100))
async def test_the_end_does_not_wait_for_a_backlog(
    broker: BrokerSettings, topics: Topics, acknowledged: int
) -> None:
    async with asyncio.timeout(60):
        publisher = Publisher(broker, topics)
        await publisher.__aenter__()
        for frame in range(1500):
            publisher.publish_flag(flag(frame, acquired_at=now()))
        while publisher.flag_counts.messages < acknowledged:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        await publisher._stop()
        assert publisher.queue_counts.waiting > 0, "it was in the middle of it"


async def test_a_message_that_the_broker_never_takes_is_given_up_and_counted_and_the_others_go_on(
    tmp_path: Path, topics: Topics
) -> None:
    with running_mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 4000") as mosquitto:
        async with (
            Subscriber(mosquitto.settings, topics) as events,
            Publisher(mosquitto.settings, topics) as publisher,
        ):
            for frame, blocks in ((0, 32), (1, 500), (2, 32)):
                publisher.publish_flag(flag(frame, blocks=blocks, acquired_at=now()))
            got = [(await next_of(events, FlagReceived)).message.frame_index for _ in range(2)]
            assert got == [0, 2]
            assert await publisher.drain(10)
            assert (publisher.queue_counts.refused, publisher.flag_counts.messages) == (1, 2)
            assert "is more than the MQTT broker takes (4000 bytes); raise its limit" in publisher.refusal
            assert publisher.reconnects == 0


async def test_a_map_that_the_broker_does_not_take_leaves_no_older_one_behind(
    tmp_path: Path, topics: Topics
) -> None:
    with running_mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 4000") as mosquitto:
        async with Publisher(mosquitto.settings, topics) as publisher:
            publisher.publish_map(face_map(acquired_at=now()))
            assert await publisher.drain(10)
            assert "map/superior" in await retained_at(mosquitto.settings, topics)
            large = ["." * 50] * 100
            publisher.publish_map(
                face_map(
                    frames=100, blocks=50, grid=large, counts=StateCounts(not_scanned=5000), acquired_at=now()
                )
            )
            assert await publisher.drain(10)
            assert "map/superior" not in await retained_at(mosquitto.settings, topics)
            mosquitto.stop()
            mosquitto.start()
            async with asyncio.timeout(60):
                while publisher.reconnects == 0 or not publisher.connected:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            assert await publisher.drain(10)
            assert publisher.queue_counts.refused == 1, "it is not tried again"


async def test_malformed_messages_are_counted_and_not_fatal(broker: BrokerSettings, topics: Topics) -> None:
    async with Subscriber(broker, topics) as events, await raw_client(broker) as vandal:
        await vandal.publish(topics.verdict("superior"), b'{"verdict": "fine"}', qos=1)
        await vandal.publish(f"{topics.base}/telepathy", b"?", qos=1)
        await vandal.publish(topics.state, b"splendid", qos=1)
        await vandal.publish(topics.map("medial"), b"", qos=1)
        bad = await next_of(events, Malformed)
        assert bad.address.kind is Kind.VERDICT
        assert bad.address.name == "superior"
        assert "splendid" in (await next_of(events, Malformed)).reason
        assert (await next_of(events, Cleared)).address.name == "medial"
        assert (events.malformed, events.unknown) == (2, 1)


async def test_stop_ends_the_iteration(broker: BrokerSettings, topics: Topics) -> None:
    async with Subscriber(broker, topics) as events:
        events.stop()
        assert [type(event) async for event in events] == [Connected]


@pytest.fixture(params=[Publisher, Subscriber])
def enter(request: pytest.FixtureRequest) -> Callable[[BrokerSettings], AsyncIterator[None]]:
    async def entered(settings: BrokerSettings) -> None:
        async with request.param(settings, Topics("or", "c")):
            pass

    return entered


async def test_no_broker_is_said_in_one_line(enter) -> None:
    port = free_port()
    with pytest.raises(BrokerError) as caught:
        await enter(BrokerSettings(port=port))
    message = str(caught.value)
    assert message.startswith(f"no MQTT broker at 127.0.0.1:{port} (")
    assert message.endswith("; start one or set broker.host/broker.port")
    assert "refused" in message
    assert "\n" not in message


async def test_a_host_that_does_not_exist_is_said_in_one_line(enter) -> None:
    with pytest.raises(BrokerError, match=r"^no MQTT broker at nowhere\.invalid:1883 \(.+\); start one"):
        await enter(BrokerSettings(host="nowhere.invalid"))


async def test_something_that_is_no_broker_is_said_in_one_line(enter) -> None:
    connections = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerError, match=f"no MQTT broker at 127.0.0.1:{port} .*timed out"):
            await enter(BrokerSettings(port=port, timeout_s=0.3))
        for writer in connections:
            writer.close()


async def test_wrong_credentials_are_said_in_one_line(enter, tmp_path) -> None:
    mosquitto_path()
    passwords = tmp_path / "passwords"
    maker = await asyncio.create_subprocess_exec(
        "mosquitto_passwd", "-c", "-b", str(passwords), "octmargin", "right"
    )
    assert await maker.wait() == 0
    secret = tmp_path / "secret"
    with running_mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}") as mosquitto:
        secret.write_text("wrong\n")
        wrong = BrokerSettings(port=mosquitto.port, username="octmargin", password_file=str(secret))
        with pytest.raises(BrokerError, match=r"refuses user 'octmargin' \(.+\); check broker.username"):
            await enter(wrong)
        with pytest.raises(BrokerError, match="refuses a client without user name"):
            await enter(BrokerSettings(port=mosquitto.port))
        secret.write_text("right\n")
        await enter(wrong)


async def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    maker = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(key), "-out", str(certificate), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await maker.wait() == 0
    return certificate, key


async def test_tls_reaches_the_broker_whose_certificate_is_trusted(enter, tmp_path: Path) -> None:
    certificate, key = await make_certificate(tmp_path, "broker")
    listener = f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}"
    with running_mosquitto(tmp_path, listener) as mosquitto:
        await enter(BrokerSettings(port=mosquitto.port, tls=TlsSettings(ca_file=str(certificate))))


async def test_tls_refuses_a_broker_whose_certificate_is_not_trusted(enter, tmp_path: Path) -> None:
    certificate, key = await make_certificate(tmp_path, "broker")
    stranger, _ = await make_certificate(tmp_path, "stranger")
    listener = f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}"
    with running_mosquitto(tmp_path, listener) as mosquitto:
        with pytest.raises(
            BrokerError,
            match=r"broker at .* cannot be trusted \(.*certificate verify failed.*\); check broker.tls",
        ):
            await enter(BrokerSettings(port=mosquitto.port, tls=TlsSettings(ca_file=str(stranger))))
        # A socket left open by the thread that connected is told of when it is collected, which fails a test.
        await asyncio.get_running_loop().shutdown_default_executor()
        gc.collect()


@pytest.mark.parametrize(
    ("right", "timeout_s", "said"),
    [
        (
            "read",
            30.0,
            r"refuses what is said on .*state \(Not authorized\); give its user the right to write",
        ),
        # That nothing comes back, only time can tell.
        ("write", 1.5, r"does not hand back what is published.*right to write and read"),
    ],
)
async def test_a_broker_that_gives_half_of_the_rights_is_found_out(
    tmp_path: Path, topics: Topics, right: str, timeout_s: float, said: str
) -> None:
    access = tmp_path / "access"
    access.write_text(f"topic {right} #\n")
    with (
        running_mosquitto(tmp_path, f"allow_anonymous true\nacl_file {access}") as mosquitto,
        pytest.raises(BrokerError, match=said),
    ):
        async with Publisher(BrokerSettings(port=mosquitto.port, timeout_s=timeout_s), topics):
            pass


async def test_unusable_credential_files_are_configuration_errors(tmp_path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"password_file .* cannot be read \(No such file"):
        Publisher(BrokerSettings(username="u", password_file=missing), Topics("or", "c"))
    with pytest.raises(ConfigError, match=r"broker\.username is not"):
        Publisher(BrokerSettings(password_file=missing), Topics("or", "c"))
    with pytest.raises(ConfigError, match=r"broker\.tls: .* cannot be used"):
        Publisher(BrokerSettings(tls=TlsSettings(ca_file=missing)), Topics("or", "c"))


async def test_a_description_of_another_session_is_refused(broker: BrokerSettings, topics: Topics) -> None:
    async with Publisher(broker, topics) as publisher:
        with pytest.raises(ValueError, match="session"):
            publisher.describe(description("somebody-else"))
