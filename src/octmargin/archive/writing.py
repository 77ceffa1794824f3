"""Writing a recording frame by frame: whole or absent, or, while a console scans, under its name at once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from octmargin.archive import metadata as described
from octmargin.archive.logbook import LOG_FILE, Logbook, check_log, drop_half_line
from octmargin.archive.logged_description import logged_description
from octmargin.archive.metadata import (
    CALIBRATION_FILE,
    Metadata,
)
from octmargin.archive.recording import Recording
from octmargin.archive.zarr_folder import ZarrFolder
from octmargin.errors import InputError, OctMarginError
from octmargin.frames import ScanPlan
from octmargin.signal import Calibration


class UnplannedFrameError(InputError):
    """A frame that has no place in the recording; others have."""


class RecordingWriter:
    """Takes the frames of one specimen; a context manager.

    Until it is left, the recording lies in a hidden folder beside `path` and says that it is not complete. Left
    by an exception, it is removed. A `live` one has its name from the beginning and is never removed: whatever ends its
    process, the frames that were `put` can be read. Frames that were never `put` are lost frames of the recording.
    """

    def __init__(
        self,
        path: Path,
        metadata: Metadata,
        plans: list[ScanPlan],
        calibration: Calibration | None = None,
        *,
        live: bool = False,
        began: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin, with `began` in the log's first entry; InputError where `path` exists or cannot be written."""
        check_is_new(path)
        self.path = path
        self._metadata = metadata
        self._live = live
        self._is_abandoned = False
        self._folder = path if live else path.with_name(f".{path.name}.new")
        self._present = {plan.face: np.zeros(plan.frames, np.bool_) for plan in plans}
        try:
            # What a killed writer left behind is nobody's recording.
            shutil.rmtree(self._folder, ignore_errors=True)
            self._zarr = ZarrFolder(self._folder)
            self._group = zarr.create_group(
                self._zarr.store,
                zarr_format=3,
                attributes=msgspec.structs.replace(metadata, complete=False).attributes(),
            )
            self._spectra = {plan.face: self._create_spectra(plan) for plan in plans}
            self._zarr.flush()
            if calibration is not None:
                calibration.save(self._folder / CALIBRATION_FILE)
            self.log = Logbook(self._folder / LOG_FILE)
            """What happens meanwhile; each frame is noted with its hash."""
            self.log.note("began", {**logged_description(metadata), **(began or {})})
        except BaseException as error:
            # Ctrl-C, for one, leaves nothing either.
            shutil.rmtree(self._folder, ignore_errors=True)
            if isinstance(error, OSError | OctMarginError):
                raise _unwritable(path, error) from error
            raise

    def _create_spectra(self, plan: ScanPlan) -> zarr.Array[Any]:
        return self._group.create_array(
            described.spectra_path(plan.face),
            shape=(plan.frames, plan.alines, plan.samples),
            chunks=(1, plan.alines, plan.samples),
            dtype=plan.pixel_format.dtype,
            dimension_names=("frame", "aline", "sample"),
            # The upper bits of 12-bit counts are all alike once the bits are sorted; their noise is incompressible.
            compressors=(BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()),
            fill_value=0,
            # A frame of zeros that came is not a frame that did not.
            config={"write_empty_chunks": True},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
            else:
                self.log.close()
        finally:
            if not self._live:
                shutil.rmtree(self._folder, ignore_errors=True)

    def finish(self) -> None:
        """Everything was `put`: the recording is complete. InputError where that cannot be written."""
        self.log.close()
        try:
            if self.log.failure:
                raise OSError(self.log.failure)  # noqa: TRY301 - told as whatever else the disk refuses
            _note_present(self._group, self._present)
            self._zarr.flush()
            _complete(self._group, self._metadata, self.log.last_hash)
            self._zarr.flush()
            if not self._live:
                self._folder.rename(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def put(
        self, face: str, index: int, spectra: NDArray[Any], said: Mapping[str, Any] | None = None
    ) -> None:
        """Write one frame, (alines, samples) of the pixel format's dtype, and note it, with what is `said` of it.

        UnplannedFrameError where it has no place, InputError where it cannot be written.
        """
        array = self._spectra.get(face)
        if array is None or not 0 <= index < array.shape[0]:
            raise UnplannedFrameError(
                f"{self.path}: frame {index} of {face} was not planned; record what was planned"
            )
        if spectra.shape != array.shape[1:] or spectra.dtype != array.dtype:
            raise UnplannedFrameError(
                f"{self.path}: frame {index} of {face} is {spectra.dtype} {spectra.shape}, planned was "
                f"{array.dtype} {array.shape[1:]}; record spectra as they were planned"
            )
        try:
            array[index] = spectra
            self._zarr.flush()
        except OSError as error:
            raise _unwritable(self.path, error) from error
        if self.log.failure:
            raise _unwritable(self.path, OSError(self.log.failure))
        self._present[face][index] = True
        of_frame = {"face": face, "index": index, "sha256": spectra_hash(spectra)}
        self.log.note("frame", {**of_frame, **(said or {})})

    def forget(self, face: str) -> None:
        """Take away what was `put` of a face that is scanned anew: two scans must not be mixed."""
        if self._is_abandoned:
            # Its log would not know.
            raise InputError(f"{self.path}: the recording has ended; begin another")
        array = self._spectra[face]
        if self._present[face].any():
            self.log.note("forgotten", {"face": face})
        try:
            for index in np.flatnonzero(self._present[face]).tolist():
                (self._folder / array.path / array.metadata.encode_chunk_key((index, 0, 0))).unlink(
                    missing_ok=True
                )
                self._present[face][index] = False
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def abandon(self) -> None:
        """End here, without a word to the disk: what was `put` into a live recording can be read. Never blocks."""
        self._is_abandoned = True
        self.log.leave()

    @property
    def has_notes(self) -> bool:
        """Whether its log has more than how it began: what people said, for one, which is nowhere else."""
        return self.log.noted > 1

    def discard(self) -> None:
        """Take away a recording that nothing was `put` into, and nothing noted."""
        self.log.leave()
        shutil.rmtree(self._folder, ignore_errors=True)


def _note_present(group: zarr.Group, present: Mapping[str, NDArray[np.bool_]]) -> None:
    """Note which frames came."""
    for face, came in present.items():
        group.create_array(
            described.present_path(face),
            data=came,
            chunks=came.shape,
            dimension_names=("frame",),
            compressors=(Crc32cCodec(),),
            fill_value=False,
            overwrite=True,
            config={"write_empty_chunks": True},
        )


def _complete(group: zarr.Group, metadata: Metadata, log_hash: str) -> None:
    """From then on the recording is complete."""
    whole = msgspec.structs.replace(metadata, complete=True, log_sha256=log_hash or None)
    group.update_attributes(whole.attributes())


def finish_recording(path: Path) -> int:
    """Finish a live recording whose writer is gone, with the frames that it had written; gives how many.

    InputError where it is no recording, or cannot be written.
    """
    recording = Recording.open(path)
    present = {face: np.array(recording.present(face)) for face in recording.faces}
    try:
        folder = ZarrFolder.opened(path)
        group = zarr.open_group(folder.store, mode="r+", zarr_format=3)
        drop_half_line(path / LOG_FILE)
        log_hash = check_log(path / LOG_FILE).last_hash
        _note_present(group, present)
        folder.flush()
        _complete(group, described.parse(path, dict(group.attrs)), log_hash)
        folder.flush()
        for left in path.rglob("*.partial"):
            left.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error
    return sum(int(came.sum()) for came in present.values())


def spectra_hash(spectra: NDArray[Any]) -> str:
    """SHA-256 of the counts of a frame, A-line after A-line, little-endian, hexadecimal."""
    counts = np.ascontiguousarray(spectra, dtype=spectra.dtype.newbyteorder("<"))
    return hashlib.sha256(counts.data).hexdigest()


def check_is_new(path: Path) -> None:
    """InputError where `path` exists or its folder does not: better said before an hour of work than after it."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: exists already; a recording is never overwritten, name a new folder")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")


def _unwritable(path: Path, error: Exception) -> InputError:
    why = getattr(error, "strerror", None) or error
    return InputError(f"{path}: cannot be written ({why}); check the disk and the folder")
