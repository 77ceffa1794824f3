"""MQTT's way from a browser to the broker: the same bytes, in WebSocket frames here and on TCP or TLS there.

Nothing is read of what passes, so that the browser speaks MQTT 5 to any broker and logs in there as itself. Nothing is
kept either: a side that does not take its bytes holds up the other, and after `STALL_S` the pipe is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import structlog
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from octmargin.bus import BrokerSettings
from octmargin.bus.connection import server_trust
from octmargin.display.answers import problem

SUBPROTOCOL = "mqtt"
MAX_PIPES = 64
"""At once: a display has one, and a room a few displays."""
STALL_S = 15.0
"""So long a side may take no bytes."""
_CHUNK_BYTES = 32_768
_CLOSE_S = 1.0

_GOING_AWAY, _NOT_BINARY, _BROKER_GONE = 1001, 1003, 1011
"""Close codes of RFC 6455."""

log = structlog.get_logger()


class Pipe:
    """Pipes to one broker. `ConfigError` where its authority's file cannot be used."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        # Whom the broker must be is checked; who we are is not shown, for the browser must not pass for this daemon.
        self._tls: ssl.SSLContext | None = server_trust(broker.tls)
        self._closing = asyncio.Event()
        self._is_reachable = True
        self.open = 0
        """Pipes that are open now."""

    def close(self) -> None:
        """End those that are open; no other is opened."""
        self._closing.set()

    async def serve(self, websocket: WebSocket) -> None:
        """Carry the bytes of one browser until a side ends."""
        refusal = self._why_not(websocket)
        if refusal is not None:
            await websocket.send_denial_response(refusal)
            return
        self.open += 1
        try:
            await self._serve(websocket)
        finally:
            self.open -= 1

    def _why_not(self, websocket: WebSocket) -> Response | None:
        if SUBPROTOCOL not in websocket.scope["subprotocols"]:
            return problem(400, "this is a way to the MQTT broker; ask for the subprotocol mqtt")
        if self._closing.is_set():
            return problem(503, "the display's server is about to end")
        if self.open >= MAX_PIPES:
            return problem(503, f"{MAX_PIPES} displays are connected; close one")
        return None

    async def _serve(self, websocket: WebSocket) -> None:
        connection = await self._connect()
        if connection is None:
            await websocket.send_denial_response(
                problem(502, f"the MQTT broker at {self._broker.address} cannot be reached; try again")
            )
            return
        reader, writer = connection
        code = _GOING_AWAY
        try:
            await websocket.accept(subprotocol=SUBPROTOCOL)
            code = await self._carry(websocket, reader, writer)
        except WebSocketDisconnect:
            pass
        finally:
            writer.close()
            await _close(websocket, code)
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await writer.wait_closed()
            # A broker that takes nothing would keep what waits for it, and the connection, for ever.
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        broker = self._broker
        try:
            async with asyncio.timeout(broker.timeout_s):
                reader, writer = await asyncio.open_connection(
                    broker.host, broker.port, ssl=self._tls, limit=_CHUNK_BYTES
                )
        except (OSError, TimeoutError) as error:
            if self._is_reachable:
                reason = " ".join(str(error).split()) or "no answer"
                log.warning("displays cannot reach the broker", broker=broker.address, reason=reason)
            self._is_reachable = False
            return None
        self._is_reachable = True
        return reader, writer

    async def _carry(
        self, websocket: WebSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> int:
        """Both ways until one ends; the code to close the browser's side with."""
        ways = [
            asyncio.create_task(_to_broker(websocket, writer), name="display to broker"),
            asyncio.create_task(_to_browser(reader, websocket), name="broker to display"),
            asyncio.create_task(self._until_closing(), name="end of the display"),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            ended = await asyncio.gather(*ways, return_exceptions=True)
        for way, result in zip(ways, ended, strict=True):
            if way in done and isinstance(result, int):
                return result
        for result in ended:
            if isinstance(result, Exception) and not isinstance(
                result, OSError | TimeoutError | WebSocketDisconnect
            ):
                raise result
        return _BROKER_GONE

    async def _until_closing(self) -> int:
        await self._closing.wait()
        return _GOING_AWAY


async def _to_broker(websocket: WebSocket, writer: asyncio.StreamWriter) -> int:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return _GOING_AWAY
        data = message.get("bytes")
        if data is None:
            return _NOT_BINARY
        writer.write(data)
        async with asyncio.timeout(STALL_S):
            await writer.drain()


async def _to_browser(reader: asyncio.StreamReader, websocket: WebSocket) -> int:
    while data := await reader.read(_CHUNK_BYTES):
        async with asyncio.timeout(STALL_S):
            await websocket.send_bytes(data)
    return _BROKER_GONE


async def _close(websocket: WebSocket, code: int) -> None:
    if (
        websocket.client_state is not WebSocketState.CONNECTED
        or websocket.application_state is not WebSocketState.CONNECTED
    ):
        return
    with contextlib.suppress(OSError, TimeoutError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(_CLOSE_S):
            await websocket.close(code)
