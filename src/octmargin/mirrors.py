"""Mirror measurements as files, in one folder: two mirrors either side of zero delay, and their dark spectra.

Beside them may lie a series for the roll-off: the same mirror at several depths.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal import Calibration, interference
from octmargin.spectra import SpectraFile

MIRROR_FILES = ("mirror1.npy", "mirror2.npy")
DARK_FILES = (
    ("dark_sample1.npy", "dark_ref.npy", "dark_not.npy"),
    ("dark_sample2.npy", "dark_ref.npy", "dark_not.npy"),
)
"""For each mirror: reference arm blocked, sample arm blocked, both blocked."""
SERIES_FILES = "mirror-*.npy"


def load_mirrors(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The interference spectra of the two mirrors in `folder`, (samples,) each.

    CalibrationError names the files that are missing or do not fit.
    """
    missing = [name for name in MIRROR_FILES if not (folder / name).is_file()]
    if missing:
        raise CalibrationError(f"{folder}: {', '.join(missing)} missing; put the two mirrors' spectra there")
    spectra = []
    for mirror, darks in zip(MIRROR_FILES, DARK_FILES, strict=True):
        there = [(folder / name).is_file() for name in darks]
        parts = [_load(folder / mirror)]
        if all(there):
            parts += [_load(folder / name) for name in darks]
        elif any(there):
            absent = [name for name, is_there in zip(darks, there, strict=True) if not is_there]
            raise CalibrationError(
                f"{folder}: {', '.join(absent)} missing; give all dark spectra of {mirror}, or none of them"
            )
        if len({len(part) for part in parts}) != 1:
            raise CalibrationError(
                f"{folder}: {mirror} and its dark spectra differ in length; measure them alike"
            )
        spectra.append(interference(*parts) if len(parts) == 4 else parts[0] - parts[0].mean())
    return spectra[0], spectra[1]


def load_series(folder: Path) -> NDArray[np.float64] | None:
    """Return one mirror at several depths, (n, samples), from the files `mirror-*.npy`; None without any.

    Each file holds one spectrum (samples,) or several (n, samples). What all depths have in common is taken
    away: `dark_ref.npy` where it is there, else nothing but the mean, which leaves the shallowest depths to the
    source's spectrum. CalibrationError names the file that does not fit.
    """
    paths = sorted(folder.glob(SERIES_FILES))
    if not paths:
        return None
    dark = folder / "dark_ref.npy"
    reference = _load(dark) if dark.is_file() else None
    samples = len(reference) if reference is not None else _load_lines(paths[0]).shape[1]
    spectra = [_load_lines(path) for path in paths]
    for path, lines in zip(paths, spectra, strict=True):
        if lines.shape[1] != samples:
            raise CalibrationError(
                f"{path}: spectra of {lines.shape[1]} samples where {samples} are wanted; measure them alike"
            )
    series: NDArray[np.float64] = np.concatenate(spectra)
    series -= series.mean(axis=1, keepdims=True) if reference is None else reference
    return series


def calibration_beside(spectra: SpectraFile) -> Calibration:
    """The calibration from the mirrors in the folder of a file of spectra; CalibrationError without them.

    A sample may lie on either side of zero delay, and the two sides need opposite signs of the dispersion: the
    one that makes the file's middle frame sharper is taken.
    """
    calibration = Calibration.from_mirrors(*load_mirrors(spectra.path.resolve().parent))
    if calibration.samples != spectra.samples:
        raise CalibrationError(
            f"the mirrors beside {spectra.path} have {calibration.samples} samples, its spectra {spectra.samples}"
        )
    return calibration.best_dispersion_sign(spectra.frame(spectra.frames // 2))


def _load(path: Path) -> NDArray[np.float64]:
    data = _load_lines(path)
    if len(data) != 1:
        raise CalibrationError(f"{path}: {len(data)} spectra; one spectrum (samples,) is wanted")
    return data.reshape(-1)


def _load_lines(path: Path) -> NDArray[np.float64]:
    """Spectra (n, samples) of a file that holds (samples,) or (n, samples)."""
    try:
        data = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise CalibrationError(
            f"{path}: not a readable .npy file ({error}); save it again with numpy.save"
        ) from error
    if not isinstance(data, np.ndarray) or data.ndim not in (1, 2) or data.dtype.kind not in "fiu":
        shape = getattr(data, "shape", "of an archive")
        raise CalibrationError(f"{path}: shape {shape}; spectra (samples,) or (n, samples) are wanted")
    return np.atleast_2d(data).astype(np.float64)
