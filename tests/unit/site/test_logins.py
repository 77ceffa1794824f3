"""Who is let in, and whom clients trust: passwords, certificates, authorities, and their ends."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import msgspec
import pytest
from tests.conftest import needs_program
from tests.ports import free_port
from tests.unit.bus.examples import flag

from octmargin.bus.connection import BrokerSettings, Connector, TlsSettings
from octmargin.bus.events import FlagReceived, StateChanged
from octmargin.bus.publisher import Publisher
from octmargin.bus.subscriber import Subscriber
from octmargin.bus.topics import Topics
from octmargin.errors import BrokerError
from octmargin.site.certificates import Authority, certificate_pem, load_key
from octmargin.site.passwords import new_password, password_line
from octmargin.site.settings import Auth

from .conftest import HOST, USERS, Prepared, again, days_from_now, prepared

CONSOLE = USERS["or-1"]


async def enter(settings: BrokerSettings) -> None:
    """Be a console for a moment."""
    async with Publisher(settings, Topics("north", "or-1")):
        pass


async def test_publisher_and_subscriber_work_through_it(broker: Prepared) -> None:
    topics = Topics("north", "or-1")
    async with (
        Subscriber(broker.settings(USERS["wall"]), topics) as events,
        Publisher(broker.settings(CONSOLE), topics) as publisher,
    ):
        publisher.set_state("ready")
        publisher.publish_flag(flag(7, acquired_at=datetime.now(UTC)))
        assert await publisher.drain(10)
        seen = set()
        async with asyncio.timeout(60):
            async for event in events:
                seen.add(event.state if isinstance(event, StateChanged) else type(event))
                if {"ready", FlagReceived} <= seen:
                    break


async def test_the_terminal_subscriber_reaches_it(broker: Prepared) -> None:
    settings = broker.settings(USERS["anna"])
    assert settings.tls is not None
    given = {
        "--port": str(settings.port),
        "--username": settings.username,
        "--password-file": settings.password_file,
        "--ca-file": settings.tls.ca_file,
        "--cert-file": settings.tls.cert_file,
        "--key-file": settings.tls.key_file,
    }
    options = [word for option, value in given.items() if value for word in (option, value)]
    async with Publisher(broker.settings(CONSOLE), Topics("north", "or-1")) as publisher:
        publisher.set_state("ready")
        for seconds in ("1", "20"):
            watching = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "octmargin", "watch", "--site", "north", "--console", "or-1"),
                *("--seconds", seconds),
                *options,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            said, complaints = await asyncio.wait_for(watching.communicate(), 60)
            if b"ready" in said:
                break  # else it was not connected in time
    assert (watching.returncode, complaints) == (0, b"")
    assert b"ready" in said


async def test_a_killed_console_is_declared_lost(broker: Prepared) -> None:
    program = """
import asyncio, sys
import msgspec
from octmargin.bus.connection import BrokerSettings
from octmargin.bus.publisher import Publisher
from octmargin.bus.topics import Topics
async def main():
    settings = msgspec.json.decode(sys.argv[1], type=BrokerSettings)
    async with Publisher(settings, Topics("north", "or-3")) as publisher:
        publisher.set_state("ready")
        await asyncio.Event().wait()
