"""A display's server on 127.0.0.1, on real brokers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import httpx
import pytest
from tests.unit.bus.conftest import Mosquitto, running_mosquitto

from octmargin.bus import BrokerSettings, EmbeddedBroker, Topics
from octmargin.display import BscanStore, DisplaySection, OwnResults, make_site, serving_display

TOPICS = Topics("north", "or-3")
OF_NOTHING = OwnResults(BscanStore(1), lambda: None)
"""Of a daemon that has scanned nothing."""


class Display:
    """A server that runs, and how to reach it."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.host, self.port = parts.hostname, parts.port

    @property
    def mqtt_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "mqtt"

    def http(self, **options: Any) -> httpx.AsyncClient:
        """A client as a browser is one."""
        return httpx.AsyncClient(base_url=self.url, timeout=10, trust_env=False, **options)

    def mqtt(self, **options: Any) -> aiomqtt.Client:
        """An MQTT 5 client that comes as the page does: over a WebSocket, through the pipe."""
        return aiomqtt.Client(
            self.host,
            self.port,
            transport="websockets",
            websocket_path="/mqtt",
            protocol=aiomqtt.ProtocolVersion.V5,
            **options,
        )


@asynccontextmanager
async def displayed(
    broker: BrokerSettings, *, results: OwnResults | None = OF_NOTHING, **section: Any
) -> AsyncIterator[Display]:
    """A display of console or-3 of site north while entered: a daemon's own, or with `results` None one elsewhere."""
    settings = DisplaySection(**{"port": 0, **section})
    site = make_site(TOPICS, settings, broker)
    async with serving_display(settings, site, broker, results=results) as served:
        yield Display(served.url)


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def shared_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with running_mosquitto(tmp_path_factory.mktemp("mosquitto")) as mosquitto:
        yield mosquitto


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto of the test's own, to be stopped."""
    with running_mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def broker(embedded_broker: EmbeddedBroker) -> BrokerSettings:
    return BrokerSettings(port=embedded_broker.port)


@pytest.fixture
async def display(broker: BrokerSettings) -> AsyncIterator[Display]:
    async with displayed(broker) as running:
        yield running
