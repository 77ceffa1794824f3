"""What a broker with the written configuration does over its life: reload, restart, limits."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.unit.bus.conftest import mosquitto_path

from octmargin.bus.broker import MAX_PAYLOAD_BYTES
from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.bus.rights import Role
from octmargin.site.passwords import password_line
from octmargin.site.settings import Auth
from octmargin.site.users import User

from .conftest import HOST, USERS, Prepared, again, days_from_now, prepared

BRIDGE = re.compile(r"```conf\n(?P<text>connection .*?)```", re.DOTALL)
FLAG = "octmargin/1/north/or-1/flag"
VERDICT = "octmargin/1/north/or-1/verdict/superior"


@pytest.fixture(params=list(Auth))
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Prepared:
    """A broker of the test's own, that it starts and stops."""
    mosquitto_path()
    return prepared(tmp_path / "broker", request.param)


def client(broker: Prepared, who: str, **changes) -> Client:
    return Connector(broker.settings(USERS[who], **changes)).client(None)


def certificate_at(broker: Prepared, port: int) -> bytes:
    """What the broker shows of itself; a console's certificate opens the listener that asks for one."""
    tls = broker.settings(USERS["or-1"]).tls
    assert tls is not None
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    with (
        socket.create_connection((HOST, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return shown


async def reloaded(process: subprocess.Popen[bytes], broker: Prepared) -> None:
    """Tell the broker to read its files again; it does so between two messages."""
    process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(60):
        while "Reloading config" not in broker.log():
            async with client(broker, "or-3"):
                pass  # another process: there is no event to await


async def test_a_new_user_is_let_in_after_a_reload_and_nobody_is_put_out(own: Prepared) -> None:
    new = User("north", Role.READER, "new")
    with own.running() as process:
        async with client(own, "or-1") as console:
            again(own, names={Role.READER: ("new",)})
            await reloaded(process, own)
            async with Connector(own.settings(new)).client(None) as reader:
                await reader.subscribe(FLAG, qos=1)
                await console.publish(FLAG, b"to the new one", qos=1)
                message = await asyncio.wait_for(anext(aiter(reader.messages)), 60)
    assert message.payload == b"to the new one"


@pytest.mark.parametrize("auth", list(Auth))
async def test_a_renewed_certificate_is_shown_after_a_restart_on_both_listeners(
    tmp_path: Path, auth: Auth
) -> None:
    mosquitto_path()
    own = prepared(tmp_path / "ending", auth, now=days_from_now(-800))
    ports = (own.port, own.websocket_port)
    with own.running():
        before = {certificate_at(own, port) for port in ports}
    again(own, renew=True)
    with own.running():
        after = {certificate_at(own, port) for port in ports}
    assert len(before) == len(after) == 1
    assert before != after


async def test_an_archive_with_a_session_misses_nothing_over_a_restart_of_the_broker(own: Prepared) -> None:
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 3600

    def archive() -> aiomqtt.Client:
        connector = Connector(own.settings(USERS["store"]))
        settings = connector.settings
        return aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username or None,
            password=connector._password,
            tls_context=connector._tls_context,
            protocol=aiomqtt.ProtocolVersion.V5,
            identifier="the archive",
            clean_start=False,
            properties=lasting,
        )

    with own.running():
        async with archive() as listening:
            await listening.subscribe("octmargin/1/north/#", qos=1)
        async with client(own, "or-1") as console:
            await console.publish(VERDICT, b"first", qos=1)
    with own.running():
        async with client(own, "or-1") as console:
            await console.publish(VERDICT, b"second", qos=1)
        async with archive() as listening, asyncio.timeout(60):
            messages = aiter(listening.messages)
            assert [(await anext(messages)).payload for _ in range(2)] == [b"first", b"second"]


async def test_what_is_retained_survives_a_restart_and_still_expires(own: Prepared) -> None:
    async def remembered() -> set[str]:
        async with client(own, "wall") as display:
            await display.subscribe("octmargin/1/north/or-1/verdict/+", qos=1)
            async with client(own, "or-1") as console:
                await console.publish(f"{VERDICT}-end", b"end", qos=1)
            found = set()
            async with asyncio.timeout(60):
                async for message in display.messages:
                    if message.payload == b"end":
                        return found
                    found.add(str(message.topic))
        raise AssertionError

    with own.running():
        async with client(own, "or-1") as console:
            await console.publish(VERDICT, b"long", qos=1, retain=True, properties=expiring(600))
            # Not over when the broker ends: 2.0.11 would then remember it without an expiry.
            await console.publish(f"{VERDICT}-2", b"short", qos=1, retain=True, properties=expiring(5))
    with own.running():
        async with asyncio.timeout(60):
            while await remembered() != {VERDICT}:
                pass  # the broker's own clock runs: there is no event to await


# The connection breaks while the client still sends, and aiomqtt tells only one of the two who wait for it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_who_sends_a_packet_that_is_too_large_is_put_out(own: Prepared) -> None:
    with own.running():
        async with client(own, "or-1") as console:
            await console.publish(FLAG, bytes(MAX_PAYLOAD_BYTES), qos=1)
        with pytest.raises(aiomqtt.MqttError):
            async with client(own, "or-1", timeout_s=2.0) as console:
                await console.publish(FLAG, bytes(2 * MAX_PAYLOAD_BYTES), qos=1)


def bridged(tmp_path: Path) -> tuple[Prepared, Prepared]:
    """The room's broker with the bridge of the documentation, and the hospital's that it leads to."""
    mosquitto_path()
    near, far = prepared(tmp_path / "near"), prepared(tmp_path / "far")
    example = BRIDGE.search((Path(__file__).parents[3] / "docs" / "brokers.md").read_text())
    assert example is not None
    bridge = example["text"].replace("hospital-broker.example:8883", f"{HOST}:{far.port}")
    bridge = bridge.replace("/etc/mosquitto/hospital-ca.pem", str(far.folder / "broker" / "ca.pem"))
    configuration = near.folder / "broker" / "mosquitto.conf"
    configuration.write_text(configuration.read_text() + bridge.replace("PASSWORD", "secret"))
    for file, lines in (
        ("passwords", password_line("bridge-north", "secret")),
        ("acl", "\nuser bridge-north\ntopic write octmargin/1/north/#"),
    ):
        path = far.folder / "broker" / file
        path.write_text(f"{path.read_text()}{lines}\n")
    return near, far


def expiring(seconds: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = seconds
    return properties


async def test_what_is_said_while_the_other_broker_is_away_arrives_when_it_is_back(tmp_path: Path) -> None:
    """Flags that expired meanwhile do not. What is retained may come twice: the bridge says it at each connection."""
    near, far = bridged(tmp_path)
    with near.running():
        async with client(near, "or-1") as console:
            await console.publish(VERDICT, b"said meanwhile", qos=1, retain=True, properties=expiring(600))
            await console.publish(FLAG, b"over by then", qos=1, properties=expiring(1))
        with far.running():
            async with client(far, "store") as archive, asyncio.timeout(60):
                await archive.subscribe("octmargin/1/north/#", qos=1)
                message = await anext(aiter(archive.messages))
                assert message.payload == b"said meanwhile"
                assert 0 < message.properties.MessageExpiryInterval <= 600
                async with client(near, "or-1") as console:
                    await console.publish(FLAG, b"afterwards", qos=1)
                heard = set()
                while (payload := (await anext(aiter(archive.messages))).payload) != b"afterwards":
                    heard.add(payload)
                assert heard <= {b"said meanwhile"}


async def test_a_bridge_as_documented_brings_results_with_their_expiry_to_another_broker(
    tmp_path: Path,
) -> None:
    """And nothing else: commands and replies stay, and a command on the far broker reaches no console."""
    near, far = bridged(tmp_path)
    with far.running(), near.running():
        async with client(far, "store") as archive, client(near, "or-1") as console, asyncio.timeout(60):
            await archive.subscribe("octmargin/1/north/#", qos=1)
            await console.publish(VERDICT, b"far away", qos=1, retain=True, properties=expiring(600))
            message = await anext(aiter(archive.messages))
            assert (message.payload, message.properties.MessageExpiryInterval) == (b"far away", 600)
            await console.subscribe("octmargin/1/north/or-1/cmd/#", qos=1)
            async with client(far, "anna") as elsewhere:
                await elsewhere.publish("octmargin/1/north/or-1/cmd/operator/anna/stop", b"far", qos=1)
            async with client(near, "anna") as here:
                await here.publish("octmargin/1/north/or-1/cmd/operator/anna/stop", b"near", qos=1)
            assert (await anext(aiter(console.messages))).payload == b"near"
            await console.publish("octmargin/1/north/or-1/reply/operator/anna", b"done", qos=1)
            await console.publish(FLAG, b"after them", qos=1)
            heard = [await anext(aiter(archive.messages))]
            while heard[-1].payload != b"after them":
                heard.append(await anext(aiter(archive.messages)))
            # What is retained comes once more where the bridge was made anew.
            new = [each.payload for each in heard if each.payload != b"far away"]
            assert new == [b"far", b"after them"], (
                "the far broker's own command, and nothing of the near one's"
            )
        async with client(far, "wall") as late, asyncio.timeout(60):
            await late.subscribe(VERDICT, qos=1)
            remembered = await anext(aiter(late.messages))
            assert remembered.retain
            assert remembered.properties.MessageExpiryInterval <= 600
