"""The recorder: a consumer of the ring that keeps raw spectra while a console scans, and never slows it down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from octmargin import __version__
from octmargin.archive import RecordingWriter
from octmargin.archive.metadata import FaceEntry, Metadata, StoredCalibration
from octmargin.errors import InputError
from octmargin.frames import Frame, LossCause, ScanPlan
from octmargin.ring import Cursor, RingClosedError
from octmargin.signal import Calibration

RECORDER_FAULT = "recorder"


class Recorder:
    """Writes the frames that come through `cursor` in a thread of its own; one recording at a time.

    `on_fault(text)` is told once per recording, from the thread, when it cannot go on: the disk is full, or
    gone. The recording then ends with the last frame that was written, frames are counted as missed, and acquisition
    goes on. `on_progress` is called after each entry of the ring.
    """

    def __init__(
        self, cursor: Cursor, *, on_fault: Callable[[str], None], on_progress: Callable[[], None]
    ) -> None:
        self._cursor = cursor
        self._on_fault = on_fault
        self._on_progress = on_progress
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._writer: RecordingWriter | None = None
        self._taken = 0
        self.face = ""
        """The face that is being scanned: whose frames come."""
        self.written = 0
        """Frames on disk, since the start."""
        self.missed = 0
        """Frames that came and were not written: the disk was too slow, full, or gone."""

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the closed ring has been emptied."""
        self._thread.join()

    @property
    def is_settled(self) -> bool:
        """Whether everything that was put into the ring has been taken."""
        return self._taken >= self._cursor.entered

    def begin(self, writer: RecordingWriter) -> None:
        """Write what comes from now on into `writer`."""
        self._writer = writer

    def end(self) -> None:
        """Finish the recording, when `is_settled`; blocks. What goes wrong is told as a fault."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.__exit__(None, None, None)
        except InputError as error:
            self._on_fault(str(error))

    def _work(self) -> None:
        while True:
            try:
                entry = self._cursor.take()
            except RingClosedError:
                return
            if isinstance(entry, Frame):
                self._write(entry)
                self._cursor.release(entry)
            elif entry is not None and entry.cause is LossCause.CONSUMER_SLOW:
                self.missed += entry.count
            self._taken += 1
            self._on_progress()

    def _write(self, frame: Frame) -> None:
        writer = self._writer
        if writer is None:
            self.missed += 1
            return
        try:
            writer.put(self.face, frame.header.index, frame.spectra)
        except (InputError, IndexError, KeyError) as error:
            self.missed += 1
            if isinstance(error, InputError):
                self._writer = None
                self._on_fault(f"{error}; the recording ends here, scanning goes on")
        else:
            self.written += 1


def new_writer(
    folder: Path,
    *,
    name: str,
    source: str,
    synthetic: bool,
    plans: list[ScanPlan],
    calibration: Calibration,
    axial_um: float,
) -> RecordingWriter:
    """Begin a recording in `folder`, named after `name` and now; InputError where it cannot be written."""
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
    return RecordingWriter(folder / f"{name}-{stamp}", metadata, plans, calibration, live=True)
