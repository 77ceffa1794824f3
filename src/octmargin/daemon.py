"""The daemon: puts the rooms together, starts them in order and stops them in reverse.

The event loop controls, supervises and publishes; reading is the driver's thread's, kernels are the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import structlog

from octmargin.acquisition import CONSOLE_ALARM, ConsoleLink
from octmargin.bus import (
    CaseMessage,
    LatencyMs,
    Publisher,
    Topics,
    utc_from_ns,
)
from octmargin.config import Config
from octmargin.device import driver_class
from octmargin.engine import Engine, EngineSettings, Judged, Outcome
from octmargin.errors import DeviceError, InputError
from octmargin.frames import ConsoleInfo, LostFrames, ScanPlan
from octmargin.gallery import Gallery
from octmargin.margin import Assessor
from octmargin.results import ResultDesk
from octmargin.ring import FrameRing
from octmargin.startup import check_scan, choose_calibration, describe
from octmargin.sweeps import SweepBook
from octmargin.totals import Totals

HEALTH_INTERVAL_S = 1.0
DRAIN_S = 5.0

log = structlog.get_logger()


class Daemon:
    """One console, one engine, one publisher. `run` returns when all passes are done or `stop` is called."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._book: SweepBook | None = None
        self._book_complete = asyncio.Event()
        self._totals = Totals()
        self._desk: ResultDesk
        self._gallery: Gallery | None = None
        self._publisher: Publisher
        self._synthetic = False
        self._failure: Exception | None = None

    def stop(self) -> None:
        """Ask the daemon to end; the present sweep is closed and said first."""
        self._stop.set()

    async def run(self) -> None:
        """Start everything, scan, stop everything. Errors before `ready` are raised; later ones are alarms."""
        config = self._config
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        topics = Topics(config.site, config.console)
        async with Publisher(config.broker, topics) as self._publisher:
            log.info("connected to the broker", host=config.broker.host, port=config.broker.port)
            link = ConsoleLink(
                lambda: driver_class(config.device.driver)(config.device.address),
                on_fault=self._raise_alarm,
                on_recovered=self._console_is_back,
            )
            info = await link.open()
            log.info(
                "console found",
                maker=info.maker,
                model=info.model,
                serial=info.serial,
                firmware=info.firmware,
            )
            try:
                await self._serve(link, info)
            finally:
                await link.close()
            if self._failure is not None:
                raise self._failure

    async def _serve(self, link: ConsoleLink, info: ConsoleInfo) -> None:
        config, capabilities = self._config, info.capabilities
        self._synthetic = bool(capabilities.get("synthetic", True))
        check_scan(config.scan, capabilities)
        calibration, axial_um = choose_calibration(config.calibration, capabilities)
        plan = config.plan(config.scan.faces[0], capabilities)
        depth = min(config.engine.depth, plan.samples // 2)
        ring = FrameRing(config.engine.ring_frames, plan.frame_bytes)
        loop = asyncio.get_running_loop()

        def deliver_from_thread(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(self._deliver, outcome)

        settings = EngineSettings(
            calibration=calibration,
            axial_um=axial_um,
            samples=plan.samples,
            depth=depth,
            make_assessor=lambda: Assessor(parameters=config.rule, policy=config.policy),
            picture_every=config.pictures.every if config.pictures else 0,
        )
        engine = Engine(
            ring.cursor("engine", holding=config.engine.threads),
            settings,
            deliver_from_thread,
            threads=config.engine.threads,
        )
        if config.pictures is not None:
            self._gallery = Gallery(config.pictures.folder, axial_um=axial_um, synthetic=self._synthetic)
        log.info("warming up the kernels (the first start on a machine compiles them)")
        started = time.monotonic()
        await asyncio.to_thread(engine.warm_up, plan.alines, plan.pixel_format)
        log.info("kernels warm", seconds=round(time.monotonic() - started, 2))
        self._desk = ResultDesk(
            self._publisher,
            case_id=config.case.case_id,
            specimen_id=config.case.specimen_id,
            synthetic=self._synthetic,
        )
        self._publisher.describe(
            describe(
                config, info, plan, calibration, session=self._publisher.session, synthetic=self._synthetic
            )
        )
        self._publisher.publish_case(
            CaseMessage(
                acquired_at=utc_from_ns(time.time_ns()),
                synthetic=self._synthetic,
                case_id=config.case.case_id,
                specimen_id=config.case.specimen_id,
                faces=list(config.scan.faces),
            )
        )
        engine.start()
        health = asyncio.create_task(self._keep_saying_health(), name="health")
        self._publisher.set_state("ready")
        log.info("ready", synthetic=self._synthetic)
        try:
            await self._scan(link, ring, capabilities)
        finally:
            ring.close()
            await asyncio.to_thread(engine.join)
            health.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await health
            if self._gallery is not None:
                await self._gallery.finish()
            # The last word on the counts comes after the last flag is acknowledged, so that it includes it.
            await self._publisher.drain(DRAIN_S)
            self._say_health()

    # -- scanning -------------------------------------------------------------------------------------

    async def _scan(self, link: ConsoleLink, ring: FrameRing, capabilities: dict[str, Any]) -> None:
        for face in self._faces():
            if self._stop.is_set():
                return
            if link.is_gone and not await link.recover(self._stop):
                return
            await self._scan_face(link, ring, self._config.plan(face, capabilities))

    def _faces(self) -> Iterator[str]:
        done = 0
        while not self._config.scan.passes or done < self._config.scan.passes:
            yield from self._config.scan.faces
            done += 1

    async def _scan_face(self, link: ConsoleLink, ring: FrameRing, plan: ScanPlan) -> None:
        book = SweepBook(plan, self._config.policy)
        self._book = book
        self._book_complete.clear()
        self._totals.face_begins()
        try:
            await link.sweep(book, ring, self._stop)
        except DeviceError as error:
            log.warning("sweep failed", face=plan.face, reason=str(error))
            self._raise_alarm("sweep", str(error))
            book.close(book.processed + book.lost)
            if not link.is_gone:
                # A console that refuses a plan will refuse it again: do not hammer it.
                await asyncio.sleep(1.0)
        else:
            self._publisher.clear_alarm("sweep")
        if not book.is_complete:
            await self._book_complete.wait()
        self._totals.face_ends(book)
        verdict = self._desk.say(book)
        log.info(
            "face scanned",
            face=plan.face,
            verdict=verdict.outcome.value,
            coverage=round(verdict.coverage, 3),
            visualised_depth_mm=round(verdict.visualised_depth_mm, 2),
            processed=book.processed,
            lost=book.lost,
        )
        if self._gallery is not None:
            self._gallery.face_done(book, verdict)

    def _deliver(self, outcome: Outcome) -> None:
        """The one hand-over per frame from the engine to the event loop."""
        book = self._book
        if book is None:
            return
        try:
            self._enter(book, outcome)
        except Exception as error:  # noqa: BLE001 - nobody awaits a callback: `run` raises what is kept here
            self._failure = error
            self._stop.set()
            self._book_complete.set()
        if book.is_complete:
            self._book_complete.set()

    def _enter(self, book: SweepBook, outcome: Outcome) -> None:
        if isinstance(outcome, Judged):
            try:
                self._desk.take(book, outcome)
            except InputError as error:
                # A console that numbers a frame outside its plan: not processed, so lost.
                outcome = LostFrames(outcome.header.sequence, 1, f"engine: {error}")
            else:
                if self._gallery is not None:
                    self._gallery.take(book, outcome)
                return
        self._desk.lose(book, outcome)
        log.warning("frames lost", first=outcome.first_sequence, count=outcome.count, reason=outcome.reason)

    # -- what is said ---------------------------------------------------------------------------------

    def _raise_alarm(self, alarm_id: str, text: str) -> None:
        if alarm_id == CONSOLE_ALARM:
            # Not ready: displays grey out what they show until the console is back.
            self._publisher.set_state("alert")
        self._publisher.raise_alarm(
            alarm_id,
            "medium",
            text,
            "see the text; what was shown before stays valid until it expires",
            synthetic=self._synthetic,
        )

    def _console_is_back(self, alarm_id: str) -> None:
        self._publisher.clear_alarm(alarm_id)
        self._publisher.set_state("ready")

    async def _keep_saying_health(self) -> None:
        while True:
            self._say_health()
            await asyncio.sleep(HEALTH_INTERVAL_S)

    def _say_health(self) -> None:
        latency = self._desk.latency
        self._publisher.publish_health(
            self._totals.frames(self._book),
            rate_alines_per_s=round(self._totals.rate_alines_per_s(self._desk.alines_judged), 1),
            latency_ms=LatencyMs(
                p50=round(latency.quantile_ms(0.5), 3), p99=round(latency.quantile_ms(0.99), 3)
            )
            if latency.count
            else None,
            uptime_s=round(time.monotonic() - self._totals.started_s, 1),
            synthetic=self._synthetic,
        )
