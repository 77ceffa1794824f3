"""`octmargin bench engine`: raw frames into the ring, flags out, as the daemon does it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np

from octmargin.bench.machine import Machine, describe_machine
from octmargin.bench.synthetic import AXIAL_UM, synthetic_frame
from octmargin.engine import Engine, EngineSettings, Judged, Outcome
from octmargin.frames import FrameHeader, LossCause, PixelFormat
from octmargin.latency import LatencyHistogram
from octmargin.margin import Assessor
from octmargin.ring import FrameRing

_ROOM_TIMEOUT_S = 60.0
_DISTINCT_FRAMES = 4


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What is fed: `frames` frames, either as fast as the engine takes them or at a line rate.

    Without `line_rate_hz` the producer waits for room in the ring, so nothing is lost and the rate is the
    engine's. With it the producer never waits, as a console does not, and frames may be lost.
    """

    samples: int = 2048
    alines: int = 512
    depth: int = 1024
    frames: int = 200
    ring_frames: int = 16
    line_rate_hz: float | None = None
    bscans: bool = False
    """Whether the B-scan of every frame is kept, as for a display."""


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What came out with one number of engine threads; fed = judged + lost."""

    threads: int
    fed: int
    judged: int
    lost: int
    lost_by_cause: dict[str, int]
    seconds: float
    alines_per_s: float
    """Judged A-lines over the time from the start of feeding (at a line rate, one frame period before the
    first frame is put) to the last outcome delivered."""
    latency_p50_ms: float
    """From a frame's commit to the ring until its flags are delivered: the wait in the ring included."""
    latency_p99_ms: float


@dataclass(frozen=True, slots=True)
class EngineReport:
    """Runs and the conditions they were measured under. The spectra are synthetic."""

    machine: Machine
    plan: EnginePlan
    runs: list[EngineRun]


def measure_engine(plan: EnginePlan, threads: tuple[int, ...] = (1, 2)) -> EngineReport:
    """One run for each number of engine threads."""
    return EngineReport(describe_machine(), plan, [_EngineBench(plan, count).run() for count in threads])


class _EngineBench:
    """A ring, an engine on it, and a clock at either end."""

    def __init__(self, plan: EnginePlan, threads: int) -> None:
        frame = synthetic_frame(plan.samples, plan.alines)
        # Not one frame over and over: it would stay in the cache, which a console's frames do not.
        self._frames = [np.roll(frame.raw, 16 * n, axis=0) for n in range(_DISTINCT_FRAMES)]
        self._plan = plan
        self._threads = threads
        self._ring = FrameRing(plan.ring_frames, frame.raw.nbytes)
        settings = EngineSettings(
            frame.calibration, AXIAL_UM, plan.samples, plan.depth, Assessor, bscan_every=int(plan.bscans)
        )
        cursor = self._ring.cursor("engine", holding=threads)
        self._engine = Engine(cursor, settings, self._deliver, threads=threads)
        self._put_ns = [0] * plan.frames
        self._lock = threading.Lock()
        self._latency = LatencyHistogram()
        self._lost: dict[str, int] = {}
        self._last_ns = 0

    def run(self) -> EngineRun:
        """Warm up, feed every frame, wait for every outcome."""
        self._engine.warm_up(self._plan.alines, PixelFormat.MONO12)
        self._engine.start()
        began_ns = time.perf_counter_ns()
        for sequence in range(self._plan.frames):
            self._wait_before(sequence, began_ns)
            self._put(sequence)
        self._ring.close()
        self._engine.join()
        judged = self._latency.count
        seconds = (self._last_ns - began_ns) / 1e9
        return EngineRun(
            threads=self._threads,
            fed=self._plan.frames,
            judged=judged,
            lost=sum(self._lost.values()),
            lost_by_cause=self._lost,
            seconds=seconds,
            alines_per_s=judged * self._plan.alines / seconds,
            latency_p50_ms=self._latency.quantile_ms(0.5),
            latency_p99_ms=self._latency.quantile_ms(0.99),
        )

    def _wait_before(self, sequence: int, began_ns: int) -> None:
        rate_hz = self._plan.line_rate_hz
        if rate_hz is None:
            self._ring.wait_for_room(_ROOM_TIMEOUT_S)
            return
        due_ns = began_ns + (sequence + 1) * self._plan.alines / rate_hz * 1e9
        time.sleep(max(0.0, (due_ns - time.perf_counter_ns()) / 1e9))

    def _put(self, sequence: int) -> None:
        raw = self._frames[sequence % len(self._frames)]
        slot = self._ring.reserve()
        slot.memory[: raw.nbytes].view(raw.dtype)[:] = raw.reshape(-1)
        self._put_ns[sequence] = time.perf_counter_ns()
        alines, samples = raw.shape
        header = FrameHeader(sequence, 0, sequence, 0, alines, samples, PixelFormat.MONO12)
        self._ring.commit(slot, header)

    def _deliver(self, outcome: Outcome) -> None:
        now_ns = time.perf_counter_ns()
        with self._lock:
            self._last_ns = max(self._last_ns, now_ns)
            if isinstance(outcome, Judged):
                self._latency.add((now_ns - self._put_ns[outcome.header.sequence]) / 1e6)
            else:
                cause: LossCause = outcome.cause
                self._lost[cause.value] = self._lost.get(cause.value, 0) + outcome.count
