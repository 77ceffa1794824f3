"""The scanning of runs of faces: at once, over all faces as often as configured; and then, or else, when asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import structlog

from octmargin.acquisition import ConsoleLink
from octmargin.bus import MOST_KEY_VIEWS
from octmargin.case_desk import CaseDesk
from octmargin.condition import ConditionDesk
from octmargin.face_scan import FaceScanner
from octmargin.frames import ScanPlan
from octmargin.margin import Verdict
from octmargin.scan_control import ScanControl
from octmargin.stage import Swept, Wish
from octmargin.sweeps import SweepBook

ATTEMPTS_PER_FACE = 3
PAUSE_S = 1.0

log = structlog.get_logger()


class ScanLoop:
    """Does what is wished of the case at `desk`, face by face, until `stop`; `plan_of(face)` plans one."""

    def __init__(
        self,
        link: ConsoleLink,
        scanner: FaceScanner,
        desk: CaseDesk,
        condition: ConditionDesk,
        stop: asyncio.Event,
        *,
        plan_of: Callable[[str], ScanPlan],
    ) -> None:
        self._link = link
        self._scanner = scanner
        self._case = desk.case
        self._recordings = desk.recordings
        self._condition = condition
        self._stop = stop
        self._plan_of = plan_of
        self._control = ScanControl()
        self._is_scanning = False
        self._was_stopped = False
        self._something_changed = asyncio.Event()
        desk.on_change = self._follow

    def _follow(self) -> None:
        """Something changed of the case."""
        self._control.follow(self._case.wish)
        self._condition.lifecycle.scanning(now=self._is_scanning and self._case.phase != "paused")
        self._something_changed.set()

    async def run(self, begin: Literal["at-once", "on-command"], passes: int) -> None:
        """Scan as configured, and as asked for; ends with the last pass of its own, unless somebody stopped that."""
        try:
            if begin == "on-command" or await self._is_taken_over(passes):
                await self._serve()
            # From here on nothing is scanned any more: no command must be taken that asks for it.
            self._condition.stopping()
        finally:
            if self._recordings is not None:
                await self._recordings.finish()

    async def _is_taken_over(self, passes: int) -> bool:
        """Scan all faces as often as configured; whether somebody stopped that, and decides from now on."""
        for _ in self._passes(passes):
            self._case.scan_all()
            await self._run(is_pass=True)
            if self._was_stopped and not self._stop.is_set():
                log.info("scanning was stopped by a command; from now on it begins by command")
                return True
        return False

    def _passes(self, passes: int) -> Iterator[int]:
        done = 0
        while not self._stop.is_set() and (not passes or done < passes):
            yield done
            done += 1

    async def _serve(self) -> None:
        """Scan what is asked for, until `stop`."""
        while not self._stop.is_set():
            self._something_changed.clear()
            if self._case.wish is not Wish.REST:
                await self._run(is_pass=False)
            elif self._link.is_gone:
                # It cannot be asked to scan meanwhile.
                await self._link.recover(self._stop)
            else:
                if self._recordings is not None:
                    await self._recordings.end_unless(self._case.stage, is_open=self._case.phase != "closed")
                await self._link.gone_or(self._something_changed)

    def stop(self) -> None:
        """The daemon is to end; the present sweep is closed and said first."""
        self._control.stop()
        self._something_changed.set()

    # -- one run ----------------------------------------------------------------------------------------

    async def _run(self, *, is_pass: bool) -> None:
        """Scan the faces of a run, one after the other; the recording of a pass ends with it."""
        case, control = self._case, self._control
        if self._recordings is not None:
            plans = [self._plan_of(face) for face in case.faces_to_come]
            await self._recordings.begin(case.stage, plans)
        while not control.ended.is_set():
            if control.is_held:
                await self._scanner.hold(control, self)
            elif (face := case.next_face()) is not None:
                await self._scan_until_seen(self._plan_of(face))
            else:
                break
        if is_pass and self._recordings is not None and not control.ended.is_set():
            await self._recordings.end()
            if control.is_held:
                # Meanwhile: the next pass is not to begin.
                await self._scanner.hold(control, self)
        self._was_stopped = control.ended.is_set()
        case.run_ends()

    async def _scan_until_seen(self, plan: ScanPlan) -> None:
        """Scan a face, and again where the console failed meanwhile."""
        link, control, failures = self._link, self._control, 0
        while failures < ATTEMPTS_PER_FACE and not control.ended.is_set():
            if control.is_held:
                await self._scanner.hold(control, self)
                continue
            if link.is_gone and not await link.recover(control.interrupted):
                continue
            holds = control.holds
            self._scanning(now=True)
            scanned = await self._scanner.scan(plan, control, self)
            self._scanning(now=False)
            if scanned:
                return
            # A console that cannot go on behind a pause has not failed.
            failures += control.holds == holds
            if not link.is_gone:
                # The heartbeat may be about to find out that it is.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_S):
                        await control.ended.wait()

    def _scanning(self, *, now: bool) -> None:
        self._is_scanning = now
        self._follow()

    # -- what the scan of a face tells ------------------------------------------------------------------

    def begins(self, book: SweepBook) -> None:
        """A sweep over a face begins."""
        self._case.face_begins(_swept(book))

    def held(self) -> None:
        """It stands still."""
        self._case.held()

    def ends(self, book: SweepBook, verdict: Verdict) -> None:
        """Its final verdict is said."""
        key_views = min(len(verdict.clusters), MOST_KEY_VIEWS)
        self._case.face_ends(replace(_swept(book), key_views=key_views, is_whole=book.was_scanned_whole))


def _swept(book: SweepBook) -> Swept:
    return Swept(book.number, book.plan.face, book.plan.frames, book.plan.blocks)
