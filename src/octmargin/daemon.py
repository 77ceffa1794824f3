"""The daemon: puts the rooms together, starts them in order and stops them in reverse.

The event loop controls, supervises and publishes; reading is the driver's thread's, kernels are the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from functools import partial

import structlog

from octmargin.acquisition import ConsoleLink
from octmargin.bus import CaseMessage, Publisher, Topics, utc_from_ns
from octmargin.cold_start import compiling_told
from octmargin.condition import ConditionDesk
from octmargin.config import Config
from octmargin.device import driver_class
from octmargin.engine import Engine, EngineSettings, Outcome
from octmargin.face_scan import FaceScanner
from octmargin.frames import ConsoleInfo, ScanPlan
from octmargin.gallery import Gallery
from octmargin.holding import holding
from octmargin.interruptible import StoppedError, unless_stopped
from octmargin.metrics import MetricsPage, serving
from octmargin.results import ResultDesk
from octmargin.ring import FrameRing
from octmargin.startup import check_scan, choose_calibration, describe, make_assessor
from octmargin.systemd import notify
from octmargin.totals import Totals

DRAIN_S = 1.0
"""At the end, for what a slow broker has not acknowledged yet."""
ATTEMPTS_PER_FACE = 3
PAUSE_S = 1.0

log = structlog.get_logger()


class Daemon:
    """One console, one engine, one publisher. `run` returns when all passes are done or `stop` is called."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._totals = Totals()
        self._metrics = MetricsPage()
        self._publisher: Publisher
        self._condition: ConditionDesk | None = None

    def stop(self) -> None:
        """Ask the daemon to end; the present sweep is closed and said first."""
        self._stop.set()
        if self._condition is not None:
            self._condition.lifecycle.stopping()

    async def run(self) -> None:
        """Start everything, scan, stop everything. Errors before `ready` are raised; later ones are alarms."""
        device, what = self._config.device, f"octmargin run for {self._config.console}"
        with contextlib.ExitStack() as held:
            if driver_class(device.driver).exclusive:
                held.enter_context(holding(device.driver, device.address, what))
            if self._config.metrics is not None:
                port = held.enter_context(serving(self._metrics, self._config.metrics))
                log.info("metrics served", host=self._config.metrics.host, port=port)
            await self._run()

    async def _run(self) -> None:
        config = self._config
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        async with Publisher(config.broker, Topics(config.site, config.console)) as self._publisher:
            log.info("connected to the broker", host=config.broker.host, port=config.broker.port)
            condition = self._condition = ConditionDesk(self._publisher, self._totals, self._metrics)
            link = ConsoleLink(
                lambda: driver_class(config.device.driver)(config.device.address),
                on_fault=condition.raise_alarm,
                on_recovered=condition.clear_alarm,
            )
            info = await link.open()
            log.info("console found", maker=info.maker, model=info.model, serial=info.serial)
            try:
                await self._serve(link, info, condition)
            finally:
                await link.close()

    async def _serve(self, link: ConsoleLink, info: ConsoleInfo, condition: ConditionDesk) -> None:
        """Prepare the rooms behind the console, say ready, scan."""
        config, capabilities, publisher = self._config, info.capabilities, self._publisher
        synthetic = condition.synthetic = bool(capabilities.get("synthetic", True))
        check_scan(config.scan, capabilities)
        calibration, axial_um = choose_calibration(config.calibration, capabilities)
        plan = config.plan(config.scan.faces[0], capabilities)
        condition.frame_ms = 1000 * plan.alines / plan.line_rate_hz
        ring = FrameRing(config.engine.ring_frames, plan.frame_bytes)
        cursor = ring.cursor("engine", holding=config.engine.threads)
        gallery = (
            Gallery(config.pictures.folder, axial_um=axial_um, synthetic=synthetic)
            if config.pictures
            else None
        )
        desk = ResultDesk(
            publisher,
            case_id=config.case.case_id,
            specimen_id=config.case.specimen_id,
            synthetic=synthetic,
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
            on_fault=condition.raise_alarm,
            on_recovered=condition.clear_alarm,
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
                await unless_stopped(partial(engine.warm_up, plan.alines, plan.pixel_format), self._stop)
        except StoppedError:
            return
        log.info("kernels warm", seconds=round(time.monotonic() - started_s, 2))
        condition.description = describe(
            config, info, plan, calibration, session=publisher.session, synthetic=synthetic
        )
        publisher.describe(condition.description)
        publisher.publish_case(
            CaseMessage(
                acquired_at=utc_from_ns(time.time_ns()),
                synthetic=synthetic,
                case_id=config.case.case_id,
                specimen_id=config.case.specimen_id,
                faces=list(config.scan.faces),
            )
        )
        engine.start()
        try:
            async with condition.health_said(desk, scanner):
                condition.lifecycle.started()
                notify("READY=1")
                for face in self._faces():
                    if not await self._scan_until_seen(
                        link, scanner, config.plan(face, capabilities), condition
                    ):
                        break
        finally:
            condition.lifecycle.stopping()
            notify("STOPPING=1")
            ring.close()
            await asyncio.to_thread(engine.join)
            if gallery is not None:
                await gallery.finish()
            # The last word on the counts comes after the last flag is acknowledged, so that it includes it.
            await publisher.drain(DRAIN_S)
            condition.say_health(desk, scanner)

    # -- scanning -------------------------------------------------------------------------------------

    def _faces(self) -> Iterator[str]:
        done = 0
        while not self._config.scan.passes or done < self._config.scan.passes:
            yield from self._config.scan.faces
            done += 1

    async def _scan_until_seen(
        self, link: ConsoleLink, scanner: FaceScanner, plan: ScanPlan, condition: ConditionDesk
    ) -> bool:
        """Scan a face, and again where the console failed meanwhile; False where the daemon is to stop."""
        for _ in range(ATTEMPTS_PER_FACE):
            if self._stop.is_set() or (link.is_gone and not await link.recover(self._stop)):
                return False
            condition.lifecycle.scanning(now=True)
            scanned = await scanner.scan(plan, self._stop)
            condition.lifecycle.scanning(now=False)
            if scanned:
                return True
            if not link.is_gone:
                # The heartbeat may be about to find out that it is.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_S):
                        await self._stop.wait()
        return True
