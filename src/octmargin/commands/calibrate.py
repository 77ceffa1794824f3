"""`octmargin calibrate`: a calibration from two mirrors either side of zero delay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from octmargin.mirrors import load_mirrors
from octmargin.signal import Calibration


def calibrate(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with mirror1.npy, mirror2.npy and, if measured, their dark_*.npy spectra."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The calibration file to write.")] = Path(
        "calibration.npz"
    ),
    axial_um: Annotated[float | None, typer.Option(help="Depth pixel in tissue, µm, if it is known.")] = None,
) -> None:
    """Find k-map and dispersion from two mirrors (Attendu 2019) and show the point-spread widths they reach."""
    first, second = load_mirrors(folder)
    calibration = Calibration.from_mirrors(first, second, axial_um=axial_um)
    k_map_only = Calibration(k_map=calibration.k_map, window=calibration.window)
    uncalibrated = Calibration(window=calibration.window)
    typer.echo("width at half of the amplitude peak, in depth pixels:")
    typer.echo("            raw    k-map   k-map and dispersion")
    # The mirrors lie on either side of zero delay, so they need opposite signs of the dispersion.
    for name, spectrum, whole in (
        ("mirror 1", first, calibration),
        ("mirror 2", second, calibration.conjugated()),
    ):
        widths = [c.point_spread_width(spectrum) for c in (uncalibrated, k_map_only, whole)]
        typer.echo(f"{name}  {widths[0]:6.2f}  {widths[1]:6.2f}   {widths[2]:6.2f}")
    calibration.save(output)
    typer.echo(f"written: {output}")
