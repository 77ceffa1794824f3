"""The console's registers from the host's side: blocking requests over a wire, asked again where noise hit them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import msgspec

from octmargin.errors import (
    CommandRefusedError,
    DeviceDisconnectedError,
    DeviceError,
    DeviceTimeoutError,
    RemoteProtocolError,
)
from octmargin.frames import ConsoleInfo, ScanPlan
from octmargin.link import registers as reg
from octmargin.link.commands import ReadMem, WriteMem
from octmargin.link.control import Answered, ControlHost, StillPending, split_read, split_write
from octmargin.link.description import SelfDescription
from octmargin.link.registers import Register, ScanCommand, ScanState, ScanStatus
from octmargin_drivers.wire import Wire

ANSWER_TIMEOUT_S = 1.0
ATTEMPTS = 3
"""How often a command is sent before the console counts as silent: noise may have hit the command or its answer."""
MAX_DESCRIPTION_BYTES = 1 << 20


class ConsoleControl:
    """The control channel of one open console. Methods block, one request at a time, from any thread.

    `trouble(text)` is told of bytes that were not the protocol and of requests that are asked again. Errors
    are those under DeviceError: the console is silent, refuses, is gone, or does not keep to the protocol.
    """

    def __init__(self, wire: Wire, address: str, trouble: Callable[[str], None]) -> None:
        self._wire = wire
        self._address = address
        self._trouble = trouble
        self._host = ControlHost()
        self._lock = threading.Lock()
        self._closed = False
        self._can_resume = False
        self._has_pedal = False

    def close(self) -> None:
        """Wait for the request under way and allow no other: the wire is about to go."""
        with self._lock:
            self._closed = True

    def check_protocol(self) -> None:
        """DeviceError unless an OCT console of this protocol's major version answers."""
        try:
            version = self._read_number(reg.OCT_PROTOCOL)
        except DeviceTimeoutError as error:
            raise DeviceTimeoutError(
                f"{self._address}: no answer to {ATTEMPTS} requests; is this an OCT console, and is it on?"
            ) from error
        self._can_resume = version & 0xFFFF >= reg.RESUMES_SINCE_MINOR
        self._has_pedal = version & 0xFFFF >= reg.PEDAL_SINCE_MINOR
        if version >> 16 != reg.PROTOCOL_VERSION >> 16:
            raise DeviceError(
                f"{self._address}: console speaks protocol {version >> 16}.{version & 0xFFFF}, this driver "
                f"{reg.PROTOCOL_VERSION >> 16}.x; update the older of the two"
            )

    def identify(self, driver: str) -> ConsoleInfo:
        """Who the console is, with its self-description under `capabilities`."""
        size = self._read_number(reg.DESCRIPTION_SIZE)
        if size > MAX_DESCRIPTION_BYTES:
            raise RemoteProtocolError(
                f"self-description of {size} bytes; at most {MAX_DESCRIPTION_BYTES} are read"
            )
        description = SelfDescription.from_bytes(self._read(self._read_number(reg.DESCRIPTION_ADDRESS), size))
        capabilities: dict[str, Any] = msgspec.to_builtins(description)
        return ConsoleInfo(
            driver=driver,
            address=self._address,
            maker=self._read_text(reg.MAKER),
            model=self._read_text(reg.MODEL),
            serial=self._read_text(reg.SERIAL_NUMBER),
            firmware=self._read_text(reg.FIRMWARE),
            capabilities=capabilities,
        )

    def write_plan(self, plan: ScanPlan) -> None:
        """Set the next sweep's plan; CommandRefusedError names what the console cannot scan."""
        if plan.first_frame and not self._can_resume:
            raise CommandRefusedError(
                f"{self._address}: the console cannot begin at frame {plan.first_frame}: that takes protocol "
                f"1.{reg.RESUMES_SINCE_MINOR}, of a later firmware"
            )
        # A console that another host, or this one before it lost it, left scanning refuses every write.
        self.ensure_idle()
        values: list[tuple[str, Register, int | str]] = [
            ("samples", reg.SAMPLES, plan.samples),
            ("alines", reg.ALINES, plan.alines),
            ("frames", reg.FRAMES, plan.frames),
            ("pixel_format", reg.PIXEL_FORMAT, plan.pixel_format.value),
            ("line_rate_hz", reg.LINE_RATE_MILLIHZ, round(plan.line_rate_hz * 1000)),
            ("width_mm", reg.WIDTH_UM, round(plan.width_mm * 1000)),
            ("height_mm", reg.HEIGHT_UM, round(plan.height_mm * 1000)),
            ("face", reg.FACE, plan.face),
        ]
        if self._can_resume:
            values.append(("first_frame", reg.FIRST_FRAME, plan.first_frame))
        for name, register, value in values:
            try:
                self._write(register, value)
            except CommandRefusedError as error:
                raise CommandRefusedError(
                    f"{self._address}: the console refuses {name} = {getattr(plan, name)!s} ({error}); "
                    f"see `octmargin devices` for what it offers"
                ) from error

    def status(self, attempts: int = ATTEMPTS) -> ScanStatus:
        """The status block."""
        return ScanStatus.from_bytes(self._read(ScanStatus.ADDRESS, ScanStatus.SIZE, attempts))

    def status_and_presses(self, attempts: int = ATTEMPTS) -> tuple[ScanStatus, int]:
        """The status block, and how often the pedal was pressed since it was switched on; 0 without a pedal."""
        if not self._has_pedal:
            return self.status(attempts), 0
        # It lies behind the block: one read, one moment.
        data = self._read(ScanStatus.ADDRESS, ScanStatus.SIZE + reg.PEDAL_PRESSES.size, attempts)
        presses = reg.PEDAL_PRESSES.unpack_int(data[ScanStatus.SIZE :])
        return ScanStatus.from_bytes(data[: ScanStatus.SIZE]), presses

    def pedal_presses(self) -> int:
        """How often the pedal was pressed since the console was switched on; 0 without a pedal."""
        return self._read_number(reg.PEDAL_PRESSES) if self._has_pedal else 0

    def ensure_idle(self) -> ScanStatus:
        """Stop a sweep that another program, or this one before it crashed, left running."""
        status = self.status()
        if status.state is ScanState.SCANNING:
            status = self.stop_sweep()
        return status

    def begin_sweep(self, before: ScanStatus) -> ScanStatus:
        """Write START once per attempt; where its answer is lost, the sweep counter tells whether it arrived."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(DeviceTimeoutError):
                self._write(reg.SCAN_CONTROL, ScanCommand.START, attempts=1)
            status = self.status()
            if status.sweep != before.sweep:
                return status
        raise DeviceTimeoutError(f"{self._address}: the console does not begin to scan; switch it off and on")

    def stop_sweep(self) -> ScanStatus:
        """Write STOP; what the console says of itself afterwards."""
        self._write(reg.SCAN_CONTROL, ScanCommand.STOP)
        return self.status()

    def _transact(self, begin: Callable[[], ReadMem | WriteMem], attempts: int) -> bytes:
        for _ in range(attempts - 1):
            try:
                return self._ask(begin)
            except DeviceTimeoutError as error:
                self._trouble(f"{error}; asking again")
        return self._ask(begin)

    def _ask(self, begin: Callable[[], ReadMem | WriteMem]) -> bytes:
        """One request and its answer."""
        with self._lock:
            if self._closed:
                raise DeviceDisconnectedError(f"{self._address}: not connected; open the device first")
            try:
                self._wire.send_control(begin())
                deadline = monotonic() + ANSWER_TIMEOUT_S
                while True:
                    try:
                        command = self._wire.receive_control(max(0.0, deadline - monotonic()))
                    except RemoteProtocolError as error:
                        self._trouble(str(error))
                        continue
                    answer = self._host.receive(command)
                    if isinstance(answer, Answered):
                        return answer.data
                    if isinstance(answer, StillPending):
                        deadline = monotonic() + answer.timeout_ms / 1000
            finally:
                self._host.give_up()

    def _read(self, address: int, size: int, attempts: int = ATTEMPTS) -> bytes:
        return b"".join(
            self._transact(partial(self._host.read, at, length), attempts)
            for at, length in split_read(address, size)
        )

    def _read_number(self, register: Register) -> int:
        return register.unpack_int(self._read(register.address, register.size))

    def _read_text(self, register: Register) -> str:
        return register.unpack_text(self._read(register.address, register.size))

    def _write(self, register: Register, value: int | str, attempts: int = ATTEMPTS) -> None:
        for address, data in split_write(register.address, register.pack(value)):
            self._transact(partial(self._host.write, address, data), attempts)
