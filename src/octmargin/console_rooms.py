"""The rooms behind a console that was found: put together, started in order, stopped in reverse.

The event loop controls, supervises and publishes; reading is the driver's thread's, kernels are the engine's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from octmargin.acquisition import ConsoleLink
from octmargin.archive import RecordingWriter
from octmargin.bus import Description, Publisher
from octmargin.case_desk import CaseDesk
from octmargin.case_recordings import CaseRecordings
from octmargin.cold_start import compiling_told
from octmargin.condition import ConditionDesk
from octmargin.config import Config
from octmargin.decisions_file import DECISIONS_FAULT, DecisionsFile
from octmargin.device import on_loop
from octmargin.displaying import OwnDisplay
from octmargin.engine import Engine, Outcome
from octmargin.face_scan import FaceScanner, Onlooker
from octmargin.frames import ConsoleInfo, ScanPlan
from octmargin.gallery import Gallery
from octmargin.grid_check import grid_trouble
from octmargin.interruptible import StoppedError, unless_stopped
from octmargin.live_record import LiveRecord
from octmargin.margin import MarginModel, Policy
from octmargin.recorder import RECORDER_FAULT, Recorder, new_writer
from octmargin.results import ResultDesk
from octmargin.ring import FrameRing
from octmargin.scan_loop import ScanLoop
from octmargin.signal import Calibration
from octmargin.stage import Stage
from octmargin.startup import (
    check_scan,
    choose_calibration,
    describe,
    engine_settings,
    first_case,
    make_assessor,
)
from octmargin.systemd import notify
from octmargin.totals import Totals

DRAIN_S = 1.0
"""At the end, for what a slow broker has not acknowledged yet."""

log = structlog.get_logger()


class ConsoleRooms:
    """One console, one engine, from the moment that the console is known until scanning ends."""

    def __init__(
        self,
        config: Config,
        publisher: Publisher,
        condition: ConditionDesk,
        totals: Totals,
        *,
        calibration: Calibration | None,
        display: OwnDisplay | None,
        stop: asyncio.Event,
    ) -> None:
        self._config = config
        self._publisher = publisher
        self._condition = condition
        self._totals = totals
        self._calibration = calibration
        self._display = display
        self._stop = stop
        self._scanning: ScanLoop | None = None
        self.desk: CaseDesk | None = None
        """Once commands can be carried out."""

    def stop(self) -> None:
        """The present sweep is to end; `serve` returns when it was said."""
        if self._scanning is not None:
            self._scanning.stop()

    async def serve(self, link: ConsoleLink, info: ConsoleInfo) -> None:
        """Prepare the rooms behind the console, say ready, scan."""
        config, capabilities, publisher = self._config, info.capabilities, self._publisher
        condition = self._condition
        synthetic = condition.synthetic = bool(capabilities.get("synthetic", True))
        check_scan(config, capabilities)
        calibration, axial_um = choose_calibration(config.calibration, self._calibration, capabilities)
        plan = config.plan(config.scan.faces[0], capabilities)
        model = make_assessor(config).model
        _tell_of_grid(model, config.policy, plan, axial_um, capabilities)
        condition.frame_ms = 1000 * plan.alines / plan.line_rate_hz
        ring = FrameRing(config.engine.ring_frames, plan.frame_bytes)
        cursor = ring.cursor("engine", holding=config.engine.threads)
        loop = asyncio.get_running_loop()
        recorder = condition.recorder = self._recorder(ring)
        gallery = self._gallery(synthetic=synthetic, axial_um=axial_um)
        record = self._live_record(recorder)
        desk = ResultDesk(
            publisher,
            synthetic=synthetic,
            note=recorder.note if recorder is not None else None,
            ledger=record,
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
            model=model,
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
            record=record,
        )
        await self._take_up_the_case(record, case_desk, scanner, condition.description)
        scanning = self._scanning = ScanLoop(
            link,
            scanner,
            case_desk,
            condition,
            self._stop,
            plan_of=partial(config.plan, capabilities=capabilities),
        )
        _start(engine, recorder)
        try:
            async with condition.health_said(desk, scanner):
                condition.lifecycle.started()
                self.desk = case_desk
                notify("READY=1")
                await scanning.run(config.scan.begin, config.scan.passes)
        finally:
            # First, for threads that wait for it must end whatever becomes of saying so.
            ring.close()
            condition.stopping()
            await _finish(engine, recorder, gallery)
            if decisions is not None:
                await asyncio.to_thread(decisions.close)
            if record is not None:
                await record.close()
            # The last word on the counts comes after the last flag is acknowledged, so that it includes it.
            if publisher.connected:
                await publisher.drain(DRAIN_S)
            condition.say_health(desk, scanner)

    def _recorder(self, ring: FrameRing) -> Recorder | None:
        """Keeps the raw frames, where that is configured."""
        if self._config.recording is None:
            return None
        on_fault = partial(on_loop, asyncio.get_running_loop(), self._condition.raise_alarm, RECORDER_FAULT)
        return Recorder(ring.cursor("recorder"), on_fault=on_fault)

    def _gallery(self, *, synthetic: bool, axial_um: float) -> Gallery | None:
        pictures = self._config.pictures
        if pictures is None:
            return None
        return Gallery(pictures.folder, every=pictures.every, axial_um=axial_um, synthetic=synthetic)

    def _live_record(self, recorder: Recorder | None) -> LiveRecord | None:
        config, condition = self._config, self._condition
        if config.record is None:
            return None
        record = LiveRecord(
            Path(config.record.file),
            f"{config.site}.{config.console}",
            session=self._publisher.session,
            recording=lambda: recorder.path if recorder is not None else None,
            on_fault=condition.raise_alarm,
            on_recovered=condition.clear_alarm,
        )
        condition.look_further = record.look
        return record

    async def _take_up_the_case(
        self, record: LiveRecord | None, desk: CaseDesk, scanner: FaceScanner, description: Description
    ) -> None:
        """Enter the specimen of the configuration; where scanning is on command, go on with that of the last run."""
        if record is None:
            return
        record.describe(description)
        if desk.case.stage.specimen is not None:
            record.registered(desk.case.stage, "octmargin run")
        elif (was := await record.look_back()) is not None:
            scanner.go_on_behind(desk.go_on(was))

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


def _start(engine: Engine, recorder: Recorder | None) -> None:
    engine.start()
    if recorder is not None:
        recorder.start()


def _tell_of_grid(
    model: MarginModel, policy: Policy, plan: ScanPlan, axial_um: float, capabilities: dict[str, Any]
) -> None:
    """That no face of this grid can be cleared; it is scanned all the same."""
    trouble = grid_trouble(
        model,
        plan,
        axial_um,
        max_frame_um=policy.max_frame_um,
        max_alines=capabilities["max_alines"],
        max_frames=capabilities["max_frames"],
    )
    if trouble is not None:
        log.warning("no face of this grid can be cleared", reason=trouble.text, remedy=trouble.remedy)


async def _finish(engine: Engine, recorder: Recorder | None, gallery: Gallery | None) -> None:
    """Let those that work on what came end, once the ring is closed."""
    await asyncio.to_thread(engine.join)
    if recorder is not None:
        await asyncio.to_thread(recorder.join)
        if recorder.missed:
            log.warning("frames came and were not recorded", count=recorder.missed, recorded=recorder.written)
    if gallery is not None:
        await gallery.finish()
