"""uvicorn's protocols, with an end to every wait: for a request, for a browser that takes no answer, for a goodbye."""

from __future__ import annotations

import asyncio

import h11
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

REQUEST_S = 30.0
"""So long a browser may take to send a request, a photo with it."""
TAKING_S = 15.0
"""So long it may take nothing of an answer, or of a goodbye."""


class Http(H11Protocol):
    """HTTP/1.1."""

    _sending: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _has_gone_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its base
        """Somebody has connected: a request is to come."""
        super().connection_made(transport)
        self._sending = self.loop.call_later(REQUEST_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or the end of it."""
        super().data_received(data)
        if self._has_gone_over:
            return
        # Between requests the base waits, and not for long.
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_waiting_for_request()
        elif self._sending is None and not self.transport.is_closing():
            self._sending = self.loop.call_later(REQUEST_S, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """It goes on as a WebSocket, which has pings: from now on nothing here may end it."""
        self._has_gone_over = True
        self._stop_waiting_for_request()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        """The browser takes less than it asked for."""
        super().pause_writing()
        self._taking = self._taking or self.loop.call_later(TAKING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken some of it."""
        super().resume_writing()
        self._stop_waiting_for_taking()

    def timeout_keep_alive_handler(self) -> None:
        """No other request came; what is still on its way goes first, but not for ever."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(TAKING_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._stop_waiting_for_request()
        self._stop_waiting_for_taking()
        super().connection_lost(exc)

    def _stop_waiting_for_request(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _stop_waiting_for_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None


class WebSocket(WebSocketsSansIOProtocol):
    """A browser that does not answer is let go of, with all that waits for it.

    A handshake that was answered with a refusal is complete: uvicorn 0.54 logs it as one that was forgotten.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """To the browser."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        """Serve it; then it has a while to say goodbye."""
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(TAKING_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """No pong came."""
        super().keepalive_timeout()
        self.transport.abort()