asyncio.run(main())
"""
    arguments = msgspec.json.encode(broker.settings(USERS["or-3"])).decode()
    async with Subscriber(broker.settings(USERS["anna"]), Topics("north", "or-3")) as events:
        daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", program, arguments)
        async with asyncio.timeout(60):
            async for event in events:
                if isinstance(event, StateChanged) and event.state == "ready":
                    daemon.kill()
                if isinstance(event, StateChanged) and event.state == "lost":
                    break
        await daemon.wait()


@pytest.mark.parametrize("who", ["anna", "rita", "wall"])
async def test_a_browser_logs_in_over_websockets_with_a_password(broker: Prepared, who: str) -> None:
    folder = broker.client_folder(USERS[who])
    browser = aiomqtt.Client(
        HOST,
        broker.websocket_port,
        transport="websockets",
        username=USERS[who].username,
        password=(folder / "password").read_text().strip(),
        tls_context=ssl.create_default_context(cafile=folder / "ca.pem"),
        timeout=5,
    )
    async with browser, Connector(broker.settings(CONSOLE)).client(None) as console:
        await browser.subscribe("octmargin/1/north/+/flag", qos=1)
        await console.publish("octmargin/1/north/or-1/flag", b"seen", qos=1)
        message = await asyncio.wait_for(anext(aiter(browser.messages)), 60)
    assert message.payload == b"seen"


async def test_a_browser_without_password_is_refused(broker: Prepared) -> None:
    trusted = ssl.create_default_context(cafile=broker.folder / "broker" / "ca.pem")
    for credentials in ({}, {"username": USERS["wall"].username, "password": "guess"}):
        with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori[sz]ed"):
            async with aiomqtt.Client(
                HOST,
                broker.websocket_port,
                transport="websockets",
                tls_context=trusted,
                timeout=5,
                **credentials,
            ):
                pass


async def test_without_tls_there_is_no_way_in(broker: Prepared) -> None:
    with pytest.raises(BrokerError, match="no MQTT broker"):
        await enter(broker.settings(CONSOLE, tls=None, timeout_s=1.0))


async def test_nobody_is_let_in_without_a_name(broker_with_passwords: Prepared) -> None:
    with pytest.raises(BrokerError, match="refuses a client without user name"):
        await enter(broker_with_passwords.settings(CONSOLE, username="", password_file=""))


async def test_a_wrong_password_is_refused(broker_with_passwords: Prepared, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("guess\n")
    with pytest.raises(BrokerError, match=r"refuses user 'north.console.or-1'"):
        await enter(broker_with_passwords.settings(CONSOLE, password_file=str(wrong)))


async def test_a_password_of_another_user_is_refused(broker_with_passwords: Prepared) -> None:
    other = broker_with_passwords.client_folder(USERS["s-or-1"]) / "password"
    with pytest.raises(BrokerError, match=r"refuses user 'north.console.or-1'"):
        await enter(broker_with_passwords.settings(CONSOLE, password_file=str(other)))


def test_mosquitto_takes_a_password_that_it_hashed_itself_for_the_same(tmp_path: Path) -> None:
    """Its own tool and we turn the same password and salt into the same line."""
    file, password = tmp_path / "passwords", new_password()
    subprocess.run(
        [needs_program("mosquitto_passwd"), "-c", "-b", file, "north.console.or-1", password], check=True
    )
    line = file.read_text().strip()
    salt = base64.b64decode(line.split("$")[3])
    assert password_line("north.console.or-1", password, salt=salt) == line


async def test_a_broker_of_another_authority_is_not_trusted(broker: Prepared, tmp_path: Path) -> None:
    other = prepared(tmp_path / "other")
    settings = broker.settings(CONSOLE)
    assert settings.tls is not None
    stranger = TlsSettings(
        ca_file=str(other.folder / "authority" / "ca.pem"),
        cert_file=settings.tls.cert_file,
        key_file=settings.tls.key_file,
    )
    with pytest.raises(
        BrokerError, match=r"cannot be trusted \(.*certificate verify failed.*check broker\.tls"
    ):
        await enter(broker.settings(CONSOLE, tls=stranger))


async def test_a_broker_under_a_name_that_its_certificate_lacks_is_not_trusted(broker: Prepared) -> None:
    with pytest.raises(
        BrokerError, match=r"cannot be trusted \(.*certificate verify failed.*check broker\.tls"
    ):
        await enter(broker.settings(CONSOLE, host="127.0.0.2"))
    await enter(broker.settings(CONSOLE, host="localhost"))


async def test_a_brokers_certificate_that_is_over_is_not_trusted(tmp_path: Path) -> None:
    old = prepared(tmp_path / "broker", now=days_from_now(-10), days=9)
    with (
        old.running(),
        pytest.raises(BrokerError, match=r"cannot be trusted \(.*certificate has expired.*until when"),
    ):
        await enter(old.settings(CONSOLE))


async def test_a_brokers_certificate_that_does_not_hold_yet_is_not_trusted(tmp_path: Path) -> None:
    """A clock that is wrong, ours or the authority's, is told and not passed over."""
    early = prepared(tmp_path / "broker", now=days_from_now(10))
    with (
        early.running(),
        pytest.raises(BrokerError, match=r"cannot be trusted \(.*certificate is not yet valid.*until when"),
    ):
        await enter(early.settings(CONSOLE))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_the_broker_speaks_nothing_below_tls_1_2(broker: Prepared, version: ssl.TLSVersion) -> None:
    for port in (broker.port, broker.websocket_port):
        with pytest.raises(ssl.SSLError, match=r"(?i)alert|unsupported protocol"):
            shake_hands(broker, port, version)
        assert shake_hands(broker, port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"


def shake_hands(broker: Prepared, port: int, version: ssl.TLSVersion) -> str | None:
    """Greet the broker in one version of TLS alone, old ciphers and signatures allowed; gives what was agreed on."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context = ssl.create_default_context(cafile=broker.folder / "broker" / "ca.pem")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    own = broker.settings(CONSOLE).tls
    assert own is not None
    if own.cert_file:
        context.load_cert_chain(own.cert_file, own.key_file)
    with (
        socket.create_connection((HOST, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secured,
    ):
        return secured.version()


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
async def test_a_broker_that_speaks_nothing_better_than_tls_1_1_is_not_trusted(
    tmp_path: Path, option: str
) -> None:
    """Whoever stands in the way cannot talk us down to what is broken."""
    ready, port = prepared(tmp_path / "broker"), free_port()
    server = await asyncio.create_subprocess_exec(
        *(
            needs_program("openssl"),
            "s_server",
            "-accept",
            f"{HOST}:{port}",
            option,
            "-cipher",
            "ALL:@SECLEVEL=0",
        ),
        *("-cert", ready.folder / "broker" / "broker.pem", "-key", ready.folder / "broker" / "broker.key"),
        stdin=asyncio.subprocess.PIPE,  # it ends with its input
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(60):
            while b"ACCEPT" not in await server.stdout.readline():
                pass
        with pytest.raises(BrokerError, match=r"cannot be trusted \(.*(version|unsupported protocol)"):
            await enter(ready.settings(CONSOLE, port=port, timeout_s=2.0))
    finally:
        server.kill()
        await server.communicate()


@pytest.fixture
def with_certificates(tmp_path: Path) -> Prepared:
    return prepared(tmp_path / "broker", Auth.CERTIFICATES)


REFUSED = r"no MQTT broker at .* or check broker\.tls: a broker may refuse a certificate"


async def test_without_a_certificate_there_is_no_way_in(with_certificates: Prepared) -> None:
    ca_file = str(with_certificates.folder / "broker" / "ca.pem")
    with with_certificates.running(), pytest.raises(BrokerError, match=REFUSED):
        await enter(with_certificates.settings(CONSOLE, tls=TlsSettings(ca_file=ca_file), timeout_s=2.0))


async def test_a_clients_certificate_of_another_authority_is_refused(
    with_certificates: Prepared, tmp_path: Path
) -> None:
    other = prepared(tmp_path / "other", Auth.CERTIFICATES).client_folder(CONSOLE)
    stranger = TlsSettings(
        ca_file=str(with_certificates.folder / "broker" / "ca.pem"),
        cert_file=str(other / "client.pem"),
        key_file=str(other / "client.key"),
    )
    with with_certificates.running(), pytest.raises(BrokerError, match=REFUSED):
        await enter(with_certificates.settings(CONSOLE, tls=stranger, timeout_s=2.0))


async def test_a_clients_certificate_that_is_over_is_refused_and_renewed(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES, now=days_from_now(-10), days=9)
    # The broker's own certificate, which is over too, is renewed first, so that only the client's is tested.
    client = broker.client_folder(CONSOLE) / "client.pem"
    old = client.read_bytes()
    again(broker, renew=True)
    new = client.read_bytes()
    client.write_bytes(old)
    with broker.running():
        with pytest.raises(BrokerError, match=REFUSED):
            await enter(broker.settings(CONSOLE, timeout_s=2.0))
        client.write_bytes(new)
        await enter(broker.settings(CONSOLE))


async def test_a_clients_certificate_that_does_not_hold_yet_is_refused(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES)
    client = broker.client_folder(CONSOLE) / "client.pem"
    key, now = load_key(broker.client_folder(CONSOLE) / "client.key"), client.read_bytes()
    authority = Authority.load(broker.folder / "authority" / "ca.pem", broker.folder / "authority" / "ca.key")
    early = authority.sign_client(key.public_key(), CONSOLE.username, 100, days_from_now(10))
    with broker.running():
        client.write_bytes(certificate_pem(early))
        with pytest.raises(BrokerError, match=REFUSED):
            await enter(broker.settings(CONSOLE, timeout_s=2.0))
        client.write_bytes(now)
        await enter(broker.settings(CONSOLE))


async def test_a_clients_certificate_does_not_do_for_a_broker(with_certificates: Prepared) -> None:
    """A console that is taken over cannot pose as the broker."""
    console = with_certificates.client_folder(CONSOLE)
    for ours, theirs in (("client.pem", "broker.pem"), ("client.key", "broker.key")):
        (with_certificates.folder / "broker" / theirs).write_bytes((console / ours).read_bytes())
    with (
        with_certificates.running(),
        pytest.raises(
            BrokerError, match=r"cannot be trusted \(.*certificate verify failed.*check broker\.tls"
        ),
    ):
        await enter(with_certificates.settings(CONSOLE))


async def test_a_user_whose_lines_were_deleted_has_no_rights(with_certificates: Prepared) -> None:
    access = with_certificates.folder / "broker" / "acl"
    text = access.read_text()
    access.write_text(text.replace("user north.console.or-1\ntopic readwrite octmargin/1/north/or-1/#\n", ""))
    with with_certificates.running(), pytest.raises(BrokerError, match=r"refuses|right to write and read"):
        await enter(with_certificates.settings(CONSOLE, timeout_s=3.0))
