"""Whether somebody is who he says he is: the broker knows, so it is asked, by connecting to it as him."""

from __future__ import annotations

import ssl
from enum import Enum, auto
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from octmargin.bus import BrokerSettings
from octmargin.bus.client import Client
from octmargin.bus.connection import NOT_AUTHORISED, server_trust

_WEBSOCKET_PORTS = {"ws": 80, "wss": 443}


class Proof(Enum):
    """What the broker says."""

    IS_RIGHT = auto()
    IS_WRONG = auto()
    NO_ANSWER = auto()
    """It could not be asked: that is neither."""


class Prover:
    """Asks one broker, at its WebSocket listener where browsers are to go there. `ConfigError` for its files."""

    def __init__(self, broker: BrokerSettings, broker_websocket: str) -> None:
        self._broker = broker
        # Whoever asks must not pass for this daemon: its certificate is not shown.
        self._tls = server_trust(broker.tls)
        self._websocket = urlsplit(broker_websocket) if broker_websocket else None

    async def prove(self, user: str, password: str) -> Proof:
        """Connect as `user`, and leave again at once."""
        try:
            async with self._client(user, password):
                return Proof.IS_RIGHT
        except aiomqtt.MqttCodeError as error:
            is_refused = isinstance(error.rc, ReasonCode) and error.rc.value in NOT_AUTHORISED
            return Proof.IS_WRONG if is_refused else Proof.NO_ANSWER
        except (aiomqtt.MqttError, OSError, ValueError):
            return Proof.NO_ANSWER

    def _client(self, user: str, password: str) -> Client:
        host, port, over, path, tls = self._broker.host, self._broker.port, "tcp", None, self._tls
        if self._websocket is not None:
            scheme = self._websocket.scheme
            host = self._websocket.hostname or host
            port = self._websocket.port or _WEBSOCKET_PORTS[scheme]
            over, path = "websockets", self._websocket.path or "/mqtt"
            tls = (tls or ssl.create_default_context()) if scheme == "wss" else None
        return Client(
            host,
            port,
            username=user,
            password=password,
            protocol=aiomqtt.ProtocolVersion.V5,
            transport=over,
            websocket_path=path,
            tls_context=tls,
            timeout=self._broker.timeout_s,
        )
