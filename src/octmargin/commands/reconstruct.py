"""`octmargin reconstruct`: spectra of a file into pictures, without a console or a broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from octmargin.cold_start import compiling_told
from octmargin.errors import InputError
from octmargin.margin import Assessor
from octmargin.mirrors import calibration_beside
from octmargin.pictures import bscan_image, enface_image, save_png
from octmargin.signal import Calibration, Reconstructor
from octmargin.spectra import SpectraFile


def reconstruct(
    spectra: Annotated[Path, typer.Argument(help="File of spectra (.npy, .bin, .h5).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")] = Path(
        "reconstructed"
    ),
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibration file; without it, mirror spectra beside the file are used."),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Samples per spectrum (.bin).")] = None,
    alines: Annotated[int | None, typer.Option(min=1, help="A-lines per frame (.bin).")] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Depth pixels to keep; all that there are without it.")
    ] = None,
    axial_um: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Depth pixel in tissue, µm: nominal unless given.")
    ] = 5.0,
    width_mm: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Width of a frame, mm: nominal unless given.")
    ] = 10.0,
    every: Annotated[int, typer.Option(min=1, help="Write the B-scan of every n-th frame.")] = 10,
) -> None:
    """Reconstruct a file of spectra: B-scans and an en-face picture as PNG."""
    if output.exists() and not output.is_dir():
        raise InputError(f"--output {output}: is a file; name a folder")
    source = SpectraFile.open(spectra, samples=samples, alines=alines)
    source.check_finite()
    loaded = Calibration.load(calibration) if calibration else calibration_beside(source)
    most = source.samples // 2
    keep = most if depth is None else depth
    if keep > most:
        raise InputError(
            f"--depth {keep}: spectra of {source.samples} samples have {most} depth pixels; give fewer"
        )
    reconstructor = Reconstructor(loaded, samples=source.samples, depth=keep)
    # For surface and projection alone: what is suspicious is not shown.
    assessor = Assessor("rule-1")
    enface = np.full((source.frames, source.alines), np.nan, np.float32)
    intensity = np.empty((source.alines, keep), np.float32)
    for index in range(source.frames):
        frame = source.frame(index)
        raw = frame.astype(np.float32) if frame.dtype.kind == "f" else frame
        with compiling_told(_say):
            bscan_db = reconstructor.process(raw, intensity=intensity)
            flags = assessor.assess(bscan_db, axial_um=axial_um, intensity=intensity)
        enface[index] = flags.enface_db
        if index % every == 0:
            image = bscan_image(
                bscan_db,
                axial_um=axial_um,
                width_mm=width_mm,
                surface_px=flags.surface_px,
                suspicious=np.zeros_like(flags.suspicious),
            )
            save_png(image, output / f"bscan-{index:04d}.png")
    height = max(64, round(640 * source.frames / source.alines))
    save_png(enface_image(enface, width_mm=width_mm, size=(640, height)), output / "enface.png")
    typer.echo(f"{source.frames} frames of {source.alines} A-lines; pictures in {output} (research use only)")
    typer.echo(f"scale bars: {axial_um:g} µm per depth pixel, {width_mm:g} mm per frame, as given or nominal")


def _say(text: str) -> None:
    typer.echo(text, err=True)
