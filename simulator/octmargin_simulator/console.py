"""The simulated console: registers, scan engine, device clock and counters. It knows no wire.

A transport gives it the host's commands and takes its frames; both transports serve the same console.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from octmargin.errors import RemoteProtocolError
from octmargin.frames import FrameFlags, PixelFormat, ScanPlan
from octmargin.link import registers as reg
from octmargin.link.commands import Command, ReadMemAck, Status, WriteMemAck
from octmargin.link.control import RegisterMemory
from octmargin.link.description import FactoryCalibration, SelfDescription
from octmargin.link.registers import Faults, Register, ScanCommand, ScanState, ScanStatus
from octmargin.link.stream import Leader, Trailer, payload_crc
from octmargin_simulator.source import FrameSource

MAX_LINE_RATE_HZ = 250_000.0
DEFAULT_HEARTBEAT_MS = 3000


class FrameSink(Protocol):
    """Where the console's frames go: the FIFO in front of a wire."""

    def offer(self, leader: bytes, payload: memoryview, trailer: bytes) -> bool:
        """Queue a frame without waiting; False when the FIFO is full and the frame is dropped."""
        ...

    def discard_waiting(self) -> None:
        """Forget the frames that wait: a sweep begins, and the host has closed the books of the last one."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What a console says of itself in its bootstrap registers."""

    maker: str = "octmargin"
    model: str = "Simulated OCT console"
    serial: str = "SIM-0001"
    firmware: str = "1.0.0"


