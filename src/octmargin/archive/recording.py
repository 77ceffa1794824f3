"""Reading a recording, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray

from octmargin.archive import metadata as described
from octmargin.archive.logbook import LOG_FILE, check_log, read_log
from octmargin.archive.logged_description import LoggedDescription
from octmargin.archive.metadata import NOMINAL_LINE_RATE_HZ, FaceEntry, Metadata
from octmargin.errors import InputError
from octmargin.frames import PixelFormat, ScanPlan
from octmargin.signal import Calibration

_DESCRIPTION = "zarr.json"


class Recording:
    """The raw spectra of one specimen, read from a folder when they are asked for; use `Recording.open`.

    `complete` is False for one whose writing was cut short, or still goes on: it has the frames that were written.

    `calibration` and `axial_um` (depth pixel in tissue) are None where the recording does not know them.
    `frame` may be called by several threads.
    """

    def __init__(self, path: Path, metadata: Metadata, group: zarr.Group) -> None:
        self.path = path
        self.name = metadata.source
        """What was recorded, for people."""
        self.complete = metadata.complete
        self._metadata = metadata
        self._logged = LoggedDescription(path)
        self.synthetic = metadata.synthetic or self._logged.synthetic
        """Whether the spectra were computed, not measured; True where the log says so and the description does not."""
        self.log_sha256 = metadata.log_sha256
        """Of the log's last line, as the writer left it; None where there is none, or the recording is not complete."""
        self.faces = tuple(entry.name for entry in metadata.faces)
        self.pixel_format: PixelFormat = metadata.pixels
        self._entries = {entry.name: entry for entry in metadata.faces}
        self._spectra = {face: _spectra(path, group, face, self.pixel_format) for face in self.faces}
        self._present = {
            face: _present(path, group, face, self._spectra[face].shape[0])
            if metadata.complete
            else self._written(face)
            for face in self.faces
        }
        samples = {array.shape[2] for array in self._spectra.values()}
        if len(samples) > 1:
            raise InputError(
                f"{path}: its faces have spectra of {sorted(samples)} samples; one console has one number, "
                "restore it from a copy"
            )
        self.samples: int = samples.pop()
        self.calibration: Calibration | None = described.load_calibration(path, metadata, self.samples)
        self.kept_calibration = metadata.calibration
        """The calibration in the form in which it is kept."""
        self.axial_um = metadata.axial_um
        if self.axial_um is None and self.calibration is not None:
            self.axial_um = self.calibration.axial_um

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the recording in the folder `path`.

        InputError where there is none, or where it is damaged.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"{path}: no such folder; check the path of the recording")
        if not path.is_dir():
            raise InputError(f"{path}: is a file; a recording is a folder")
        try:
            group = zarr.open_group(path, mode="r", zarr_format=3)
        except FileNotFoundError as error:  # a folder without a group is one to zarr too
            if looks_like_recording(path):
                raise InputError(f"{path}: its {_DESCRIPTION} is gone; restore it from a copy") from error
            raise InputError(
                f"{path}: not an octmargin recording; `octmargin simulate --record` writes one"
            ) from error
        except Exception as error:  # Zarr raises anything
            raise InputError(
                f"{path}: cannot be read as Zarr ({_one_line(error)}); restore it from a copy"
            ) from error
        return cls(path, described.parse(path, dict(group.attrs)), group)

    @property
    def truth(self) -> Mapping[str, str]:
        """Per face what is really there, "suspicious" or "clear"; without those of which nobody knows."""
        return {name: entry.truth for name, entry in self._entries.items() if entry.truth is not None}

    def plan(self, face: str) -> ScanPlan:
        """The planned grid over `face`; its line rate is nominal where the recording does not know it."""
        entry = self._entry(face)
        frames, alines, samples = self._spectra[face].shape
        return ScanPlan(
            face=face,
            samples=samples,
            alines=alines,
            frames=frames,
            width_mm=entry.width_mm,
            height_mm=entry.height_mm,
            line_rate_hz=entry.line_rate_hz or NOMINAL_LINE_RATE_HZ,
            pixel_format=self.pixel_format,
        )

    def present(self, face: str) -> NDArray[np.bool_]:
        """Which frames of `face` came, (frames,), read-only; the others are lost."""
        self._entry(face)
        return self._present[face]

    def on_disk(self, face: str) -> NDArray[np.bool_]:
        """Which frames of `face` came and are still there, (frames,); whether they are sound, reading them tells."""
        there: NDArray[np.bool_] = self.present(face) & self._written(face)
        return there

    def log(self) -> Iterator[dict[str, Any]]:
        """What happened while it was made, entry by entry, as far as the chain of hashes holds."""
        return read_log(self.path / LOG_FILE)

    def log_trouble(self) -> str:
        """In words what is wrong with the log, or not as it says of the whole; empty where nothing is, as far as known.

        Of a recording that is not complete nobody knows the last line: it may be changed or gone.
        """
        try:
            state = check_log(self.path / LOG_FILE)
        except InputError as error:
            return str(error)
        trouble = state.trouble((self.log_sha256 or "") if self.complete else None)
        return trouble or self._logged.trouble(self._metadata)

    def frame(self, face: str, index: int) -> NDArray[np.unsignedinteger[Any]] | None:
        """Spectra of frame `index` of `face`, (alines, samples), counts; None where the frame was lost.

        InputError for a frame that was not planned, or whose bytes are not those that were written.
        """
        self._entry(face)
        array = self._spectra[face]
        if not 0 <= index < array.shape[0]:
            raise InputError(
                f"{self.path}: no frame {index} of {face}; it has frames 0 to {array.shape[0] - 1}"
            )
        # Zarr reads a chunk that is not there as zeros: those would be spectra that no console sent.
        if not (self._present[face][index] and self._chunk(array, index).is_file()):
            return None
        try:
            return np.ascontiguousarray(array[index], dtype=self.pixel_format.dtype)
        except Exception as error:  # Zarr raises anything
            raise InputError(
                f"{self.path}: frame {index} of {face} is damaged ({_one_line(error)}); restore it from a copy"
            ) from error

    def _entry(self, face: str) -> FaceEntry:
        if face not in self._entries:
            raise InputError(f"{self.path}: no face {face!r}; it has {', '.join(self.faces)}")
        return self._entries[face]

    def _written(self, face: str) -> NDArray[np.bool_]:
        """Which frames have been written so far: a chunk takes its name when it is whole."""
        array = self._spectra[face]
        written = np.array([self._chunk(array, k).is_file() for k in range(array.shape[0])], dtype=np.bool_)
        written.flags.writeable = False
        return written

    def _chunk(self, array: zarr.Array[Any], index: int) -> Path:
        return self.path / array.path / array.metadata.encode_chunk_key((index, 0, 0))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def looks_like_recording(path: Path) -> bool:
    """Whether the folder is a recording, or what is left of one."""
    return (path / _DESCRIPTION).is_file() or (path / LOG_FILE).is_file() or (path / "faces").is_dir()


