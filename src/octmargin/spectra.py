"""Reading spectra from files, one frame at a time, and putting float spectra into converter counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from octmargin.errors import InputError

ACCEPTED_DTYPES = ("uint8", "uint16", "float32", "float64")
SUFFIXES = (".npy", ".bin", ".raw", ".h5", ".hdf5")


@dataclass(frozen=True, slots=True)
class CountScale:
    """Linear mapping of float spectra to counts: `(value - offset_units) * counts_per_unit`, rounded.

    What falls outside 0 to `full_scale` is clipped, as a converter would.
    """

    counts_per_unit: float
    offset_units: float
    full_scale: int

    @classmethod
    def between(cls, low: float, high: float, full_scale: int) -> CountScale:
        """Map `low` to 0 and `high` to `full_scale - 1`: only what exceeds `high` counts as saturated.

        Raises InputError unless low < high, both finite.
        """
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise InputError(f"count scale: {low:g} to {high:g} is no range; give finite low < high")
        return cls((full_scale - 1) / (high - low), low, full_scale)

    def apply(self, values: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
        """Convert `values` (any shape) to counts, uint16 of the same shape.

        Raises InputError where a value is not finite.
        """
        if not np.isfinite(values).all():
            raise InputError("count scale: a value is not finite and has no count; repair the spectra first")
        counts = np.rint((values.astype(np.float64) - self.offset_units) * self.counts_per_unit)
        return np.clip(counts, 0, self.full_scale).astype(np.uint16)

    def __str__(self) -> str:
        return f"counts = (value - {self.offset_units:g}) x {self.counts_per_unit:g}, 0 to {self.full_scale}"


class SpectraFile:
    """Frames of spectra in a file; a frame is read when it is asked for, the file is never loaded whole.

    A context manager; `close` lets go of the file.
    """

    def __init__(self, path: Path, data: Any, handle: h5py.File | None = None) -> None:
        """Wrap `data`, an array-like (frames, alines, samples); use `SpectraFile.open`."""
        self.path = path
        self.frames, self.alines, self.samples = (int(n) for n in data.shape)
        self.dtype: np.dtype[Any] = data.dtype.newbyteorder("=")
        """Native dtype of `frame`: uint8, uint16, float32 or float64."""
        self._data = data
        self._handle = handle

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        samples: int | None = None,
        alines: int | None = None,
        dtype: DTypeLike | None = None,
        dataset: str | None = None,
    ) -> SpectraFile:
        """Open a .npy, .bin, .raw, .h5 or .hdf5 file of spectra.

        .npy and HDF5 hold (frames, alines, samples), or (alines, samples) for one frame, of uint8, uint16,
        float32 or float64. HDF5 takes the dataset named, else its largest with three dimensions, else its
        only one with two. .bin and .raw are flat little-endian frames, A-line after A-line: `samples` and
        `alines` must be given, `dtype` is uint16 by default. For the other formats these three are checked
        where they are given.

        Raises InputError for a file that is missing, truncated, of another kind, shape or dtype.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the path of the spectra")
        suffix = path.suffix.lower()
        wanted = None if dtype is None else _accepted(path, dtype)
        if suffix in (".bin", ".raw"):
            return cls(path, _map_flat(path, samples, alines, wanted or np.dtype(np.uint16)))
        if suffix == ".npy":
            opened = cls(path, _as_frames(path, _map_npy(path)))
        elif suffix in (".h5", ".hdf5"):
            opened = cls._open_hdf5(path, dataset)
        else:
            raise InputError(f"{path}: unknown kind {suffix!r}; spectra come as {', '.join(SUFFIXES)}")
        for name, expected in (("samples", samples), ("alines", alines), ("dtype", wanted)):
            if expected is not None and getattr(opened, name) != expected:
                found = f"{name} is {getattr(opened, name)} in the file, but {expected} was asked for"
                opened.close()
                raise InputError(f"{path}: {found}; leave {name} out or check the file")
        return opened

    @classmethod
    def _open_hdf5(cls, path: Path, dataset: str | None) -> SpectraFile:
        try:
            handle = h5py.File(path, "r")
        except OSError as error:
            raise InputError(
                f"{path}: not readable as HDF5 ({error}); is it truncated or of another kind?"
            ) from None
        try:
            return cls(path, _as_frames(path, _choose_dataset(path, handle, dataset)), handle)
        except BaseException:
            handle.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def mapped(self) -> bool:
        """Whether a frame is a view of the file, so that asking for one costs next to nothing."""
        data = self._data
        return isinstance(data, np.memmap) and data.dtype.isnative and data.flags.c_contiguous

    def close(self) -> None:
        """Let go of the file; frames that were read stay valid."""
        self._data = None
        if self._handle is not None:
            self._handle.close()

    def frame(self, index: int) -> NDArray[Any]:
        """Read frame `index`: (alines, samples), C-contiguous, of `dtype`; memory-mapped where possible.

        Raises InputError for an index outside 0 to frames - 1, or after `close`.
        """
        if self._data is None:
            raise InputError(f"{self.path}: already closed; open it again to read frames")
        if not 0 <= index < self.frames:
            raise InputError(f"{self.path}: no frame {index}; it holds frames 0 to {self.frames - 1}")
        return np.ascontiguousarray(self._data[index], dtype=self.dtype)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.frame(index) for index in range(self.frames))

    def check_finite(self) -> None:
        """Read every frame and raise InputError naming the first value that is not finite, and how many."""
        if self.dtype.kind != "f":
            return
        count, first = 0, ""
        for index, spectra in enumerate(self):
            bad = ~np.isfinite(spectra)
            if bad.any():
                aline, sample = np.argwhere(bad)[0]
                first = first or f"frame {index}, A-line {aline}, sample {sample}"
                count += int(bad.sum())
        if count:
            raise InputError(
                f"{self.path}: {count} values are not finite, first at {first}; repair or cut them out"
            )

    def to_counts(
        self, full_scale: int, *, low: float | None = None, high: float | None = None
    ) -> CountScale:
        """Derive the mapping of this file's values to counts of a converter (see `CountScale.between`).

        `low` and `high` are the file's smallest and largest value unless given; finding them reads the file
        once. The gain of the real converter is not known: only ratios within the file keep their meaning.

        Raises InputError for non-finite or constant spectra.
        """
        if low is None or high is None:
            self.check_finite()
            extremes = [(spectra.min(), spectra.max()) for spectra in self]
            low = float(min(e[0] for e in extremes)) if low is None else low
            high = float(max(e[1] for e in extremes)) if high is None else high
            if not low < high:
                raise InputError(f"{self.path}: every value is {low:g}, so there is no range; check the file")
        return CountScale.between(low, high, full_scale)


