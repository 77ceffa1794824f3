"""`octmargin broker run`: a broker for a single machine, as a service runs it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.bus.examples import flag

from octmargin.bus import BrokerSettings, Publisher, Subscriber, Topics
from octmargin.bus.events import FlagReceived

COMMAND = [sys.executable, "-m", "octmargin", "broker", "run"]
TOPICS = Topics("t", "c")


@contextmanager
def running(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the line that it greets with."""
    with subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            if process.poll() is None:
                process.kill()


def port_of(greeting: str) -> int:
    found = re.match(r"MQTT 5 broker on 127\.0\.0\.1:(\d+), ", greeting)
    assert found is not None, greeting
    return int(found[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_a_machine_until_it_is_told_to_end(number: signal.Signals) -> None:
    with running("--port", "0") as (process, greeting):
        settings = BrokerSettings(port=port_of(greeting))
        async with Subscriber(settings, TOPICS) as events, Publisher(settings, TOPICS) as publisher:
            publisher.publish_flag(flag(7, acquired_at=datetime.now(UTC)))
            async with asyncio.timeout(60):
                while not isinstance(await anext(events), FlagReceived):
                    pass
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", settings.port)) != 0


def test_it_tells_systemd_when_it_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(10)
        with running("--port", "0", NOTIFY_SOCKET=str(tmp_path / "notify")) as (_, greeting):
            assert port_of(greeting)
            assert heard.recv(100) == b"READY=1"


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ended = subprocess.run(
            [*COMMAND, "--port", str(other.getsockname()[1])],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"octmargin: the embedded broker cannot listen on port \d+ .*\n", ended.stderr)


def test_a_broker_that_dies_is_told_and_not_waited_for() -> None:
    with running("--port", "0") as (process, _):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        [broker] = [int(pid) for pid in children]
        os.kill(broker, signal.SIGKILL)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaint == (
        "octmargin: the embedded broker ended by itself; start it again, or run one such as mosquitto\n"
    )
