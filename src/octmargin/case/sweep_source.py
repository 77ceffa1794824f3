"""The recording that a sweep of the record was judged from, opened only where it is that and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from octmargin.archive import Recording
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
    recording = Recording.open(path)
    return SweepSource(recording, read_then(recording))


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
