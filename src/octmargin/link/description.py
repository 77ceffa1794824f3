"""The console's self-description: a JSON blob in its memory that says what it is and what it can do."""

from __future__ import annotations

from typing import Annotated

import msgspec

from octmargin.errors import RemoteProtocolError


class FactoryCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """What the maker measured: polynomials over x = j/(samples-1), lowest power first.

    `k_map` gives the fractional pixel position of the j-th sample linear in wavenumber, `dispersion_rad`
    the phase in radians; `axial_um` is the depth pixel in tissue.
    """

    k_map: tuple[float, ...]
    dispersion_rad: tuple[float, ...]
    axial_um: float


class SelfDescription(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and properties of a console; fields that a host does not know are ignored by it."""

    schema: int = 1
    samples: Annotated[int, msgspec.Meta(ge=1)]
    max_alines: Annotated[int, msgspec.Meta(ge=1)]
    max_frames: Annotated[int, msgspec.Meta(ge=1)]
    max_line_rate_hz: Annotated[float, msgspec.Meta(gt=0)] | None
    """None where there is no limit."""
    pixel_formats: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    faces: tuple[str, ...]
    width_mm: Annotated[float, msgspec.Meta(gt=0)]
    height_mm: Annotated[float, msgspec.Meta(gt=0)]
    simulated: bool
    synthetic: bool
    """True where the spectra are computed: every result must then be called synthetic."""
    source: str = ""
    calibration: FactoryCalibration | None = None

    def to_bytes(self) -> bytes:
        """The blob as it lies in the console's memory."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> SelfDescription:
        """Parse the blob; RemoteProtocolError where it is not a self-description."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RemoteProtocolError(f"self-description: {error}") from error
