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
from octmargin.replaying import FaceReplay, Then, read_then
from octmargin.replaying import replay as replayed
from octmargin.startup import make_assessor


def replay(
    path: Annotated[Path, typer.Argument(help="Recording that a daemon made.")],
    threads: Annotated[int, typer.Option(min=1, max=256, help="Frames that are judged at a time.")] = 1,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a recording again, with the configuration of then, and compare; exit with 1 where anything differs."""
    recording = Recording.open(path)
    then = read_then(recording)
    for line in _since_then(then):
        typer.echo(f"octmargin: {line}", err=True)
    faces = []
    with compiling_told(lambda line: typer.echo(line, err=True)):
        for face in replayed(recording, then, threads=threads, on_progress=_progress()):
            faces.append(face)
            if not json_output:
                typer.echo(_line(face))
    is_same = all(face.is_same for face in faces)
    if json_output:
        typer.echo(msgspec.json.encode(_document(recording, then, faces)).decode())
    else:
        frames, exact = sum(face.frames for face in faces), sum(face.exact for face in faces)
        origin = "SYNTHETIC spectra" if recording.synthetic else "measured spectra"
        what = "the same flags and verdicts" if is_same else "other flags or verdicts"
        typer.echo(f"{what}; {exact} of {frames} frames to the last bit; research use only, {origin}")
    if not is_same:
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


def _line(face: FaceReplay) -> str:
    parts = [f"{face.face:<10} {face.same} of {face.frames} frames the same, {face.exact} to the last bit"]
    if face.different:
        shown = ", ".join(map(str, face.different[:8])) + (", ..." if len(face.different) > 8 else "")
        parts.append(f"different: {shown}")
    if face.unrecorded:
        parts.append(f"{face.unrecorded} judged live and not recorded")
    now = face.verdict_now.outcome.value.replace("_", " ")
    if face.verdict_then is None:
        parts.append(f"no verdict then, {now} now")
    elif face.verdict_differs:
        was = face.verdict_then.verdict.replace("_", " ")
        parts.append(f"{was} then, {now} now ({', '.join(face.verdict_differs)} differ)")
    else:
        parts.append(now)
    return ", ".join(parts)


def _document(recording: Recording, then: Then, faces: list[FaceReplay]) -> dict[str, Any]:
    return {
        "recording": str(recording.path),
        "synthetic": recording.synthetic,
        "software_then": then.description.software_version,
        "software_now": __version__,
        "same": all(face.is_same for face in faces),
        "faces": [
            {
                "face": face.face,
                "frames": face.frames,
                "same": face.same,
                "exact": face.exact,
                "different": face.different,
                "unrecorded": face.unrecorded,
                "verdict_then": face.verdict_then.verdict if face.verdict_then else None,
                "verdict_now": face.verdict_now.outcome.value,
                "verdict_differs": face.verdict_differs,
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
