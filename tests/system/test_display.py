"""The daemon with a display: what it scans is there to be looked at, and showing it holds up nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import websockets
from PIL import Image
from tests.browser.conftest import Room, room_of

from octmargin.bus.events import Described, FlagReceived, VerdictReceived

FACES = ["superior", "medial"]


@pytest.fixture
def client(request: pytest.FixtureRequest) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=10, trust_env=False)


async def until_final(room: Room, *faces: str) -> list[VerdictReceived | FlagReceived]:
    """Flags and verdicts until each face has a final verdict."""
    heard: list[VerdictReceived | FlagReceived] = []
    missing = set(faces)
    async with room.events() as events, asyncio.timeout(60):
        while missing:
            event = await events.get()
            if isinstance(event, FlagReceived | VerdictReceived):
                heard.append(event)
            if isinstance(event, VerdictReceived) and not event.message.provisional:
                missing.discard(event.message.face)
    return heard


async def test_the_b_scan_of_every_flag_is_there_to_be_looked_at(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    async with room_of(tmp_path, scan={"faces": FACES}) as room, client:
        heard = await until_final(room, *FACES)
        flags = [event.message for event in heard if isinstance(event, FlagReceived)]
        for flag in flags:
            where = f"{room.url}api/bscans/{flag.sweep}/{flag.frame_index}"
            picture = await client.get(where, params={"session": flag.session})
            assert picture.status_code == 200
            grey = np.asarray(Image.open(io.BytesIO(picture.content)))
            assert grey.shape == (320, 64)
            assert grey.std() > 10, "there is something to be seen"
            lines = (await client.get(f"{where}/lines")).json()
            assert lines["face"] == flag.face
            assert lines["state"] == [int(state) for state in flag.state]
            assert lines["suspicion"] == flag.suspicion
        assert len(flags) >= 12
        listing = (await client.get(f"{room.url}api/bscans")).json()
        for sweep in listing["sweeps"]:
            assert (sweep["case_id"], sweep["specimen_id"]) == ("case-7", "specimen-1")
            assert sweep["synthetic"] is True


async def test_what_has_no_room_makes_way_and_is_counted(tmp_path: Path, client: httpx.AsyncClient) -> None:
    """A megabyte holds 48 of these B-scans, four sweeps."""
    async with room_of(tmp_path, display={"bscans_mb": 1}, scan={"line_rate_hz": 6400.0}) as room, client:
        async with asyncio.timeout(60):
            while True:
                listing = (await client.get(f"{room.url}api/bscans")).json()
                if len(listing["sweeps"]) > 6:
                    break
                await asyncio.sleep(0.1)  # another process: there is no event to await
    assert listing["bytes"] <= listing["max_bytes"] == 1_000_000
    first = listing["sweeps"][0]
    assert (first["frames"], first["thrown_out"]) == ([], 12)
    assert listing["thrown_out"] == sum(sweep["thrown_out"] for sweep in listing["sweeps"])


async def test_the_daemon_says_where_its_display_is(tmp_path: Path, client: httpx.AsyncClient) -> None:
    async with room_of(tmp_path) as room, client:
        async with room.events() as events, asyncio.timeout(60):
            while not isinstance(event := await events.get(), Described):
                pass
        assert event.message.display_url == room.url
        assert (await client.get(event.message.display_url)).status_code == 200


async def test_the_daemon_ends_in_time_however_many_look_on(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    async def look(room: Room) -> None:
        with contextlib.suppress(httpx.HTTPError):
            while True:
                await client.get(f"{room.url}api/bscans/1/0")

    async with room_of(tmp_path) as room, client:
        looking = [asyncio.create_task(look(room)) for _ in range(8)]
        ways = [
            await websockets.connect(f"{room.url.replace('http', 'ws')}mqtt", subprotocols=["mqtt"])
            for _ in range(8)
        ]
        # A request that never gets to its end.
        _, half = await asyncio.open_connection("127.0.0.1", int(room.url.rsplit(":", 1)[1].rstrip("/")))
        half.write(b"GET / HTTP/1.1\r\nHost:")
        await half.drain()
        os.kill(room.daemon_pid, signal.SIGTERM)
        began_s = time.monotonic()
        await room.stop_daemon()
        took_s = time.monotonic() - began_s
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        for way in ways:
            await way.close()
        half.close()
    # Eight displays and half a request would hold it up for ever; how long it takes is measured elsewhere.
    assert took_s < 20
    assert "Traceback" not in room.log
    assert "error" not in room.log.lower()


@contextlib.asynccontextmanager
async def display_elsewhere(folder: Path, text: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`octmargin display` as a process of its own, its log on standard error."""
    path = folder / "display.toml"
    path.write_text(text)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "octmargin", "display", "-c", str(path), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: asyncio.subprocess.Process, word: str) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while word not in (line := (await process.stderr.readline()).decode()):
            assert line, f"it ended before it said {word!r}"
    return line


async def test_a_display_elsewhere_shows_what_the_daemon_scans(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    async with room_of(tmp_path) as room, client:
        where = f'site = "north"\nconsole = "or-3"\n[broker]\nport = {room.broker_settings.port}\n'
        async with display_elsewhere(tmp_path, f"{where}[display]\nport = 0\n") as process:
            found = re.search(r"http://127\.0\.0\.1:\d+/", await line_with(process, "display served"))
            assert found
            url = found[0]
            assert (await client.get(url)).status_code == 200
            async with asyncio.timeout(60):
                while True:
                    listing = (await client.get(f"{url}api/bscans")).json()
                    if listing.get("sweeps"):
                        break
                    await asyncio.sleep(0.1)  # other processes: there is no event to await
            sweep = listing["sweeps"][0]
            picture = await client.get(f"{url}api/bscans/{sweep['sweep']}/{sweep['frames'][0][0]}")
            assert picture.headers["content-type"] == "image/png"
            process.terminate()
            began_s = time.monotonic()
            assert await process.wait() == 0
            assert time.monotonic() - began_s < 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[display]\nhost = '0.0.0.0'\n", "passwords would cross the network in the clear"),
        ("[display]\ncertificate = 'none.pem'\nkey = 'none.pem'\n", "cannot be used"),
        ("[dislpay]\n", 'did you mean "display"?'),
    ],
)
async def test_a_display_that_cannot_be_served_says_so_in_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    async with display_elsewhere(tmp_path, f'site = "north"\nconsole = "or-3"\n{text}') as process:
        _, said = await process.communicate()
        assert process.returncode == 2
    assert words in said.decode()
    assert said.decode().count("\n") == 1
