"""The `[display]` table of the configuration."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from octmargin.bus import BrokerSettings
from octmargin.bus.topics import require_name
from octmargin.errors import ConfigError

DisplayRole = Literal["operator", "reader", "viewer"]


class DisplaySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the display is served, and to whom. `ConfigError` where values contradict each other.

    `user` and `role` are who the page commands as where the broker knows no users. `url` is how other machines reach
    this server, made from host and port where it is empty. `broker_websocket` is the broker's own WebSocket listener,
    for the page to go there directly.
    """

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8350
    certificate: str = ""
    key: str = ""
    user: str = "local"
    role: DisplayRole = "reader"
    url: str = ""
    ca_file: str = ""
    """Authority of the certificate of the daemon's own display, for one that is served elsewhere."""
    broker_websocket: str = ""
    bscans_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 512
    """Memory for B-scans."""
    photo_folder: str = ""
    """Where photos of specimens are kept beyond the end of the daemon; empty: nowhere."""
    pedal_key: Annotated[str, msgspec.Meta(min_length=1, max_length=32)] = "F9"

    def __post_init__(self) -> None:
        require_name("display.user", self.user)
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("display.certificate and display.key belong together; set both or neither")
        if self.broker_websocket:
            _check_url("broker_websocket", self.broker_websocket, ("ws", "wss"))
        if self.url:
            _check_url("url", self.url, ("http", "https"))

    @property
    def is_local(self) -> bool:
        """Whether nobody beyond this machine can reach it."""
        return is_loopback(self.host)

    @property
    def has_tls(self) -> bool:
        """Whether it is served over TLS."""
        return bool(self.certificate)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def has_users(broker: BrokerSettings) -> bool:
    """Whether the broker is one that wants to know who somebody is."""
    return bool(broker.username) or (broker.tls is not None and bool(broker.tls.cert_file))


def check_display(section: DisplaySection, broker: BrokerSettings) -> None:
    """`ConfigError` where the display must not be served like this, or its page would not reach the broker."""
    if not section.is_local:
        where = f"display.host is {section.host}, which other machines reach"
        if not section.has_tls:
            raise ConfigError(
                f"{where}, and passwords would cross the network in the clear; set display.certificate and "
                "display.key, or display.host to 127.0.0.1"
            )
        if not has_users(broker):
            raise ConfigError(
                f"{where}, and the broker knows no users to log in as; set broker.username and broker.password_file "
                "(`octmargin broker init` makes them), or display.host to 127.0.0.1"
            )
        if broker.tls is None and not is_loopback(broker.host) and not section.broker_websocket:
            raise ConfigError(
                f"{where}, and passwords would go on to the broker at {broker.address} in the clear; set broker.tls"
            )
    if section.has_tls and urlsplit(section.broker_websocket).scheme == "ws":
        raise ConfigError(
            f'display.broker_websocket is "{section.broker_websocket}", and no browser goes there in the clear from a '
            "page that came over TLS; give wss://HOST:PORT, or leave it out"
        )
    websocket = urlsplit(section.broker_websocket)
    if has_users(broker) and websocket.scheme == "ws" and not is_loopback(websocket.hostname or ""):
        raise ConfigError(
            f'display.broker_websocket is "{section.broker_websocket}", and passwords would cross the network to it in '
            "the clear; give wss://HOST:PORT, or leave it out"
        )
    if broker.tls is not None and broker.tls.cert_file and not section.broker_websocket:
        raise ConfigError(
            "the broker knows its clients by certificates, and a browser has a password; set "
            "display.broker_websocket to its WebSocket listener, such as wss://broker.example:9001"
        )


def _check_url(key: str, url: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    # It becomes part of a header, the page's Content-Security-Policy.
    if not usable or parts.username or parts.query or parts.fragment or not _is_plain(url):
        wanted = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
        raise ConfigError(f'display.{key} is "{url}"; give {wanted}')


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and not set(url) & set(" ;,'\"")
