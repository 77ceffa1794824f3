"""The scan of one face: a sweep, the outcomes of its frames, its verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

import structlog

from octmargin.acquisition import ConsoleLink
from octmargin.engine import Judged, Outcome
from octmargin.errors import CommandRefusedError, DeviceError, InputError, OctMarginError
from octmargin.frames import LossCause, LostFrames, ScanPlan
from octmargin.log import on_stage
from octmargin.margin import MarginModel, Policy, Verdict
from octmargin.recorder import Recorder
from octmargin.results import ResultDesk
from octmargin.ring import Cursor, FrameRing
from octmargin.scan_control import ScanControl
from octmargin.sweeps import SweepBook
from octmargin.totals import Totals

SWEEP_ALARM = "sweep"
_LIVENESS_S = 1.0
_RESUMPTIONS = 20
"""Of one sweep: a cable that is loose must not keep a face for ever."""

log = structlog.get_logger()


class _After(Enum):
    """What is to come of a face after a part of its sweep."""

    IS_DONE = auto()
    """Nothing, unless the console went away."""
    GOES_ON = auto()
    """The console did not answer when it was to go on: ask it again."""
    ANEW = auto()
    """It cannot go on: the face is worth another try from its beginning."""


class Onlooker(Protocol):
    """Makes pictures of what is scanned, on the event loop: must neither wait nor compute there."""

    def take(self, book: SweepBook, judged: Judged) -> None:
        """A frame was judged."""

    def face_done(self, book: SweepBook, verdict: Verdict) -> None:
        """A face has its verdict."""


class Course(Protocol):
    """Who is told how the scan of a face goes."""

    def begins(self, book: SweepBook) -> None:
        """A sweep begins."""

    def held(self) -> None:
        """It stands still."""

    def ends(self, book: SweepBook, verdict: Verdict) -> None:
        """Its final verdict is said."""


class FaceScanner:
    """Scans faces one after the other. `deliver` gets every outcome of the engine, on the event loop.

    A face ends when everything that its sweep put into the ring has come out of the engine, so no outcome
    of one face is ever booked to the next.
    """

    def __init__(
        self,
        link: ConsoleLink,
        ring: FrameRing,
        cursor: Cursor,
        *,
        is_engine_alive: Callable[[], bool],
        desk: ResultDesk,
        totals: Totals,
        policy: Policy,
        model: MarginModel,
        onlookers: Sequence[Onlooker],
        recorder: Recorder | None,
        on_fault: Callable[[str, str], None],
        on_recovered: Callable[[str], None],
    ) -> None:
        self._link = link
        self._ring = ring
        self._cursor = cursor
        self._is_engine_alive = is_engine_alive
        self._desk = desk
        self._totals = totals
        self._policy = policy
        self._model = model
        self._onlookers = onlookers
        self._recorder = recorder
        self._on_fault = on_fault
        self._on_recovered = on_recovered
        self._delivered = 0
        """Frames that the outcomes were of."""
        self._progress = asyncio.Event()
        self._failure: Exception | None = None
        self._sweeps = 0
        """Begun in this session, the newest included: each has its number, also where it failed."""
        self.book: SweepBook | None = None
        """The face that is being scanned, or was scanned last."""

    def go_on_behind(self, sweep: int) -> None:
        """Sweeps are numbered behind this one, which is an earlier run's."""
        self._sweeps = max(self._sweeps, sweep)

    async def scan(self, plan: ScanPlan, control: ScanControl, course: Course) -> bool:
        """Scan a face and say its verdict; False where the console failed and it is worth another try.

        A console that goes away meanwhile is waited for, and the sweep goes on behind the frames that came or were
        lost: what was seen of a face is not thrown away. So it does behind a pause.
        """
        self._sweeps += 1
        book = self.book = SweepBook(plan, self._policy, self._model, number=self._sweeps)
        self._totals.face_begins()
        on_stage(face=plan.face, sweep=book.number)
        if self._recorder is not None:
            self._recorder.expect(plan.face)
            self._recorder.note("face", {"face": plan.face, "sweep": book.number, "frames": plan.frames})
        self._desk.begin(book)
        course.begins(book)
        holds = control.holds
        numbered, after = await self._sweep(book, control.interrupted)
        await self._until_settled()
        interruptions = 0
        while book.remaining is not None and not control.ended.is_set():
            if control.is_held:
                self._desk.say(book)
                await self.hold(control, course)
                continue
            if holds == control.holds:
                # It was not we who interrupted it.
                interruptions += 1
                if interruptions > _RESUMPTIONS or not await self._comes_back(book, control, after):
                    break
                if control.interrupted.is_set():
                    continue
            holds = control.holds
            more, after = await self._sweep(book, control.interrupted)
            await self._until_settled()
            numbered = None if numbered is None or more is None else numbered + more
        course.ends(book, self._close(book, numbered))
        # Where every place came, or the console was waited for often enough, that is what there is of this face.
        is_over = book.remaining is None or interruptions > _RESUMPTIONS
        is_done = after is _After.IS_DONE and not self._link.is_gone
        return after is not _After.ANEW and (is_over or is_done)

    async def hold(self, control: ScanControl, course: Course) -> None:
        """Stand still until the sweep is to go on or to end; a console that goes away meanwhile is waited for."""
        course.held()
        began_s = time.monotonic()
        while control.is_held:
            if self._link.is_gone:
                await self._link.recover(control.going)
            else:
                await self._link.gone_or(control.going)
        self._totals.stood_still(time.monotonic() - began_s)

    async def _comes_back(self, book: SweepBook, control: ScanControl, after: _After) -> bool:
        """Wait for a console that interrupted a sweep; False where it did not, but has ended it."""
        if not self._link.is_gone and after is _After.GOES_ON:
            # It did not answer: the heartbeat is about to find out whether it is still there.
            await self._link.gone_or(control.interrupted, _LIVENESS_S)
        elif not self._link.is_gone:
            return False
        if self._link.is_gone:
            self._desk.say(book)
            await self._link.recover(control.interrupted)
        return True

    async def _sweep(self, book: SweepBook, stop: asyncio.Event) -> tuple[int | None, _After]:
        """Frames that the console numbered, None where it could not be asked; and what is to come of the face."""
        goes_on = book.started is not None
        try:
            numbered = await self._link.sweep(book, self._ring, stop)
        except DeviceError as error:
            is_anew = goes_on and isinstance(error, CommandRefusedError)
            reason = f"{error}; the face is scanned anew" if is_anew else str(error)
            log.warning("sweep failed", reason=reason)
            self._on_fault(SWEEP_ALARM, reason)
            if isinstance(error, CommandRefusedError):
                # A console that refuses a plan will refuse it again, unless it only cannot begin within a sweep.
                return None, _After.ANEW if is_anew else _After.IS_DONE
            return None, _After.GOES_ON if goes_on else _After.ANEW
        self._on_recovered(SWEEP_ALARM)
        return numbered, _After.IS_DONE

    async def _until_settled(self) -> None:
        """Wait until each frame that entered the ring has its outcome; raise what went wrong with one."""
        while self._delivered < self._cursor.entered and self._failure is None:
            self._progress.clear()
            try:
                async with asyncio.timeout(_LIVENESS_S):
                    await self._progress.wait()
            except TimeoutError:
                if not self._is_engine_alive():
                    raise OctMarginError("an engine thread has died; start octmargin again") from None
        if self._failure is not None:
            raise self._failure

    def _close(self, book: SweepBook, numbered: int | None) -> Verdict:
        book.close(numbered)
        self._totals.face_ends(book)
        verdict = self._desk.say(book)
        log.info(
            "face scanned",
            face=book.plan.face,
            verdict=verdict.outcome.value,
            reasons=list(verdict.reasons),
            coverage=round(verdict.coverage, 3),
            visualised_depth_mm=round(verdict.visualised_depth_mm, 2),
            processed=book.processed,
            lost=book.lost,
            kernels_us_per_aline=self._desk.kernels_us_per_aline(),
        )
        for onlooker in self._onlookers:
            onlooker.face_done(book, verdict)
        return verdict

    def deliver(self, outcome: Outcome) -> None:
        """The one hand-over per frame from the engine to the event loop."""
        try:
            if self.book is not None:
                self._enter(self.book, outcome)
        except Exception as error:  # noqa: BLE001 - nobody awaits a callback: `scan` raises what is kept here
            self._failure = error
        self._delivered += outcome.count if isinstance(outcome, LostFrames) else 1
        self._progress.set()

    def _enter(self, book: SweepBook, outcome: Outcome) -> None:
        if isinstance(outcome, Judged):
            try:
                self._desk.take(book, outcome)
            except InputError as error:
                # A console that numbers a frame outside its plan: not usable, so lost.
                outcome = LostFrames(outcome.header.sequence, 1, LossCause.NOT_JUDGED, str(error))
            else:
                header = outcome.header
                log.debug(
                    "frame judged",
                    sweep=book.number,
                    frame=header.index,
                    sequence=header.sequence,
                    reconstruct_ms=round(outcome.reconstruct_ns / 1e6, 3),
                    assess_ms=round(outcome.assess_ns / 1e6, 3),
                )
                for onlooker in self._onlookers:
                    onlooker.take(book, outcome)
                return
        self._desk.lose(book, outcome)
        log.warning(
            "frames lost",
            frame=book.place_of(outcome.first_sequence),
            sequence=outcome.first_sequence,
            count=outcome.count,
            cause=outcome.cause.value,
            detail=outcome.detail,
        )
