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
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from octmargin.bus import BrokerSettings, Topics
from octmargin.display.app import Parts, make_app
from octmargin.display.assets import Assets
from octmargin.display.bscan_pictures import BscanPictures
from octmargin.display.bscan_routes import bscan_routes
from octmargin.display.bscan_store import BscanStore
from octmargin.display.photo_routes import photo_routes
from octmargin.display.photos import Photos, Specimen
from octmargin.display.pipe import Pipe
from octmargin.display.proof import Prover
from octmargin.display.sessions import Sessions
from octmargin.display.settings import DisplaySection
from octmargin.display.site import Site
from octmargin.display.upstream import Upstream
from octmargin.errors import ConfigError

MAX_CONNECTIONS = 256
"""At once; more are answered that there are too many."""
MAX_MESSAGE_BYTES = 1 << 20
"""Of one WebSocket frame from a browser; the broker takes no larger message either."""
_MAX_HEADER_BYTES = 16_384
_REQUEST_S = 30.0
"""So long a browser may take to send a request, a photo with it."""
_PING_S = 10.0
_ROUNDS = 5
"""Of the event loop, in which what was aborted closes its sockets."""
_STOP_S = 0.5
"""So long the end waits for the server, and for requests that were cancelled."""

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a browser on this machine calls it

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens."""

    url: str
    """Where a browser on this machine finds it."""
    url_from_afar: str
    """Where other machines do."""


@dataclass(frozen=True, slots=True)
class OwnResults:
    """What a daemon shows on its own display: B-scans, and what it has on the stage by identifiers, if anything."""

    bscans: BscanStore
    on_stage: Callable[[], Specimen | None]


@contextlib.asynccontextmanager
async def serving_display(
    section: DisplaySection,
    site: Site,
    broker: BrokerSettings,
    *,
    results: OwnResults | None = None,
    on_fault: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Served]:
    """Serve while entered. `ConfigError` where the address cannot be listened on, or a file cannot be used.

    Without `results` they are fetched from the daemon's own display. `on_fault` is told in words where the server ends
    by itself.
    """
    tls = _tls_context(section)
    pipe = Pipe(broker)
    sessions = None
    if site.login == "required":
        sessions = Sessions(Prover(broker, section.broker_websocket), site.site)
    async with contextlib.AsyncExitStack() as stack:
        if results is not None:
            of_results = _own_routes(results, stack)
        else:
            upstream = Upstream(
                section, broker, Topics(site.site, site.console), passes_users=sessions is not None
            )
            of_results = upstream.routes()
            await stack.enter_async_context(upstream.connected())
        app = make_app(Parts(site, Assets.shipped(), pipe, sessions, of_results), section)
        port = await stack.enter_async_context(_listening(section, _configuration(app, tls), on_fault))
        stack.callback(pipe.close)
        yield Served(_url(section, port), section.url or _url(section, port, from_afar=True))


def _own_routes(results: OwnResults, stack: contextlib.AsyncExitStack) -> list[BaseRoute]:
    pictures, photos = BscanPictures(), Photos()
    stack.callback(pictures.close)
    stack.callback(photos.close)
    return [*bscan_routes(results.bscans, pictures), *photo_routes(photos, results.on_stage)]


@contextlib.asynccontextmanager
async def _listening(
    section: DisplaySection, configuration: uvicorn.Config, on_fault: Callable[[str], None]
) -> AsyncIterator[int]:
    """Listen while entered; gives the port."""
    listener = await asyncio.to_thread(_listen, section)
    server = _Server(configuration)
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
    """uvicorn's; a browser that does not answer is let go of at once, with all that waits for it.

    A handshake that was answered with a refusal is complete: uvicorn 0.54 logs it as one that was forgotten.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """To the browser."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

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


def _url(section: DisplaySection, port: int, *, from_afar: bool = False) -> str:
    scheme, host = "https" if section.has_tls else "http", section.host
    if host in _ANY:
        # Each of this machine's addresses.
        host = socket.gethostname() if from_afar else _ANY[host]
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
