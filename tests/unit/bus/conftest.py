"""Real brokers for the tests of the bus: the embedded one, and Debian's mosquitto."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import needs_program
from tests.ports import free_port

from octmargin.bus.broker import EmbeddedBroker
from octmargin.bus.connection import BrokerSettings
from octmargin.bus.topics import Topics


def mosquitto_path() -> str:
    """The mosquitto binary."""
    return needs_program("mosquitto")


@dataclass
class Mosquitto:
    """A mosquitto process on 127.0.0.1 that can be stopped and started again on its port."""

    folder: Path
    extra: str = "allow_anonymous true"
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port = self.port or free_port()
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nuser root\n{self.extra}\n")
        self.process = subprocess.Popen(
            [mosquitto_path(), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait_until_it_listens()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, "mosquitto ended at once"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)  # another process: there is no event to await
            else:
                return
        pytest.fail("mosquitto does not listen")

    @property
    def settings(self) -> BrokerSettings:
        return BrokerSettings(port=self.port, reconnect_min_s=0.05, reconnect_max_s=0.2)


@contextmanager
def silent_port() -> Iterator[int]:
    """A port whose queue is full: whoever comes hears nothing at all."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(4):
            knocker = stack.enter_context(socket.socket())
            knocker.setblocking(False)
            knocker.connect_ex(silent.getsockname())
        yield silent.getsockname()[1]


@contextmanager
def running_mosquitto(folder: Path, extra: str = "allow_anonymous true") -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(folder, extra)
    mosquitto.start()
    try:
        yield mosquitto
    finally:
        mosquitto.stop()


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def shared_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with running_mosquitto(tmp_path_factory.mktemp("mosquitto")) as mosquitto:
        yield mosquitto


@pytest.fixture(params=["embedded", "mosquitto"])
def broker(request: pytest.FixtureRequest) -> BrokerSettings:
    """Settings that reach a running broker; every test that takes it runs against both."""
    if request.param == "embedded":
        port = request.getfixturevalue("embedded_broker").port
        return BrokerSettings(port=port, reconnect_min_s=0.05, reconnect_max_s=0.2)
    return request.getfixturevalue("shared_mosquitto").settings


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto of the test's own, to be stopped and restarted."""
    with running_mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def topics(request: pytest.FixtureRequest) -> Topics:
    """A console of the test's own, so that tests can share a broker."""
    return Topics("test-or", f"console-{abs(hash(request.node.nodeid)) % 10**12}")
