"""`octmargin recordings`: what has been recorded, whether it is sound, and letting go of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from octmargin.archive import Recording, finish_recording
from octmargin.archive.keeping import Holding, holdings, now_s, remove, to_prune, verify
from octmargin.cold_start import compiling_told
from octmargin.errors import CalibrationError, InputError
from octmargin.signal import Calibration
from octmargin.volumes import Volume, write_volumes
from octmargin.words import NOTICE, counted, size

recordings = typer.Typer(no_args_is_help=True, help="List, verify, repair, prune and reconstruct recordings.")


@recordings.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="The folder with the recordings.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recordings of a folder, oldest first; exit with 1 where one cannot be opened."""
    found = holdings(folder)
    if json_output:
        typer.echo(msgspec.json.encode([_as_json(holding) for holding in found]).decode())
    else:
        for holding in found:
            typer.echo(_line(holding))
        typer.echo(f"{counted(len(found), 'recording')}, {_size(found)}")
    if any(holding.trouble for holding in found):
        sys.exit(1)


@recordings.command("verify")
def verify_(paths: Annotated[list[Path], typer.Argument(help="Recordings.")]) -> None:
    """Read every frame, check checksums and the hashes in the log; exit with 1 where anything is not as written."""
    _each(paths, _verify)


@recordings.command()
def repair(
    paths: Annotated[list[Path], typer.Argument(help="Recordings whose writing was cut short.")],
) -> None:
    """Finish recordings that were cut short: note which frames are there. Not while a daemon still writes them.

    Exit with 1 where one cannot be finished.
    """
    _each(paths, _repair)


def _each(paths: list[Path], work: Callable[[Recording], bool]) -> None:
    """Do it with each recording, whatever the others are; exit with 1 where it said False or one cannot be used."""
    went_well = True
    for path in paths:
        try:
            went_well &= work(Recording.open(path))
        except InputError as error:
            typer.echo(f"octmargin: {error}", err=True)
            went_well = False
    if not went_well:
        sys.exit(1)


def _verify(recording: Recording) -> bool:
    found = verify(recording)
    sound = counted(found.sound, "frame")
    text = f"{recording.path}: {sound} sound, {found.lost} not there, {len(found.damaged)} damaged"
    if found.changed:
        text += f", {len(found.changed)} changed since"
    if found.unhashed:
        text += f", {found.unhashed} without a hash"
    typer.echo(text + ("" if recording.complete else " (its writing was cut short, or goes on)"))
    for kind, frames in (("damaged", found.damaged), ("changed", found.changed)):
        for frame in frames:
            typer.echo(f"  {kind}: {frame}")
    if found.log:
        typer.echo(f"  {found.log}")
    return found.is_sound


def _repair(recording: Recording) -> bool:
    if recording.complete:
        typer.echo(f"{recording.path}: is complete")
    else:
        present = finish_recording(recording.path)
        typer.echo(f"{recording.path}: complete now, with what had been written: {counted(present, 'frame')}")
    return True


@recordings.command()
def volume(
    path: Annotated[Path, typer.Argument(help="A recording.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the volumes.")] = Path("volumes"),
    face: Annotated[str | None, typer.Option(help="The only face to reconstruct.")] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Depth pixels to keep; all that there are without it.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration file; the recording's own without it.")
    ] = None,
    axial_um: Annotated[
        float | None,
        typer.Option(min=0.01, max=1000, help="Depth pixel in tissue, µm; the calibration's unless given."),
    ] = None,
) -> None:
    """Reconstruct the faces as OME-Zarr volumes, which napari and other viewers open.

    Exit with 1 where a frame is damaged: its plane is unknown (NaN) then, as that of a lost one.
    """
    recording = Recording.open(path)
    used = Calibration.load(calibration) if calibration is not None else recording.calibration
    if used is None:
        raise CalibrationError(
            f"{path}: the recording has no calibration; make one with `octmargin calibrate` and give --calibration"
        )
    known_um = axial_um or used.axial_um or recording.axial_um
    if known_um is None:
        raise InputError(f"{path}: nothing tells the depth pixel in tissue; give --axial-um")
    if face is not None and face not in recording.faces:
        raise InputError(f"--face {face}: {path} has no such face; it has {', '.join(recording.faces)}")
    with compiling_told(lambda line: typer.echo(line, err=True)):
        is_damaged = False
        for written in write_volumes(
            recording,
            output,
            used,
            axial_um=known_um,
            depth=depth or recording.samples // 2,
            faces=recording.faces if face is None else (face,),
        ):
            typer.echo(_volume_line(written))
            is_damaged |= bool(written.damaged)
    typer.echo(f"{NOTICE} {'SYNTHETIC spectra.' if recording.synthetic else 'Measured spectra.'}")
    if is_damaged:
        sys.exit(1)


