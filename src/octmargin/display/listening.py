"""The display's server in an event loop that is not its own: it listens, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from octmargin.display.protocols import Http, WebSocket
from octmargin.display.settings import DisplaySection
from octmargin.errors import ConfigError

MOST_CONNECTIONS, MOST_OF_ONE_ADDRESS = 256, 128
"""At once, be they up to anything or not: each takes a file of the process, which has others to open."""
MAX_MESSAGE_BYTES = 1 << 20
"""Of one WebSocket frame from a browser; the broker takes no larger message either."""
_MAX_HEADER_BYTES = 16_384
_PING_S = 10.0
_ROUNDS = 5
"""Of the event loop, in which what was aborted closes its sockets."""
_STOP_S = 0.5
"""So long the end waits for the server, and for requests that were cancelled."""


def check_serving(section: DisplaySection) -> None:
    """`ConfigError` where the display cannot be served: the address is in use, or the certificate no good."""
    _tls_context(section)
    _listen(section).close()


@contextlib.asynccontextmanager
async def listening(
    section: DisplaySection, app: ASGIApp, on_fault: Callable[[str], None]
) -> AsyncIterator[int]:
    """Listen while entered; gives the port. `ConfigError` where that cannot be, `on_fault` where it ends by itself."""
    tls = _tls_context(section)
    listener = await asyncio.to_thread(_listen, section)
    server = _Server(_configuration(app, tls))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="display")
    is_ending = False

    def ended(task: asyncio.Task[None]) -> None:
        if not is_ending:
            error = None if task.cancelled() else task.exception()
            on_fault(f"the display is not served any more: {error or 'its server ended'}")

    task.add_done_callback(ended)
    try:
        yield listener.getsockname()[1]
    finally:
        is_ending = True
        await server.end(task)


class _Server(uvicorn.Server):
    """uvicorn's, without its signal handlers, and with an end that comes in time."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever owns the loop."""
        yield

    async def end(self, task: asyncio.Task[None]) -> None:
        """Stop listening, close every connection, and wait for it, but not for long."""
        # Forced: it would look every tenth of a second whether all connections have ended.
        self.should_exit = self.force_exit = True
        await asyncio.wait((task,), timeout=_STOP_S)
        under_way = list(self.server_state.tasks)
        for request in under_way:
            request.cancel()
        # A browser that takes nothing, or does not say goodbye, would hold up the end.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.wait((task, *under_way), timeout=_STOP_S)
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)


class _Listener(socket.socket):
    """Takes no more connections than there may be; one too many is closed at once."""

    def __init__(self, listener: socket.socket) -> None:
        """Listen in its place."""
        super().__init__(fileno=listener.detach())
        self._accepted: list[tuple[socket.socket, str]] = []
        """Connections, and the address that each came from; those that were closed since among them."""

    def accept(self) -> tuple[socket.socket, Any]:
        """As its base; BlockingIOError, as where nobody came, after one too many."""
        connection, address = super().accept()
        came_from = str(address[0])
        self._accepted = [(each, where) for each, where in self._accepted if each.fileno() >= 0]
        of_this = sum(where == came_from for _, where in self._accepted)
        if len(self._accepted) >= MOST_CONNECTIONS or of_this >= MOST_OF_ONE_ADDRESS:
            connection.close()
            raise BlockingIOError
        self._accepted.append((connection, came_from))
        return connection, address


def _configuration(app: ASGIApp, tls: ssl.SSLContext | None) -> uvicorn.Config:
    configuration = uvicorn.Config(
        app,
        http=Http,
        ws=WebSocket,
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        # Nobody may say that he is somebody else.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        ws_per_message_deflate=False,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    configuration.load()
    return configuration


def _tls_context(section: DisplaySection) -> ssl.SSLContext | None:
    if not section.has_tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without this a key with a passphrase would ask for it on the terminal.
        context.load_cert_chain(section.certificate, section.key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"display: certificate {section.certificate!r} and key {section.key!r} cannot be used ({reason}); name PEM "
            "files that exist and belong together, the key without a passphrase"
        ) from None
    return context


def _listen(section: DisplaySection) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            section.host, section.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _Listener(socket.create_server(address, family=family, backlog=128))
    except (OSError, UnicodeError) as error:
        # create_server's own text repeats the address.
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else getattr(error, "strerror", None) or error
        raise ConfigError(
            f"display: {section.host}:{section.port} cannot be listened on ({reason}); set display.host and "
            "display.port"
        ) from error
