from __future__ import annotations

import asyncio
import socket

import aiomqtt
import pytest

from octmargin.bus.broker import MAX_PAYLOAD_BYTES, EmbeddedBroker
from octmargin.errors import BrokerError


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_listens_while_entered_prints_nothing_and_frees_its_port(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with EmbeddedBroker() as broker:
        assert broker.port > 0
        assert listens(broker.port)
    assert not listens(broker.port)
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerError) as caught, EmbeddedBroker(port=port):
            pass
    message = str(caught.value)
    assert message.startswith(f"the embedded broker cannot listen on port {port} of 127.0.0.1")
    assert message.endswith("stop the program that uses it or set broker.port")
    assert "\n" not in message


def test_a_host_that_is_not_this_machine_is_said_in_one_line() -> None:
    with (
        pytest.raises(
            BrokerError, match=r"^the embedded broker cannot listen on 'nowhere\.invalid'.*set broker\.host"
        ),
        EmbeddedBroker("nowhere.invalid"),
    ):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])  # noqa: S104 - it is refused
def test_it_listens_for_nobody_on_another_machine(host: str) -> None:
    """It knows no users: whoever reached it could say that all is well."""
    with pytest.raises(
        BrokerError, match=r"neither users nor rights, and .* can be reached from elsewhere; set"
    ):
        EmbeddedBroker(host).__enter__()


async def test_a_browser_reaches_it_over_websockets() -> None:
    with EmbeddedBroker("localhost", websocket_port=0) as broker:
        tcp = aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5, timeout=5)
        web = aiomqtt.Client("127.0.0.1", broker.websocket_port, transport="websockets", timeout=5)
        async with tcp, web, asyncio.timeout(60):
            await web.subscribe("a/#", qos=1)
            picture = bytes(MAX_PAYLOAD_BYTES // 2)
            await tcp.publish("a/b", picture, qos=1)
            assert (await anext(aiter(web.messages))).payload == picture
