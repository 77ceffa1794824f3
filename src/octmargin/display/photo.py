"""A photo of a specimen, and where on it the scanned areas lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(ge=-1, le=2)]

Specimen = tuple[str, str]
"""Case and specimen, by their opaque identifiers."""


class PhotoRefusedError(Exception):
    """A photo or placement that is not taken, or cannot be had now; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a face's scanned area lies: a rectangle in fractions of the photo, turned clockwise about its centre.

    `x` and `width` are fractions of the photo's width, `y` and `height` of its height; `x`, `y` is the corner
    above left before it is turned.
    """

    face: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    x: Share
    y: Share
    width: Annotated[float, msgspec.Meta(gt=0, le=2)]
    height: Annotated[float, msgspec.Meta(gt=0, le=2)]
    angle_deg: Annotated[float, msgspec.Meta(ge=-360, le=360)] = 0.0


@dataclass(slots=True)
class Photo:
    """A photo as it is shown: JPEG, without anything that the camera wrote beside the picture."""

    jpeg: bytes
    width_px: int
    height_px: int
    by: str
    version: int
    placements: dict[str, Placement] = field(default_factory=dict)
    not_kept: str = ""
    """Why it is gone when the server ends; empty where it is on disk as it is here."""
