"""Which recording is open: one a run, kept open behind it for what is said of it, as long as its specimen is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from octmargin.archive import RecordingWriter
from octmargin.archive.notes_file import Note, keep_notes
from octmargin.frames import ScanPlan
from octmargin.interruptible import StandstillError, within
from octmargin.recorder import Recorder
from octmargin.stage import Stage

MOST_NOTES = 1000
"""That wait for a recording; beyond, what is newer is in the daemon's log alone."""
KEEP_S = 2.0
"""So long the disk has to take notes for which no recording came."""

_About = tuple[str, str]

log = structlog.get_logger()


class CaseRecordings:
    """Begins and ends recordings; `make(stage, plans)` makes one, `on_begun` is told of each.

    Notes wait for the recording of their specimen. Where none comes any more they get a file of their own in `folder`;
    what cannot be written there either is counted, and told.
    """

    def __init__(
        self,
        recorder: Recorder,
        make: Callable[[Stage, Sequence[ScanPlan]], RecordingWriter],
        *,
        folder: Path,
        on_begun: Callable[[], None],
    ) -> None:
        self._recorder = recorder
        self._make = make
        self._folder = folder
        self._on_begun = on_begun
        self._about: _About | None = None
        """Case and specimen of the recording that is open; None where none is."""
        self._waiting: dict[_About, list[Note]] = {}

    async def begin(self, stage: Stage, plans: Sequence[ScanPlan]) -> None:
        """Record what comes from now on; without a recording, and with an alarm, where none can be begun."""
        await self.end()
        await self._keep_notes(_about(stage))
        # Neither the beginning nor the end waits long for a disk that stands still.
        if not await asyncio.to_thread(self._recorder.begin, lambda: self._make(stage, plans)):
            return
        self._about = _about(stage)
        self._on_begun()
        for kind, content in self._waiting.pop(self._about, ()):
            self._recorder.note(kind, content)

    async def end(self) -> None:
        """Finish the one that is open."""
        if self._about is not None:
            self._about = None
            await asyncio.to_thread(self._recorder.end)

    async def finish(self) -> None:
        """The last word: no recording is begun any more."""
        await self.end()
        await self._keep_notes()

    async def end_unless(self, stage: Stage, *, is_open: bool) -> None:
        """Finish it where its specimen is over, or not on the stage any more."""
        if self._about is not None and not (is_open and self._is_about(stage)):
            await self.end()

    def note(self, kind: str, content: Any, stage: Stage) -> None:
        """Have something written into the recording of what is on the stage, or into the next one; never blocks."""
        if self._is_about(stage) and self._recorder.note(kind, content):
            return
        if sum(map(len, self._waiting.values())) >= MOST_NOTES:
            log.error("a note finds no recording; it is in this log alone", most=MOST_NOTES)
            return
        self._waiting.setdefault(_about(stage), []).append((kind, content))

    async def _keep_notes(self, still_to_come: _About | None = None) -> None:
        """Write what no recording will take any more."""
        for about in [about for about in self._waiting if about != still_to_come]:
            notes = self._waiting.pop(about)
            case_id, specimen_id = about
            try:
                work = partial(keep_notes, self._folder, case_id, specimen_id, notes)
                path = await asyncio.to_thread(within, KEEP_S, work)
            except (OSError, StandstillError) as error:
                why = str(error) or "the disk stands still"
                # An expected failure of the disk: its trace would help nobody.
                log.error("notes are lost; they are in this log alone", count=len(notes), reason=why)  # noqa: TRY400
            else:
                log.info("notes are kept beside the recordings", path=str(path), count=len(notes))

    def _is_about(self, stage: Stage) -> bool:
        return self._about == _about(stage)


def _about(stage: Stage) -> _About:
    return stage.case_id, stage.specimen_id
