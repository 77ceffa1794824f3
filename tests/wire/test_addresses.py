"""What a driver says of an address with no console behind it, or that is none."""

from __future__ import annotations

import os
import socket
import tty
from collections.abc import Iterator

import pytest
from tests.wire.conftest import NumberedSource

from octmargin.errors import ConfigError, DeviceNotFoundError, DeviceTimeoutError
from octmargin_drivers import console_control
from octmargin_drivers.serial import SerialDriver
from octmargin_drivers.usb import UsbDriver
from octmargin_simulator.console import Console
from octmargin_simulator.usb_device import UsbConsole


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_a_serial_port_that_is_not_there() -> None:
    with pytest.raises(DeviceNotFoundError, match=r"/dev/octmargin-is-not-there\?baud=115200: no such port"):
        await SerialDriver("/dev/octmargin-is-not-there?baud=115200").open()


async def test_nothing_at_a_network_address(free_port: int) -> None:
    for driver in (
        UsbDriver(f"usbip://127.0.0.1:{free_port}"),
        SerialDriver(f"socket://127.0.0.1:{free_port}"),
    ):
        with pytest.raises(DeviceNotFoundError) as caught:
            await driver.open()
        assert str(free_port) in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_usb_bus_without_the_device_that_was_asked_for() -> None:
    console = Console(NumberedSource())
    served = UsbConsole(console)
    with pytest.raises(DeviceNotFoundError, match="no console there"):
        await UsbDriver(f"{served.address}/9-9").open()
    served.close()
    console.close()


@pytest.fixture
def mute_port() -> Iterator[str]:
    """A serial device that is something else: it takes everything and says nothing."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


async def test_a_serial_port_with_something_else_behind_it(
    mute_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_control, "ANSWER_TIMEOUT_S", 0.1)
    with pytest.raises(DeviceTimeoutError, match=r"is this an OCT console, and is it on\?"):
        await SerialDriver(mute_port).open()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "?baud=9600",
        "/dev/ttyS0?baud=fast",
        "/dev/ttyS0?baud=0",
        "/dev/ttyS0?speed=9600",
        "carrier://pigeon",
    ],
)
async def test_serial_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match=r"serial address.*write"):
        await SerialDriver(address).open()


@pytest.mark.parametrize(
    "address",
    ["", "usb", "usb:1209", "usb:vendor:product", "/dev/ttyS0", "usbip://127.0.0.1:port", "usbip://["],
)
async def test_usb_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match=r"USB address.*write"):
        await UsbDriver(address).open()
