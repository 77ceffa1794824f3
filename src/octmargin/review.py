"""A specimen to be interpreted later: its report's page on this machine, with all B-scans read from its recordings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import structlog

from octmargin.assessment import FaceAssessor
from octmargin.bscan_desk import kept_frame
from octmargin.bus import BrokerSettings, Topics
from octmargin.case.record.lock import user as account
from octmargin.case.record.model import CaseSnapshot, SpecimenRecord, SweepRecord
from octmargin.case.record.store import CaseStore
from octmargin.case.sweep_source import check_source, open_source
from octmargin.device import on_loop
from octmargin.display import BscanStore, DisplaySection, ReportDesk, make_site, serving_review
from octmargin.display.bscan_store import KeptSweep, SweepAbout
from octmargin.display.report_desk import SweepKey
from octmargin.engine import Judged
from octmargin.errors import CaseRefusedError, InputError, OctMarginError
from octmargin.own_thread import detached
from octmargin.record_settings import RecordSection, Signer
from octmargin.startup import engine_settings

_BSCAN_BYTES = 2_000_000_000
"""Of every B-scan of a specimen; the oldest make room beyond it."""
_NICENESS = 10
USER = "reviewer"

log = structlog.get_logger()


def specimen_to_review(
    record: Path, case_id: str, specimen_id: str, actor: str
) -> tuple[CaseSnapshot, SpecimenRecord]:
    """The case and its specimen, with the access noted; CaseRefusedError where there is none."""
    with CaseStore.open(record, writable=True, what="octmargin case review") as store:
        case = store.consult(case_id, actor=actor, what=f"review of {specimen_id}")
    specimen = case.specimen(specimen_id)
    if specimen is None:
        known = ", ".join(one.specimen_id for one in case.specimens) or "none"
        raise CaseRefusedError(
            f"case {case_id}, specimen {specimen_id}: is not registered; registered are: {known}"
        )
    return case, specimen


@contextlib.asynccontextmanager
async def reviewing(
    record: Path,
    case: CaseSnapshot,
    specimen: SpecimenRecord,
    *,
    signer: Signer | None,
    recordings: Path | None,
    port: int,
) -> AsyncIterator[str]:
    """Serve the page on 127.0.0.1 while entered; gives its address, which is good for one browser.

    `signer` may interpret, referred; None reads. What is said there is in the record as of who runs this process.
    """
    section = RecordSection(file=str(record), signers=() if signer is None else (_at_this_machine(signer),))
    # Sweeps of several runs of a daemon may have the same number.
    numbers = {sweep.key: number for number, sweep in enumerate(specimen.sweeps, start=1)}
    desk = ReportDesk(
        section,
        mode="referred",
        recordings=str(recordings) if recordings else "",
        bscans=numbers,
        actor=f"{account()}, octmargin case review",
    )
    store = BscanStore(_BSCAN_BYTES)
    display = DisplaySection(port=port, user=USER, role="reader")
    site = make_site(Topics("review", "record"), display, BrokerSettings(), has_record=True)
    ended = threading.Event()
    query = urlencode({"case": case.case_id, "specimen": specimen.specimen_id})
    async with serving_review(display, site, store, desk, page=f"/static/report.html?{query}") as address:
        reading = _Reading(store, specimen, numbers, recordings, ended)
        detached("review", reading.read_all, asyncio.get_running_loop(), case.case_id)
        try:
            yield address
        finally:
            ended.set()


def _at_this_machine(signer: Signer) -> Signer:
    """The signer as the one who is at this machine."""
    return Signer(name=signer.name, role=signer.role, taxonomy=signer.taxonomy, user=USER)


class _Reading:
    """Judges the recordings once more, frame by frame, and puts the B-scans where the page finds them."""

    def __init__(
        self,
        store: BscanStore,
        specimen: SpecimenRecord,
        numbers: Mapping[SweepKey, int],
        recordings: Path | None,
        ended: threading.Event,
    ) -> None:
        self._store = store
        self._specimen = specimen
        self._numbers = numbers
        self._recordings = recordings
        self._ended = ended
        self._sweeps: dict[int, KeptSweep] = {}

    def read_all(self, loop: asyncio.AbstractEventLoop, case_id: str) -> None:
        """In a thread of its own, until all is read or the page is not served any more."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        faces = dict.fromkeys(sweep.face for sweep in self._specimen.sweeps)
        newest = [sweep for face in faces if (sweep := self._specimen.newest_sweep(face)) is not None]
        # What has to be looked at first comes first.
        for sweep in sorted(newest, key=lambda one: one.verdict == "nothing_suspicious"):
            try:
                self._read(loop, case_id, sweep)
            except OctMarginError as error:
                log.warning("B-scans cannot be shown", face=sweep.face, reason=str(error))
            if self._ended.is_set():
                return
            log.info("B-scans read", face=sweep.face)

    def _read(self, loop: asyncio.AbstractEventLoop, case_id: str, sweep: SweepRecord) -> None:
        source = open_source(sweep, self._recordings)
        check_source(sweep, source)
        recording, then = source.recording, source.then
        plan = recording.plan(sweep.face)
        if recording.calibration is None or recording.axial_um is None:
            raise InputError(f"{recording.path}: has no calibration; restore it from a copy")
        settings = engine_settings(then.judging, then.engine, plan, recording.calibration, recording.axial_um)
        assessor = FaceAssessor(recording, replace(settings, bscan_every=1), then.judging.policy)
        about = SweepAbout(
            face=sweep.face,
            session=sweep.session,
            case_id=case_id,
            specimen_id=self._specimen.specimen_id,
            synthetic=sweep.synthetic,
            alines=plan.alines,
            depth=settings.depth,
            axial_um=recording.axial_um,
            aline_um=1000 * plan.width_mm / plan.alines,
        )
        for index, outcome in enumerate(assessor.outcomes(plan)):
            if self._ended.is_set():
                return
            if isinstance(outcome, Judged):
                on_loop(loop, self._keep, self._numbers[sweep.key], about, index, outcome)

    def _keep(self, number: int, about: SweepAbout, index: int, judged: Judged) -> None:
        """On the event loop, where the store lives."""
        if number not in self._sweeps:
            self._sweeps[number] = self._store.begin(number, about)
        self._store.keep(self._sweeps[number], index, kept_frame(judged))
