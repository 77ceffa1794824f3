"""The recording that a sweep of the record was judged from, opened only where it is that and nothing else.

Its frames are compared with the hashes in its log when they are read: one that is not as it was recorded is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from octmargin.archive import Recording
from octmargin.archive.logged_frames import LoggedFrame
from octmargin.archive.writing import spectra_hash
from octmargin.case.record.model import SweepRecord
from octmargin.errors import InputError
from octmargin.said import Then, read_then


@dataclass(frozen=True, slots=True)
class SweepSource:
    """A recording, and what its log tells of how it was judged."""

    recording: Recording
    then: Then


def open_source(sweep: SweepRecord, folder: Path | None = None) -> SweepSource:
    """The recording of a sweep, in `folder` where it is not where the record says; `check_source` comes next.

    InputError where its spectra were not kept, or it cannot be read.
    """
    if not sweep.recording:
        raise InputError("the spectra were not recorded")
    path = Path(sweep.recording)
    if folder is not None:
        path = folder / path.name
    recording = _LoggedRecording.open(path)
    then = read_then(recording)
    recording.expect(then.frames, is_whole=not then.missed)
    return SweepSource(recording, then)


class _LoggedRecording(Recording):
    """A recording of which only what its log knows is read; a checksum of a chunk is made anew with its bytes."""

    _frames: Mapping[tuple[str, int], LoggedFrame] | None = None
    _is_whole = True

    def expect(self, frames: Mapping[tuple[str, int], LoggedFrame], *, is_whole: bool) -> None:
        """From now on only these frames; `is_whole` where the log has all that were written."""
        self._frames, self._is_whole = frames, is_whole

    def frame(self, face: str, index: int) -> NDArray[Any] | None:
        """As of any recording; InputError also for a frame that is not the one in the log."""
        spectra = super().frame(face, index)
        if spectra is None or self._frames is None:
            return spectra
        known = self._frames.get((face, index))
        if self._is_whole if known is None else known.sha256 != spectra_hash(spectra):
            raise InputError(
                f"{self.path}: frame {index} of {face} is not the one that was recorded, by its log; "
                "restore it from a copy"
            )
        return spectra


def check_source(sweep: SweepRecord, source: SweepSource) -> None:
    """InputError where the recording is not that of the sweep, or was changed since."""
    why = next(_differences(sweep, source), "")
    if why:
        raise InputError(f"{source.recording.path}: {why}")


def _differences(sweep: SweepRecord, source: SweepSource) -> Iterator[str]:
    recording, then = source.recording, source.then
    if recording.synthetic and not sweep.synthetic:
        yield "is synthetic, and the record says that the sweep was measured"
    if then.trouble:
        yield then.trouble
    if sweep.recording_log_sha256 and recording.log_sha256 not in (None, sweep.recording_log_sha256):
        yield "is not as it was when it was entered into the record; restore it from a copy"
    # A log without a number of the sweep has its entry's behind a slash.
    if then.description.instance_id != sweep.session.partition("/")[0]:
        yield "was made in another session than the sweep"
    if sweep.face not in recording.faces:
        yield f"has no face {sweep.face}"
        return
    of_face = {frame.sweep for (face, _), frame in then.frames.items() if face == sweep.face}
    if of_face - {None, sweep.sweep}:
        yield "holds another sweep over this face"
    plan = recording.plan(sweep.face)
    if outside := [view.number for view in sweep.key_views if view.frame >= plan.frames]:
        yield f"has no frame for key view {', '.join(map(str, outside))}"
    if sweep.grid and (len(sweep.grid), {len(row) for row in sweep.grid}) != (plan.frames, {plan.blocks}):
        yield f"its {plan.frames} frames of {plan.blocks} blocks are not those of the record"
