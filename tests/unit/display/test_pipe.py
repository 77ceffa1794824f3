"""The way of MQTT from a browser to the broker: the browser's own bytes, and an end to every wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt
import pytest
import websockets
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.ports import free_port
from tests.unit.bus.conftest import Mosquitto
from tests.unit.display.conftest import Display, displayed

from octmargin.bus import BrokerSettings, EmbeddedBroker
from octmargin.display import pipe, protocols

MANY_BYTES = 16_000_000


def expiring(seconds: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = seconds
    return properties


def directly(broker: BrokerSettings) -> aiomqtt.Client:
    """A client at the broker itself, without a display."""
    return aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5)


@pytest.fixture(params=["embedded", "mosquitto"])
def broker(request: pytest.FixtureRequest) -> BrokerSettings:
    if request.param == "embedded":
        return BrokerSettings(port=request.getfixturevalue("embedded_broker").port)
    return BrokerSettings(port=request.getfixturevalue("shared_mosquitto").port)


async def test_a_browser_speaks_mqtt_5_with_the_broker(broker: BrokerSettings, display: Display) -> None:
    topic = "octmargin/1/north/or-3/case"
    async with display.mqtt() as page, directly(broker) as other:
        await page.subscribe(topic)
        # Large, so that it comes in many pieces; with an expiry, which is MQTT 5.
        said = bytes(range(256)) * 2000
        await other.publish(topic, said, qos=1)
        heard = await anext(aiter(page.messages))
        assert heard.payload == said
        await other.subscribe("answers")
        await page.publish("answers", said, qos=1, properties=expiring(30))
        assert (await anext(aiter(other.messages))).payload == said


async def test_a_way_stays_open_beyond_the_time_that_a_request_may_take(
    broker: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_S", 0.2)
    async with displayed(broker) as display, display.mqtt() as page, directly(broker) as other:
        await page.subscribe("late")
        for n in range(8):
            # Eight times a fifth of a second: the time is what is tried here.
            await asyncio.sleep(0.2)
            await other.publish("late", bytes([n]), qos=1)
        said = [await asyncio.wait_for(anext(aiter(page.messages)), 60) for _ in range(8)]
        assert [message.payload for message in said] == [bytes([n]) for n in range(8)]


async def test_two_displays_have_each_a_way_of_their_own(display: Display) -> None:
    async with display.mqtt() as one, display.mqtt() as two:
        await one.subscribe("for-one")
        await two.subscribe("for-two")
        await one.publish("for-two", b"2")
        await two.publish("for-one", b"1")
        assert (await anext(aiter(one.messages))).payload == b"1"
        assert (await anext(aiter(two.messages))).payload == b"2"


async def test_without_the_subprotocol_there_is_no_way(display: Display) -> None:
    with pytest.raises(websockets.InvalidStatus) as failed:
        async with websockets.connect(display.mqtt_url):
            pass
    assert failed.value.response.status_code == 400


async def test_text_is_no_mqtt(display: Display) -> None:
    async with websockets.connect(display.mqtt_url, subprotocols=["mqtt"]) as way:
        await way.send("text")
        await way.wait_closed()
    assert way.close_code == 1003


async def test_a_message_larger_than_any_broker_takes_is_not_carried(display: Display) -> None:
    async with websockets.connect(display.mqtt_url, subprotocols=["mqtt"]) as way:
        await way.send(bytes((1 << 20) + 1))
        await way.wait_closed()
    assert way.close_code == 1009


async def test_a_broker_that_is_away_is_told_and_found_when_it_is_back() -> None:
    port = free_port()
    async with displayed(BrokerSettings(port=port, timeout_s=2)) as display:
        with pytest.raises(websockets.InvalidStatus) as failed:
            async with websockets.connect(display.mqtt_url, subprotocols=["mqtt"]):
                pass
        assert failed.value.response.status_code == 502
        assert failed.value.response.body is not None
        assert f"127.0.0.1:{port}" in failed.value.response.body.decode()
        back = EmbeddedBroker(port=port)
        await asyncio.to_thread(back.__enter__)
        try:
            async with display.mqtt() as page:
                await page.publish("t", b"x", qos=1)
        finally:
            back.close()


async def test_a_broker_that_ends_ends_the_browsers_connection(mosquitto: Mosquitto) -> None:
    async with (
        displayed(BrokerSettings(port=mosquitto.port)) as display,
        websockets.connect(display.mqtt_url, subprotocols=["mqtt"]) as way,
    ):
        await asyncio.to_thread(mosquitto.stop)
        async with asyncio.timeout(60):
            await way.wait_closed()
        assert way.close_code == 1011


async def test_the_end_of_the_server_ends_every_way_at_once_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    async with counting() as far, displayed(BrokerSettings(port=far.port)) as display:
        way = await websockets.connect(display.mqtt_url, subprotocols=["mqtt"])
        await way.send(b"x")
        await far.heard.wait()
        ending = asyncio.get_running_loop().time()
    took_s = asyncio.get_running_loop().time() - ending
    await way.wait_closed()
    assert way.close_code in (1001, 1012)
    assert took_s < 5
    await way.close()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


class Far:
    """The far end of the pipe: bytes alone, so that each can be counted."""

    def __init__(self) -> None:
        self.port = 0
        self.heard = asyncio.Event()
        self.taken = 0
        self.sent = 0
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.sends = asyncio.Event()


@asynccontextmanager
async def counting() -> AsyncIterator[Far]:
    far = Far()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send() -> None:
            await far.sends.wait()
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
                far.sent += 65_536

        sending = asyncio.create_task(send())
        try:
            while data := await reader.read(65_536):
                far.taken += len(data)
                far.heard.set()
                await far.takes.wait()
        except OSError:
            pass
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.transport.abort()
            far.gone.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=65_536)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        far.takes.set()
        server.close()
        if far.heard.is_set():
            await far.gone.wait()
            await asyncio.sleep(0)  # its task ends with this


async def test_a_broker_that_takes_nothing_holds_up_the_browser_and_not_the_memory() -> None:
    """What is under way is bounded by the buffers of sockets: the browser's send waits."""
    async with (
        counting() as far,
        displayed(BrokerSettings(port=far.port)) as display,
        websockets.connect(display.mqtt_url, subprotocols=["mqtt"]) as way,
    ):
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while sent < 20 * MANY_BYTES:
                    await way.send(bytes(65_536))
                    sent += 65_536
        assert sent < MANY_BYTES
        far.takes.set()
        await way.send(b"end")


async def test_a_browser_that_takes_nothing_holds_up_the_broker_and_not_the_memory() -> None:
    async with (
        counting() as far,
        displayed(BrokerSettings(port=far.port)) as display,
        websockets.connect(display.mqtt_url, subprotocols=["mqtt"], max_queue=1, close_timeout=0.1) as way,
    ):
        await way.send(b"x")
        await far.heard.wait()
        far.sends.set()
        await asyncio.wait_for(settled(far), 60)
        assert far.sent < MANY_BYTES


async def settled(far: Far) -> None:
    """Until nothing more was taken for half a second: there is no event of something that does not happen."""
    before = -1
    while far.sent != before or not far.sent:
        before = far.sent
        await asyncio.sleep(0.5)


async def test_a_side_that_takes_nothing_for_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "STALL_S", 0.3)
    async with (
        counting() as far,
        displayed(BrokerSettings(port=far.port)) as display,
        websockets.connect(display.mqtt_url, subprotocols=["mqtt"], max_queue=1, close_timeout=0.1) as way,
    ):
        await way.send(b"x")
        await far.heard.wait()
        far.takes.set()
        far.sends.set()
        async with asyncio.timeout(60):
            await far.gone.wait()
