"""The daemon's hand in the record: what happens on the stage is written while it happens, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from octmargin.bus import Description, MapMessage, VerdictMessage, utc_now
from octmargin.bus.decisions import Decision, Mark
from octmargin.case.record import events
from octmargin.case.record.events import CaseBody
from octmargin.case.record.model import CasePhase, CaseSnapshot, SpecimenPhase, SpecimenRecord
from octmargin.case.record.own_writer import CaseWriter
from octmargin.case.record.store import CaseStore
from octmargin.device import on_loop
from octmargin.errors import CaseRefusedError, OctMarginError, RecordError
from octmargin.interruptible import StandstillError, within
from octmargin.record_entries import (
    begun_sweep,
    ended_sweep,
    kept_decision,
    kept_mark,
    staged,
    staging_of,
    versions_of,
)
from octmargin.stage import Stage
from octmargin.sweeps import SweepBook

RECORD_FAULT = "record"
REFUSED_BY_RECORD = "record-refused"
KEPT_WITHIN_S = 3.0
"""So long an answer to a command waits for the disk; whoever asked waits ten seconds."""
LOOK_BACK_S = 10.0
"""So long the record may take to tell what was on the stage."""
_DAEMON = "octmargin run"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OnStage:
    """What the record says was on the stage of a console last; no specimen where the last one is over there."""

    case_id: str
    specimen: SpecimenRecord | None


class LiveRecord:
    """Lives on the event loop, and never waits there. `session` is the daemon's, `recording()` where spectra go now.

    `on_fault(id, text)` and `on_recovered(id)` are told on the loop. A disk that is full or slow holds nothing up: what
    is to be written waits, is tried again, and is counted where the daemon ends meanwhile.
    """

    def __init__(
        self,
        file: Path,
        console: str,
        *,
        session: str,
        recording: Callable[[], Path | None],
        on_fault: Callable[[str, str], None],
        on_recovered: Callable[[str], None],
    ) -> None:
        self._console = console
        self._session = session
        self._recording = recording
        self._on_fault = on_fault
        self._on_recovered = on_recovered
        self._loop = asyncio.get_running_loop()
        self._file = file
        self._writer = CaseWriter(
            file,
            f"{_DAEMON} for {console}",
            on_trouble=lambda text: on_loop(self._loop, self._trouble, text),
        )
        self._about: dict[str, Any] = {}
        self._began: dict[int, Any] = {}
        """When each sweep of this session was begun."""
        self._sessions: dict[int, str] = {}
        """Of sweeps of earlier runs, by their number: whose they were."""
        self._answers: set[asyncio.Future[str]] = set()
        self._is_troubled = False
        self._missed_told = 0

    def describe(self, description: Description) -> None:
        """What judges from now on."""
        self._about = {
            "session": self._session,
            "synthetic": description.synthetic,
            "versions": versions_of(description),
        }

    # -- what happens -----------------------------------------------------------------------------------

    def registered(self, stage: Stage, by: str) -> asyncio.Future[str]:
        """A specimen is on the stage; gives what is to be said beside it, nothing where it is in the record."""
        at = utc_now()
        self._sessions.clear()

        def make(case: CaseSnapshot | None) -> list[CaseBody]:
            return list(staged(case, stage, self._console, by, at))

        def remark(case: CaseSnapshot) -> str:
            # What was refused was of another specimen.
            self._on_recovered(REFUSED_BY_RECORD)
            return _contradiction(stage, case)

        return self._told(self._writer.note_made(stage.case_id, make, by), remark)

    def closed(self, stage: Stage, by: str) -> asyncio.Future[str]:
        """It is over."""
        staging = staging_of(stage, self._console, utc_now(), is_open=False)
        return self._note(stage, events.Staged(specimen_id=stage.specimen_id, staging=staging), by)

    def read(self, stage: Stage, face: str, said: Decision | Mark, by: str) -> asyncio.Future[str]:
        """A reader said something of a face."""
        session = self._sessions.get(said.sweep, self._session)
        body: CaseBody
        if isinstance(said, Decision):
            body = events.Decided(specimen_id=stage.specimen_id, decision=kept_decision(said, face, session))
        else:
            body = events.Marked(specimen_id=stage.specimen_id, mark=kept_mark(said, face, session))
        return self._note(stage, body, by)

    def sweep_begins(self, book: SweepBook, case_id: str, specimen_id: str) -> None:
        """A sweep over a face begins."""
        at = self._began[book.number] = utc_now()
        sweep = begun_sweep(book, at=at, recording=self._recording_now(), **self._about)
        self._write(case_id, events.Swept(specimen_id=specimen_id, sweep=sweep))

    def sweep_ends(self, book: SweepBook, face_map: MapMessage, verdict: VerdictMessage) -> None:
        """Its final verdict is said."""
        sweep = ended_sweep(
            book,
            face_map,
            verdict,
            started_at=self._began.pop(book.number, verdict.acquired_at),
            recording=self._recording_now(),
            **self._about,
        )
        self._write(verdict.case_id, events.Swept(specimen_id=verdict.specimen_id, sweep=sweep))

    # -- what was ---------------------------------------------------------------------------------------

    async def look_back(self) -> OnStage | None:
        """What was on the stage when the last run ended; None where the record does not say, or not in time."""
        try:
            return await asyncio.to_thread(
                within, LOOK_BACK_S, partial(on_stage_of, self._file, self._console)
            )
        except (OctMarginError, StandstillError) as error:
            why = str(error) or "its disk stands still"
            self._fault(RECORD_FAULT, f"what was on the stage cannot be read from the record: {why}")
            return None

    def goes_on(self, specimen: SpecimenRecord) -> None:
        """A specimen of an earlier run is on the stage again: its sweeps keep their numbers."""
        self._sessions = {sweep.sweep: sweep.session for sweep in specimen.sweeps}

    # -- how it goes ------------------------------------------------------------------------------------

    def look(self) -> None:
        """Tell of a disk that stands still, and of what found no place or was refused."""
        writer = self._writer
        trouble = writer.trouble
        if writer.missed:
            trouble = f"{writer.missed} events found no place any more, and are lost; {trouble}".rstrip("; ")
        if trouble:
            waiting = f"; {writer.waiting} events wait" if writer.waiting else ""
            # Also where it has been told: that events are lost is another thing than that they wait.
            if not self._is_troubled or writer.missed != self._missed_told:
                self._missed_told = writer.missed
                self._fault(RECORD_FAULT, f"the record cannot be written: {trouble}{waiting}")
        elif self._is_troubled:
            self._is_troubled = False
            self._on_recovered(RECORD_FAULT)

    async def close(self) -> None:
        """Write what waits; what cannot be is told."""
        left = await asyncio.to_thread(self._writer.close)
        writer = self._writer
        if left or writer.missed:
            log.error(
                "events are not in the record",
                path=str(self._file),
                count=left + writer.missed,
                reason=writer.trouble,
                remedy="`octmargin case take` enters what the recording has",
            )
        log.info("record", written=writer.written, refused=writer.refused, missed=writer.missed + left)

    def _note(self, stage: Stage, body: CaseBody, by: str) -> asyncio.Future[str]:
        return self._told(self._writer.note(stage.case_id, body, by), lambda _: "")

    def _write(self, case_id: str, body: CaseBody) -> None:
        self._told(self._writer.note(case_id, body, _DAEMON), lambda _: "")

    def _told(
        self, written: Future[CaseSnapshot], remark: Callable[[CaseSnapshot], str]
    ) -> asyncio.Future[str]:
        """Resolves to what is to be said beside "done": nothing once it is on the disk."""
        answer = asyncio.ensure_future(self._outcome(asyncio.wrap_future(written), remark))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        return answer

    async def _outcome(
        self, written: asyncio.Future[CaseSnapshot], remark: Callable[[CaseSnapshot], str]
    ) -> str:
        try:
            async with asyncio.timeout(KEPT_WITHIN_S):
                return remark(await asyncio.shield(written))
        except TimeoutError:
            # Whenever it is written, or refused, that is heard.
            written.add_done_callback(self._late)
            return "; NOT in the record yet, which cannot be written at present"
        except CaseRefusedError as refusal:
            self._refused(refusal)
            return f"; NOT in the record, which refuses it: {refusal}"
        except RecordError:
            return "; NOT in the record, for which too much waits already"

    def _late(self, written: asyncio.Future[CaseSnapshot]) -> None:
        if not written.cancelled() and isinstance(error := written.exception(), CaseRefusedError):
            self._refused(error)

    def _refused(self, refusal: CaseRefusedError) -> None:
        self._on_fault(
            REFUSED_BY_RECORD, f"the record refuses what happened ({self._writer.refused} in all): {refusal}"
        )

    def _trouble(self, text: str) -> None:
        """Told by the writer when it begins and when it is over."""
        if text:
            log.warning("the record cannot be written", reason=text, waiting=self._writer.waiting)
        self.look()

    def _fault(self, fault: str, text: str) -> None:
        self._is_troubled = True
        self._on_fault(fault, text)

    def _recording_now(self) -> str:
        path = self._recording()
        return str(path.resolve()) if path is not None else ""


def on_stage_of(file: Path, console: str) -> OnStage | None:
    """What was on the stage of a console last, as the record at `file` says."""
    with CaseStore.open(file, writable=True, what=_DAEMON) as store:
        for event in store.newest_of_kind("staged"):
            if event.payload is None:
                # Whatever it said, it is newer than all that come after it here: none of these is on the stage now.
                return None
            body = event.body()
            if isinstance(body, events.Staged) and body.staging.console == console:
                case = store.case(event.case_id)
                if case.phase is CasePhase.CLOSED:
                    return None
                specimen = case.specimen(body.specimen_id)
                is_there = (
                    body.staging.is_open
                    and specimen is not None
                    and specimen.phase is not SpecimenPhase.WITHDRAWN
                    and specimen.signature is None
                )
                return OnStage(case.case_id, specimen if is_there else None)
    return None


def _contradiction(stage: Stage, case: CaseSnapshot) -> str:
    """What is to be said of a specimen that contradicts its order: not what the order says, which stays off the bus."""
    held_up = any(conflict.specimen_id == stage.specimen_id for conflict in case.conflicts)
    return "; the record has a contradiction on its side or orientation: look at the case" if held_up else ""
