"""A console that does what a fault script says goes wrong."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import LocalProtocolError
from octmargin.frames import FrameFlags, ScanPlan
from octmargin.link import registers as reg
from octmargin.link.commands import Command, PendingAck, ReadMem, ReadMemAck, WriteMem, WriteMemAck
from octmargin_simulator.console import Console, FrameParts
from octmargin_simulator.faults import script as kinds
from octmargin_simulator.faults.frames import NothingSent, spoil
from octmargin_simulator.faults.schedule import Schedule
from octmargin_simulator.faults.script import OF_FRAMES, AnyFault, FaultScript
from octmargin_simulator.personality import MAX_FIFO_FRAMES, Personality
from octmargin_simulator.source import FrameSource

_WRONG_ID = 0x8000
_DARK_COUNTS = 12
"""Spread of the detector's samples without light, in counts."""


class Wire(Protocol):
    """What a transport lets a script do to its wire."""

    def unplug(self, away_s: float) -> None:
        """Pull the cable; plug it in again after `away_s`."""

    def stall(self) -> None:
        """Halt the stream until the host clears it."""

    def announce(self, pending: PendingAck) -> None:
        """Say that an answer will take its time."""

    def babble(self, data: bytes) -> None:
        """Put bytes that mean nothing on the wire, between frames."""


