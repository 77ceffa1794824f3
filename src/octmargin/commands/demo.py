"""`octmargin demo`: broker, simulated console, daemon and subscriber, each as it would really run."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from octmargin.demo_plan import SIMULATED, DemoPlan, WireKind
from octmargin.demonstration import Demonstration
from octmargin.errors import InputError
from octmargin.summary import DemoSummary


def demo(
    console: Annotated[WireKind, typer.Option(help="How the simulated console is connected.")] = WireKind.USB,
    source: Annotated[
        str,
        typer.Option(
            help='What it looks at: a simulated "lumpectomy", "shave" or "node", the layered "phantom", '
            "or a file of spectra (.npy, .bin, .h5).",
        ),
    ] = "lumpectomy",
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed of what is simulated: decides where a tumour is. Without it, a lumpectomy with a tumour at one "
            "face, a poor face and a dropout.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibration for a file; without it, mirror spectra beside the file are used."),
    ] = None,
    axial_um: Annotated[
        float | None,
        typer.Option(help="Depth pixel in tissue, µm, for a file whose calibration has no depth scale."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="No live view.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Scan for so long; without it, until Ctrl-C.")] = None,
    passes: Annotated[
        int,
        typer.Option(
            min=0,
            help="End after so many passes over all faces; 0 goes on, or waits after one for commands of the display.",
        ),
    ] = 0,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write a summary of what the subscriber received.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Write B-scans, en-face pictures and maps as PNG into this folder.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keep the record of the case, its report and, of one pass alone, recordings in this new folder. "
            "[default: one of its own among the system's temporary files]"
        ),
    ] = None,
) -> None:
    """Scan a simulated specimen and watch it on the display. Stops everything on Ctrl-C."""
    if headless and seconds is None and not passes:
        seconds = 20.0
    if seconds is not None and not seconds > 0:
        raise InputError(f"--seconds {seconds:g}: give a time above 0")
    if json_path is not None and (json_path.is_dir() or not json_path.resolve().parent.is_dir()):
        raise InputError(f"--json {json_path}: cannot be written there; name a file in a folder that exists")
    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise InputError(f"--pictures {pictures}: is a file; name a folder")
    if source in SIMULATED and (calibration is not None or axial_um is not None):
        raise InputError(
            "--calibration and --axial-um are for a file of spectra; what is simulated brings its own"
        )
    if axial_um is not None and not 0 < axial_um < 1000:
        raise InputError(f"--axial-um {axial_um:g}: give the depth pixel in µm, above 0 and below 1000")
    plan = DemoPlan(
        wire=console,
        source=source,
        seed=seed,
        calibration=calibration,
        axial_um=axial_um,
        headless=headless,
        seconds=seconds,
        passes=passes,
        pictures=pictures.resolve() if pictures else None,
    )
    kept = _folder(folder)
    demonstration = Demonstration(plan, kept)
    summary = _run(demonstration, None if folder is not None else kept)
    if summary is None:
        typer.echo("stopped before the first frame")
        return
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    for line in summary.lines():
        typer.echo(line)
    typer.echo(f"{'case':<10} {plan.kept}: {kept}")
    for line in demonstration.reports:
        typer.echo(f"{'report':<10} {line}")
    if not summary.adds_up:
        why = summary.unheard or "the books do not balance: sent is not processed + lost"
        typer.echo(f"octmargin: {why}", err=True)
        raise typer.Exit(1)


def _run(demonstration: Demonstration, own: Path | None) -> DemoSummary | None:
    """A folder of its `own` is taken away again where nothing came of it."""
    summary = None
    try:
        summary = asyncio.run(demonstration.run())
    finally:
        if summary is None and own is not None:
            shutil.rmtree(own, ignore_errors=True)
    return summary


def _folder(asked: Path | None) -> Path:
    """Where the demonstration's files are kept; InputError where a folder is there already, or cannot be made."""
    if asked is None:
        return Path(tempfile.mkdtemp(prefix="octmargin-demo-"))
    try:
        asked.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise InputError(f"--folder {asked}: is there already; name a new one") from error
    except OSError as error:
        raise InputError(f"--folder {asked}: cannot be made ({error.strerror}); name another") from error
    return asked.resolve()
