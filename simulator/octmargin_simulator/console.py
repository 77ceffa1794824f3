"""The simulated console: registers, scan engine, device clock and counters. It knows no wire.

A transport gives it the host's commands and takes its frames; both transports serve the same console.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

from numpy.typing import NDArray

from octmargin.errors import RemoteProtocolError
from octmargin.frames import FrameFlags, PixelFormat, ScanPlan
from octmargin.link import registers as reg
from octmargin.link.commands import Command, PendingAck, ReadMem, ReadMemAck, Status, WriteMem, WriteMemAck
from octmargin.link.control import RegisterMemory
from octmargin.link.description import FactoryCalibration, SelfDescription
from octmargin.link.registers import Faults, Register, ScanCommand, ScanState, ScanStatus
from octmargin.link.stream import Leader, Trailer, payload_crc
from octmargin_simulator.personality import Personality
from octmargin_simulator.source import FrameSource

_PROTOCOL_1 = 0x0001_0000
FrameParts = tuple[bytes, memoryview, bytes]
"""Leader, spectra and trailer of a frame, as bytes."""


class FrameSink(Protocol):
    """Where the console's frames go: the FIFO in front of a wire."""

    def offer(self, leader: bytes, payload: memoryview, trailer: bytes) -> bool:
        """Queue a frame without waiting; False when the FIFO is full and the frame is dropped."""
        ...

    def discard_waiting(self) -> int:
        """Forget the frames that wait, and say how many: a sweep begins, and the host has closed the books."""
        ...


