"""Which recording is open: one a run, kept open behind it for what is said of it, as long as its specimen is there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from octmargin.archive import RecordingWriter
from octmargin.frames import ScanPlan
from octmargin.recorder import Recorder
from octmargin.stage import Stage

MOST_NOTES = 1000
"""That wait for a recording; beyond, the oldest is in the daemon's log alone."""

log = structlog.get_logger()


class CaseRecordings:
    """Begins and ends recordings; `make(stage, plans)` makes one, `on_begun` is told of each."""

    def __init__(
        self,
        recorder: Recorder,
        make: Callable[[Stage, Sequence[ScanPlan]], RecordingWriter],
        *,
        on_begun: Callable[[], None],
    ) -> None:
        self._recorder = recorder
        self._make = make
        self._on_begun = on_begun
        self._about: tuple[str, str] | None = None
        """Case and specimen of the recording that is open; None where none is."""
        self._waiting: deque[tuple[str, Any]] = deque()

    async def begin(self, stage: Stage, plans: Sequence[ScanPlan]) -> None:
        """Record what comes from now on; without a recording, and with an alarm, where none can be begun."""
        await self.end()
        # Neither the beginning nor the end waits long for a disk that stands still.
        if not await asyncio.to_thread(self._recorder.begin, lambda: self._make(stage, plans)):
            return
        self._about = stage.case_id, stage.specimen_id
        self._on_begun()
        while self._waiting:
            self._recorder.note(*self._waiting.popleft())

    async def end(self) -> None:
        """Finish the one that is open."""
        if self._about is not None:
            self._about = None
            await asyncio.to_thread(self._recorder.end)

    async def end_unless(self, stage: Stage, *, is_open: bool) -> None:
        """Finish it where its specimen is over, or not on the stage any more."""
        if self._about is not None and not (is_open and self._is_about(stage)):
            await self.end()

    def note(self, kind: str, content: Any, stage: Stage) -> None:
        """Have something written into the recording of what is on the stage, or into the next one; never blocks."""
        if self._is_about(stage):
            self._recorder.note(kind, content)
            return
        if len(self._waiting) == MOST_NOTES:
            self._waiting.popleft()
            log.warning("a note finds no recording; it is in this log alone", most=MOST_NOTES)
        self._waiting.append((kind, content))

    def _is_about(self, stage: Stage) -> bool:
        return self._about == (stage.case_id, stage.specimen_id)
