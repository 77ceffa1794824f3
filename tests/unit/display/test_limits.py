"""Bounds of the display's server: whoever comes in numbers, or takes nothing, takes nothing from the daemon either."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.unit.display.conftest import Display, displayed
from tests.unit.display.test_bscan_routes import kept
from tests.unit.display.test_bscan_store import about

from octmargin.bus import BrokerSettings
from octmargin.display import BscanStore, OwnResults, protocols
from octmargin.display.bscan_store import KeptFrame
from octmargin.display.listening import MOST_CONNECTIONS, MOST_OF_ONE_ADDRESS


def scanned() -> OwnResults:
    """One frame as large as a browser's buffers are not."""
    small = kept(0)
    rest: dict[str, Any] = {name: getattr(small, name) for name in KeptFrame.__slots__}
    noise = np.random.default_rng(0).integers(0, 256, (4096, 2048), np.uint8)
    store = BscanStore(100_000_000)
    store.keep(store.begin(1, about()), 0, KeptFrame(**{**rest, "levels": noise}))
    return OwnResults(store, lambda: None)


@pytest.fixture
async def display(broker: BrokerSettings) -> AsyncIterator[Display]:
    async with displayed(broker, results=scanned()) as running:
        yield running


def from_address(display: Display, address: str) -> httpx.AsyncClient:
    return display.http(transport=httpx.AsyncHTTPTransport(local_address=address))


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other side has hung up, or does so soon; it would keep one that it lets in for longer than this."""
    try:
        async with asyncio.timeout(protocols.REQUEST_S / 2):
            return await reader.read(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


async def test_connections_without_end_take_no_file_from_the_daemon(display: Display) -> None:
    connections = [
        await asyncio.open_connection(display.host, display.port) for _ in range(MOST_OF_ONE_ADDRESS + 20)
    ]
    closed = [await is_closed(reader) for reader, _ in connections[MOST_OF_ONE_ADDRESS:]]
    assert all(closed)
    async with from_address(display, "127.0.0.2") as other:
        assert (await other.get("/")).status_code == 200, "others are served meanwhile"
    for _, writer in connections:
        writer.close()
    async with from_address(display, "127.0.0.1") as again, asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                # As soon as the server has heard that they are gone.
                assert (await again.get("/")).status_code == 200
                break


async def test_many_addresses_together_are_bounded_too(display: Display) -> None:
    connections = []
    for n in range(MOST_CONNECTIONS + 10):
        where = (f"127.0.0.{2 + n % 8}", 0)
        connections.append(await asyncio.open_connection(display.host, display.port, local_addr=where))
    assert all([await is_closed(reader) for reader, _ in connections[MOST_CONNECTIONS:]])
    for _, writer in connections:
        writer.close()


async def test_a_browser_that_takes_no_answer_is_let_go(
    display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with display.http() as browser:
        whole = len((await browser.get("/api/bscans/1/0")).content)
    monkeypatch.setattr(protocols, "TAKING_S", 0.2)
    given_up, connection_lost = asyncio.Event(), protocols.Http.connection_lost

    def tell_of_the_end(connection: protocols.Http, error: Exception | None) -> None:
        if connection.transport.get_extra_info("peername") == sluggish.getsockname():
            given_up.set()
        connection_lost(connection, error)

    monkeypatch.setattr(protocols.Http, "connection_lost", tell_of_the_end)
    with socket.socket() as sluggish:
        sluggish.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sluggish.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sluggish, (display.host, display.port))
        await loop.sock_sendall(sluggish, b"GET /api/bscans/1/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        # Told by the server: here it cannot be heard before what was sent is taken.
        async with asyncio.timeout(60):
            await given_up.wait()
        came = 0
        with contextlib.suppress(ConnectionResetError):
            while data := await loop.sock_recv(sluggish, 1 << 20):
                came += len(data)
    assert came < whole
