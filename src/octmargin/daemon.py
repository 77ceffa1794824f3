"""The daemon: puts the rooms together, starts them in order and stops them in reverse.

The event loop controls, supervises and publishes; reading is the driver's thread's, kernels are the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import structlog

from octmargin.acquisition import ConsoleLink
from octmargin.archive import RecordingWriter
from octmargin.bus import BrokerSettings, Description, Publisher, Topics, utc_now
from octmargin.bus.commands import CommandDoor, Request
from octmargin.bus.orders import Command, Reply
from octmargin.bus.rights import Sender
from octmargin.case_desk import CaseDesk
from octmargin.case_recordings import CaseRecordings
from octmargin.cold_start import compiling_told
from octmargin.condition import DISPLAY_FAULT, ConditionDesk
from octmargin.config import Config
from octmargin.decisions_file import DECISIONS_FAULT, DecisionsFile
from octmargin.device import driver_class, on_loop
from octmargin.displaying import OwnDisplay
from octmargin.engine import Engine, Outcome
from octmargin.errors import OrderRefusedError
from octmargin.face_scan import FaceScanner, Onlooker
from octmargin.frames import ConsoleInfo, ScanPlan
from octmargin.gallery import Gallery
from octmargin.holding import holding
from octmargin.interruptible import StandstillError, StoppedError, unless_stopped, unless_stopping
from octmargin.log import on_stage
from octmargin.metrics import MetricsPage, serving
from octmargin.places import Places
from octmargin.recorder import RECORDER_FAULT, Recorder, new_writer
from octmargin.results import ResultDesk
from octmargin.ring import FrameRing
from octmargin.scan_loop import ScanLoop
from octmargin.signal import Calibration
from octmargin.stage import Stage
from octmargin.startup import (
    check_folder,
    check_scan,
    choose_calibration,
    describe,
    engine_settings,
    first_case,
    load_calibration,
    make_assessor,
)
from octmargin.systemd import notify
from octmargin.totals import Totals

DRAIN_S = 1.0
"""At the end, for what a slow broker has not acknowledged yet."""

log = structlog.get_logger()


class Daemon:
    """One console, one engine, one publisher. `run` returns when all passes are done or `stop` is called."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._totals = Totals()
        self._metrics = MetricsPage()
        self._publisher: Publisher
        self._calibration: Calibration | None = None
        self._condition: ConditionDesk | None = None
        self._display = OwnDisplay(config, config.display) if config.display is not None else None
        self._desk: CaseDesk | None = None
        """Once commands can be carried out."""
        self._scanning: ScanLoop | None = None

    def stop(self) -> None:
        """Ask the daemon to end; the present sweep is closed and said first."""
        self._stop.set()
        if self._scanning is not None:
            self._scanning.stop()
        if self._condition is not None:
            self._condition.stopping()

    async def run(self) -> None:
        """Start everything, scan, stop everything. Errors before `ready` are raised; later ones are alarms."""
        # Before anything is connected: what the configuration names must be there.
        self._calibration = load_calibration(self._config.calibration)
        make_assessor(self._config)
        device, what = self._config.device, f"octmargin run for {self._config.console}"
        if self._config.recording is not None:
            # A disk that stands still may come back; until then there is an alarm.
            with contextlib.suppress(StandstillError):
                await asyncio.to_thread(check_folder, self._config.recording.folder, "recording.folder")
        with contextlib.ExitStack() as held:
            if driver_class(device.driver).exclusive:
                held.enter_context(holding(device.driver, device.address, what))
            if self._config.metrics is not None:
                port = held.enter_context(serving(self._metrics, self._config.metrics))
                log.info("metrics served", host=self._config.metrics.host, port=port)
            try:
                await self._run()
            finally:
                self._say_what_waits()

    def _say_what_waits(self) -> None:
        """The last word: what the broker did not get is on disk, for the next run, or lost."""
        if self._condition is None:
            return
        if self._publisher.answers_given_up:
            # Who gave them asks again, with the same id.
            log.warning(
                "answers to commands did not reach the broker", count=self._publisher.answers_given_up
            )
        if self._publisher.store is None:
            if self._publisher.unsaid:
                remedy = "broker.outbox_file would keep them for the next run"
                log.error(
                    "flags and verdicts are lost: the broker did not get them",
                    count=self._publisher.unsaid,
                    remedy=remedy,
                )
            return
        store, left = self._publisher.store, self._publisher.left_on_disk
        if left is None:
            log.error("the disk of the outbox does not answer; what waits may be lost", path=str(store.path))
        elif left:
            log.warning("messages wait in the outbox for the next run", count=left, path=str(store.path))
        if store.unsaved:
            log.error(
                "messages are lost: the outbox could not be written",
                count=store.unsaved,
                reason=store.failure,
            )

    async def _run(self) -> None:
        config = self._config
        on_stage(case=config.case.case_id, specimen=None, face=None, sweep=None)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        topics = Topics(config.site, config.console)
        publisher = self._publisher = Publisher(config.broker, topics)
        publisher.commands = CommandDoor(
            topics,
            publisher.session,
            carry_out=self._carry_out,
            answer=publisher.answer,
            note=self._note_command,
            clock=utc_now,
        )
        async with contextlib.AsyncExitStack() as stack:
            if self._display is not None:
                # First, and last at the end: a page shows also how the daemon starts, and that it has ended.
                await stack.enter_async_context(self._display.served(self._display_ended))
            with contextlib.suppress(StoppedError):
                # A broker that does not answer must not hold up an end that is asked for meanwhile.
                await unless_stopping(stack.enter_async_context(self._publisher), self._stop)
                await self._meet_the_console()

    def _carry_out(self, request: Request) -> str:
        if self._desk is None:
            raise OrderRefusedError("octmargin is starting; wait until it is ready")
        return self._desk.carry_out(request)

    def _press_pedal(self) -> None:
        if self._desk is not None:
            self._desk.press_pedal()
        else:
            log.warning("the foot pedal was pressed, and octmargin is not ready yet")

    def _note_command(self, sender: Sender, name: str, command: Command, reply: Reply) -> None:
        if self._desk is not None:
            self._desk.note(sender, name, command, reply)
        else:
            log.warning("command", command=name, user=sender.user, outcome=reply.outcome, reason=reply.reason)

    def _display_ended(self, reason: str) -> None:
        log.error("display ended", reason=reason)
        if self._condition is not None:
            self._condition.raise_alarm(DISPLAY_FAULT, reason)

    async def _meet_the_console(self) -> None:
        config = self._config
        _log_broker(self._publisher, config.broker)
        condition = self._condition = ConditionDesk(
            self._publisher, self._totals, self._metrics, Places(config)
        )
        link = ConsoleLink(
            lambda: driver_class(config.device.driver)(config.device.address),
            on_fault=condition.raise_alarm,
            on_recovered=condition.clear_alarm,
            on_pedal=self._press_pedal,
        )
        try:
            info = await link.open()
            log.info("console found", maker=info.maker, model=info.model, serial=info.serial)
            try:
                await self._serve(link, info, condition)
            finally:
                await link.close()
        finally:
            condition.stopping()

    async def _serve(self, link: ConsoleLink, info: ConsoleInfo, condition: ConditionDesk) -> None:
        """Prepare the rooms behind the console, say ready, scan."""
        config, capabilities, publisher = self._config, info.capabilities, self._publisher
        synthetic = condition.synthetic = bool(capabilities.get("synthetic", True))
        check_scan(config, capabilities)
        calibration, axial_um = choose_calibration(config.calibration, self._calibration, capabilities)
        plan = config.plan(config.scan.faces[0], capabilities)
        condition.frame_ms = 1000 * plan.alines / plan.line_rate_hz
        ring = FrameRing(config.engine.ring_frames, plan.frame_bytes)
        cursor = ring.cursor("engine", holding=config.engine.threads)
        loop = asyncio.get_running_loop()
        recorder: Recorder | None = None
        if config.recording is not None:
            recorder = condition.recorder = Recorder(
                ring.cursor("recorder"),
                on_fault=lambda text: on_loop(loop, condition.raise_alarm, RECORDER_FAULT, text),
            )
        gallery = (
            Gallery(
                config.pictures.folder, every=config.pictures.every, axial_um=axial_um, synthetic=synthetic
            )
            if config.pictures
            else None
        )
        desk = ResultDesk(
            publisher, synthetic=synthetic, note=recorder.note if recorder is not None else None
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
            onlookers=self._onlookers(gallery, synthetic=synthetic, axial_um=axial_um),
            recorder=recorder,
            on_fault=condition.raise_alarm,
            on_recovered=condition.clear_alarm,
        )

        def deliver_from_thread(outcome: Outcome) -> None:
            on_loop(loop, scanner.deliver, outcome)

        engine = Engine(
            cursor,
            engine_settings(
                config,
                config.engine,
                plan,
                calibration,
                axial_um,
                bscan_every=self._bscan_every(),
            ),
            deliver_from_thread,
            threads=config.engine.threads,
        )
        try:
            await self._warm_up(engine, plan)
        except StoppedError:
            return
        condition.description = describe(
            config,
            info,
            plan,
            calibration,
            axial_um,
            session=publisher.session,
            synthetic=synthetic,
            display_url=self._display.url if self._display is not None else "",
        )
        publisher.describe(condition.description)
        new_recording = partial(self._new_recording, info, calibration, axial_um, condition.description)
        decisions = await self._decisions_file(condition)
        case_desk = CaseDesk(
            publisher,
            condition,
            first_case(config, capabilities),
            config.orientation,
            synthetic=synthetic,
            on_stage=partial(self._turn_to, desk),
            recordings=CaseRecordings(
                recorder,
                new_recording,
                folder=Path(config.recording.folder),
                on_begun=condition.recording_began,
            )
            if recorder is not None and config.recording is not None
            else None,
            decisions=decisions,
        )
        scanning = self._scanning = ScanLoop(
            link,
            scanner,
            case_desk,
            condition,
            self._stop,
            plan_of=partial(config.plan, capabilities=capabilities),
        )
        engine.start()
        if recorder is not None:
            recorder.start()
        try:
            async with condition.health_said(desk, scanner):
                condition.lifecycle.started()
                self._desk = case_desk
                notify("READY=1")
                await scanning.run(config.scan.begin, config.scan.passes)
        finally:
            # First, for threads that wait for it must end whatever becomes of saying so.
            ring.close()
            condition.stopping()
            await _finish(engine, recorder, gallery)
            if decisions is not None:
                await asyncio.to_thread(decisions.close)
            # The last word on the counts comes after the last flag is acknowledged, so that it includes it.
            if publisher.connected:
                await publisher.drain(DRAIN_S)
            condition.say_health(desk, scanner)

    async def _decisions_file(self, condition: ConditionDesk) -> DecisionsFile | None:
        """Where readers' decisions are kept; ConfigError where they cannot be."""
        path, loop = self._config.case.decisions_file, asyncio.get_running_loop()
        if path is None:
            return None
        on_fault = partial(on_loop, loop, condition.raise_alarm, DECISIONS_FAULT)
        return await asyncio.to_thread(DecisionsFile, Path(path), on_fault=on_fault)

    def _onlookers(self, gallery: Gallery | None, *, synthetic: bool, axial_um: float) -> list[Onlooker]:
        onlookers: list[Onlooker] = [] if gallery is None else [gallery]
        if self._display is not None:
            session = self._publisher.session
            onlookers.append(self._display.onlooker(session=session, synthetic=synthetic, axial_um=axial_um))
        return onlookers

    def _turn_to(self, desk: ResultDesk, case_id: str, specimen_id: str) -> None:
        """What comes from now on is of this specimen."""
        desk.turn_to(case_id, specimen_id)
        if self._display is not None:
            self._display.turn_to(case_id, specimen_id)

    def _bscan_every(self) -> int:
        """The display has the B-scan of every frame, and pictures are drawn of some of them."""
        if self._display is not None:
            return 1
        return self._config.pictures.every if self._config.pictures is not None else 0

    def _new_recording(
        self,
        info: ConsoleInfo,
        calibration: Calibration,
        axial_um: float,
        description: Description,
        stage: Stage,
        plans: Sequence[ScanPlan],
    ) -> RecordingWriter:
        config = self._config
        assert config.recording is not None  # noqa: S101 - else there is no recorder
        about = {"case_id": stage.case_id, "specimen_id": stage.specimen_id, "specimen": stage.specimen}
        return new_writer(
            Path(config.recording.folder),
            name=f"{stage.case_id}-{stage.specimen_id}",
            source=f"{info.model}, serial number {info.serial}",
            synthetic=description.synthetic,
            plans=list(plans),
            calibration=calibration,
            axial_um=axial_um,
            began={"description": description, "configuration": config.of_results(), **about},
        )

    async def _warm_up(self, engine: Engine, plan: ScanPlan) -> None:
        """Compile or load the kernels; StoppedError where the daemon is to end before that is done."""
        started_s = time.monotonic()
        with compiling_told(log.info):
            await unless_stopped(partial(engine.warm_up, plan.alines, plan.pixel_format), self._stop)
        log.info("kernels warm", seconds=round(time.monotonic() - started_s, 2))


async def _finish(engine: Engine, recorder: Recorder | None, gallery: Gallery | None) -> None:
    """Let those that work on what came end, once the ring is closed."""
    await asyncio.to_thread(engine.join)
    if recorder is not None:
        await asyncio.to_thread(recorder.join)
        if recorder.missed:
            log.warning("frames came and were not recorded", count=recorder.missed, recorded=recorder.written)
    if gallery is not None:
        await gallery.finish()


def _log_broker(publisher: Publisher, settings: BrokerSettings) -> None:
    if publisher.connected:
        log.info("connected to the broker", host=settings.host, port=settings.port)
    else:
        log.warning("no broker yet; what is said waits", reason=publisher.last_failure)
    store = publisher.store
    if store is not None:
        log.info(
            "outbox on disk", path=str(store.path), of_earlier_runs=store.left, unreadable=store.unreadable
        )
        if store.foreign:
            log.warning("the outbox holds messages of another console, which stay there", count=store.foreign)
