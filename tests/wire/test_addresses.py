"""What a driver says of an address with no console behind it, or that is none."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator

import pytest
from serial.rfc2217 import PortManager
from serial.urlhandler import protocol_loop
from tests.wire.conftest import NumberedSource

from octmargin.errors import ConfigError, DeviceError, DeviceNotFoundError, DeviceTimeoutError
from octmargin_drivers import console_control
from octmargin_drivers.replay import ReplayDriver
from octmargin_drivers.serial import SerialDriver
from octmargin_drivers.serial_port import open_port
from octmargin_drivers.usb import UsbDriver
from octmargin_simulator.console import Console
from octmargin_simulator.serial_port import _Terminal
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


@contextlib.contextmanager
def terminal_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serves the first connection to its port, and is gone."""

    def serve_one() -> None:
        with listener.accept()[0] as connection, contextlib.suppress(OSError):  # the driver has hung up
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_one)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


class SlowLine(protocol_loop.Serial):  # type: ignore[misc] # pyserial has no types
    """A line behind a terminal server that goes no faster than 115200 baud."""

    def _reconfigure_port(self) -> None:
        if self._baudrate > 115_200:
            raise ValueError("too fast")
        super()._reconfigure_port()


class Telnet:
    """What pyserial's server writes its answers to."""

    def __init__(self, connection: socket.socket) -> None:
        self.write = connection.sendall


def serve_slow_line(connection: socket.socket) -> None:
    with SlowLine("loop://", timeout=0) as line:
        manager = PortManager(line, Telnet(connection))
        while data := connection.recv(1024):
            for byte in manager.filter(data):
                line.write(byte)


def hang_up(_: socket.socket) -> None:
    """Take the connection and let go of it at once."""


# pyserial does not close a socket whose other end has gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("serve", [serve_slow_line, hang_up])
async def test_a_terminal_server_that_does_not_open_its_line_may_do_so_later(
    serve: Callable[[socket.socket], None],
) -> None:
    """What is a DeviceError is tried again; any other error would end the daemon."""
    with (
        terminal_server(serve) as port,
        pytest.raises(DeviceError, match=r"cannot be opened: .*; check") as caught,
    ):
        await SerialDriver(f"rfc2217://127.0.0.1:{port}?baud=3000000").open()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [termios.error(5, "Input/output error"), OSError(5, "Input/output error")])
async def test_a_serial_port_that_fails_while_it_is_opened_may_be_there_later(
    mute_port: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A terminal that hangs up after it was opened, before it is set up: the kernel says so to `tcflush`."""

    def hung_up(*_: int) -> None:
        raise error

    monkeypatch.setattr(termios, "tcflush", hung_up)
    with pytest.raises(DeviceError, match=r"cannot be opened: .*Input/output error; check cable"):
        await SerialDriver(mute_port).open()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "?baud=9600",
        "/dev/ttyS0?baud=fast",
        "/dev/ttyS0?baud=0",
        "/dev/ttyS0?baud=²",
        "/dev/ttyS0?baud=٣٠٠",
        "/dev/ttyS0?speed=9600",
        "carrier://pigeon",
        "socket://no..host:4001",
    ],
)
async def test_serial_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match=r"serial address.*write"):
        await SerialDriver(address).open()


@pytest.mark.parametrize(
    "option", ["samples=nan", "samples=2.5", "alines=²", "pace=nan", "pace=inf", "pace=٣"]
)
def test_replay_addresses_that_are_none(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"replay address .*{option}; give a"):
        ReplayDriver(f"spectra.npy?synthetic=no&{option}")


@pytest.fixture
def thousand_files() -> Iterator[None]:
    """This process has so many files open that the next has a number that `select` does not know."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this user may not open 1200 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1200, hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1030)]
    yield
    for file in files:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("thousand_files")
def test_a_terminal_server_is_heard_however_many_files_are_open() -> None:
    with terminal_server(lambda connection: connection.sendall(b"here")) as port:
        line = open_port(f"socket://127.0.0.1:{port}")
        # A look waits for a tenth of a second.
        assert next(filter(None, (line.receive() for _ in range(600)))) == b"here"
        line.close()


@pytest.mark.usefixtures("thousand_files")
def test_the_simulated_serial_line_is_heard_however_many_files_are_open() -> None:
    line = _Terminal()
    host = os.open(line.name, os.O_RDWR | os.O_NOCTTY)
    os.write(host, b"here")
    assert line.read(5.0) == b"here"
    assert line.write(memoryview(b"there"), 5.0) == 5
    os.close(host)
    line.close()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "usb",
        "usb:1209",
        "usb:vendor:product",
        "/dev/ttyS0",
        "usbip",
        "usbip:",
        "usbip://",
        "usbip:127.0.0.1:3240",
        "usbip:/127.0.0.1:3240",
        "usbip://127.0.0.1",
        "usbip://:3240",
        "usbip://127.0.0.1:",
        "usbip://127.0.0.1:port",
        "usbip://127.0.0.1:٣٢٤٠",
        "usbip://127.0.0.1:0",
        "usbip://127.0.0.1:65536",
        "usbip://127.0.0.1:3240/1-1/2",
        "usbip://127.0.0.1:3240?busid=1-1",
        "usbip://somebody@127.0.0.1:3240",
        "usbip://::1:3240",
        "usbip://no..host:3240",
        "usbip://[",
    ],
)
async def test_usb_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match=r"USB address.*write .*usbip://HOST:PORT\[/BUSID\]$"):
        await UsbDriver(address).open()


@pytest.mark.parametrize("way", ["", "/", "/1-1"])
async def test_a_console_is_found_at_each_address_that_is_one(way: str) -> None:
    console = Console(NumberedSource())
    served = UsbConsole(console)
    driver = UsbDriver(f"{served.address}{way}")
    await driver.open()
    assert (await driver.identify()).address == driver.address
    await driver.close()
    served.close()
    console.close()


async def test_an_address_that_devices_prints_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(NumberedSource())
    served = UsbConsole(console)
    monkeypatch.setattr("octmargin_drivers.usb.USBIP_PORT", served.port)
    [address] = [info.address for info in await UsbDriver.discover() if info.address.startswith("usbip:")]
    driver = UsbDriver(address)
    await driver.open()
    await driver.close()
    served.close()
    console.close()


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
async def test_a_host_may_have_a_name_or_an_address_of_either_kind(free_port: int, host: str) -> None:
    with pytest.raises(DeviceNotFoundError, match="no console there"):
        await UsbDriver(f"usbip://{host}:{free_port}").open()