def _accepted(path: Path, dtype: DTypeLike) -> np.dtype[Any]:
    """Return the native dtype if spectra may have it; raise InputError else."""
    try:
        native = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise InputError(f"{path}: {dtype!r} is no dtype; use one of {', '.join(ACCEPTED_DTYPES)}") from None
    if native.name not in ACCEPTED_DTYPES:
        raise InputError(f"{path}: dtype {native.name} is not a spectrum's; use {', '.join(ACCEPTED_DTYPES)}")
    return native


def _as_frames(path: Path, data: Any) -> Any:
    """Check dtype and shape of `data`; give a single frame its leading dimension."""
    _accepted(path, data.dtype)
    if len(data.shape) not in (2, 3) or 0 in data.shape:
        raise InputError(
            f"{path}: shape {tuple(data.shape)} is not (alines, samples) or (frames, alines, samples); "
            "reshape the array"
        )
    return data if len(data.shape) == 3 else data[()][None]


def _map_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        shape, fortran, dtype = _npy_header(path, file)
        offset = file.tell()
    _accepted(path, dtype)
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    present = path.stat().st_size - offset
    if present < expected:
        raise InputError(
            f"{path}: truncated, {expected - present} of {expected} bytes are missing; copy the file again"
        )
    if not expected:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _npy_header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        return read(file)
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path}: not a .npy file, or cut short in its header ({error}); save it again"
        ) from None


def _map_flat(path: Path, samples: int | None, alines: int | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    if samples is None or alines is None or samples < 1 or alines < 1:
        raise InputError(f"{path}: a flat file has no shape of its own; give samples and alines, each >= 1")
    frame_bytes = samples * alines * dtype.itemsize
    size = path.stat().st_size
    if not size or size % frame_bytes:
        raise InputError(
            f"{path}: {size} bytes are {size // frame_bytes} whole frames of {alines} x {samples} "
            f"{dtype.name} ({frame_bytes} bytes each) and {size % frame_bytes} bytes left over; "
            "check samples, alines and dtype, or whether the file has a header or was cut short"
        )
    return np.memmap(path, dtype.newbyteorder("<"), "r", 0, (size // frame_bytes, alines, samples))


def _choose_dataset(path: Path, handle: h5py.File, name: str | None) -> Any:
    """Return the dataset named, else the largest with three dimensions, else the only one with two."""
    found: dict[str, Any] = {}
    handle.visititems(lambda key, item: found.update({key: item}) if isinstance(item, h5py.Dataset) else None)
    names = ", ".join(found) or "none"
    if name is not None:
        if name.strip("/") not in found:
            raise InputError(f"{path}: no dataset {name!r}; it holds {names}")
        return found[name.strip("/")]
    numeric = [d for d in found.values() if d.dtype.kind in "uif"]
    sweeps = sorted((d for d in numeric if d.ndim == 3), key=lambda d: d.size)
    frames = [d for d in numeric if d.ndim == 2]
    if sweeps and (len(sweeps) == 1 or sweeps[-1].size > sweeps[-2].size):
        return sweeps[-1]
    if not sweeps and len(frames) == 1:
        return frames[0]
    raise InputError(f"{path}: cannot tell which dataset holds the spectra; name one of: {names}")