@recordings.command()
def prune(
    folder: Annotated[Path, typer.Argument(help="The folder with the recordings.")],
    older_than_days: Annotated[float | None, typer.Option(min=0, help="Let go of what is older.")] = None,
    over_gb: Annotated[
        float | None, typer.Option(min=0, help="Let go of the oldest until the rest is no larger, GB.")
    ] = None,
    cut_short: Annotated[
        bool,
        typer.Option(
            "--cut-short", help="Also those that are not complete; not while a daemon still writes one."
        ),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Do it; without this, only say what would go.")
    ] = False,
) -> None:
    """Delete old recordings by policy."""
    if older_than_days is None and over_gb is None:
        raise InputError("recordings prune: give --older-than-days, --over-gb or both")
    kept = holdings(folder)
    gone = to_prune(
        kept, now_s=now_s(), older_than_days=older_than_days, over_gb=over_gb, cut_short=cut_short
    )
    for holding in gone:
        if delete:
            remove(holding)
        typer.echo(f"{'deleted' if delete else 'would delete'} {_line(holding)}")
    typer.echo(_pruned(kept, gone, delete=delete, cut_short=cut_short))


def _pruned(kept: list[Holding], gone: list[Holding], *, delete: bool, cut_short: bool) -> str:
    """What prune did, would do and left alone, in one line."""
    there = f"{counted(len(kept), 'recording')}, {_size(kept)}"
    if not gone:
        parts = [f"nothing to delete by this policy; there are {there}"]
    elif delete:
        parts = [f"deleted {len(gone)} of {there}; {_size(gone)} are free again"]
    else:
        parts = [f"would delete {len(gone)} of {there}, and free {_size(gone)}; --delete does it"]
    foreign = sum(bool(holding.trouble) for holding in kept)
    unfinished = sum(not holding.complete and not holding.trouble for holding in kept)
    if foreign:
        parts.append(f"{foreign} cannot be opened, never deleted")
    if unfinished and not cut_short:
        parts.append(f"{unfinished} not complete, deleted only with --cut-short")
    return "; ".join(parts)


def _size(some: list[Holding]) -> str:
    return size(sum(holding.size_bytes for holding in some))


def _volume_line(volume: Volume) -> str:
    parts = [str(volume.path)]
    for frames, what in ((volume.lost, "lost"), (volume.damaged, "damaged")):
        if frames:
            parts.append(f"{what} and unknown (NaN): frames {', '.join(map(str, frames))}")
    return "; ".join(parts)


def _line(holding: Holding) -> str:
    if holding.trouble:
        return f"{holding.path.name}  {size(holding.size_bytes)}  cannot be opened: {holding.trouble}"
    kind = "SYNTHETIC" if holding.synthetic else "measured"
    state = "" if holding.complete else ", cut short"
    planned, faces = counted(holding.planned, "frame"), counted(len(holding.faces), "face")
    frames = f"{holding.present} of {planned} of {faces}{state}"
    return f"{holding.path.name}  {size(holding.size_bytes)}  {frames}  {kind}  {holding.name}"


def _as_json(holding: Holding) -> dict[str, Any]:
    return {
        "path": str(holding.path),
        "size_bytes": holding.size_bytes,
        "modified_s": holding.modified_s,
        "complete": holding.complete,
        "synthetic": holding.synthetic,
        "source": holding.name,
        "faces": holding.faces,
        "frames_planned": holding.planned,
        "frames_present": holding.present,
        "trouble": holding.trouble,
    }
