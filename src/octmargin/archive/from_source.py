"""A recording of everything that a source has: a simulated specimen, or a file of spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from octmargin import __version__
from octmargin.archive.metadata import (
    NOMINAL_LINE_RATE_HZ,
    FaceEntry,
    Metadata,
    PolynomialCalibration,
    StoredCalibration,
)
from octmargin.archive.writing import RecordingWriter
from octmargin.errors import InputError
from octmargin.frames import PixelFormat, ScanPlan
from octmargin.signal import Calibration

Progress = Callable[[int, int], None]


class SpectraSource(Protocol):
    """What a recording can be made of: spectra for every frame of every face."""

    @property
    def name(self) -> str:
        """Shown to people."""

    @property
    def synthetic(self) -> bool:
        """Whether the spectra were computed."""

    @property
    def faces(self) -> tuple[str, ...]:
        """Names, each once."""

    @property
    def samples(self) -> int:
        """Of each spectrum."""

    @property
    def alines(self) -> int:
        """Of each frame."""

    @property
    def frames(self) -> int:
        """Of each face."""

    @property
    def width_mm(self) -> float:
        """Along a frame."""

    @property
    def height_mm(self) -> float:
        """Across the frames."""

    @property
    def pixel_format(self) -> PixelFormat:
        """Of the spectra."""

    @property
    def factory_calibration(self) -> Mapping[str, Any]:
        """`k_map`, `dispersion_rad` (polynomials as `Calibration.from_polynomial` takes them), `axial_um`; or empty."""

    @property
    def truth(self) -> Mapping[str, str]:
        """Per face "suspicious" or "clear", where that is known."""

    def frame(self, face: str, index: int) -> NDArray[Any]:
        """Spectra (alines, samples) of the pixel format's dtype."""


def write_recording(
    path: str | Path,
    source: SpectraSource,
    *,
    calibration: Calibration | None = None,
    line_rate_hz: float | None = None,
    progress: Progress | None = None,
) -> None:
    """Write every frame of `source` into a new folder `path`.

    `calibration` is kept instead of the source's own. `progress(done, total)` is told of every written frame.
    Raises InputError where `path` exists or cannot be written; nothing is left there then.
    """
    metadata = _describe(Path(path), source, calibration, line_rate_hz)
    plans = [
        ScanPlan(
            face=entry.name,
            samples=source.samples,
            alines=source.alines,
            frames=source.frames,
            width_mm=entry.width_mm,
            height_mm=entry.height_mm,
            line_rate_hz=line_rate_hz or NOMINAL_LINE_RATE_HZ,
            pixel_format=source.pixel_format,
        )
        for entry in metadata.faces
    ]
    total = len(plans) * source.frames
    with RecordingWriter(Path(path), metadata, plans, calibration) as writer:
        done = 0
        for plan in plans:
            for index in range(plan.frames):
                writer.put(plan.face, index, source.frame(plan.face, index))
                done += 1
                if progress is not None:
                    progress(done, total)


def _describe(
    path: Path, source: SpectraSource, calibration: Calibration | None, line_rate_hz: float | None
) -> Metadata:
    factory = source.factory_calibration
    kept: PolynomialCalibration | StoredCalibration | None = None
    if calibration is not None:
        calibration.check_fits(source.samples)
        kept = StoredCalibration()
    elif factory:
        kept = PolynomialCalibration(
            k_map=tuple(factory["k_map"]), dispersion_rad=tuple(factory["dispersion_rad"])
        )
    own_um = calibration.axial_um if calibration is not None else None
    metadata = {
        "complete": True,
        "software_version": __version__,
        "source": source.name,
        "synthetic": source.synthetic,
        "pixel_format": source.pixel_format.name,
        "axial_um": own_um or factory.get("axial_um"),
        "calibration": kept,
        "faces": [
            FaceEntry(
                name=face,
                width_mm=source.width_mm,
                height_mm=source.height_mm,
                line_rate_hz=line_rate_hz,
                truth=source.truth.get(face),  # type: ignore[arg-type]  # checked by the conversion
            )
            for face in source.faces
        ],
    }
    # There and back, because a struct that is made by hand is not checked.
    try:
        return msgspec.convert(msgspec.to_builtins(metadata), Metadata)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {source.name} cannot be recorded: {error}; correct the source") from error
