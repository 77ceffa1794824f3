"""The calibration file: a versioned .npz that holds plain arrays and text, never a pickle."""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import CalibrationError
from octmargin.signal.quality import MeasuredQuality, RollOff

FORMAT = "octmargin-calibration"
VERSION = 2
"""Version 2 added the measured quality; version 1 loads as a calibration whose quality was not measured."""
_READABLE = (1, 2)
_ARRAYS = ("k_map", "dispersion_rad", "background")
_QUALITY = ("axial_resolution_px", "dynamic_range_db")
_ROLLOFF_NUMBERS = ("db_per_px", "residual_db")
_ROLLOFF_LINES = ("depths_px", "peaks_db")


def write(
    path: Path,
    arrays: dict[str, NDArray[np.float64]],
    window: str | NDArray[np.float64],
    axial_um: float | None,
    quality: MeasuredQuality | None,
) -> None:
    """Write one calibration; entries that are None are left out."""
    entries: dict[str, Any] = {**arrays, "window": np.asarray(window)}
    if axial_um is not None:
        entries["axial_um"] = np.float64(axial_um)
    if quality is not None:
        entries |= {f"quality_{name}": np.float64(getattr(quality, name)) for name in _QUALITY}
        if quality.rolloff is not None:
            names = _ROLLOFF_NUMBERS + _ROLLOFF_LINES
            entries |= {f"rolloff_{name}": np.asarray(getattr(quality.rolloff, name)) for name in names}
    # Beside it first: where the disk is full the calibration that was there must stay.
    new = path.with_name(f".{path.name}.new")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        try:
            # An open file, because given a name savez appends .npz to it.
            with new.open("wb") as file:
                np.savez(file, format=np.asarray(FORMAT), version=np.int64(VERSION), **entries)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise CalibrationError(f"calibration file {path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> dict[str, Any]:
    """Read the keyword arguments of `Calibration` from a file of `write`."""
    try:
        # numpy.load takes a bare .npy for an array and anything else for a pickle: only a zip is ours.
        with path.open("rb") as file:
            is_ours = zipfile.is_zipfile(file)
        if not is_ours:
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
    if version is None or version.shape != () or version not in _READABLE:
        raise CalibrationError(
            f"calibration file {path}: version {version} where versions {_READABLE[0]} to {VERSION} are read; "
            "calibrate again"
        )
    try:
        return _keywords(entries)
    except CalibrationError as error:
        raise CalibrationError(f"calibration file {path}: {error}; calibrate again") from error


def _keywords(entries: dict[str, NDArray[Any]]) -> dict[str, Any]:
    keywords: dict[str, Any] = {name: entries[name] for name in _ARRAYS if name in entries}
    if "window" in entries:
        window = entries["window"]
        keywords["window"] = str(window) if window.dtype.kind == "U" else window
    if "axial_um" in entries:
        keywords["axial_um"] = _number(entries, "axial_um")
    keywords["quality"] = _quality(entries)
    return keywords


def _quality(entries: dict[str, NDArray[Any]]) -> MeasuredQuality | None:
    if not any(f"quality_{name}" in entries for name in _QUALITY):
        return None
    rolloff = None
    if any(f"rolloff_{name}" in entries for name in _ROLLOFF_NUMBERS + _ROLLOFF_LINES):
        numbers = {name: _number(entries, f"rolloff_{name}") for name in _ROLLOFF_NUMBERS}
        lines = {name: _line(entries, f"rolloff_{name}") for name in _ROLLOFF_LINES}
        rolloff = RollOff(
            db_per_px=numbers["db_per_px"],
            residual_db=numbers["residual_db"],
            depths_px=lines["depths_px"],
            peaks_db=lines["peaks_db"],
        )
    return MeasuredQuality(
        **{name: _number(entries, f"quality_{name}") for name in _QUALITY}, rolloff=rolloff
    )


def _number(entries: dict[str, NDArray[Any]], name: str) -> float:
    value = entries.get(name)
    if value is None or value.shape != () or value.dtype.kind not in "fiu":
        raise CalibrationError(f"{name} is not one number")
    return float(value)


def _line(entries: dict[str, NDArray[Any]], name: str) -> tuple[float, ...]:
    value = entries.get(name)
    if value is None or value.ndim != 1 or value.dtype.kind not in "fiu":
        raise CalibrationError(f"{name} is not a line of numbers")
    return tuple(float(number) for number in value)
