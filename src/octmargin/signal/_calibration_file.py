"""The calibration file: a versioned .npz that holds plain arrays and text, never a pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import CalibrationError

FORMAT = "octmargin-calibration"
VERSION = 1
_ARRAYS = ("k_map", "dispersion_rad", "background")


def write(
    path: Path,
    arrays: dict[str, NDArray[np.float64]],
    window: str | NDArray[np.float64],
    axial_um: float | None,
) -> None:
    """Write one calibration; entries that are None are left out."""
    entries: dict[str, Any] = {**arrays, "window": np.asarray(window)}
    if axial_um is not None:
        entries["axial_um"] = np.float64(axial_um)
    try:
        # An open file, because given a name savez appends .npz to it.
        with path.open("wb") as file:
            np.savez(file, format=np.asarray(FORMAT), version=np.int64(VERSION), **entries)
    except OSError as error:
        raise CalibrationError(f"calibration file {path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> dict[str, Any]:
    """Read the keyword arguments of `Calibration` from a file of `write`."""
    try:
        # numpy.load takes a bare .npy for an array and anything else for a pickle: only a zip is ours.
        if not zipfile.is_zipfile(path) and path.exists():
            raise CalibrationError(
                f"calibration file {path}: not an octmargin calibration; write one with save()"
            )
        with np.load(path, allow_pickle=False) as archive:
            entries = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise CalibrationError(f"calibration file {path}: no such file; check the path") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CalibrationError(
            f"calibration file {path}: cannot be read ({error}); restore it from a copy"
        ) from error
    return _checked(path, entries)


def _checked(path: Path, entries: dict[str, NDArray[Any]]) -> dict[str, Any]:
    if str(entries.get("format")) != FORMAT:
        raise CalibrationError(
            f"calibration file {path}: not an octmargin calibration; write one with save()"
        )
    version = entries.get("version")
    if version is None or version.shape != () or version != VERSION:
        raise CalibrationError(
            f"calibration file {path}: version {version} where version {VERSION} is read; calibrate again"
        )
    read_entries: dict[str, Any] = {name: entries[name] for name in _ARRAYS if name in entries}
    if "window" in entries:
        window = entries["window"]
        read_entries["window"] = str(window) if window.dtype.kind == "U" else window
    if "axial_um" in entries:
        if entries["axial_um"].shape != ():
            raise CalibrationError(f"calibration file {path}: axial_um is not one number; calibrate again")
        read_entries["axial_um"] = float(entries["axial_um"])
    return read_entries
