"""The recorder: a consumer of the ring that keeps raw spectra while a console scans, and never slows it down."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from octmargin import __version__
from octmargin.archive import RecordingWriter
from octmargin.archive.metadata import FaceEntry, Metadata, StoredCalibration
from octmargin.errors import InputError
from octmargin.frames import Frame, FrameHeader, LossCause, LostFrames, ScanPlan
from octmargin.ring import Cursor, RingClosedError
from octmargin.signal import Calibration

RECORDER_FAULT = "recorder"
STANDSTILL_S = 1.0
"""So long the end of a pass waits for the disk."""


@dataclass(eq=False)
class _Open:
    """A recording; `is_open` until it is finished or has failed."""

    writer: RecordingWriter
    is_open: bool = True


class Recorder:
    """Writes the frames that come through `cursor` in a thread of its own; one recording at a time.

    `on_fault(text)` is told once per recording when it cannot go on: the disk is full, gone, or stands still. The
    recording then ends with the last frame that was written, frames are counted as missed, and acquisition goes on:
    nothing waits for the recorder but the end of a pass, and that not for long.
    """

    def __init__(self, cursor: Cursor, *, on_fault: Callable[[str], None]) -> None:
        self._cursor = cursor
        self._on_fault = on_fault
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._recording: _Open | None = None
        """Of the present pass; the thread may still be busy with what came before it."""
        self._faces: deque[tuple[int, str, _Open | None]] = deque()
        """Faces that begin with so many frames, come or lost, before them, and where they are recorded."""
        self._face = ""
        self._present: _Open | None = None
        self._taken = 0
        self._has_taken = threading.Condition()
        self.written = 0
        """Frames on disk, since the start."""
        self.missed = 0
        """Frames that came and were not written: the disk was too slow, full, or gone."""

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the closed ring has been emptied, but not for a disk that stands still."""
        self._thread.join(STANDSTILL_S)

    def begin(self, writer: RecordingWriter) -> None:
        """Write what comes from now on into `writer`."""
        self._recording = _Open(writer)

    def expect(self, face: str) -> None:
        """What is put into the ring from now on is of `face`; what was recorded of it in this pass is replaced."""
        self._faces.append((self._cursor.entered, face, self._recording))

    def end(self) -> bool:
        """Finish the recording once everything is taken; blocks, not for long. Says whether all went well."""
        entered = self._cursor.entered
        with self._has_taken:
            settled = self._has_taken.wait_for(lambda: self._taken >= entered, STANDSTILL_S)
        recording, self._recording = self._recording, None
        if recording is None or not recording.is_open:
            return False
        # What still waits in the ring belongs to this recording, and to no later one.
        recording.is_open = False
        if not settled:
            self._on_fault(
                f"{recording.writer.path}: the disk stands still; the recording ends here, scanning goes on"
            )
            return False
        try:
            recording.writer.__exit__(None, None, None)
        except InputError as error:
            self._on_fault(str(error))
            return False
        return True

    def note(self, kind: str, content: Any) -> None:
        """Have what happened written into the log of the present recording, where there is one; never blocks."""
        recording = self._recording
        if recording is not None and recording.is_open:
            recording.writer.log.note(kind, content)

    def _work(self) -> None:
        while True:
            try:
                entry = self._cursor.take()
            except RingClosedError:
                return
            self._turn_to_face()
            if isinstance(entry, Frame):
                self._write(entry)
                self._cursor.release(entry)
            elif entry is not None and entry.cause is LossCause.CONSUMER_SLOW:
                self.missed += entry.count
            with self._has_taken:
                self._taken += entry.count if isinstance(entry, LostFrames) else 1
                self._has_taken.notify_all()

    def _turn_to_face(self) -> None:
        while self._faces and self._faces[0][0] <= self._taken:
            _, self._face, self._present = self._faces.popleft()
            recording = self._present
            if recording is not None and recording.is_open:
                self._try(recording, partial(recording.writer.forget, self._face))

    def _write(self, frame: Frame) -> None:
        recording, index = self._present, frame.header.index
        if recording is None or not recording.is_open:
            self.missed += 1
        elif self._try(
            recording, partial(recording.writer.put, self._face, index, frame.spectra, _said_of(frame.header))
        ):
            self.written += 1
        else:
            self.missed += 1

    def _try(self, recording: _Open, work: Callable[[], None]) -> bool:
        """Do it; where that fails the recording ends, whatever the reason: the thread must live."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a disk and what writes to it may fail in any way
            recording.is_open = False
            text = (
                str(error)
                if isinstance(error, InputError)
                else f"{recording.writer.path}: {type(error).__name__}: {error}"
            )
            self._on_fault(f"{text}; the recording ends here, scanning goes on")
            return False
        return True


def _said_of(header: FrameHeader) -> dict[str, Any]:
    return {
        "sweep": header.sweep,
        "sequence": header.sequence,
        "received_at_ns": header.received_at_ns,
        "device_timestamp_ns": header.device_timestamp_ns,
        "flags": int(header.flags),
    }


def new_writer(
    folder: Path,
    *,
    name: str,
    source: str,
    synthetic: bool,
    plans: list[ScanPlan],
    calibration: Calibration,
    axial_um: float,
    began: Mapping[str, Any] | None = None,
) -> RecordingWriter:
    """Begin a recording in `folder`, named after `name` and now, its log with `began`.

    InputError where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); check recording.folder") from error
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    metadata = Metadata(
        complete=True,
        software_version=__version__,
        source=source,
        synthetic=synthetic,
        pixel_format=plans[0].pixel_format.name,  # type: ignore[arg-type] # the names of the formats are those
        axial_um=axial_um,
        calibration=StoredCalibration(),
        faces=tuple(
            FaceEntry(
                name=plan.face,
                width_mm=plan.width_mm,
                height_mm=plan.height_mm,
                line_rate_hz=plan.line_rate_hz,
            )
            for plan in plans
        ),
    )
    writer = RecordingWriter(folder / f"{name}-{stamp}", metadata, plans, calibration, live=True)
    writer.log.note("began", began or {})
    return writer