class Console:
    """One console looking at `source`. `attach` its sink before the first sweep; `close` when done."""

    def __init__(self, source: FrameSource, identity: Identity | None = None) -> None:
        self.source = source
        self.identity = identity or Identity()
        self._sink: FrameSink | None = None
        self._state = ScanState.IDLE
        self._sweep = 0
        self._faults = Faults.NONE
        self._first_sequence = 0
        self._numbered = 0
        self._dropped = 0
        self._clock_origin_ns = time.monotonic_ns()
        self._last_command_s = time.monotonic()
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._plan: ScanPlan | None = None
        self._closed = False
        self._memory = RegisterMemory(reg.ALL, on_read=self._live_value, on_write=self._written)
        self._fill_memory()
        self._thread = threading.Thread(target=self._scan_for_ever, name="console-scan", daemon=True)
        self._thread.start()

    def attach(self, sink: FrameSink) -> None:
        """Connect the FIFO of a wire."""
        self._sink = sink

    def answer(self, command: Command) -> ReadMemAck | WriteMemAck | None:
        """Serve one command of the host; None for what is no request."""
        with self._lock:
            self._last_command_s = time.monotonic()
            return self._memory.answer(command)

    def reset(self) -> None:
        """Stop whatever was going on for the last host: another has attached."""
        with self._lock:
            self._stop()

    def close(self) -> None:
        """Stop scanning and end the scan thread."""
        with self._lock:
            self._stop()
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    @property
    def status(self) -> ScanStatus:
        """The status block as the host would read it."""
        with self._lock:
            return ScanStatus(
                self._state, self._sweep, self._faults, self._first_sequence, self._numbered, self._dropped
            )

    # -- registers ------------------------------------------------------------------------------------

    def _fill_memory(self) -> None:
        source, store = self.source, self._memory.store
        calibration = source.factory_calibration
        description = SelfDescription(
            samples=source.samples,
            max_alines=source.alines,
            max_frames=source.frames,
            max_line_rate_hz=MAX_LINE_RATE_HZ,
            pixel_formats=(source.pixel_format.name,),
            faces=source.faces,
            width_mm=source.width_mm,
            height_mm=source.height_mm,
            simulated=True,
            synthetic=source.synthetic,
            source=source.name,
            calibration=FactoryCalibration(**calibration) if calibration else None,
        ).to_bytes()
        self._memory.add_blob(reg.DESCRIPTION_BASE, description)
        for register, value in (
            (reg.GENCP_VERSION, 0x0001_0001),
            (reg.MAKER, self.identity.maker),
            (reg.MODEL, self.identity.model),
            (reg.FIRMWARE, self.identity.firmware),
            (reg.SERIAL_NUMBER, self.identity.serial),
            (reg.MAX_RESPONSE_MS, 100),
            (reg.HEARTBEAT_TIMEOUT_MS, DEFAULT_HEARTBEAT_MS),
            (reg.OCT_PROTOCOL, reg.PROTOCOL_VERSION),
            (reg.DESCRIPTION_ADDRESS, reg.DESCRIPTION_BASE),
            (reg.DESCRIPTION_SIZE, len(description)),
            (reg.SAMPLES, source.samples),
            (reg.ALINES, source.alines),
            (reg.FRAMES, source.frames),
            (reg.PIXEL_FORMAT, source.pixel_format.value),
            (reg.LINE_RATE_MILLIHZ, 10_000_000),
            (reg.WIDTH_UM, round(source.width_mm * 1000)),
            (reg.HEIGHT_UM, round(source.height_mm * 1000)),
            (reg.FACE, source.faces[0]),
        ):
            store(register, value)

    def _live_value(self, register: Register) -> int | str | None:
        live: dict[int, int] = {
            reg.SCAN_STATE.address: self._state,
            reg.SWEEP.address: self._sweep,
            reg.FAULTS.address: self._faults,
            reg.SWEEP_FIRST_SEQUENCE.address: self._first_sequence,
            reg.FRAMES_NUMBERED.address: self._numbered,
            reg.FRAMES_DROPPED.address: self._dropped,
        }
        return live.get(register.address)

    def _written(self, register: Register, data: bytes) -> Status:
        if register is reg.SCAN_CONTROL:
            return self._control(register.unpack_int(data))
        if register is reg.TIMESTAMP_LATCH:
            self._memory.store(reg.TIMESTAMP_NS, self._clock_ns())
            return Status.SUCCESS
        if self._state is ScanState.SCANNING and register is not reg.HEARTBEAT_TIMEOUT_MS:
            return Status.BUSY
        return Status.SUCCESS if self._acceptable(register, data) else Status.INVALID_PARAMETER

    def _acceptable(self, register: Register, data: bytes) -> bool:
        source = self.source
        if register is reg.FACE:
            return register.unpack_text(data) in source.faces
        value = register.unpack_int(data)
        ranges: dict[int, tuple[int, int]] = {
            reg.SAMPLES.address: (source.samples, source.samples),
            reg.ALINES.address: (1, source.alines),
            reg.FRAMES.address: (1, source.frames),
            reg.PIXEL_FORMAT.address: (source.pixel_format.value, source.pixel_format.value),
            reg.LINE_RATE_MILLIHZ.address: (1, round(MAX_LINE_RATE_HZ * 1000)),
            reg.HEARTBEAT_TIMEOUT_MS.address: (100, 60_000),
        }
        lowest, highest = ranges.get(register.address, (1, 0xFFFF_FFFF))
        return lowest <= value <= highest

    def _control(self, value: int) -> Status:
        if value == ScanCommand.STOP:
            self._stop()
            return Status.SUCCESS
        if value != ScanCommand.START:
            return Status.INVALID_PARAMETER
        if self._state is ScanState.SCANNING:
            return Status.BUSY
        if self._sink is None:
            return Status.WRONG_CONFIG
        number, text = self._memory.number, self._memory.text
        self._plan = ScanPlan(
            face=text(reg.FACE),
            samples=number(reg.SAMPLES),
            alines=number(reg.ALINES),
            frames=number(reg.FRAMES),
            width_mm=number(reg.WIDTH_UM) / 1000,
            height_mm=number(reg.HEIGHT_UM) / 1000,
            line_rate_hz=number(reg.LINE_RATE_MILLIHZ) / 1000,
            pixel_format=PixelFormat(number(reg.PIXEL_FORMAT)),
        )
        self._sweep += 1
        self._faults = Faults.NONE
        self._first_sequence = self._numbered
        self._sink.discard_waiting()
        self._state = ScanState.SCANNING
        self._wake.notify_all()
        return Status.SUCCESS

    def _stop(self) -> None:
        self._state = ScanState.IDLE
        self._wake.notify_all()

    def _clock_ns(self) -> int:
        return time.monotonic_ns() - self._clock_origin_ns

    # -- scan engine ----------------------------------------------------------------------------------

    def _scan_for_ever(self) -> None:
        while True:
            with self._lock:
                self._wake.wait_for(lambda: self._closed or self._state is ScanState.SCANNING)
                if self._closed:
                    return
                plan, sweep = self._plan, self._sweep
            assert plan is not None  # noqa: S101 - `_control` sets the plan before the state
            self._scan(plan, sweep)

    def _scan(self, plan: ScanPlan, sweep: int) -> None:
        """One sweep, frame by frame at the line rate, until its end, a stop or a silent host."""
        frame_s = plan.alines / plan.line_rate_hz
        started_s = time.monotonic()
        for index in range(plan.frames):
            first_trigger_ns = self._clock_ns()
            with self._lock:
                # A frame is complete when its last line was triggered.
                due_s = started_s + (index + 1) * frame_s
                self._wake.wait_for(
                    lambda: self._state is ScanState.IDLE, timeout=max(0.0, due_s - time.monotonic())
                )
                if self._state is ScanState.IDLE or self._sweep != sweep:
                    return
                if self._host_is_silent():
                    self._faults |= Faults.HEARTBEAT_LOST
                    self._stop()
                    return
                sequence = self._numbered
                self._numbered += 1
                dropped_before = self._dropped
            self._send(plan, sweep, index, sequence, first_trigger_ns, dropped_before)
        with self._lock:
            if self._sweep == sweep:
                self._stop()

    def _host_is_silent(self) -> bool:
        timeout_s = self._memory.number(reg.HEARTBEAT_TIMEOUT_MS) / 1000
        return time.monotonic() - self._last_command_s > timeout_s

    def _send(
        self, plan: ScanPlan, sweep: int, index: int, sequence: int, timestamp_ns: int, dropped_before: int
    ) -> None:
        spectra = self.source.frame(plan.face, index)[: plan.alines]
        payload = spectra.data.cast("B")
        leader = Leader(sequence, timestamp_ns, plan.pixel_format, plan.samples, plan.alines, sweep, index)
        flags = FrameFlags.LAST_OF_SWEEP if index == plan.frames - 1 else FrameFlags.NONE
        trailer = Trailer(sequence, len(payload), plan.alines, flags, dropped_before, payload_crc(payload))
        assert self._sink is not None  # noqa: S101 - START is refused without a sink
        if not self._sink.offer(leader.to_bytes(), payload, trailer.to_bytes()):
            with self._lock:
                self._dropped += 1
                self._faults |= Faults.FIFO_OVERFLOW


def serve(console: Console, command: Command) -> bytes:
    """Bytes that answer a host's command; RemoteProtocolError where it is no request."""
    acknowledge = console.answer(command)
    if acknowledge is None:
        raise RemoteProtocolError(f"the host sent a {type(command).__name__}; it may only ask")
    return acknowledge.to_bytes()
