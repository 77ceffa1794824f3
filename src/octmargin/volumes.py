"""Reconstructed volumes of a recording as OME-Zarr 0.5 (https://ngff.openmicroscopy.org/0.5/), a folder per face.

Axes y across the frames, z the depth, x along a frame: a plane is a B-scan as people look at it, depth downwards.
Values are dB as the engine reconstructs them, float32; a frame that was lost or is damaged is NaN, never 0.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from octmargin import __version__
from octmargin.archive import Recording
from octmargin.errors import InputError
from octmargin.signal import Calibration, Reconstructor
from octmargin.words import NOTICE

NGFF_VERSION: Final = "0.5"
_LEVELS = 3
_SHOWN_DB = (0.0, 45.0)
"""Above the median of the volume, which is mostly noise: what a viewer shows at first."""

Progress = Callable[[str, int, int], None]


class Hole(Enum):
    """Why a plane of a volume is not known: the frame never came, or cannot be read any more."""

    LOST = "lost"
    DAMAGED = "damaged"


def reconstructed(
    recording: Recording, face: str, reconstructor: Reconstructor
) -> Iterator[NDArray[np.float32] | Hole]:
    """Every frame of `face` as a B-scan, (alines, depth), dB, or why there is none; the next one overwrites it."""
    plan = recording.plan(face)
    bscan_db = np.empty((plan.alines, reconstructor.depth), np.float32)
    for index in range(plan.frames):
        try:
            spectra = recording.frame(face, index)
        except InputError:
            yield Hole.DAMAGED
            continue
        if spectra is None:
            yield Hole.DAMAGED if recording.present(face)[index] else Hole.LOST
        else:
            reconstructor.process(spectra, out=bscan_db)
            yield bscan_db


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that was written; planes of `lost` and of `damaged` frames are NaN.

    `damaged`: what came and cannot be read any more, or is not there any more; `lost`: what never came.
    """

    path: Path
    lost: tuple[int, ...]
    damaged: tuple[int, ...]


def write_volumes(
    recording: Recording,
    output: Path,
    calibration: Calibration,
    *,
    axial_um: float,
    depth: int,
    faces: Sequence[str] | None = None,
    interpolation: str = "cubic",
    on_progress: Progress | None = None,
) -> Iterator[Volume]:
    """Reconstruct `faces` (all of them unless given) into `output`/FACE.ome.zarr, one after the other.

    `depth` pixels are kept, `axial_um` each in tissue. InputError where a folder exists, before anything is done, or
    cannot be written. A volume takes its name when it is whole; of one that fails nothing is left.
    """
    paths = {face: output / f"{face}.ome.zarr" for face in (recording.faces if faces is None else faces)}
    for path in paths.values():
        if path.exists():
            raise InputError(
                f"{path}: exists already; name a new folder with --output, or another face with --face"
            )
    for face, path in paths.items():
        reconstructor = Reconstructor(
            calibration, samples=recording.samples, depth=depth, interpolation=interpolation
        )
        with _whole_or_absent(path) as folder:
            lost, damaged = _write(
                folder, recording, face, reconstructor, axial_um=axial_um, on_progress=on_progress
            )
        yield Volume(path, lost, damaged)


@contextmanager
def _whole_or_absent(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` that takes this name at the end, and goes where that is not reached."""
    folder = path.with_name(f".{path.name}.new")
    try:
        # What was killed left it behind.
        shutil.rmtree(folder, ignore_errors=True)
        yield folder
        folder.rename(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); check the disk and the folder"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    folder: Path,
    recording: Recording,
    face: str,
    reconstructor: Reconstructor,
    *,
    axial_um: float,
    on_progress: Progress | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Frames that were lost, and that are damaged."""
    plan, depth = recording.plan(face), reconstructor.depth
    group = zarr.create_group(folder, zarr_format=3)
    levels = [
        _create(group, level, (plan.frames, -(-depth >> level), -(-plan.alines >> level)))
        for level in range(_LEVELS)
    ]
    medians_db: list[float] = []
    lost: list[int] = []
    damaged: list[int] = []
    for index, bscan_db in enumerate(reconstructed(recording, face, reconstructor)):
        if isinstance(bscan_db, Hole):
            (damaged if bscan_db is Hole.DAMAGED else lost).append(index)
        else:
            medians_db.append(float(np.median(bscan_db)))
            _put(levels, index, np.ascontiguousarray(bscan_db.T))
        if on_progress is not None:
            on_progress(face, index + 1, plan.frames)
    attributes = _attributes(
        face,
        spacing_um=(1000 * plan.height_mm / plan.frames, axial_um, 1000 * plan.width_mm / plan.alines),
        noise_db=float(np.median(medians_db)) if medians_db else 0.0,
        recording=recording,
    )
    attributes["octmargin"] |= {"frames_lost": lost, "frames_damaged": damaged}
    group.update_attributes(attributes)
    return tuple(lost), tuple(damaged)


def _create(group: zarr.Group, level: int, shape: tuple[int, int, int]) -> zarr.Array[Any]:
    return group.create_array(
        str(level),
        shape=shape,
        chunks=(1, shape[1], shape[2]),
        dtype=np.float32,
        dimension_names=("y", "z", "x"),
        compressors=(BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),),
        # A frame that never came has no chunk.
        fill_value=float("nan"),
    )


def _put(levels: list[zarr.Array[Any]], index: int, plane_db: NDArray[np.float32]) -> None:
    for array in levels:
        array[index] = plane_db
        plane_db = _halved(plane_db)


def _halved(plane_db: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean intensity of 2 x 2 pixels, at the far edges of fewer, in dB: a mean of dB would be too dark."""
    padded = np.pad(plane_db, [(0, n % 2) for n in plane_db.shape], mode="edge")
    intensity = 10.0 ** (padded / 10.0)
    halved = intensity.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
    return np.asarray(10.0 * np.log10(halved), dtype=np.float32)


def _attributes(
    face: str, *, spacing_um: tuple[float, float, float], noise_db: float, recording: Recording
) -> dict[str, Any]:
    def scale(level: int) -> list[float]:
        across, down, along = spacing_um
        return [across, down * 2**level, along * 2**level]

    def translation(level: int) -> list[float]:
        # The centre of a larger pixel lies further in than that of the smaller ones at its edge.
        _, down, along = spacing_um
        return [0.0, down * (2**level - 1) / 2, along * (2**level - 1) / 2]

    return {
        "ome": {
            "version": NGFF_VERSION,
            "multiscales": [
                {
                    "name": face,
                    "axes": [{"name": name, "type": "space", "unit": "micrometer"} for name in "yzx"],
                    "datasets": [
                        {
                            "path": str(level),
                            "coordinateTransformations": [
                                {"type": "scale", "scale": scale(level)},
                                {"type": "translation", "translation": translation(level)},
                            ],
                        }
                        for level in range(_LEVELS)
                    ],
                    "type": "mean",
                }
            ],
            "omero": {
                "channels": [
                    {
                        "label": "SYNTHETIC OCT, dB" if recording.synthetic else "OCT, dB",
                        "color": "FFFFFF",
                        "active": True,
                        "window": {
                            "min": round(noise_db - 20.0, 1),
                            "start": round(noise_db + _SHOWN_DB[0], 1),
                            "end": round(noise_db + _SHOWN_DB[1], 1),
                            "max": round(noise_db + 80.0, 1),
                        },
                    }
                ]
            },
        },
        "octmargin": {
            "software_version": __version__,
            "source": recording.name,
            "synthetic": recording.synthetic,
            "face": face,
            "notice": NOTICE,
        },
    }