class FaultyConsole(Console):
    """A console with a fault script; call `plug_into` with what serves it, before the first sweep.

    `happened` counts what went wrong so far, by kind; `never_known` the frames that it numbered, and forgot at a
    restart before the host could know of them.
    """

    def __init__(
        self, source: FrameSource, script: FaultScript, personality: Personality | None = None
    ) -> None:
        self._schedule = Schedule(script)
        self.happened: dict[str, int] = {}
        self.never_known = 0
        self._offered: deque[tuple[int, bool]] = deque(maxlen=2 * MAX_FIFO_FRAMES)
        """Frames since the last restart that the FIFO took: sequence number, and whether as they were."""
        self._ends_at_s: float | None = None
        self._rng = np.random.default_rng([script.seed, 1])
        self._wire: Wire | None = None
        self._sweeps_before = 0
        """Sweeps of before the last restart: a script counts on."""
        self._held: FrameParts | None = None
        """A frame that waits for the one after it."""
        self._clock_offset_ns = 0
        self._clock_drift_ppm = 0.0
        self._drifting_since_ns = 0
        self._silent_until_s = 0.0
        self._answers_late: list[float] = []
        self._answers_wrong = 0
        super().__init__(source, personality)

    def restart(self) -> None:
        """Begin anew; the script goes on where it was."""
        with self._lock:
            waited = self._sink.discard_waiting() if self._sink is not None else 0
            for _ in range(min(waited, len(self._offered))):
                self._offered.pop()
            # The host knows of everything below the sweep's first frame, and up to the last frame that comes whole.
            last_sound = next((number for number, is_sound in reversed(self._offered) if is_sound), -1)
            self.never_known += self._numbered - max(self._first_sequence, last_sound + 1)
            self._offered.clear()
            self._sweeps_before += self._sweep
            self._held = None
            super().restart()

    def plug_into(self, wire: Wire) -> None:
        """Say which wire cables and stalls are about."""
        self._wire = wire

    # -- commands -----------------------------------------------------------------------------------------

    def answer(self, command: Command) -> ReadMemAck | WriteMemAck | None:
        """Serve one command of the host, or fail to."""
        acknowledge = super().answer(command)
        if acknowledge is None or time.monotonic() < self._silent_until_s:
            return None
        if self._answers_late and isinstance(command, ReadMem | WriteMem):
            seconds = self._answers_late.pop()
            self._plugged().announce(PendingAck(command.request_id, round(2000 * seconds)))
            time.sleep(seconds)
        if self._answers_wrong:
            self._answers_wrong -= 1
            return _misfit(acknowledge)
        return acknowledge

    # -- frames -------------------------------------------------------------------------------------------

    def _expose(self, plan: ScanPlan, sweep: int, index: int) -> tuple[NDArray[Any], FrameFlags] | None:
        exposure = super()._expose(plan, sweep, index)
        for fault in self._due(sweep, index, plan.face):
            if exposure is None and isinstance(fault, OF_FRAMES):
                # The source has no such frame: it is not sent anyway.
                continue
            self.happened[fault.kind] = self.happened.get(fault.kind, 0) + 1
            if isinstance(fault, kinds.Reset):
                self.restart()
                return None
            if exposure is None:
                self._befall(fault)
            else:
                exposure = self._seen(*exposure, fault, plan.pixel_format.full_scale)
        if exposure is None and index == plan.frames - 1 and self._held is not None:
            # Nothing comes any more that it could be sent behind.
            held, self._held = self._held, None
            self._put(sweep, index, held, is_sound=True)
        return exposure

    def _seen(
        self, spectra: NDArray[Any], conditions: FrameFlags, fault: AnyFault, full_scale: int
    ) -> tuple[NDArray[Any], FrameFlags]:
        """What the console sees and says of a frame with this fault."""
        match fault:
            case kinds.Saturate():
                return np.full_like(spectra, full_scale), conditions | FrameFlags.SATURATED
            case kinds.LaserOff():
                return self._dark(spectra, full_scale), conditions | FrameFlags.LASER_OFF
            case kinds.ShutterClosed():
                return self._dark(spectra, full_scale), conditions | FrameFlags.SHUTTER_CLOSED
            case kinds.TriggerTooFast():
                return spectra, conditions | FrameFlags.TRIGGER_TOO_FAST
            case _:
                self._befall(fault)
                return spectra, conditions

    def _befall(self, fault: AnyFault) -> None:
        """Let something happen to the console or its wire, not to a frame."""
        match fault:
            case kinds.Hang():
                with self._lock:
                    self._wake.wait_for(lambda: self._state is reg.ScanState.IDLE, timeout=fault.seconds)
                    self._stood_still_s += fault.seconds
            case kinds.Delay():
                time.sleep(fault.seconds)
            case kinds.Noise():
                self._plugged().babble(self._rng.bytes(fault.size))
            case kinds.Silent():
                self._silent_until_s = time.monotonic() + fault.seconds
            case kinds.Late():
                self._answers_late += [fault.seconds] * fault.answers
            case kinds.WrongAnswer():
                self._answers_wrong += fault.answers
            case kinds.ClockJump():
                self._clock_offset_ns += round(1e9 * fault.seconds)
            case kinds.ClockDrift():
                self._drift(fault.ppm)
            case kinds.Stall():
                self._plugged().stall()
            case kinds.Unplug():
                if fault.serial is not None:
                    self._memory.store(reg.SERIAL_NUMBER, fault.serial)
                self._plugged().unplug(fault.seconds)

    def _offer(self, sweep: int, index: int, parts: FrameParts) -> bool:
        held, self._held = self._held, None
        plan = self._plan
        faults = self._due(sweep, index, "" if plan is None else plan.face)
        is_last = plan is None or index == plan.frames - 1
        if held is None and not is_last and any(isinstance(fault, kinds.Reorder) for fault in faults):
            self._held = parts
            return True
        try:
            sent = spoil(parts, faults, self._rng)
        except NothingSent as nothing:
            return not nothing.is_counted
        accepted = True
        for one in sent if held is None else [*sent, held]:
            # A late frame is no news: the host has counted it as lost.
            accepted &= self._put(sweep, index, one, is_sound=one == parts)
        return accepted

    def _put(self, sweep: int, index: int, parts: FrameParts, *, is_sound: bool) -> bool:
        """Give it to the FIFO, and remember that; False where it was full."""
        taken = super()._offer(sweep, index, parts)
        if taken:
            self._offered.append((_sequence(parts), is_sound))
        return taken

    def _due(self, sweep: int, index: int, face: str) -> tuple[AnyFault, ...]:
        until_s = self._schedule.script.until_s
        if until_s is not None:
            self._ends_at_s = self._ends_at_s or time.monotonic() + until_s
            if time.monotonic() > self._ends_at_s:
                return ()
        return self._schedule.due(self._sweeps_before + sweep, index, face)

    def _dark(self, spectra: NDArray[Any], full_scale: int) -> NDArray[Any]:
        noise = self._rng.normal(0.02 * full_scale, _DARK_COUNTS, spectra.shape)
        return np.asarray(np.clip(noise, 0, full_scale).astype(spectra.dtype))

    # -- clock --------------------------------------------------------------------------------------------

    def _clock_ns(self, at_s: float) -> int:
        true_ns = super()._clock_ns(at_s)
        drifted = self._clock_drift_ppm * 1e-6 * (true_ns - self._drifting_since_ns)
        # Never below zero: a timestamp is unsigned.
        return max(0, true_ns + self._clock_offset_ns + round(drifted))

    def _drift(self, ppm: float) -> None:
        true_ns = super()._clock_ns(time.monotonic())
        self._clock_offset_ns += round(self._clock_drift_ppm * 1e-6 * (true_ns - self._drifting_since_ns))
        self._clock_drift_ppm, self._drifting_since_ns = ppm, true_ns

    def _plugged(self) -> Wire:
        if self._wire is None:
            raise LocalProtocolError("the faulty console is plugged into nothing; call plug_into first")
        return self._wire


def _sequence(parts: FrameParts) -> int:
    return int.from_bytes(parts[0][8:16], "little")


def _misfit(acknowledge: ReadMemAck | WriteMemAck) -> ReadMemAck | WriteMemAck:
    """An answer that does not fit what was asked: a read that is too short, a write of too few bytes."""
    if isinstance(acknowledge, ReadMemAck):
        return ReadMemAck(acknowledge.request_id, acknowledge.data[:-1], acknowledge.status)
    return WriteMemAck(acknowledge.request_id, max(0, acknowledge.written - 1), acknowledge.status)
