"""Opening a serial line: a port of this machine, one behind a terminal server, or any URL that pyserial opens.

Addresses: `/dev/ttyUSB0`, `socket://HOST:PORT` (plain TCP), `rfc2217://HOST:PORT`, ..., with options behind it:
`?baud=N&flow=none|rtscts`, and those that pyserial knows for the URL, such as `ign_set_control` of RFC 2217.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import termios
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import serial

from octmargin.errors import ConfigError, DeviceBusyError, DeviceError, DeviceNotFoundError

DEFAULT_BAUD = 3_000_000
_POLL_S = 0.1
_WRITE_TIMEOUT_S = 2.0
_CONNECT_TIMEOUT_S = 5.0
_READ_BYTES = 65536
_TCP = "socket://"
_FLOWS = ("none", "rtscts")


class Port(Protocol):
    """Bytes to and from the other end; one thread reads while others write."""

    def receive(self) -> bytes:
        """What has come, as soon as anything has; empty after a tenth of a second without. Raises when it is gone."""

    def send(self, data: bytes) -> None:
        """Write everything; raises when it is gone, or takes nothing for two seconds."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class SerialAddress:
    """A parsed address."""

    url: str
    baud: int = DEFAULT_BAUD
    rtscts: bool = False

    @classmethod
    def parse(cls, address: str) -> SerialAddress:
        """ConfigError names the option that is not understood."""
        url, _, query = address.partition("?")
        if not url:
            raise ConfigError('serial address is empty; write a port such as "/dev/ttyUSB0?baud=3000000"')
        options = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        if query and not options:
            raise _not_understood(address, query)
        baud, flow = options.pop("baud", str(DEFAULT_BAUD)), options.pop("flow", "none")
        if "://" in url and options:
            # pyserial's own, of the URL's scheme.
            url += "?" + "&".join(f"{key}={value}" if value else key for key, value in options.items())
        elif options:
            raise _not_understood(address, next(iter(options)))
        if not (baud.isascii() and baud.isdecimal()) or int(baud) == 0:
            raise _not_understood(address, f"baud={baud}")
        if flow not in _FLOWS:
            raise _not_understood(address, f"flow={flow}")
        if url.startswith(_TCP):
            _endpoint(address, url)
        return cls(url, int(baud), flow == "rtscts")


def open_port(address: str) -> Port:
    """Open the line; ConfigError for an address that is none, else errors under DeviceError."""
    parsed = SerialAddress.parse(address)
    if parsed.url.startswith(_TCP):
        return _TcpPort(address, parsed.url)
    try:
        port = serial.serial_for_url(
            parsed.url, baudrate=parsed.baud, rtscts=parsed.rtscts, timeout=_POLL_S, do_not_open=True
        )
        if not parsed.url.startswith("rfc2217://"):
            port.write_timeout = _WRITE_TIMEOUT_S
        if "://" not in parsed.url:
            port.exclusive = True
    except serial.SerialException as error:
        raise _open_error(address, error) from error
    except ValueError as error:
        raise ConfigError(
            f'serial address "{address}": {error}; write a port such as /dev/ttyUSB0'
        ) from error
    try:
        port.open()
    except (OSError, termios.error, ValueError) as error:
        # Whatever the line or its terminal server says now, it may say otherwise when it is asked again.
        raise _open_error(address, error) from error
    return _SerialPort(port)


class _SerialPort:
    """A port that pyserial opened."""

    def __init__(self, port: serial.Serial) -> None:
        self._port = port

    def receive(self) -> bytes:
        return bytes(self._port.read(min(max(1, self._port.in_waiting), _READ_BYTES)))

    def send(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        self._port.close()


class _TcpPort:
    """A terminal server's plain TCP port: pyserial would read it a byte at a time."""

    def __init__(self, address: str, url: str) -> None:
        host, port = _endpoint(address, url)
        try:
            self._socket = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise DeviceNotFoundError(
                f"{address}: cannot be opened: {error.strerror or error}; is the terminal server on?"
            ) from error
        except UnicodeError as error:
            raise ConfigError(
                f'serial address "{address}": "{host}" is no host; write socket://HOST:PORT'
            ) from error
        self._socket.settimeout(_WRITE_TIMEOUT_S)
        # Not `select`, which knows no file number above 1023.
        self._arrivals = select.poll()
        self._arrivals.register(self._socket, select.POLLIN)

    def receive(self) -> bytes:
        if not self._arrivals.poll(1000 * _POLL_S):
            return b""
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the terminal server has closed the connection")
        return data

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        # So that the terminal server lets go of the console at once.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _endpoint(address: str, url: str) -> tuple[str, int]:
    where = urlsplit(url)
    try:
        host, port = where.hostname, where.port
    except ValueError:
        host = port = None
    if not host or not port or where.path not in ("", "/"):
        raise ConfigError(f'serial address "{address}": write socket://HOST:PORT')
    return host, port


def _not_understood(address: str, option: str) -> ConfigError:
    return ConfigError(
        f'serial address "{address}": "{option}" is not understood; write ?baud=3000000 and, if the line has it, '
        "&flow=rtscts"
    )


def _open_error(address: str, error: Exception) -> DeviceError:
    number, text = getattr(error, "errno", None), str(error)
    if isinstance(error, termios.error):
        number, text = error.args
    if number == errno.ENOENT or "No such file" in text:
        return DeviceNotFoundError(f"{address}: no such port; check the cable and `octmargin devices`")
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK) or "exclusively lock" in text:
        return DeviceBusyError(
            f"{address}: in use by another program; stop it (another octmargin run?) and try again"
        )
    if number == errno.EACCES:
        return DeviceError(
            f"{address}: this user may not open the port; add the user to the group that owns it"
        )
    return DeviceNotFoundError(
        f"{address}: cannot be opened: {text}; check cable, power and the address's options"
    )
