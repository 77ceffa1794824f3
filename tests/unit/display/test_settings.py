"""What may be configured of a display: never that a password crosses a network in the clear, or nobody is asked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.ports import free_port
from tests.unit.display.conftest import displayed

from octmargin.bus import BrokerSettings, TlsSettings
from octmargin.config import load_config, load_display_config
from octmargin.display import DisplaySection, check_display
from octmargin.errors import ConfigError

USERS = BrokerSettings(username="north.viewer.wall", password_file="password")  # noqa: S106 - a file's name
CERTIFICATES = BrokerSettings(tls=TlsSettings(cert_file="client.pem", key_file="client.key"))
TLS = {"certificate": "c.pem", "key": "k.pem"}
ANYWHERE = ("0.0.0.0", "::", "10.0.0.7", "display.example", "or-3")  # noqa: S104 - nothing is bound


@pytest.mark.parametrize("host", ANYWHERE)
def test_beyond_this_machine_it_needs_tls_and_a_broker_with_users(host: str) -> None:
    with pytest.raises(ConfigError, match="in the clear"):
        check_display(DisplaySection(host=host), USERS)
    with pytest.raises(ConfigError, match="knows no users"):
        check_display(DisplaySection(host=host, **TLS), BrokerSettings())
    check_display(DisplaySection(host=host, **TLS), USERS)


@pytest.mark.parametrize("host", ANYWHERE)
@pytest.mark.parametrize("broker_host", ["broker.example", "10.0.0.7"])
def test_beyond_this_machine_passwords_do_not_go_on_to_the_broker_in_the_clear(
    host: str, broker_host: str
) -> None:
    remote = msgspec.structs.replace(USERS, host=broker_host)
    with pytest.raises(
        ConfigError, match=r"go on to the broker at .* in the clear; set broker\.tls"
    ) as failed:
        check_display(DisplaySection(host=host, **TLS), remote)
    assert "\n" not in str(failed.value)
    check_display(DisplaySection(host=host, **TLS), msgspec.structs.replace(remote, tls=TlsSettings()))
    # The page goes there over TLS itself, and its users are proved there.
    check_display(DisplaySection(host=host, broker_websocket="wss://broker.example:9001", **TLS), remote)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.7"])
@pytest.mark.parametrize("websocket", ["ws://broker.example:9001", "WS://127.0.0.1:9001"])
def test_a_page_over_tls_does_not_go_to_the_broker_in_the_clear(host: str, websocket: str) -> None:
    with pytest.raises(ConfigError, match="give wss://HOST:PORT") as failed:
        check_display(DisplaySection(host=host, broker_websocket=websocket, **TLS), USERS)
    assert "\n" not in str(failed.value)
    check_display(DisplaySection(broker_websocket="ws://127.0.0.1:9001"), USERS)


@pytest.mark.parametrize("websocket", ["ws://broker.example:9001", "WS://10.0.0.7:9001"])
def test_from_a_page_of_this_machine_too_no_password_goes_to_a_broker_elsewhere_in_the_clear(
    websocket: str,
) -> None:
    for broker in (USERS, CERTIFICATES):
        with pytest.raises(ConfigError, match="passwords would cross the network") as failed:
            check_display(DisplaySection(broker_websocket=websocket), broker)
        assert "\n" not in str(failed.value)
    for secure in (
        "wss://broker.example:9001",
        "ws://127.0.0.1:9001",
        "ws://[::1]:9001",
        "ws://localhost:9001",
    ):
        check_display(DisplaySection(broker_websocket=secure), USERS)
    # Where the broker knows no users nobody has a password.
    check_display(DisplaySection(broker_websocket=websocket), BrokerSettings())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_this_machine_it_needs_neither(host: str) -> None:
    check_display(DisplaySection(host=host), BrokerSettings())


def test_where_clients_have_certificates_the_page_needs_a_way_with_passwords() -> None:
    with pytest.raises(ConfigError, match="broker_websocket"):
        check_display(DisplaySection(), CERTIFICATES)
    check_display(DisplaySection(broker_websocket="wss://broker.example:9001"), CERTIFICATES)


@pytest.mark.parametrize(
    "section",
    [
        {"certificate": "c.pem"},
        {"key": "k.pem"},
        {"broker_websocket": "https://broker.example"},
        {"broker_websocket": "wss://broker.example; script-src *"},
        {"broker_websocket": "wss://broker.example 'unsafe-inline'"},
        {"broker_websocket": "wss://user:secret@broker.example"},
        {"broker_websocket": "wss://"},
        {"broker_websocket": "wss://broker.example:99999"},
        {"url": "wss://display.example"},
        {"user": "a/b"},
        {"user": ""},
    ],
)
def test_what_cannot_be_meant_is_refused(section: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        DisplaySection(**section)


async def test_a_port_in_use_is_told_in_one_line(broker: BrokerSettings) -> None:
    async with displayed(broker) as display:
        with pytest.raises(
            ConfigError, match=rf"127\.0\.0\.1:{display.port} cannot be listened on"
        ) as failed:
            async with displayed(broker, port=display.port):
                pass
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_files_that_cannot_be_used_are_told_in_one_line(
    broker: BrokerSettings, tmp_path: Path, content: bytes | None
) -> None:
    for name in ("c.pem", "k.pem"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    files = {"certificate": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem")}
    with pytest.raises(ConfigError, match="cannot be used") as failed:
        async with displayed(broker, **files):
            pass
    assert "\n" not in str(failed.value)
    with pytest.raises(ConfigError, match="ca_file"):
        async with displayed(broker, results=None, ca_file=str(tmp_path / "none.pem")):
            pass


def written(folder: Path, text: str) -> Path:
    path = folder / "display.toml"
    path.write_text(text)
    return path


SITE = 'site = "north"\nconsole = "or-3"\n'


def test_a_display_s_file_is_enough_for_it_and_a_daemon_s_does_too(tmp_path: Path) -> None:
    port = free_port()
    short = load_display_config(written(tmp_path, f"{SITE}[broker]\nport = {port}\n"))
    assert (short.site, short.broker.port, short.display.port) == ("north", port, 8350)
    daemon = f'{SITE}[device]\ndriver = "usb"\naddress = "usb:1:2"\n[scan]\nfaces = ["superior"]\n[display]\nport = 1\n'
    path = written(tmp_path, daemon)
    assert load_display_config(path).display.port == load_config(path).display.port == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[display]\nprot = 1\n", 'unknown key "display.prot"; did you mean "port"?'),
        (
            "[scan]\npasses = 1\n",
            'unknown key "scan"; known here: broker, console, display, orientation, site',
        ),
        ('[display]\nrole = "surgeon"\n', "give one of operator, reader, viewer"),
        ('[display]\nhost = "0.0.0.0"\n', "in the clear"),
    ],
)
def test_a_mistake_in_a_display_s_file_is_told_with_its_remedy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as failed:
        load_display_config(written(tmp_path, SITE + text))
    assert words in str(failed.value)
    assert "display.toml" in str(failed.value)
