"""The display's server in an event loop that is not its own: it listens, serves, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from octmargin.bus import BrokerSettings
from octmargin.display.app import Parts, make_app
from octmargin.display.assets import Assets
from octmargin.display.pipe import Pipe
from octmargin.display.settings import DisplaySection
from octmargin.display.site import Site
from octmargin.errors import ConfigError

MAX_CONNECTIONS = 256
"""At once; more are answered that there are too many."""
MAX_MESSAGE_BYTES = 1 << 20
"""Of one WebSocket frame from a browser; the broker takes no larger message either."""
_MAX_HEADER_BYTES = 16_384
_REQUEST_S = 30.0
"""So long a browser may take to send a request, a photo with it."""
_PING_S = 10.0
_STOP_S = 0.5
"""So long the end waits for answers that are being given."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens."""

    url: str
    """Where a browser on this machine finds it."""


@contextlib.asynccontextmanager
async def serving_display(
    section: DisplaySection,
    site: Site,
    broker: BrokerSettings,
    *,
    on_fault: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Served]:
    """Serve while entered. `ConfigError` where the address cannot be listened on, or a file cannot be used.

    `on_fault` is told in words where the server ends by itself.
    """
    tls = _tls_context(section)
    pipe = Pipe(broker)
    app = make_app(Parts(site=site, assets=Assets.shipped(), pipe=pipe))
    listener = await asyncio.to_thread(_listen, section)
    port = listener.getsockname()[1]
    server = _Server(_configuration(app, tls))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="display")
    is_ending = False

    def ended(task: asyncio.Task[None]) -> None:
        if not is_ending:
            error = None if task.cancelled() else task.exception()
            on_fault(f"the display is not served any more: {error or 'its server ended'}")

    task.add_done_callback(ended)
    try:
        yield Served(_url(section, port))
    finally:
        is_ending = True
        pipe.close()
        await server.end(task)


class _Server(uvicorn.Server):
    """uvicorn's, without its signal handlers, and with an end that comes in time."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever owns the loop."""
        yield

    async def end(self, task: asyncio.Task[None]) -> None:
        """Stop listening, close every connection, and wait for it, but not for long."""
        self.should_exit = True
        await asyncio.wait((task,), timeout=_STOP_S)
        self.force_exit = True
        for connection in list(self.server_state.connections):
            # A browser that takes nothing would hold up the end.
            connection.transport.abort()
        under_way = list(self.server_state.tasks)
        for request in under_way:
            request.cancel()
        await asyncio.wait((task, *under_way), timeout=_STOP_S)
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Http(H11Protocol):
    """uvicorn's, with an end to waiting for a request that has begun, head and body."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its base
        """Somebody has connected: a request is to come."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(_REQUEST_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or the end of it."""
        super().data_received(data)
        # Between requests the base waits, and not for long.
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(_REQUEST_S, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """It goes on as a WebSocket, which has pings."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's; a browser that does not answer is let go of at once, with all that waits for it."""

    def keepalive_timeout(self) -> None:
        """No pong came."""
        super().keepalive_timeout()
        self.transport.abort()


def _configuration(app: ASGIApp, tls: ssl.SSLContext | None) -> uvicorn.Config:
    configuration = uvicorn.Config(
        app,
        http=_Http,
        ws=_WebSocket,
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        # Nobody may say that he is somebody else.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
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
        return socket.create_server(address, family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"display: {section.host}:{section.port} cannot be listened on ({reason}); set display.host and "
            "display.port"
        ) from error


def _url(section: DisplaySection, port: int) -> str:
    scheme = "https" if section.has_tls else "http"
    # An address of no one machine means each of them.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(section.host, section.host)  # noqa: S104 - not bound to here
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
