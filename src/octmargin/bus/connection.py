"""How to reach the MQTT broker, and what to tell a person when it cannot be reached."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Annotated

import aiomqtt
from msgspec import Meta, Struct
from paho.mqtt.reasoncodes import ReasonCode

from octmargin.bus.client import Client
from octmargin.errors import BrokerError, BrokerUnreachableError, ConfigError

Seconds = Annotated[float, Meta(gt=0)]

_SOCKET_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""Small messages leave at once: with Nagle's algorithm each waits for the acknowledgement of the one before it, which a
host at the other end may hold back for 40 ms."""
NOT_AUTHORISED = (134, 135)
"""MQTT 5 reason codes of CONNACK: bad user name or password; not authorised."""


class TlsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Files for TLS, PEM. Without `ca_file` the system's authorities are trusted."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class BrokerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the broker is and how much may wait for it.

    `outbox_file` keeps flags and verdicts that wait beyond the end of the daemon, and lets it start without a broker;
    `outbox_file_frames` flag messages may wait in it, `outbox_frames` of them in memory. Without it all wait in memory.
    `retained_expiry` false leaves what the broker remembers without an expiry: for the embedded broker, which takes a
    message's age off again for each subscriber that comes; displays go by `valid_until` anyway.
    `client_id` empty: made from site and console, so that a restarted daemon takes over from its
    predecessor instead of being declared lost by the predecessor's late last will.
    """

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    username: str = ""
    password_file: str = ""
    tls: TlsSettings | None = None
    keepalive_s: Annotated[int, Meta(ge=1, le=65535)] = 5
    timeout_s: Seconds = 5.0
    client_id: str = ""
    retained_expiry: bool = True
    outbox_frames: Annotated[int, Meta(ge=1)] = 2048
    outbox_file: str = ""
    outbox_file_frames: Annotated[int, Meta(ge=1)] = 100_000
    reconnect_min_s: Seconds = 0.25
    reconnect_max_s: Seconds = 5.0

    @property
    def address(self) -> str:
        """`host:port`, for people."""
        return f"{self.host}:{self.port}"

    def backoff_s(self, attempt: int) -> float:
        """Pause before reconnection attempt `attempt` (0, 1, ...): doubles up to the maximum."""
        return min(self.reconnect_max_s, self.reconnect_min_s * 2.0 ** min(attempt, 32))


class Connector:
    """Makes clients for one broker. Files are read once, here; `ConfigError` where one cannot be used."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self._password = _read_password(settings)
        self._tls_context = _tls_context(settings.tls)

    def client(self, identifier: str | None, will: aiomqtt.Will | None = None, window: int = 10) -> Client:
        """Fresh client, MQTT 5, not yet connected: enter it; `window` publishes may be under way at once."""
        client = Client(
            self.settings.host,
            self.settings.port,
            username=self.settings.username or None,
            password=self._password,
            protocol=aiomqtt.ProtocolVersion.V5,
            identifier=identifier,
            will=will,
            keepalive=self.settings.keepalive_s,
            timeout=self.settings.timeout_s,
            max_inflight_messages=window,
            socket_options=_SOCKET_OPTIONS,
            tls_context=self._tls_context,
        )
        client.pending_calls_threshold = window
        return client

    def explain(self, error: BaseException) -> BrokerError:
        """One line for a failure to connect: what was tried, why it failed, what to do."""
        settings = self.settings
        if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
            reason = str(error.rc)
            if error.rc.value in NOT_AUTHORISED:
                who = f"user {settings.username!r}" if settings.username else "a client without user name"
                return BrokerError(
                    f"the MQTT broker at {settings.address} refuses {who} ({reason}); "
                    "check broker.username and broker.password_file"
                )
            return BrokerError(
                f"the MQTT broker at {settings.address} refuses the connection ({reason}); check its log"
            )
        reason = " ".join(str(error).split())
        if isinstance(error.__context__, ssl.SSLError):
            return BrokerUnreachableError(
                f"the MQTT broker at {settings.address} cannot be trusted ({reason}); "
                "check broker.tls.ca_file, and for which hosts and until when the broker's certificate holds"
            )
        # A broker that refuses our certificate says so when TLS 1.3 is up already, and then only hangs up.
        remedy = ", or check broker.tls: a broker may refuse a certificate" if settings.tls else ""
        return BrokerUnreachableError(
            f"no MQTT broker at {settings.address} ({reason}); start one or set broker.host/broker.port{remedy}"
        )


def check_credentials(settings: BrokerSettings) -> None:
    """`ConfigError` where a password or certificate file cannot be used; connects to nothing."""
    _read_password(settings)
    _tls_context(settings.tls)


def _read_password(settings: BrokerSettings) -> str | None:
    if not settings.password_file:
        return None
    if not settings.username:
        raise ConfigError("broker.password_file is set but broker.username is not; set both or neither")
    path = Path(settings.password_file)
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"broker.password_file {str(path)!r} cannot be read ({_reason(error)}); "
            "name a text file with the password in its first line"
        ) from None


def server_trust(tls: TlsSettings | None) -> ssl.SSLContext | None:
    """TLS to the broker for somebody else: the broker is checked, and no certificate of ours is shown.

    None without TLS; `ConfigError` where the authority's file cannot be used.
    """
    return _tls_context(None if tls is None else TlsSettings(ca_file=tls.ca_file))


class _ClosedWhereRefused(ssl.SSLSocket):
    """Closes where the handshake fails: paho lets such a socket go open, and each attempt would hold one more."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            with contextlib.suppress(OSError):
                self.close()
            raise


def _tls_context(tls: TlsSettings | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        context.sslsocket_class = _ClosedWhereRefused
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None)
    except OSError as error:
        files = ", ".join(repr(name) for name in (tls.ca_file, tls.cert_file, tls.key_file) if name)
        raise ConfigError(
            f"broker.tls: {files} cannot be used ({_reason(error)}); "
            "name PEM files that exist and belong together"
        ) from None
    return context


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
