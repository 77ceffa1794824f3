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
from typing import Any, TypeVar

from octmargin import __version__
from octmargin.archive import RecordingWriter, UnplannedFrameError
from octmargin.archive.metadata import FaceEntry, Metadata, StoredCalibration
from octmargin.errors import InputError
from octmargin.frames import Frame, FrameHeader, LostFrames, ScanPlan
from octmargin.interruptible import StandstillError, within
from octmargin.ring import Cursor, RingClosedError
from octmargin.signal import Calibration

RECORDER_FAULT = "recorder"
_T = TypeVar("_T")
BEGIN_S = 1.0
"""So long the beginning of a pass waits for the disk."""
SETTLE_S = 1.0
"""So long the end of a pass waits until everything is written, while it goes on."""
STANDSTILL_S = 0.5
"""So long it waits for a disk that takes nothing, or to have the recording finished."""


@dataclass(eq=False)
class _Open:
    """A recording; `is_open` until it is finished or has failed. `began_at`: frames that had entered the ring."""

    writer: RecordingWriter
    began_at: int
    is_open: bool = True


class Recorder:
    """Writes the frames that come through `cursor` in a thread of its own; one recording at a time.

    `on_fault(text)` is told once per recording when none can be begun, or when it cannot go on: the disk is full, gone,
    or stands still. The recording then ends with the last frame that was written, frames are counted as missed, and
    acquisition goes on: nothing waits for the disk but the beginning and the end of a pass, and those not for long.
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
        self._errand = threading.Lock()
        """Held while a recording is begun or finished: on a disk that stands still, threads must not pile up."""
        self._is_stuck = False
        self._unwritten = 0
        self._given_up = 0
        """Frames that came before a recording ended, and are in none; some may still wait to be passed over."""
        self._missed_before = 0
        self.written = 0
        """Frames that were written into a recording before it ended, since the start."""

    @property
    def path(self) -> Path | None:
        """Of the recording of the present pass, be it open or ended by a fault."""
        recording = self._recording
        return recording.writer.path if recording is not None else None

    @property
    def missed(self) -> int:
        """Frames that came and were not written, since the start.

        The disk was too slow, full, or gone, or they have no place in the plan.
        """
        return max(self._cursor.dropped + self._unwritten, self._given_up)

    @property
    def missed_of_pass(self) -> int:
        """Those of the present pass."""
        return self.missed - self._missed_before

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the closed ring has been emptied, but not for a disk that stands still."""
        self._thread.join(0 if self._is_stuck else STANDSTILL_S)

    def begin(self, make: Callable[[], RecordingWriter]) -> bool:
        """Write what comes from now on into what `make` begins; blocks, not for long. Says whether it has begun."""
        self._give_up_what_waits()
        self._missed_before = self._given_up
        try:
            writer = self._in_time(BEGIN_S, make, late=RecordingWriter.discard)
        except StandstillError:
            self._on_fault(
                "recording: the disk stands still; nothing is recorded in this pass, scanning goes on"
            )
            return False
        except Exception as error:  # noqa: BLE001 - a disk and what writes to it may fail in any way
            self._on_fault(f"{_told(error, 'recording')}; nothing is recorded in this pass, scanning goes on")
            return False
        self._recording = _Open(writer, self._cursor.entered)
        return True

    def expect(self, face: str) -> None:
        """What is put into the ring from now on is of `face`; what was recorded of it in this pass is replaced."""
        self._faces.append((self._cursor.entered, face, self._recording))

    def end(self) -> bool:
        """Finish the recording once everything is taken; blocks, not for long. Says whether all went well.

        A recording of a pass in which no frame came or was lost, and nothing was noted, is taken away.
        """
        entered, recording = self._cursor.entered, self._recording
        nothing_came = recording is not None and recording.began_at == entered
        if recording is not None and recording.is_open and not nothing_came:
            self._is_stuck = not self._settled(entered)
        self._recording = None
        was_open = recording is not None and self._close(recording)
        self._give_up_what_waits()
        if recording is None or not was_open:
            return False
        writer = recording.writer
        try:
            if nothing_came and not writer.has_notes:
                self._in_time(STANDSTILL_S, writer.discard)
            elif self._is_stuck:
                raise StandstillError  # noqa: TRY301 - said as where it cannot be finished in time
            else:
                self._in_time(STANDSTILL_S, partial(_finish, writer, self._begun_anew(recording)))
        except StandstillError:
            writer.abandon()
            self._on_fault(f"{writer.path}: the disk stands still; the recording ends here, scanning goes on")
            return False
        except Exception as error:  # noqa: BLE001 - a disk and what writes to it may fail in any way
            writer.abandon()
            self._on_fault(_told(error, writer.path))
            return False
        return True

    def note(self, kind: str, content: Any) -> bool:
        """Have what happened written into the log of the present recording; False where none takes it. Never blocks."""
        recording = self._recording
        if recording is None or not recording.is_open or recording.writer.log.failure:
            return False
        recording.writer.log.note(kind, content)
        return True

    def _begun_anew(self, recording: _Open) -> list[str]:
        """Faces of which nothing came since they were begun: the thread turns to one with the entry that follows."""
        return [face for _, face, where in list(self._faces) if where is recording]

    def _settled(self, entered: int) -> bool:
        """Wait, as long as it goes on and not for long, until so many frames were taken; whether they were."""
        until_s = time.monotonic() + SETTLE_S
        with self._has_taken:
            while self._taken < entered:
                if not self._has_taken.wait(min(STANDSTILL_S, until_s - time.monotonic())):
                    return False
        return True

    def _give_up_what_waits(self) -> None:
        """Nothing is open: what came so far is written, or will never be."""
        with self._has_taken:
            self._given_up = self._cursor.arrived - self.written

    def _in_time(
        self, seconds: float, work: Callable[[], _T], *, late: Callable[[_T], object] | None = None
    ) -> _T:
        """Have the disk do something; StandstillError where this, or what it was to do before, takes too long."""
        until_s = time.monotonic() + seconds
        if not self._errand.acquire(timeout=seconds):
            raise StandstillError

        def errand() -> _T:
            try:
                return work()
            finally:
                self._errand.release()

        return within(until_s - time.monotonic(), errand, late=late)

    def _work(self) -> None:
        while True:
            try:
                entry = self._cursor.take()
            except RingClosedError:
                return
            self._turn_to_face()
            if isinstance(entry, Frame):
                self._keep(entry)
            with self._has_taken:
                self._taken += entry.count if isinstance(entry, LostFrames) else 1
                self._is_stuck = False
                self._has_taken.notify_all()

    def _turn_to_face(self) -> None:
        while self._faces and self._faces[0][0] <= self._taken:
            _, self._face, self._present = self._faces.popleft()
            recording = self._present
            if recording is not None and recording.is_open:
                self._try(recording, partial(recording.writer.forget, self._face))

    def _keep(self, frame: Frame) -> None:
        recording, header = self._present, frame.header
        is_kept = (
            recording is not None
            and recording.is_open
            and self._try(
                recording,
                partial(recording.writer.put, self._face, header.index, frame.spectra, _said_of(header)),
            )
        )
        self._cursor.release(frame)
        with self._has_taken:
            # Where it has ended meanwhile, it has ended without this frame.
            if is_kept and recording is not None and recording.is_open:
                self.written += 1
            else:
                self._unwritten += 1

    def _try(self, recording: _Open, work: Callable[[], None]) -> bool:
        """Do it; where that fails the recording ends, whatever the reason: the thread must live."""
        try:
            work()
        except UnplannedFrameError:
            # The console's doing, not the disk's: whoever judges it refuses it, and says so in the log.
            return False
        except Exception as error:  # noqa: BLE001 - a disk and what writes to it may fail in any way
            if self._close(recording):
                recording.writer.abandon()
                self._on_fault(
                    f"{_told(error, recording.writer.path)}; the recording ends here, scanning goes on"
                )
            return False
        return True

    def _close(self, recording: _Open) -> bool:
        """Whether it was still open."""
        with self._has_taken:
            was_open, recording.is_open = recording.is_open, False
        return was_open


def _finish(writer: RecordingWriter, begun_anew: list[str]) -> None:
    for face in begun_anew:
        writer.forget(face)
    writer.finish()


def _told(error: Exception, what: object) -> str:
    return str(error) if isinstance(error, InputError) else f"{what}: {type(error).__name__}: {error}"


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
    return RecordingWriter(folder / f"{name}-{stamp}", metadata, plans, calibration, live=True, began=began)
