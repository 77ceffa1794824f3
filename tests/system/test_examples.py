"""The example subscribers, run as a reader would: against a broker with TLS and users, and a real publisher."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright, expect
from tests.conftest import needs_program
from tests.unit.bus.conftest import mosquitto_path
from tests.unit.bus.examples import case, verdict
from tests.unit.site.conftest import HOST, USERS, Prepared, prepared

from octmargin.bus import FrameCounts, Publisher, Topics
from octmargin.bus.codec import encode
from octmargin.bus.connection import Connector
from octmargin.bus.validity import Validity
from octmargin.site.settings import Auth

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MQTT_JS = ROOT / "src" / "octmargin" / "display" / "static" / "vendor" / "mqtt.js"
TOPICS = Topics("north", "or-1")
VIEWER = USERS["wall"]
GOOD = r"verdict/superior: suspicious, coverage 50%, 1.08 mm deep \(SYNTHETIC\)"
STALE = r"verdict/superior: not to be relied on"
RESULT_S = 600.0
"""So long a verdict holds."""


class Speaker:
    """A publisher that says health all the time, as the daemon does, unless it is told to be silent."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.is_silent = False
        self.said = 0
        """Healths."""
        self._more = asyncio.Event()

    async def until_said(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.said < count:
                self._more.clear()
                await self._more.wait()

    async def live(self) -> None:
        while True:
            if not self.is_silent:
                self.publisher.publish_health(
                    FrameCounts(),
                    rate_alines_per_s=0.0,
                    latency_ms=None,
                    over_budget=None,
                    recording=None,
                    uptime_s=1.0,
                    lifecycle="ready",
                    reasons=[],
                    synthetic=True,
                )
                self.said += 1
                self._more.set()
            await asyncio.sleep(0.2)

    def say(self, **changes: Any) -> None:
        now = datetime.now(UTC)
        self.publisher.publish_case(case(acquired_at=now, **changes))
        self.publisher.publish_verdict(verdict(acquired_at=now))
        self.publisher.set_state("ready")


@asynccontextmanager
async def speaking(broker: Prepared) -> AsyncIterator[Speaker]:
    settings = broker.settings(USERS["or-1"])
    async with Publisher(settings, TOPICS, validity=Validity(result_s=RESULT_S)) as publisher:
        speaker = Speaker(publisher)
        living = asyncio.create_task(speaker.live())
        speaker.say()
        try:
            yield speaker
        finally:
            living.cancel()


class Example:
    """A running example, and what it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def until(self, pattern: str) -> None:
        """Read on until a line is as said; every line before it is kept in `lines`."""
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            while line := (await self._process.stdout.readline()).decode():
                self.lines.append(line)
                if re.match(pattern, line):
                    return
        pytest.fail(f"it ended: {self.lines}")


def python_command(broker: Prepared, folder: Path) -> tuple[list[str], dict[str, str]]:
    own = broker.client_folder(VIEWER)
    table = folder / "broker.toml"
    table.write_text((own / "broker.toml").read_text().replace("/etc/octmargin", str(own)))
    return [sys.executable, "-u", str(EXAMPLES / "subscriber.py"), str(table), "north", "or-1"], {}


def mqtt_js() -> Path:
    """The page's copy."""
    if not MQTT_JS.is_file():
        pytest.skip("there is no copy of mqtt.js: the page is not part of this tree")
    return MQTT_JS


def node_command(broker: Prepared, folder: Path) -> tuple[list[str], dict[str, str]]:
    node = needs_program("node")
    package = folder / "node_modules" / "mqtt"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": "mqtt", "type": "module", "main": "mqtt.js"}))
    shutil.copy(mqtt_js(), package / "mqtt.js")
    shutil.copy(EXAMPLES / "subscriber.mjs", folder)
    own = broker.client_folder(VIEWER)
    login = [VIEWER.username, (own / "password").read_text().strip()]
    url = f"wss://{HOST}:{broker.websocket_port}"
    # The page's copy is the one for browsers. Node 22 has what it needs of them, Node 20 with these options.
    (folder / "browser.mjs").write_text("globalThis.navigator ??= {}; globalThis.window = { document: {} };")
    like_a_browser = ["--experimental-websocket", "--import", str(folder / "browser.mjs")]
    command = [node, *like_a_browser, str(folder / "subscriber.mjs"), url, "north", "or-1", *login]
    return command, {"NODE_EXTRA_CA_CERTS": str(own / "ca.pem")}


COMMANDS = {"python": python_command, "javascript": node_command}


@asynccontextmanager
async def running(command: list[str], environment: dict[str, str]) -> AsyncIterator[Example]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture(params=list(COMMANDS))
def command(
    request: pytest.FixtureRequest, broker_of_the_example: Prepared, tmp_path: Path
) -> tuple[list[str], dict[str, str]]:
    return COMMANDS[request.param](broker_of_the_example, tmp_path)


@pytest.fixture
def broker_of_the_example(tmp_path: Path) -> Prepared:
    mosquitto_path()
    return prepared(tmp_path / "site")


@pytest.fixture
def process(broker_of_the_example: Prepared) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(broker_of_the_example.running())
        yield stack


async def test_it_says_what_holds_now_and_nothing_of_another_specimen(
    broker_of_the_example: Prepared, command, process
) -> None:
    async with running(*command) as example, speaking(broker_of_the_example) as speaker:
        await example.until(GOOD)
        speaker.say(specimen_id="S-2")
        await example.until(STALE)
        speaker.say()
        await example.until(GOOD)
        speaker.publisher.set_state("alert")
        await example.until(STALE)


async def test_what_was_said_of_a_face_is_not_relied_on_once_it_is_scanned_anew(
    broker_of_the_example: Prepared, command, process
) -> None:
    async with running(*command) as example, speaking(broker_of_the_example) as speaker:
        await example.until(GOOD)
        sweep = verdict().sweep
        speaker.say(sweeps={"superior": sweep + 1, "medial": sweep + 2})
        await example.until(STALE)
        # A newer sweep over another face takes nothing away from this one.
        speaker.say(sweeps={"superior": sweep, "medial": sweep + 2})
        await example.until(GOOD)


async def test_it_says_what_has_changed_and_nothing_twice(
    broker_of_the_example: Prepared, command, process
) -> None:
    async with running(*command) as example, speaking(broker_of_the_example) as speaker:
        await example.until(GOOD)
        for _ in range(2):
            # Health comes all the time, and the example looks at it; what is heard meanwhile is no news.
            heard = speaker.said
            await speaker.until_said(heard + 8)
            speaker.publisher.set_state("alert")
            await example.until(STALE)
            speaker.publisher.set_state("ready")
            await example.until(GOOD)
    of_the_verdict = [line for line in example.lines if line.startswith("verdict/")]
    assert all(before != after for before, after in pairwise(of_the_verdict))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "usage: python subscriber.py broker.toml SITE CONSOLE"),
        (["nowhere.toml", "north", "or-1"], "nowhere.toml: it, or a file that it names, cannot be used: "),
        (["empty.toml", "north", "or-1"], "empty.toml: has no [broker] table; take the broker.toml"),
        (["wrong.toml", "north", "or-1"], "wrong.toml: it, or a file that it names, cannot be used: "),
        (
            ["no-password.toml", "north", "or-1"],
            "no-password.toml: it, or a file that it names, cannot be used: ",
        ),
    ],
)
async def test_the_python_one_tells_a_mistake_in_one_line(
    tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "empty.toml").touch()
    (tmp_path / "wrong.toml").write_text("= 3")
    (tmp_path / "no-password.toml").write_text('[broker]\nusername = "a"\npassword_file = "nowhere"\n')
    await complains([sys.executable, str(EXAMPLES / "subscriber.py"), *words], tmp_path, says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["wss://127.0.0.1:1"], "usage: node subscriber.mjs URL SITE CONSOLE [USER PASSWORD]"),
        (
            ["broker.example", "north", "or-1"],
            "broker.example: give the broker's WebSocket listener, such as wss://",
        ),
    ],
)
async def test_the_javascript_one_tells_a_mistake_in_one_line(
    broker_of_the_example: Prepared, tmp_path: Path, words: list[str], says: str
) -> None:
    command, _ = node_command(broker_of_the_example, tmp_path)
    program = next(index for index, word in enumerate(command) if word.endswith("subscriber.mjs"))
    await complains([*command[: program + 1], *words], tmp_path, says)


