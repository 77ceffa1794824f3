"""`octmargin replay`: judge a recording again and compare with what was said live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from octmargin import __version__
from octmargin.archive import Recording
from octmargin.cold_start import compiling_told
from octmargin.replaying import DIFFERENCES, FaceReplay, Fate, is_confirmed
from octmargin.replaying import replay as replayed
from octmargin.said import Then, read_then
from octmargin.startup import make_assessor
from octmargin.words import counted


def replay(
    path: Annotated[Path, typer.Argument(help="Recording that a daemon made.")],
    threads: Annotated[int, typer.Option(min=1, max=256, help="Frames that are judged at a time.")] = 1,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a recording again, with the configuration of then, and compare.

    Exit with 1 where anything differs, where nothing could be compared, or where the log was changed; with 2 where the
    recording cannot be judged again.
    """
    recording = Recording.open(path)
    then = read_then(recording)
    for line in [*_since_then(then), *_of_the_log(then)]:
        typer.echo(f"octmargin: {line}", err=True)
    faces = []
    with compiling_told(lambda line: typer.echo(line, err=True)):
        for face in replayed(recording, then, threads=threads, on_progress=_progress()):
            faces.append(face)
            if not json_output:
                typer.echo(_line(face, then))
    if json_output:
        typer.echo(msgspec.json.encode(_document(recording, then, faces)).decode())
    else:
        typer.echo(_summary(recording, then, faces))
    if not is_confirmed(then, faces):
        sys.exit(1)


def _since_then(then: Then) -> list[str]:
    """What is not as it was when the recording was made, and may be why results differ."""
    lines = []
    if then.description.software_version != __version__:
        lines.append(f"recorded with octmargin {then.description.software_version}, this is {__version__}")
    identity, was = make_assessor(then.judging).model.identity, then.description.model
    if (identity.name, identity.version, identity.fingerprint) != (was.name, was.version, was.hash):
        lines.append(
            f"judged by {was.name} {was.version} ({was.hash or 'untrained'}), "
            f"now by {identity.name} {identity.version} ({identity.fingerprint or 'untrained'})"
        )
    return lines


def _of_the_log(then: Then) -> list[str]:
    """Why less can be compared than was said."""
    lines = []
    if then.trouble:
        lines.append(f"{then.trouble}; nothing in it can be relied on")
    if then.missed:
        missed = counted(then.missed, "entry", "entries")
        lines.append(f"the log had no place for {missed}; what was said there cannot be compared")
    if not then.is_complete:
        lines.append("the recording is not complete: whether its log ends as it was written, nobody knows")
    return lines


def _line(face: FaceReplay, then: Then) -> str:
    if not face.fates and face.face not in then.faces:
        return f"{face.face:<10} nothing recorded and nothing said"
    parts = [
        f"{face.face:<10} {face.same} of {counted(face.compared, 'frame')} the same, {face.exact} to the last bit"
    ]
    if face.face not in then.faces:
        parts.append("the log does not tell of this face")
    parts += [_frames(face, fate) for fate in face.fates if fate is not Fate.SAME]
    now = face.verdict_now.outcome.value.replace("_", " ")
    if face.verdict_uncompared:
        parts.append(f"verdict not compared ({face.verdict_uncompared}), {now} now")
    elif face.verdict_then is not None and face.verdict_differs:
        was = face.verdict_then.verdict.replace("_", " ")
        parts.append(f"{was} then, {now} now (not the same: {', '.join(face.verdict_differs)})")
    else:
        parts.append(now)
    return ", ".join(parts)


def _frames(face: FaceReplay, fate: Fate) -> str:
    indices = face.fates[fate]
    if fate is Fate.LOST_LIVE:
        return f"{len(indices)} {fate.value} ({'; '.join(face.lost_causes)})"
    if fate not in DIFFERENCES:
        return f"{len(indices)} {fate.value}"
    return f"{fate.value}: {', '.join(map(str, indices[:8]))}{', ...' if len(indices) > 8 else ''}"


def _summary(recording: Recording, then: Then, faces: list[FaceReplay]) -> str:
    compared, exact = sum(face.compared for face in faces), sum(face.exact for face in faces)
    verdicts = [face for face in faces if face.face in then.faces]
    uncompared = sum(bool(face.verdict_uncompared) for face in verdicts)
    if then.trouble:
        what = "not confirmed, the log cannot be relied on"
    elif not all(face.is_same for face in faces):
        what = "other flags or verdicts"
    elif not compared:
        what = "nothing could be compared"
    elif uncompared:
        what = f"the same flags, {uncompared} of {len(verdicts)} verdicts not compared"
    else:
        what = "the same flags and verdicts"
    origin = "SYNTHETIC spectra" if recording.synthetic else "measured spectra"
    return f"{what}; {exact} of {counted(compared, 'frame')} to the last bit; research use only, {origin}"


def _document(recording: Recording, then: Then, faces: list[FaceReplay]) -> dict[str, Any]:
    return {
        "recording": str(recording.path),
        "synthetic": recording.synthetic,
        "software_then": then.description.software_version,
        "software_now": __version__,
        "same": is_confirmed(then, faces),
        "log_trouble": then.trouble,
        "log_entries_missed": then.missed,
        "complete": then.is_complete,
        "faces": [
            {
                "face": face.face,
                "frames": face.compared,
                "exact": face.exact,
                "fates": {fate.name.lower(): indices for fate, indices in face.fates.items()},
                "lost_causes": face.lost_causes,
                "verdict_then": face.verdict_then.verdict if face.verdict_then else None,
                "verdict_now": face.verdict_now.outcome.value,
                "verdict_differs": face.verdict_differs,
                "verdict_uncompared": face.verdict_uncompared,
            }
            for face in faces
        ],
    }


def _progress() -> Any:
    if not sys.stderr.isatty():
        return None

    def show(face: str, done: int, total: int) -> None:
        end = "\r" if done < total else "\r\033[K"
        print(f"{face}: {done} of {total} frames", end=end, file=sys.stderr, flush=True)  # noqa: T201

    return show
