"""A broker of our own for demonstrations, tests and single-machine use: rumqttd in a child process."""

from __future__ import annotations

import ipaddress
import signal
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import iotcore

from octmargin.errors import BrokerError

MAX_PAYLOAD_BYTES = 1 << 20

_START_ATTEMPTS = 5
"""A free port can be taken by someone else between finding it and listening on it."""

_HEAD = """\
id = 0

[router]
id = 0
max_connections = 200
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
"""

_LISTENER = """
[{section}.1]
name = "{section}"
listen = "{address}"
next_connection_delay_ms = 1
    [{section}.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = {max_payload_bytes}
    max_inflight_count = 200
    dynamic_filters = true
"""


class EmbeddedBroker:
    """MQTT 5 broker on `host:port` while entered, and MQTT 3.1.1 over WebSockets on `websocket_port`.

    Port 0 takes a free one. Entering blocks until it listens, a second at most as a rule: in asyncio,
    enter it in a thread. It keeps nothing on disk, knows no passwords, and ends with this process. Since whoever
    reaches it may say anything, it listens on this machine alone. `BrokerError` says why it cannot start.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, websocket_port: int | None = None) -> None:
        self.host = host
        self.port = port
        self.websocket_port = websocket_port
        self._broker: iotcore.Broker | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        wanted = (self.port, self.websocket_port)
        any_free_port = 0 in wanted
        for attempt in range(_START_ATTEMPTS):
            try:
                self.port, self.websocket_port = self._choose_ports(*wanted)
                self._start()
            except OSError as error:
                if any_free_port and attempt + 1 < _START_ATTEMPTS:
                    continue
                self.close()
                raise self._cannot_listen(error) from None
            except RuntimeError as error:
                self.close()
                raise BrokerError(
                    f"the embedded broker on {self._ports()} of {self.host} did not start ({error}); "
                    "run an MQTT 5 broker such as mosquitto and set broker.host/broker.port"
                ) from None
            break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        """False too where its process ended by itself."""
        return self._broker is not None and self._broker.is_running

    def close(self) -> None:
        """Stop the broker and free its ports; harmless when it does not run."""
        if self._broker is not None:
            self._broker.stop()
            self._broker = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> None:
        address = _ip_address(self.host)
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="octmargin-broker-")
        config = Path(self._folder.name) / "rumqttd.toml"
        config.write_text(_config(address, self.port, self.websocket_port), encoding="utf-8")
        # Ctrl-C in a terminal goes to every process there; the broker must outlive those that still talk to it,
        # so its process is started with the signal blocked, and ends when it is told to.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._broker = iotcore.Broker(config_path=str(config)).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _choose_ports(self, port: int, websocket_port: int | None) -> tuple[int, int | None]:
        self._require_this_machine()
        return (
            port or _free_port(self.host),
            _free_port(self.host) if websocket_port == 0 else websocket_port,
        )

    def _require_this_machine(self) -> None:
        if not ipaddress.ip_address(_ip_address(self.host).strip("[]")).is_loopback:
            raise BrokerError(
                f"the embedded broker has neither users nor rights, and {self.host} can be reached from elsewhere; "
                "set broker.host to 127.0.0.1, or run a broker such as mosquitto (`octmargin broker init`)"
            )

    def _cannot_listen(self, error: OSError) -> BrokerError:
        if isinstance(error, socket.gaierror):
            return BrokerError(
                f"the embedded broker cannot listen on {self.host!r} ({error}); set broker.host"
            )
        return BrokerError(
            f"the embedded broker cannot listen on {self._ports()} of {self.host} "
            f"({error}); stop the program that uses it or set broker.port"
        )

    def _ports(self) -> str:
        return f"port {self.port}" + (f" or {self.websocket_port}" if self.websocket_port else "")


def _config(address: str, port: int, websocket_port: int | None) -> str:
    sections = [("v5", port)] + ([("ws", websocket_port)] if websocket_port else [])
    return _HEAD + "".join(
        _LISTENER.format(section=name, address=f"{address}:{number}", max_payload_bytes=MAX_PAYLOAD_BYTES)
        for name, number in sections
    )


def _ip_address(host: str) -> str:
    """Look up the IPv4 or bracketed IPv6 address of `host`: rumqttd takes no names."""
    address = ipaddress.ip_address(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    return f"[{address}]" if address.version == 6 else str(address)


def _free_port(host: str) -> int:
    family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])
