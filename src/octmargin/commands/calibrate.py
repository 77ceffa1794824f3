"""`octmargin calibrate`: a calibration from two mirrors either side of zero delay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import numpy as np
import typer
from numpy.typing import NDArray

from octmargin.calibration_picture import calibration_image, stages
from octmargin.errors import InputError
from octmargin.mirrors import load_mirrors, load_series
from octmargin.pictures import save_png
from octmargin.signal import Calibration, LinearInK
from octmargin.spectra import SpectraFile

_SAID = {
    LinearInK.YES: "yes: they are sharper without the k-map; reconstruct them without it",
    LinearInK.NO: "no: the k-map sharpens them",
    LinearInK.UNDECIDED: "cannot be told: they are as sharp with the k-map as without it",
}


def calibrate(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with mirror1.npy, mirror2.npy and, if measured, their dark_*.npy spectra and mirror-*.npy, "
            "one mirror at several depths."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The calibration file to write.")] = Path(
        "calibration.npz"
    ),
    picture: Annotated[
        Path | None, typer.Option(help="The picture to write (PNG); beside the output unless given.")
    ] = None,
    axial_um: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Depth pixel in tissue, µm, if it is known.")
    ] = None,
    window: Annotated[
        str, typer.Option(help="Window: a name that scipy.signal knows, or a .npy file of (samples,).")
    ] = "hann",
    sample: Annotated[
        Path | None,
        typer.Option(help="File of spectra of a sample: also tell whether they are linear in wavenumber."),
    ] = None,
) -> None:
    """Find k-map and dispersion from two mirrors (Attendu 2019), and show and keep what they reach."""
    picture = _picture_beside(output, picture)
    mirrors = load_mirrors(folder)
    calibration = Calibration.from_mirrors(
        *mirrors, window=_window(window), axial_um=axial_um, series=load_series(folder)
    )
    for line in (*_widths(calibration, mirrors), *_quality(calibration), _linearity(calibration)):
        typer.echo(line)
    if sample is not None:
        typer.echo(_linearity_of_sample(calibration, sample))
    calibration.save(output)
    image = calibration_image(
        calibration, mirrors, title=f"calibration {output.name}", origin=f"mirrors in {folder.resolve().name}"
    )
    try:
        save_png(image, picture)
    except OSError as error:
        raise InputError(f"picture {picture}: cannot be written ({error}); give --picture") from error
    typer.echo(f"written: {output}, {picture}")


def _picture_beside(output: Path, picture: Path | None) -> Path:
    """Where the picture goes; InputError, before any work, where a file cannot be written."""
    for option, path in (("--output", output), ("--picture", picture)):
        if path is not None and (not path.name or path.is_dir()):
            raise InputError(f"{option} {path}: is a folder; name a file in it")
    # A picture makes its folder.
    if not output.resolve().parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}; make it first")
    picture = picture or output.with_suffix(".png")
    if picture == output:
        raise InputError(f"{output}: is both the calibration and its picture; name them apart")
    return picture


def _window(given: str) -> str | NDArray[np.float64]:
    if not given.endswith(".npy"):
        return given
    try:
        window: NDArray[np.float64] = np.load(given, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"--window {given}: not a readable .npy file ({error})") from error
    return window


def _widths(
    calibration: Calibration, mirrors: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> Iterator[str]:
    yield "width at half of the amplitude peak, in depth pixels:"
    yield "            raw    k-map   k-map and dispersion"
    for number, spectrum in enumerate(mirrors, start=1):
        raw, k_map, whole = (
            stage.point_spread_width(spectrum) for stage in stages(calibration, number)
        )  # fmt: skip
        yield f"mirror {number}  {raw:6.2f}  {k_map:6.2f}   {whole:6.2f}"


def _quality(calibration: Calibration) -> Iterator[str]:
    quality, axial_um = calibration.quality, calibration.axial_um
    assert quality is not None  # noqa: S101 - from_mirrors measures it
    width = f"axial resolution:  {quality.axial_resolution_px:.2f} px"
    yield width if axial_um is None else f"{width}, {quality.axial_resolution_um(axial_um):.1f} µm in tissue"
    yield f"dynamic range:     {quality.dynamic_range_db:.1f} dB, mirror's peak over noise floor"
    rolloff = quality.rolloff
    if rolloff is None:
        yield "roll-off:          not measured; it needs one mirror at 3 depths or more, as mirror-*.npy"
        return
    loss = f"{rolloff.db_per_px:.4f} dB per depth pixel"
    if axial_um is not None:
        loss = f"{rolloff.db_per_mm(axial_um):.2f} dB/mm in tissue, {loss}"
    yield f"roll-off:          {loss}; {len(rolloff.depths_px)} peaks within {rolloff.residual_db:.2f} dB RMS"


def _linearity(calibration: Calibration) -> str:
    departure = f"the k-map departs from a straight line by {calibration.k_map_departure_px:.2f} px RMS"
    answer = "yes" if calibration.is_linear_in_k else "no"
    return f"mirrors linear in wavenumber already: {answer}; {departure}"


def _linearity_of_sample(calibration: Calibration, path: Path) -> str:
    with SpectraFile.open(path) as spectra:
        told = calibration.linearity_of(spectra.frame(spectra.frames // 2))
    return f"spectra of {path} linear in wavenumber already: {_SAID[told]}"
