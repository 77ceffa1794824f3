"""`octmargin demo`: broker, simulated console, daemon and subscriber, each as it would really run."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from octmargin.demonstration import Demonstration, DemoPlan, WireKind
from octmargin.errors import InputError


def demo(
    console: Annotated[WireKind, typer.Option(help="How the simulated console is connected.")] = WireKind.USB,
    source: Annotated[
        str, typer.Option(help='What it looks at: "phantom", or a file of spectra (.npy, .bin, .h5).')
    ] = "phantom",
    seed: Annotated[int, typer.Option(help="Seed of the phantom: decides where its tumour is.")] = 7,
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
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write a summary of what the subscriber received.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Write B-scans, en-face pictures and maps as PNG into this folder.")
    ] = None,
) -> None:
    """Scan a simulated specimen and watch the margin flags arrive. Stops everything on Ctrl-C."""
    if headless and seconds is None:
        seconds = 20.0
    if seconds is not None and seconds <= 0:
        raise InputError(f"--seconds {seconds:g}: give a time above 0")
    plan = DemoPlan(
        wire=console,
        source=source,
        seed=seed,
        calibration=calibration,
        axial_um=axial_um,
        headless=headless,
        seconds=seconds,
        pictures=pictures.resolve() if pictures else None,
    )
    with tempfile.TemporaryDirectory(prefix="octmargin-demo-") as folder:
        summary = asyncio.run(Demonstration(plan, Path(folder)).run())
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    for line in summary.lines():
        typer.echo(line)
    if not summary.adds_up:
        typer.echo("octmargin: the books do not balance: sent is not processed + lost", err=True)
        raise typer.Exit(1)