async def complains(command: list[str], folder: Path, says: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode
    lines = [
        line
        for line in err.decode().splitlines()
        if "ExperimentalWarning" not in line and "--trace-" not in line
    ]
    assert (out, len(lines)) == (b"", 1), lines
    assert lines[0].startswith(says)


async def test_it_says_when_the_daemon_falls_silent_and_comes_back(
    broker_of_the_example: Prepared, command, process
) -> None:
    async with running(*command) as example, speaking(broker_of_the_example) as speaker:
        await example.until(GOOD)
        speaker.is_silent = True
        await example.until("nothing is known: the daemon is silent")
        assert not re.match(GOOD, example.lines[-1])
        speaker.is_silent = False
        await example.until(GOOD)


async def test_it_says_when_a_verdicts_time_is_over(
    broker_of_the_example: Prepared, command, process
) -> None:
    async with running(*command) as example, speaking(broker_of_the_example) as speaker:
        await example.until(GOOD)
        nearly_over = datetime.now(UTC) - timedelta(seconds=RESULT_S - 3)
        speaker.publisher.publish_verdict(verdict(acquired_at=nearly_over))
        await example.until(STALE)


async def test_what_an_earlier_run_left_at_the_broker_is_not_relied_on(
    broker_of_the_example: Prepared, command, process
) -> None:
    now = datetime.now(UTC)
    stamps = {
        "acquired_at": now,
        "session": "0ld",
        "published_at": now,
        "valid_until": now + timedelta(hours=1),
    }
    async with Connector(broker_of_the_example.settings(USERS["or-1"])).client(None) as earlier:
        for topic, payload in (
            (TOPICS.state, b"ready"),
            (TOPICS.case, encode(case(**stamps))),
            (TOPICS.verdict("superior"), encode(verdict(**stamps))),
        ):
            await earlier.publish(topic, payload, qos=1, retain=True)
    async with running(*command) as example:
        await example.until("nothing is known: the daemon is silent")
        assert not [line for line in example.lines if re.match(GOOD, line)]
        async with speaking(broker_of_the_example):
            await example.until(GOOD)
        # It ended in order: what the broker remembers of it stays, and is not current any more.
        await example.until(STALE)


async def test_it_says_when_the_broker_is_gone_and_goes_on_when_it_is_back(
    broker_of_the_example: Prepared, command, process
) -> None:
    async with running(*command) as example, speaking(broker_of_the_example):
        await example.until(GOOD)
        process.close()
        await example.until("nothing is known: .*")
        with broker_of_the_example.running():
            await example.until(GOOD)


@pytest.mark.parametrize("part", ["case", "verdict/superior", "health"])
async def test_of_a_newer_schema_it_shows_nothing_and_says_that_it_cannot(
    broker_of_the_example: Prepared, command, process, part: str
) -> None:
    async with running(*command) as example, speaking(broker_of_the_example) as speaker:
        await example.until(GOOD)
        speaker.is_silent = True
        newer = json.dumps({"schema": 2, "surprise": True}).encode()
        async with Connector(broker_of_the_example.settings(USERS["or-1"])).client(None) as console:
            await console.publish(f"{TOPICS.base}/{part}", newer, qos=1, retain=part != "health")
        await example.until(f"nothing is known: {part} has schema 2, and this program knows 1")


async def test_the_python_one_comes_in_with_a_certificate_too(tmp_path: Path) -> None:
    mosquitto_path()
    broker = prepared(tmp_path / "site", Auth.CERTIFICATES)
    with broker.running():
        async with running(*python_command(broker, tmp_path)) as example, speaking(broker):
            await example.until(GOOD)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A plain web server of the folder; gives its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


async def test_the_javascript_one_runs_in_a_browser(
    broker_of_the_example: Prepared, process, tmp_path: Path
) -> None:
    own = broker_of_the_example.client_folder(VIEWER)
    web = tmp_path / "web"
    web.mkdir()
    shutil.copy(mqtt_js(), web / "mqtt.esm.js")
    for name in ("subscriber.html", "subscriber.mjs"):
        shutil.copy(EXAMPLES / name, web)
    async with async_playwright() as playwright, AsyncExitStack() as stack:
        browser = await playwright.chromium.launch(
            executable_path=needs_program("chromium"),
            # Its own list of authorities does not have the site's.
            args=["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"],
        )
        stack.push_async_callback(browser.close)
        page = await browser.new_page()
        address = stack.enter_context(served(web))
        await page.goto(
            f"{address}/subscriber.html#wss://{HOST}:{broker_of_the_example.websocket_port}/north/or-1"
        )
        await page.fill("[name=username]", VIEWER.username)
        await page.fill("[name=password]", (own / "password").read_text().strip())
        await page.click("button")
        shown = page.locator("pre")
        async with speaking(broker_of_the_example) as speaker:
            await expect(shown).to_have_text(re.compile(GOOD), timeout=60_000)
            speaker.publisher.set_state("alert")
            await expect(shown).to_have_text(re.compile(STALE), timeout=60_000)
