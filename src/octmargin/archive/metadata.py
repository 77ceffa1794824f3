"""What a recording says of itself: the attributes of its root group, and where its parts lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from octmargin.errors import CalibrationError, InputError
from octmargin.frames import PixelFormat
from octmargin.signal import Calibration

FORMAT: Final = "octmargin-recording"
VERSION: Final = 1
ATTRIBUTE = "octmargin"
"""The one attribute of the root group that is ours; others are left alone."""
CALIBRATION_FILE = "calibration.npz"
NOMINAL_LINE_RATE_HZ = 25_000.0
"""Said where nobody knows the line rate: nothing that is computed from the spectra depends on it."""

Positive = Annotated[float, Meta(gt=0)]
Truth = Literal["suspicious", "clear"]
FaceName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,30}$")]
"""As configuration allows it: it also names a folder."""


class PolynomialCalibration(Struct, frozen=True, kw_only=True, tag_field="kind", tag="polynomial"):
    """A maker's calibration: coefficients over x = j/(samples-1), lowest power first, in pixels and radians."""

    k_map: tuple[float, ...]
    dispersion_rad: tuple[float, ...]


class StoredCalibration(Struct, frozen=True, kw_only=True, tag_field="kind", tag="file"):
    """A calibration that lies beside the spectra, as `Calibration.save` writes it."""


class FaceEntry(Struct, frozen=True, kw_only=True):
    """The plan of one face, as far as its array's shape does not tell it; `truth` where someone knows it."""

    name: FaceName
    width_mm: Positive
    height_mm: Positive
    line_rate_hz: Positive | None = None
    truth: Truth | None = None


class Metadata(Struct, frozen=True, kw_only=True):
    """Everything that a recording says of itself. Fields that a reader does not know are to be ignored."""

    format: Literal["octmargin-recording"] = FORMAT
    version: Literal[1] = VERSION
    complete: bool
    """False until the last frame is written."""
    software_version: str
    source: str
    synthetic: bool
    pixel_format: Literal["MONO8", "MONO12", "MONO16"]
    axial_um: Positive | None = None
    calibration: PolynomialCalibration | StoredCalibration | None = None
    faces: Annotated[tuple[FaceEntry, ...], Meta(min_length=1)]
    log_sha256: str | None = None
    """Of the log's last line, which stands for all of them; None where there is no log, or none yet."""

    def attributes(self) -> dict[str, Any]:
        """The attributes of the root group."""
        return {ATTRIBUTE: msgspec.to_builtins(self)}

    @property
    def pixels(self) -> PixelFormat:
        """How the spectra's samples lie in memory."""
        return PixelFormat[self.pixel_format]


def parse(path: Path, attributes: Mapping[str, Any]) -> Metadata:
    """The metadata in a root group's attributes; InputError names what is wrong with the recording at `path`."""
    ours = attributes.get(ATTRIBUTE)
    if not isinstance(ours, dict) or ours.get("format") != FORMAT:
        raise InputError(f"{path}: not an octmargin recording; `octmargin simulate --record` writes one")
    if ours.get("version") != VERSION:
        raise InputError(
            f"{path}: recording of version {ours.get('version')} where version {VERSION} is read; "
            "read it with the octmargin that wrote it"
        )
    try:
        metadata = msgspec.convert(ours, Metadata)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: its description is damaged ({error}); restore it from a copy") from error
    names = [face.name for face in metadata.faces]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: names a face twice ({', '.join(names)}); restore it from a copy")
    return metadata


def load_calibration(path: Path, metadata: Metadata, samples: int) -> Calibration | None:
    """The calibration for spectra of `samples` samples; None where the recording has none.

    CalibrationError names the recording at `path`.
    """
    kept = metadata.calibration
    if kept is None:
        return None
    try:
        if isinstance(kept, StoredCalibration):
            calibration = Calibration.load(path / CALIBRATION_FILE)
        else:
            calibration = Calibration.from_polynomial(
                kept.k_map, kept.dispersion_rad, samples=samples, axial_um=metadata.axial_um
            )
        calibration.check_fits(samples)
    except CalibrationError as error:
        raise CalibrationError(f"{path}: its calibration cannot be used: {error}") from error
    return calibration


def spectra_path(face: str) -> str:
    """Array of raw counts, (frames, alines, samples), one chunk per frame."""
    return f"faces/{face}/spectra"


def present_path(face: str) -> str:
    """Array of bool, (frames,): which frames came."""
    return f"faces/{face}/present"
