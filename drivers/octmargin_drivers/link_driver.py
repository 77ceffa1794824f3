"""What all drivers of the console link share: the course of a sweep, heartbeat, events.

A wire (USB, serial) below it moves bytes; this module knows what they are for.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from time import monotonic

from octmargin.device import (
    ConsoleFault,
    DeviceEvent,
    Disconnected,
    Driver,
    LinkTrouble,
    PedalPressed,
    SweepAccount,
    SweepEnded,
    SweepStarted,
    on_loop,
)
from octmargin.errors import DeviceDisconnectedError, DeviceError, LocalProtocolError
from octmargin.frames import ConsoleInfo, LossCause, LostFrames, ScanPlan
from octmargin.link.registers import Faults, ScanState, ScanStatus
from octmargin.ring import FrameRing
from octmargin_drivers.console_control import ATTEMPTS, ConsoleControl
from octmargin_drivers.intake import FrameIntake
from octmargin_drivers.wire import Wire

HEARTBEAT_S = 0.5
SETTLE_S = 1.0
"""After the end of a sweep: how long the wire may be quiet before the frames still missing count as lost."""


class LinkDriver(Driver):
    """A driver over a `Wire`; subclasses say how to connect one."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._wire: Wire | None = None
        self._control: ConsoleControl | None = None
        self._events: asyncio.Queue[DeviceEvent | None] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self._intake: FrameIntake | None = None
        self._sweep: SweepStarted | None = None
        self._sweep_has_ended = False
        self._dropped_before = 0
        self._accounted_from = 0
        self._known_faults = Faults.NONE
        self._trouble_count = 0
        self._pedal_presses = 0

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
        self._control = ConsoleControl(self._wire, self.address, self.trouble)
        try:
            await asyncio.to_thread(self._control.check_protocol)
            # What was pressed before is over.
            self._pedal_presses = await asyncio.to_thread(self._control.pedal_presses)
        except BaseException:
            await self.close()
            raise
        self._heartbeat = asyncio.create_task(self._keep_alive(), name=f"heartbeat {self.address}")

    async def identify(self) -> ConsoleInfo:
        """Read the bootstrap registers and the self-description."""
        return await asyncio.to_thread(self._opened().identify, self.name)

    async def configure(self, plan: ScanPlan) -> None:
        """Write the plan, register by register."""
        await asyncio.to_thread(self._opened().write_plan, plan)

    async def start(self, ring: FrameRing) -> SweepStarted:
        """Begin the sweep."""
        if self._sweep is not None:
            raise LocalProtocolError("a sweep is running; stop it first")
        return await asyncio.to_thread(self._start, ring)

    async def stop(self) -> SweepAccount:
        """End the sweep; frames on their way still arrive, what is missing then is lost."""
        sweep, intake = self._sweep, self._intake
        if sweep is None or intake is None:
            raise LocalProtocolError("no sweep is running")
        try:
            status = await asyncio.to_thread(self._opened().stop_sweep)
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
        self.accounted_until = numbered
        self._sweep = self._intake = None
        return SweepAccount(
            sweep.sweep, numbered, numbered - self._accounted_from, dropped - self._dropped_before
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
        wire, self._wire, control, self._control = self._wire, None, self._control, None
        if wire is not None:
            if control is not None:
                # A heartbeat may still be waiting for its answer in a thread.
                await asyncio.to_thread(control.close)
            await asyncio.to_thread(wire.close)
            self._events.put_nowait(None)

    # -- from threads to the event loop ---------------------------------------------------------------

    def post(self, event: DeviceEvent) -> None:
        """Report an event; may be called from any thread."""
        self._call(self._events.put_nowait, event)

    def trouble(self, text: str) -> None:
        """Report bytes that were not the protocol; may be called from any thread."""
        self._call(self._count_trouble, text)

    def _count_trouble(self, text: str) -> None:
        """Tell at 1, 2, 4, 8, ... so that noise cannot flood."""
        self._trouble_count += 1
        if self._trouble_count & (self._trouble_count - 1) == 0:
            self._events.put_nowait(LinkTrouble(text, self._trouble_count))

    def _last_frame_arrived(self) -> None:
        self._call(self._end_of_sweep)

    def _call(self, call: Callable[..., object], *arguments: object) -> None:
        if self._loop is not None:
            on_loop(self._loop, call, *arguments)

    def _end_of_sweep(self) -> None:
        if not self._sweep_has_ended:
            self._sweep_has_ended = True
            self._events.put_nowait(SweepEnded())

    # -- the course of a sweep ------------------------------------------------------------------------

    def _opened(self) -> ConsoleControl:
        if self._control is None:
            raise DeviceDisconnectedError(f"{self.address}: not connected; open the device first")
        return self._control

    def _start(self, ring: FrameRing) -> SweepStarted:
        control, wire = self._opened(), self._wire
        assert wire is not None  # noqa: S101 - it is there as long as its control is
        before = control.ensure_idle()
        first = before.frames_numbered
        known = self.accounted_until
        if known is None or known > first:
            known = first  # nothing is known of earlier frames, or the console counts anew
        elif known < first:
            ring.lose(LostFrames(known, first - known, LossCause.UNREAD))
        self._accounted_from, self.accounted_until = known, first
        self._known_faults = Faults.NONE
        self._sweep_has_ended = False
        self._dropped_before = before.frames_dropped
        intake = FrameIntake(
            ring,
            first,
            before.frames_dropped,
            on_last=self._last_frame_arrived,
            on_trouble=self.trouble,
        )
        wire.begin_stream(intake)
        try:
            status = control.begin_sweep(before)
        except DeviceError:
            self._abort(control, wire, intake)
            raise
        self._intake = intake
        self._sweep = SweepStarted(status.sweep, first)
        return self._sweep

    def _abort(self, control: ConsoleControl, wire: Wire, intake: FrameIntake) -> None:
        """START may have arrived although its answer did not: stop the console and close the books."""
        numbered, dropped = intake.next_sequence, intake.dropped_by_console
        with contextlib.suppress(DeviceError):
            status = control.stop_sweep()
            numbered, dropped = status.frames_numbered, status.frames_dropped
        wire.end_stream()
        self.accounted_until = max(numbered, intake.next_sequence)
        intake.close(self.accounted_until, max(dropped, intake.dropped_by_console))

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
                status, presses = await asyncio.to_thread(self._opened().status_and_presses, attempts=1)
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
            self._look_at_the_pedal(presses)
            self._report_faults(status)
            if sweep is None or sweep is not self._sweep:
                continue  # the status may be from before START
            if (status.sweep, status.first_sequence) != (sweep.sweep, sweep.first_sequence):
                self.post(
                    Disconnected(f"{self.address}: the console was restarted within a sweep; open it again")
                )
                return
            self._look_for_the_end(status)

    def _look_at_the_pedal(self, presses: int) -> None:
        """Several presses since the last look are one: a switch bounces, and a foot twitches."""
        # A console that was restarted counts from zero again.
        if presses > self._pedal_presses:
            self.post(PedalPressed())
        self._pedal_presses = presses

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