class Console:
    """One console looking at `source`. `attach` its sink before the first sweep; `close` when done."""

    def __init__(self, source: FrameSource, personality: Personality | None = None) -> None:
        self.source = source
        self.personality = personality or Personality()
        self._sink: FrameSink | None = None
        self._state = ScanState.IDLE
        self._sweep = 0
        self._faults = Faults.NONE
        self._first_sequence = 0
        self._numbered = 0
        self._numbered_before = 0
        """Frames of before the last restart, which the console itself does not remember."""
        self._dropped = 0
        self._pedal_presses = 0
        self._clock_origin_ns = time.monotonic_ns()
        self._last_command_s = time.monotonic()
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._plan: ScanPlan | None = None
        self._stood_still_s = 0.0
        """Of the present sweep: time in which nothing was triggered."""
        self._closed = False
        self._memory = RegisterMemory(self._registers(), on_read=self._live_value, on_write=self._written)
        self._fill_memory()
        self._thread = threading.Thread(target=self._scan_for_ever, name="console-scan", daemon=True)
        self._thread.start()

    def attach(self, sink: FrameSink) -> None:
        """Connect the FIFO of a wire."""
        self._sink = sink

    def answer(self, command: Command) -> ReadMemAck | WriteMemAck | None:
        """Serve one command of the host, as quick as it is; None for what is no request."""
        if self.personality.answer_s:
            time.sleep(self.personality.answer_s)
        with self._lock:
            self._last_command_s = time.monotonic()
            return self._memory.answer(command)

    def pending(self, command: Command) -> PendingAck | None:
        """What it says before it answers `command`, where that takes longer than it may."""
        personality = self.personality
        answer_ms = round(1000 * personality.answer_s)
        if not personality.says_pending or answer_ms <= personality.max_response_ms:
            return None
        return (
            PendingAck(command.request_id, 2 * answer_ms) if isinstance(command, ReadMem | WriteMem) else None
        )

    def reset(self) -> None:
        """Stop whatever was going on for the last host: another has attached."""
        with self._lock:
            self._stop()

    def restart(self) -> None:
        """Begin anew, as switching it off and on does: sweeps, frames and clock count from zero again.

        What waits in the FIFO must have been forgotten before.
        """
        with self._lock:
            self._stop()
            self._numbered_before += self._numbered
            self._sweep = self._first_sequence = self._numbered = self._dropped = self._pedal_presses = 0
            self._faults = Faults.NONE
            self._clock_origin_ns = time.monotonic_ns()

    def press_pedal(self) -> None:
        """Somebody presses the foot pedal."""
        with self._lock:
            self._pedal_presses = (self._pedal_presses + 1) & 0xFFFF_FFFF

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

    @property
    def frames_ever_numbered(self) -> int:
        """Frames that were numbered since the simulator began, over all restarts of the console."""
        with self._lock:
            return self._numbered_before + self._numbered

    # -- registers ------------------------------------------------------------------------------------

    def _fill_memory(self) -> None:
        source, store = self.source, self._memory.store
        calibration = source.factory_calibration
        description = SelfDescription(
            samples=source.samples,
            max_alines=source.alines,
            max_frames=source.frames,
            max_line_rate_hz=self.personality.max_line_rate_hz,
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
            (reg.MAKER, self.personality.maker),
            (reg.MODEL, self.personality.model),
            (reg.FIRMWARE, self.personality.firmware),
            (reg.SERIAL_NUMBER, self.personality.serial),
            (reg.MAX_RESPONSE_MS, self.personality.max_response_ms),
            (reg.HEARTBEAT_TIMEOUT_MS, self.personality.heartbeat_timeout_ms),
            (reg.OCT_PROTOCOL, _PROTOCOL_1 | self.personality.protocol_minor),
            (reg.DESCRIPTION_ADDRESS, reg.DESCRIPTION_BASE),
            (reg.DESCRIPTION_SIZE, len(description)),
            (reg.SAMPLES, source.samples),
            (reg.ALINES, source.alines),
            (reg.FRAMES, source.frames),
            (reg.PIXEL_FORMAT, source.pixel_format.value),
            (reg.LINE_RATE_MILLIHZ, round(1000 * min(10_000.0, self.personality.max_line_rate_hz))),
            (reg.WIDTH_UM, round(source.width_mm * 1000)),
            (reg.HEIGHT_UM, round(source.height_mm * 1000)),
            (reg.FACE, source.faces[0]),
        ):
            store(register, value)

    def _registers(self) -> list[Register]:
        """Those of its version of the protocol."""
        since = {reg.FIRST_FRAME: reg.RESUMES_SINCE_MINOR, reg.PEDAL_PRESSES: reg.PEDAL_SINCE_MINOR}
        minor = self.personality.protocol_minor
        return [register for register in reg.ALL if minor >= since.get(register, 0)]

    def _live_value(self, register: Register) -> int | str | None:
        live: dict[int, int] = {
            reg.SCAN_STATE.address: self._state,
            reg.SWEEP.address: self._sweep,
            reg.FAULTS.address: self._faults,
            reg.SWEEP_FIRST_SEQUENCE.address: self._first_sequence,
            reg.FRAMES_NUMBERED.address: self._numbered,
            reg.FRAMES_DROPPED.address: self._dropped,
            reg.PEDAL_PRESSES.address: self._pedal_presses,
        }
        return live.get(register.address)

    def _written(self, register: Register, data: bytes) -> Status:
        if register is reg.SCAN_CONTROL:
            return self._control(register.unpack_int(data))
        if register is reg.TIMESTAMP_LATCH:
            self._memory.store(reg.TIMESTAMP_NS, self._clock_ns(time.monotonic()))
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
            reg.FIRST_FRAME.address: (0, source.frames - 1),
            reg.PIXEL_FORMAT.address: (source.pixel_format.value, source.pixel_format.value),
            reg.LINE_RATE_MILLIHZ.address: (1, round(self.personality.max_line_rate_hz * 1000)),
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
        number, text = self._memory.number, self._memory.text
        can_resume = self.personality.protocol_minor >= reg.RESUMES_SINCE_MINOR
        first_frame = number(reg.FIRST_FRAME) if can_resume else 0
        if self._sink is None or first_frame >= number(reg.FRAMES):
            return Status.WRONG_CONFIG
        self._plan = ScanPlan(
            face=text(reg.FACE),
            samples=number(reg.SAMPLES),
            alines=number(reg.ALINES),
            frames=number(reg.FRAMES),
            width_mm=number(reg.WIDTH_UM) / 1000,
            height_mm=number(reg.HEIGHT_UM) / 1000,
            line_rate_hz=number(reg.LINE_RATE_MILLIHZ) / 1000,
            pixel_format=PixelFormat(number(reg.PIXEL_FORMAT)),
            first_frame=first_frame,
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
        if self.personality.protocol_minor >= reg.RESUMES_SINCE_MINOR:
            self._memory.store(reg.FIRST_FRAME, 0)
        self._wake.notify_all()

    def _clock_ns(self, at_s: float) -> int:
        """What the device's clock shows at a moment of `time.monotonic`."""
        return round(1e9 * at_s) - self._clock_origin_ns

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
        self._stood_still_s = 0.0
        for index in range(plan.first_frame, plan.frames):
            # Triggers come at the line rate: they do not wait for the process that simulates them.
            began_s = started_s + self._stood_still_s + (index - plan.first_frame) * frame_s
            first_trigger_ns = self._clock_ns(began_s)
            with self._lock:
                # A frame is complete when its last line was triggered.
                due_s = began_s + frame_s
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
        exposure = self._expose(plan, sweep, index)
        if exposure is None:
            return
        spectra, conditions = exposure
        payload = spectra.data.cast("B")
        leader = Leader(sequence, timestamp_ns, plan.pixel_format, plan.samples, plan.alines, sweep, index)
        last = FrameFlags.LAST_OF_SWEEP if index == plan.frames - 1 else FrameFlags.NONE
        trailer = Trailer(
            sequence, len(payload), plan.alines, last | conditions, dropped_before, payload_crc(payload)
        )
        if not self._offer(sweep, index, (leader.to_bytes(), payload, trailer.to_bytes())):
            with self._lock:
                if self._sweep == sweep and self.personality.counts_drops:
                    self._dropped += 1
                    self._faults |= Faults.FIFO_OVERFLOW

    # -- what a console with faults does differently --------------------------------------------------------

    def _expose(self, plan: ScanPlan, sweep: int, index: int) -> tuple[NDArray[Any], FrameFlags] | None:  # noqa: ARG002
        """Spectra (alines, samples) of a frame, and what the console says of them; None where there are none."""
        spectra = self.source.frame(plan.face, index)
        return None if spectra is None else (spectra[: plan.alines], FrameFlags.NONE)

    def _offer(self, sweep: int, index: int, parts: FrameParts) -> bool:  # noqa: ARG002
        """Give a frame to the wire's FIFO; False where it was full."""
        assert self._sink is not None  # noqa: S101 - START is refused without a sink
        return self._sink.offer(*parts)


def serve(console: Console, command: Command) -> bytes:
    """Bytes that answer a host's command; RemoteProtocolError where it is no request."""
    acknowledge = console.answer(command)
    if acknowledge is None:
        raise RemoteProtocolError(f"the host sent a {type(command).__name__}; it may only ask")
    return acknowledge.to_bytes()