def _spectra(path: Path, group: zarr.Group, face: str, pixel_format: PixelFormat) -> zarr.Array[Any]:
    array = _array(path, group, described.spectra_path(face))
    if array.ndim != 3 or 0 in array.shape or array.dtype != pixel_format.dtype:
        raise InputError(
            f"{path}: spectra of {face} are {array.dtype} {array.shape}, not {pixel_format.dtype} of "
            "(frames, alines, samples); restore it from a copy"
        )
    if array.chunks != (1, *array.shape[1:]):
        raise InputError(
            f"{path}: spectra of {face} have chunks of {array.chunks}, not one per frame; restore it from a copy"
        )
    return array


def _present(path: Path, group: zarr.Group, face: str, frames: int) -> NDArray[np.bool_]:
    array = _array(path, group, described.present_path(face))
    if array.shape != (frames,) or array.dtype != np.bool_:
        raise InputError(
            f"{path}: the list of frames of {face} is {array.dtype} {array.shape}, not bool ({frames},); "
            "restore it from a copy"
        )
    try:
        present = np.array(array[:], dtype=np.bool_)
    except Exception as error:  # Zarr raises anything
        raise InputError(
            f"{path}: the list of frames of {face} is damaged ({_one_line(error)}); restore it from a copy"
        ) from error
    present.flags.writeable = False
    return present


def _array(path: Path, group: zarr.Group, where: str) -> zarr.Array[Any]:
    try:
        array = group[where]
    except Exception as error:  # Zarr raises anything
        raise InputError(f"{path}: {where} is missing or damaged; restore it from a copy") from error
    if not isinstance(array, zarr.Array):
        raise InputError(f"{path}: {where} is no array; restore it from a copy")
    return array
