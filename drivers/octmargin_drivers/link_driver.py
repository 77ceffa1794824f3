"""What all drivers of the console link share: registers, plan, sweep, heartbeat, events.

A wire (USB, serial) below it moves bytes; this module knows what they are for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from functools import partial
from time import monotonic
from typing import Any, Protocol, TypeVar

import msgspec

from octmargin.device import (
    ConsoleFault,
    DeviceEvent,
    Disconnected,
    Driver,
    LinkTrouble,
    SweepAccount,
    SweepEnded,
    SweepStarted,
)
from octmargin.errors import (
    CommandRefusedError,
    DeviceDisconnectedError,
    DeviceError,
    DeviceTimeoutError,
    LocalProtocolError,
    RemoteProtocolError,
)
from octmargin.frames import ConsoleInfo, ScanPlan
from octmargin.link import registers as reg
from octmargin.link.commands import Command, ReadMem, WriteMem
from octmargin.link.control import Answered, ControlHost, StillPending, split_read, split_write
from octmargin.link.description import SelfDescription
from octmargin.link.registers import Faults, Register, ScanCommand, ScanState, ScanStatus
from octmargin.ring import FrameRing
from octmargin_drivers.intake import FrameIntake

ANSWER_TIMEOUT_S = 1.0
ATTEMPTS = 3
"""How often a command is sent before the console counts as silent: noise may have hit the command or its answer."""
HEARTBEAT_S = 0.5
SETTLE_S = 1.0
"""After the end of a sweep: how long the wire may be quiet before the frames still missing count as lost."""
MAX_DESCRIPTION_BYTES = 1 << 20

T = TypeVar("T")


class Wire(Protocol):
    """Moves bytes to and from one console. Methods block and are called from threads."""

    def send_control(self, command: Command) -> None:
        """Send a request."""
        ...

    def receive_control(self, timeout_s: float) -> Command:
        """Wait for the next command from the console.

        DeviceTimeoutError when time is up; RemoteProtocolError for what is no command.
        """
        ...

    def begin_stream(self, intake: FrameIntake) -> None:
        """Give the frames that arrive from now on to `intake`."""
        ...

    def end_stream(self) -> None:
        """No more frames; `intake` is not touched after this returns."""
        ...

    def close(self) -> None:
        """Let go of the console."""
        ...


class LinkDriver(Driver):
    """A driver over a `Wire`; subclasses say how to connect one."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._wire: Wire | None = None
        self._control = ControlHost()
        self._control_lock = threading.Lock()
        self._events: asyncio.Queue[DeviceEvent | None] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self._intake: FrameIntake | None = None
        self._sweep: SweepStarted | None = None
        self._sweep_has_ended = False
        self._dropped_before = 0
        self._known_faults = Faults.NONE
        self._trouble_count = 0

    @abstractmethod
    def _connect(self) -> Wire:
        """Connect; blocking; raises errors under DeviceError."""

    # -- contract -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect to the console and check that it speaks this protocol."""
        self._loop = asyncio.get_running_loop()
        while not self._events.empty():
            self._events.get_nowait()  # the last connection's end would end the events of this one
        self._trouble_count = 0
        self._wire = await asyncio.to_thread(self._connect)
        try:
            await self._run(self._check_protocol)
        except BaseException:
            await self.close()
            raise
        self._heartbeat = asyncio.create_task(self._keep_alive(), name=f"heartbeat {self.address}")

    async def identify(self) -> ConsoleInfo:
        """Read the bootstrap registers and the self-description."""
        return await self._run(self._identify)

    async def configure(self, plan: ScanPlan) -> None:
        """Write the plan, register by register."""
        await self._run(lambda: self._write_plan(plan))

    async def start(self, ring: FrameRing) -> SweepStarted:
        """Begin the sweep."""
        if self._sweep is not None:
            raise LocalProtocolError("a sweep is running; stop it first")
        return await self._run(lambda: self._start(ring))

    async def stop(self) -> SweepAccount:
        """End the sweep; frames on their way still arrive, what is missing then is lost."""
        sweep, intake = self._sweep, self._intake
        if sweep is None or intake is None:
            raise LocalProtocolError("no sweep is running")
        try:
            status = await self._run(self._stop_scanning)
            self._report_faults(status)
            await self._settle(intake, status.frames_numbered)
            numbered, dropped = status.frames_numbered, status.frames_dropped
        except DeviceError:
            # The console is gone: nobody can say more than what arrived.
            numbered, dropped = 0, intake.dropped_by_console
        if self._wire is not None:
            await asyncio.to_thread(self._wire.end_stream)
        # A console that was restarted counts from zero again; what arrived before was numbered all the same.
        numbered = max(numbered, intake.next_sequence)
        dropped = max(dropped, intake.dropped_by_console)
        intake.close(numbered, dropped)
        self._sweep = self._intake = None
        return SweepAccount(
            sweep.sweep, sweep.first_sequence, numbered - sweep.first_sequence, dropped - self._dropped_before
        )

    async def events(self) -> AsyncIterator[DeviceEvent]:
        """Events as they happen, until `close`."""
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        """Let go of the console, with the books of a running sweep closed."""
        if self._sweep is not None:
            await self.stop()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._heartbeat
            self._heartbeat = None
        wire, self._wire = self._wire, None
        if wire is not None:
            await asyncio.to_thread(wire.close)
            self._events.put_nowait(None)

    # -- from threads to the event loop ---------------------------------------------------------------

    def post(self, event: DeviceEvent) -> None:
        """Report an event; may be called from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._events.put_nowait, event)

    def trouble(self, text: str) -> None:
        """Report bytes that were not the protocol; may be called from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._count_trouble, text)

    def _count_trouble(self, text: str) -> None:
        """Tell at 1, 2, 4, 8, ... so that noise cannot flood."""
        self._trouble_count += 1
        if self._trouble_count & (self._trouble_count - 1) == 0:
            self._events.put_nowait(LinkTrouble(text, self._trouble_count))

    def _last_frame_arrived(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._end_of_sweep)

    def _end_of_sweep(self) -> None:
        if not self._sweep_has_ended:
            self._sweep_has_ended = True
            self._events.put_nowait(SweepEnded())

    # -- control, blocking ----------------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    def _transact(self, begin: Callable[[], ReadMem | WriteMem], attempts: int) -> bytes:
        for _ in range(attempts - 1):
            try:
                return self._ask(begin)
            except DeviceTimeoutError as error:
                self.trouble(f"{error}; asking again")
        return self._ask(begin)

    def _ask(self, begin: Callable[[], ReadMem | WriteMem]) -> bytes:
        """One request and its answer."""
        wire = self._wire
        if wire is None:
            raise DeviceDisconnectedError(f"{self.address}: not connected; open the device first")
        with self._control_lock:
            try:
                wire.send_control(begin())
                deadline = monotonic() + ANSWER_TIMEOUT_S
                while True:
                    try:
                        command = wire.receive_control(max(0.0, deadline - monotonic()))
                    except RemoteProtocolError as error:
                        self.trouble(str(error))
                        continue
                    answer = self._control.receive(command)
                    if isinstance(answer, Answered):
                        return answer.data
                    if isinstance(answer, StillPending):
                        deadline = monotonic() + answer.timeout_ms / 1000
            finally:
                self._control.give_up()

    def _read(self, address: int, size: int, attempts: int = ATTEMPTS) -> bytes:
        return b"".join(
            self._transact(partial(self._control.read, at, length), attempts)
            for at, length in split_read(address, size)
        )

    def _read_number(self, register: Register) -> int:
        return register.unpack_int(self._read(register.address, register.size))

    def _read_text(self, register: Register) -> str:
        return register.unpack_text(self._read(register.address, register.size))

    def _write(self, register: Register, value: int | str, attempts: int = ATTEMPTS) -> None:
        for address, data in split_write(register.address, register.pack(value)):
            self._transact(partial(self._control.write, address, data), attempts)

    def _status(self, attempts: int = ATTEMPTS) -> ScanStatus:
        return ScanStatus.from_bytes(self._read(ScanStatus.ADDRESS, ScanStatus.SIZE, attempts))

    def _check_protocol(self) -> None:
        try:
            version = self._read_number(reg.OCT_PROTOCOL)
        except DeviceTimeoutError as error:
            raise DeviceTimeoutError(
                f"{self.address}: no answer to {ATTEMPTS} requests; is this an OCT console, and is it on?"
            ) from error
        if version >> 16 != reg.PROTOCOL_VERSION >> 16:
            raise DeviceError(
                f"{self.address}: console speaks protocol {version >> 16}.{version & 0xFFFF}, this driver "
                f"{reg.PROTOCOL_VERSION >> 16}.x; update the older of the two"
            )

    def _identify(self) -> ConsoleInfo:
        size = self._read_number(reg.DESCRIPTION_SIZE)
        if size > MAX_DESCRIPTION_BYTES:
            raise RemoteProtocolError(
                f"self-description of {size} bytes; at most {MAX_DESCRIPTION_BYTES} are read"
            )
        description = SelfDescription.from_bytes(self._read(self._read_number(reg.DESCRIPTION_ADDRESS), size))
        capabilities: dict[str, Any] = msgspec.to_builtins(description)
        return ConsoleInfo(
            driver=self.name,
            address=self.address,
            maker=self._read_text(reg.MAKER),
            model=self._read_text(reg.MODEL),
            serial=self._read_text(reg.SERIAL_NUMBER),
            firmware=self._read_text(reg.FIRMWARE),
            capabilities=capabilities,
        )

    def _write_plan(self, plan: ScanPlan) -> None:
        values: tuple[tuple[str, Register, int | str], ...] = (
            ("samples", reg.SAMPLES, plan.samples),
            ("alines", reg.ALINES, plan.alines),
            ("frames", reg.FRAMES, plan.frames),
            ("pixel_format", reg.PIXEL_FORMAT, plan.pixel_format.value),
            ("line_rate_hz", reg.LINE_RATE_MILLIHZ, round(plan.line_rate_hz * 1000)),
            ("width_mm", reg.WIDTH_UM, round(plan.width_mm * 1000)),
            ("height_mm", reg.HEIGHT_UM, round(plan.height_mm * 1000)),
            ("face", reg.FACE, plan.face),
        )
        for name, register, value in values:
            try:
                self._write(register, value)
            except CommandRefusedError as error:
                raise CommandRefusedError(
                    f"{self.address}: the console refuses {name} = {getattr(plan, name)!s} ({error}); "
                    f"see `octmargin devices` for what it offers"
                ) from error

    def _start(self, ring: FrameRing) -> SweepStarted:
        before = self._status()
        if before.state is ScanState.SCANNING:
            # Another program, or this one before it crashed, left a sweep running.
            self._write(reg.SCAN_CONTROL, ScanCommand.STOP)
            before = self._status()
        self._known_faults = Faults.NONE
        self._sweep_has_ended = False
        self._dropped_before = before.frames_dropped
        intake = FrameIntake(
            ring,
            before.frames_numbered,
            before.frames_dropped,
            on_last=self._last_frame_arrived,
            on_trouble=self.trouble,
        )
        assert self._wire is not None  # noqa: S101 - `_status` has just used it
        self._wire.begin_stream(intake)
        try:
            status = self._begin_sweep(before)
        except DeviceError:
            self._wire.end_stream()
            raise
        self._intake = intake
        self._sweep = SweepStarted(status.sweep, before.frames_numbered)
        return self._sweep

    def _begin_sweep(self, before: ScanStatus) -> ScanStatus:
        """Write START once per attempt; where its answer is lost, the sweep counter tells whether it arrived."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(DeviceTimeoutError):
                self._write(reg.SCAN_CONTROL, ScanCommand.START, attempts=1)
            status = self._status()
            if status.sweep != before.sweep:
                return status
        raise DeviceTimeoutError(f"{self.address}: the console does not begin to scan; switch it off and on")

    def _stop_scanning(self) -> ScanStatus:
        self._write(reg.SCAN_CONTROL, ScanCommand.STOP)
        return self._status()

    async def _settle(self, intake: FrameIntake, numbered: int) -> None:
        """Wait until all numbered frames have arrived, or nothing more comes."""
        stopped_at_s = monotonic()
        # Polled, so that the reader thread need not wake the event loop for every frame.
        while intake.next_sequence < numbered:
            if min(intake.quiet_s, monotonic() - stopped_at_s) >= SETTLE_S:
                return
            await asyncio.sleep(0.005)

    async def _keep_alive(self) -> None:
        """Read the status block often enough that the console knows the host is there."""
        misses = 0
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            sweep = self._sweep
            try:
                status = await self._run(lambda: self._status(attempts=1))
            except DeviceDisconnectedError as error:
                self.post(Disconnected(str(error)))
                return
            except DeviceError as error:
                misses += 1
                self.trouble(f"heartbeat: {error}")
                if misses >= ATTEMPTS:
                    self.post(
                        Disconnected(
                            f"{self.address}: no answer to {misses} heartbeats; check cable and power"
                        )
                    )
                    return
                continue
            misses = 0
            self._report_faults(status)
            if sweep is None or sweep is not self._sweep:
                continue  # the status may be from before START
            if (status.sweep, status.first_sequence) != (sweep.sweep, sweep.first_sequence):
                self.post(
                    Disconnected(f"{self.address}: the console was restarted within a sweep; open it again")
                )
                return
            self._look_for_the_end(status)

    def _report_faults(self, status: ScanStatus) -> None:
        new = int(status.faults) & ~int(self._known_faults)  # as flags, `~` would forget the unknown bits
        for bit in range(32):
            if new & (1 << bit):
                # A newer console may know faults that this driver does not; they are told all the same.
                name = (Faults(1 << bit).name or f"fault_{bit}").lower()
                self.post(ConsoleFault(name, f"{self.address}: the console reports {name.replace('_', ' ')}"))
        self._known_faults = status.faults

    def _look_for_the_end(self, status: ScanStatus) -> None:
        """Notice the end of a sweep also when its last frame, which says so itself, was lost."""
        intake = self._intake
        if intake is None or status.state is not ScanState.IDLE:
            return
        if intake.next_sequence >= status.frames_numbered or intake.quiet_s > SETTLE_S:
            self._end_of_sweep()
