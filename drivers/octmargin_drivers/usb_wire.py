"""One console on USB: control on its own endpoints, frames straight into ring slots."""

from __future__ import annotations

import ctypes
import errno
import threading
from array import array
from collections.abc import Callable
from typing import Any

import usb.core
import usb.util

from octmargin.errors import (
    DeviceBusyError,
    DeviceDisconnectedError,
    DeviceError,
    DeviceTimeoutError,
    RemoteProtocolError,
)
from octmargin.link.commands import Command, parse_command
from octmargin.link.stream import Leader
from octmargin_drivers.intake import FrameIntake

CONTROL_OUT, CONTROL_IN, STREAM_IN = 0x01, 0x81, 0x82
_CONTROL_BYTES = 2048
_POLL_MS = 200
"""How long a stream read waits before the reader looks whether it is to stop."""
_PART_MS = 1000
"""How long the next part of a frame may take: the console sends a frame without pausing."""
_SCRATCH_BYTES = 1 << 20
BUSY = "{}: in use by another program; stop it (another octmargin run?) and try again"
_GONE = {errno.ENODEV, errno.ESHUTDOWN, errno.EIO, errno.ECONNRESET}


class SlotBuffer(array):  # type: ignore[type-arg] # array cannot be subscripted as a base class
    """Memory of a ring slot in the shape in which pyusb hands buffers to its backends.

    pyusb reads into an `array.array` and asks it for its address. An array cannot wrap memory that exists
    already, so this one is empty and gives the slot's address: the transfer then ends in the slot.
    """

    memory: memoryview

    @classmethod
    def over(cls, memory: memoryview) -> SlotBuffer:
        """Wrap `memory`, which is kept alive and must be writable and contiguous."""
        buffer = cls("B")
        buffer.memory = memory
        return buffer

    def buffer_info(self) -> tuple[int, int]:
        """Address and length of the slot's memory."""
        return _address_of(self.memory), len(self.memory)


def _address_of(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(memory))


class UsbWire:
    """One console on USB."""

    def __init__(self, device: Any, address: str, trouble: Callable[[str], None]) -> None:
        self._device = device
        self._address = address
        self._trouble = trouble
        self._reader: threading.Thread | None = None
        self._stop_reading = threading.Event()
        self._scratch = array("B", bytes(_SCRATCH_BYTES))
        self._lost = ""

    def send_control(self, command: Command) -> None:
        """Send a request on the control endpoint."""
        if self._lost:
            raise DeviceDisconnectedError(self._lost)
        try:
            self._device.write(CONTROL_OUT, command.to_bytes(), 1000)
        except usb.core.USBError as error:
            raise device_error(error, self._address) from error

    def receive_control(self, timeout_s: float) -> Command:
        """Wait for the next transfer on the control endpoint: it is one command."""
        try:
            data = self._device.read(CONTROL_IN, _CONTROL_BYTES, max(1, round(timeout_s * 1000)))
        except usb.core.USBError as error:
            raise device_error(error, self._address) from error
        return parse_command(data.tobytes())

    def begin_stream(self, intake: FrameIntake) -> None:
        """Start the reader thread."""
        self._stop_reading.clear()
        self._reader = threading.Thread(
            target=self._read_frames, args=(intake,), name="usb-stream", daemon=True
        )
        self._reader.start()

    def end_stream(self) -> None:
        """Stop the reader thread."""
        self._stop_reading.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None

    def close(self) -> None:
        """Stop reading and release the device."""
        self.end_stream()
        usb.util.dispose_resources(self._device)

    # -- stream, in the reader thread -----------------------------------------------------------------

    def _read_frames(self, intake: FrameIntake) -> None:
        leader: Leader | None = None
        while not (self._stop_reading.is_set() or intake.ended):
            try:
                leader = self._read_frame(intake, leader or self._read_leader())
            except usb.core.USBTimeoutError:
                continue  # nothing was on its way
            except RemoteProtocolError as error:
                leader = None
                intake.broken(str(error))
            except usb.core.USBError as error:
                leader = None
                intake.broken(f"USB: {error}")
                if not self._recover(error):
                    return
            except Exception as error:  # noqa: BLE001 - a dead thread would say nothing
                why = f"{type(error).__name__}: {error}"
                self._lost = f"{self._address}: the stream cannot be read on ({why}); check cable and power"
                return

    def _recover(self, error: usb.core.USBError) -> bool:
        """Clear a halted endpoint; False where the device is gone."""
        try:
            if error.errno == errno.EPIPE:
                self._device.clear_halt(STREAM_IN)
        except usb.core.USBError:
            return False
        return error.errno not in _GONE

    def _read_frame(self, intake: FrameIntake, leader: Leader) -> Leader | None:
        """Read payload, straight into its slot, and trailer; give the leader that came in the trailer's place."""
        slot = intake.begin(leader)
        if slot is None:
            return None  # payload and trailer are skipped by the search for the next leader
        count = self._read_part(SlotBuffer.over(slot))
        if count != len(slot):
            raise RemoteProtocolError(
                f"frame {leader.sequence}: {count} bytes arrived, its leader says {len(slot)}"
            )
        last = self._scratch[: self._read_part(self._scratch)].tobytes()
        intake.finish(last)
        try:
            return Leader.from_bytes(last)
        except RemoteProtocolError:
            return None

    def _read_leader(self) -> Leader:
        """Read up to the next leader; what is none is passed over, so that a bad frame costs only itself."""
        skipping = False
        while True:
            count = self._device.read(STREAM_IN, self._scratch, _POLL_MS)
            try:
                return Leader.from_bytes(memoryview(self._scratch)[:count])
            except RemoteProtocolError as error:
                if not skipping:
                    self._trouble(str(error))
                skipping = True

    def _read_part(self, buffer: Any) -> int:
        try:
            count: int = self._device.read(STREAM_IN, buffer, _PART_MS)
        except usb.core.USBTimeoutError as error:
            raise RemoteProtocolError("the rest of a frame did not come") from error
        return count


def device_error(error: usb.core.USBError, address: str) -> DeviceError:
    """The error of our tree for one of pyusb's."""
    if isinstance(error, usb.core.USBTimeoutError) or error.errno == errno.ETIMEDOUT:
        return DeviceTimeoutError(f"{address}: no answer from the console")
    if error.errno == errno.EBUSY:
        return DeviceBusyError(BUSY.format(address))
    if error.errno == errno.EACCES:
        return DeviceError(
            f"{address}: this user may not open the USB device; install configs/70-octmargin.rules and plug it in again"
        )
    if error.errno in _GONE:
        return DeviceDisconnectedError(f"{address}: the console is gone; check cable and power")
    return DeviceError(f"{address}: USB error: {error}")
