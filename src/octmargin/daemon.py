"""The daemon: puts the rooms together, starts them in order and stops them in reverse.

The event loop controls, supervises and publishes; reading is the driver's thread's, kernels are the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import structlog

from octmargin.acquisition import CONSOLE_ALARM, ConsoleLink
from octmargin.bus import CaseMessage, LatencyMs, Publisher, State, Topics, utc_from_ns
from octmargin.cold_start import compiling_told
from octmargin.config import Config
from octmargin.device import driver_class
from octmargin.engine import Engine, EngineSettings, Outcome
from octmargin.face_scan import SWEEP_ALARM, FaceScanner
from octmargin.frames import ConsoleInfo, ScanPlan
from octmargin.gallery import Gallery
from octmargin.holding import holding
from octmargin.lifecycle import Lifecycle, LifecycleMachine
from octmargin.results import ResultDesk
from octmargin.ring import FrameRing
from octmargin.startup import check_scan, choose_calibration, describe, make_assessor
from octmargin.systemd import notify
from octmargin.totals import Totals

HEALTH_INTERVAL_S = 1.0
DRAIN_S = 1.0
"""At the end, for what a slow broker has not acknowledged yet."""
ATTEMPTS_PER_FACE = 3
PAUSE_S = 1.0

_REMEDIES = {
    CONSOLE_ALARM: "check cable and power; scanning goes on by itself when the console is back",
    SWEEP_ALARM: "the face is scanned again; where that fails too, see the log",
}
_CONSOLE_FAULT_REMEDY = "see the console's manual; frames that it spoiled count as lost"

_BROKER_FAULT = "broker"
_BUS_STATES: dict[Lifecycle, State] = {
    Lifecycle.READY: "ready",
    Lifecycle.ACQUIRING: "ready",
    Lifecycle.DEGRADED: "ready",
    # Not ready: displays grey out what they show until the console is back.
    Lifecycle.FAULTED: "alert",
}

log = structlog.get_logger()


class Daemon:
    """One console, one engine, one publisher. `run` returns when all passes are done or `stop` is called."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._totals = Totals()
        self._publisher: Publisher
        self._synthetic = False
        self._lifecycle = LifecycleMachine(self._life_changed)
        self._say_now: Callable[[], None] | None = None
        """Says health at once, from when there is something to say."""

    def stop(self) -> None:
        """Ask the daemon to end; the present sweep is closed and said first."""
        if not self._stop.is_set():
            self._stop.set()
            self._lifecycle.stopping()

    async def run(self) -> None:
        """Start everything, scan, stop everything. Errors before `ready` are raised; later ones are alarms."""
        device, what = self._config.device, f"octmargin run for {self._config.console}"
        with contextlib.ExitStack() as held:
            if driver_class(device.driver).exclusive:
                held.enter_context(holding(device.driver, device.address, what))
            await self._run()

    async def _run(self) -> None:
        config = self._config
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        async with Publisher(config.broker, Topics(config.site, config.console)) as self._publisher:
            log.info("connected to the broker", host=config.broker.host, port=config.broker.port)
            link = ConsoleLink(
                lambda: driver_class(config.device.driver)(config.device.address),
                on_fault=self._raise_alarm,
                on_recovered=self._clear_alarm,
            )
            info = await link.open()
            log.info("console found", maker=info.maker, model=info.model, serial=info.serial)
            try:
                await self._serve(link, info)
            finally:
                await link.close()

    async def _serve(self, link: ConsoleLink, info: ConsoleInfo) -> None:
        """Prepare the rooms behind the console, say ready, scan."""
        config, capabilities, publisher = self._config, info.capabilities, self._publisher
        self._synthetic = bool(capabilities.get("synthetic", True))
        check_scan(config.scan, capabilities)
        calibration, axial_um = choose_calibration(config.calibration, capabilities)
        plan = config.plan(config.scan.faces[0], capabilities)
        ring = FrameRing(config.engine.ring_frames, plan.frame_bytes)
        cursor = ring.cursor("engine", holding=config.engine.threads)
        gallery = (
            Gallery(config.pictures.folder, axial_um=axial_um, synthetic=self._synthetic)
            if config.pictures
            else None
        )
        desk = ResultDesk(
            publisher,
            case_id=config.case.case_id,
            specimen_id=config.case.specimen_id,
            synthetic=self._synthetic,
        )
        scanner = FaceScanner(
            link,
            ring,
            cursor,
            is_engine_alive=lambda: engine.is_alive,
            desk=desk,
            totals=self._totals,
            policy=config.policy,
            # Its own: the engine threads have theirs.
            model=make_assessor(config).model,
            gallery=gallery,
            on_fault=self._raise_alarm,
            on_recovered=self._clear_alarm,
        )
        loop = asyncio.get_running_loop()

        def deliver_from_thread(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(scanner.deliver, outcome)

        engine = Engine(
            cursor,
            EngineSettings(
                calibration=calibration,
                axial_um=axial_um,
                samples=plan.samples,
                depth=min(config.engine.depth, plan.samples // 2),
                make_assessor=lambda: make_assessor(config, calibration.rolloff_db_per_mm(axial_um)),
                aline_um=1000 * plan.width_mm / plan.alines,
                picture_every=config.pictures.every if config.pictures else 0,
                interpolation=config.engine.interpolation,
                running_mean_frames=config.engine.running_mean_frames,
                remove_fixed_pattern=config.engine.remove_fixed_pattern,
            ),
            deliver_from_thread,
            threads=config.engine.threads,
        )
        started_s = time.monotonic()
        try:
            with compiling_told(log.info):
                await _unless_stopped(partial(engine.warm_up, plan.alines, plan.pixel_format), self._stop)
        except _StoppedError:
            return
        log.info("kernels warm", seconds=round(time.monotonic() - started_s, 2))
        publisher.describe(
            describe(config, info, plan, calibration, session=publisher.session, synthetic=self._synthetic)
        )
        publisher.publish_case(
            CaseMessage(
                acquired_at=utc_from_ns(time.time_ns()),
                synthetic=self._synthetic,
                case_id=config.case.case_id,
                specimen_id=config.case.specimen_id,
                faces=list(config.scan.faces),
            )
        )
        engine.start()
        try:
            async with self._health_said(desk, scanner):
                self._lifecycle.started()
                notify("READY=1")
                for face in self._faces():
                    if not await self._scan_until_seen(link, scanner, config.plan(face, capabilities)):
                        break
        finally:
            self._lifecycle.stopping()
            notify("STOPPING=1")
            ring.close()
            await asyncio.to_thread(engine.join)
            if gallery is not None:
                await gallery.finish()
            # The last word on the counts comes after the last flag is acknowledged, so that it includes it.
            await publisher.drain(DRAIN_S)
            self._say_health(desk, scanner)

    # -- scanning -------------------------------------------------------------------------------------

    def _faces(self) -> Iterator[str]:
        done = 0
        while not self._config.scan.passes or done < self._config.scan.passes:
            yield from self._config.scan.faces
            done += 1

    async def _scan_until_seen(self, link: ConsoleLink, scanner: FaceScanner, plan: ScanPlan) -> bool:
        """Scan a face, and again where the console failed meanwhile; False where the daemon is to stop."""
        for _ in range(ATTEMPTS_PER_FACE):
            if self._stop.is_set() or (link.is_gone and not await link.recover(self._stop)):
                return False
            self._lifecycle.scanning(now=True)
            scanned = await scanner.scan(plan, self._stop)
            self._lifecycle.scanning(now=False)
            if scanned:
                return True
            if not link.is_gone:
                # The heartbeat may be about to find out that it is.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_S):
                        await self._stop.wait()
        return True

    # -- what is said ---------------------------------------------------------------------------------

    def _life_changed(self, state: Lifecycle, reasons: tuple[str, ...]) -> None:
        """Say it everywhere; `$state` has fewer words, and displays show results as good only while it is ready."""
        log.info("lifecycle", state=state.value, reasons=list(reasons))
        notify(f"STATUS={state.value}" + "".join(f"; {reason}" for reason in reasons))
        word = _BUS_STATES.get(state)
        if word is not None and word != self._publisher.state:
            self._publisher.set_state(word)
        if self._say_now is not None:
            self._say_now()

    def _raise_alarm(self, alarm_id: str, text: str) -> None:
        self._lifecycle.fault(alarm_id, text, disables=alarm_id == CONSOLE_ALARM)
        remedy = _REMEDIES.get(alarm_id, _CONSOLE_FAULT_REMEDY)
        self._publisher.raise_alarm(alarm_id, "medium", text, remedy, synthetic=self._synthetic)

    def _clear_alarm(self, alarm_id: str) -> None:
        self._publisher.clear_alarm(alarm_id)
        self._lifecycle.over(alarm_id)

    @contextlib.asynccontextmanager
    async def _health_said(self, desk: ResultDesk, scanner: FaceScanner) -> AsyncIterator[None]:
        """Say health every second while entered; where that fails, fail with it: silence looks like death."""
        async with asyncio.TaskGroup() as tasks:
            saying = tasks.create_task(self._keep_saying_health(desk, scanner), name="health")
            yield
            saying.cancel()

    async def _keep_saying_health(self, desk: ResultDesk, scanner: FaceScanner) -> None:
        was_connected = True
        self._say_now = partial(self._say_health, desk, scanner)
        while True:
            self._say_health(desk, scanner)
            # From the event loop, where everything is supervised: a loop that stands still is found out.
            notify("WATCHDOG=1")
            if self._publisher.connected != was_connected:
                was_connected = not was_connected
                if was_connected:
                    log.info("broker is back", reconnects=self._publisher.reconnects)
                    self._lifecycle.over(_BROKER_FAULT)
                else:
                    log.warning("broker gone; what is said waits", reason=self._publisher.last_failure)
                    self._lifecycle.fault(_BROKER_FAULT, f"broker gone: {self._publisher.last_failure}")
            await asyncio.sleep(HEALTH_INTERVAL_S)

    def _say_health(self, desk: ResultDesk, scanner: FaceScanner) -> None:
        latency = desk.latency
        p50_ms, p99_ms = (round(latency.quantile_ms(q), 3) for q in (0.5, 0.99))
        self._publisher.publish_health(
            self._totals.frames(scanner.book),
            rate_alines_per_s=round(self._totals.rate_alines_per_s(desk.alines_judged), 1),
            latency_ms=LatencyMs(p50=p50_ms, p99=p99_ms) if latency.count else None,
            uptime_s=round(time.monotonic() - self._totals.started_s, 1),
            lifecycle=self._lifecycle.state.value,
            reasons=list(self._lifecycle.reasons),
            synthetic=self._synthetic,
        )


class _StoppedError(Exception):
    """The daemon is to end before it was ready."""


async def _unless_stopped(work: Callable[[], None], stop: asyncio.Event) -> None:
    """Run `work` in a thread and wait for it; _StoppedError where `stop` comes first: nobody waits for it then."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # noqa: BLE001 - raised where it is awaited
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(finish, error)

    # Not asyncio's threads: those are waited for at the end.
    threading.Thread(target=run, name="warm-up", daemon=True).start()
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((done, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not done.done():
        raise _StoppedError
    done.result()
