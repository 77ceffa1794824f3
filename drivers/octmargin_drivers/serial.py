"""Driver for consoles on a serial line; for addresses see `serial_port`."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from typing import ClassVar

from serial.tools import list_ports

from octmargin.device import Finding
from octmargin.errors import (
    DeviceDisconnectedError,
    DeviceTimeoutError,
    RemoteProtocolError,
)
from octmargin.frames import ConsoleInfo
from octmargin.link import gencp
from octmargin.link.collector import (
    FrameBroken,
    FrameCollector,
    LeaderArrived,
    PayloadArrived,
    TrailerArrived,
)
from octmargin.link.commands import Command, StreamPiece
from octmargin_drivers.intake import FrameIntake
from octmargin_drivers.link_driver import LinkDriver
from octmargin_drivers.serial_port import Port, SerialAddress, open_port
from octmargin_drivers.wire import Wire


class SerialWire:
    """One console on a serial line; a thread of its own reads the port from the beginning to the end."""

    def __init__(self, port: Port, address: str, trouble: Callable[[str], None]) -> None:
        self._port = port
        self._address = address
        self._trouble = trouble
        self._decoder = gencp.SerialDecoder()
        self._collector = FrameCollector()
        self._answers: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._intake: FrameIntake | None = None
        self._intake_lock = threading.Lock()
        self._slot: memoryview | None = None
        self._closing = threading.Event()
        self._lost = ""
        self._thread = threading.Thread(target=self._read_for_ever, name="serial-read", daemon=True)
        self._thread.start()

    def send_control(self, command: Command) -> None:
        """Write a request."""
        if self._lost:
            raise DeviceDisconnectedError(self._lost)
        try:
            self._port.send(gencp.encode(command))
        except Exception as error:
            raise _gone(self._address, error) from error

    def receive_control(self, timeout_s: float) -> Command:
        """The next command that is not a part of the stream."""
        try:
            command = self._answers.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            raise DeviceTimeoutError(f"{self._address}: no answer from the console") from None
        if command is None:
            raise DeviceDisconnectedError(self._lost)
        return command

    def begin_stream(self, intake: FrameIntake) -> None:
        """Frames that begin from now on go to `intake`."""
        with self._intake_lock:
            self._collector = FrameCollector()
            self._slot = None
            self._intake = intake

    def end_stream(self) -> None:
        """Frames go nowhere from now on."""
        with self._intake_lock:
            self._intake = None
            self._slot = None

    def close(self) -> None:
        """Close the port."""
        self._closing.set()
        self._thread.join()
        self._port.close()

    # -- reader thread --------------------------------------------------------------------------------

    def _read_for_ever(self) -> None:
        try:
            while not self._closing.is_set():
                if data := self._port.receive():
                    self._decoder.receive(data)
                    self._dispatch()
        except Exception as error:  # noqa: BLE001 - pyserial fails in many ways, and a dead thread would say nothing
            self._lost = str(_gone(self._address, error))
            self._answers.put(None)

    def _dispatch(self) -> None:
        while True:
            try:
                command = self._decoder.next_command()
            except RemoteProtocolError as error:
                self._trouble(str(error))
                continue
            if command is None:
                return
            if isinstance(command, StreamPiece):
                self._take(command)
            else:
                self._answers.put(command)

    def _take(self, piece: StreamPiece) -> None:
        with self._intake_lock:
            intake = self._intake
            if intake is None:
                return
            intake.heard()
            for event in self._collector.collect(piece):
                if isinstance(event, LeaderArrived):
                    self._slot = intake.begin(event.leader)
                elif isinstance(event, PayloadArrived):
                    if self._slot is not None:
                        self._slot[event.offset : event.offset + len(event.data)] = event.data
                elif isinstance(event, TrailerArrived):
                    intake.finish(event.data)
                    self._slot = None
                elif isinstance(event, FrameBroken):
                    intake.broken(f"frame {event.sequence}: {event.reason}")
                    self._slot = None


class SerialDriver(LinkDriver):
    """A console on a serial line."""

    name: ClassVar[str] = "serial"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        SerialAddress.parse(address)

    @classmethod
    async def discover(cls) -> list[ConsoleInfo]:
        """The serial ports of this machine; which of them has a console is known only after `open`."""
        ports = await asyncio.to_thread(list_ports.comports)
        return [
            ConsoleInfo(
                driver="serial",
                address=port.device,
                maker=port.manufacturer or "",
                model=port.product or "",
                serial=port.serial_number or "",
                note="a serial port; not asked what is behind it",
            )
            for port in ports
        ]

    @classmethod
    async def diagnose(cls) -> list[Finding]:
        """Ports that are there and that this user may not open."""
        return [
            Finding(
                f"port {port.device}",
                "note",
                "this user may not open it",
                "add the user to the group that owns it (dialout)",
            )
            for port in await asyncio.to_thread(list_ports.comports)
            if not os.access(port.device, os.R_OK | os.W_OK)
        ]

    def _connect(self) -> Wire:
        return SerialWire(open_port(self.address), self.address, self.trouble)


def _gone(address: str, error: Exception) -> DeviceDisconnectedError:
    why = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return DeviceDisconnectedError(f"{address}: the port is gone ({why}); check cable and power")
