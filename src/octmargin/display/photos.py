"""Photos of specimens, and where on them the scanned areas lie. In memory alone: none is left when the server ends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from PIL import Image, ImageOps

from octmargin.display.bscan_pictures import NICE
from octmargin.own_thread import OwnThread

MOST_PHOTO_BYTES = 10_000_000
MOST_PHOTOS = 16
"""Of so many specimens; the one that was looked at least recently goes first."""
MOST_PLACEMENTS = 64
_MOST_PIXELS = 25_000_000
"""That are unpacked: as many bytes of memory, four or five times over."""
_LONGEST_PX = 2048
_QUALITY = 88
_MOST_AT_ONCE = 4

# A picture that would fill memory when it is unpacked is an error like any other, nothing to be printed.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

Share = Annotated[float, msgspec.Meta(ge=-1, le=2)]


class PhotoRefusedError(Exception):
    """A photo or placement that is not taken; `status` is HTTP's."""

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


Specimen = tuple[str, str]
"""Case and specimen, by their opaque identifiers."""


class Photos:
    """One photo a specimen."""

    def __init__(self) -> None:
        self._photos: OrderedDict[Specimen, Photo] = OrderedDict()
        self._thread = OwnThread("display photos", nice=NICE)
        self._taken_in = 0
        self._versions = 0

    def of(self, specimen: Specimen) -> Photo | None:
        """The photo of a specimen, None where there is none."""
        photo = self._photos.get(specimen)
        if photo is not None:
            self._photos.move_to_end(specimen)
        return photo

    @contextlib.contextmanager
    def taking_one_in(self) -> Iterator[None]:
        """Entered before a photo comes. PhotoRefusedError where so many come that they would fill memory."""
        if self._taken_in >= _MOST_AT_ONCE:
            raise PhotoRefusedError(503, "other photos are being taken in; try again")
        self._taken_in += 1
        try:
            yield
        finally:
            self._taken_in -= 1

    async def put(self, specimen: Specimen, picture: bytes, by: str) -> Photo:
        """Take a photo, PNG or JPEG, in place of the one that is there. PhotoRefusedError where it is none.

        Placements do not stay: they were on another photo.
        """
        jpeg, width_px, height_px = await asyncio.wrap_future(self._thread.submit(_as_jpeg, picture))
        photo = self._photos[specimen] = Photo(jpeg, width_px, height_px, by, self._next_version())
        self._photos.move_to_end(specimen)
        while len(self._photos) > MOST_PHOTOS:
            self._photos.popitem(last=False)
        return photo

    def place(self, specimen: Specimen, placement: Placement) -> Photo:
        """Say where a face is. PhotoRefusedError where there is no photo, or too many faces are on it."""
        photo = self.of(specimen)
        if photo is None:
            raise PhotoRefusedError(409, "there is no photo of this specimen to place a face on")
        if placement.face not in photo.placements and len(photo.placements) >= MOST_PLACEMENTS:
            raise PhotoRefusedError(409, f"{MOST_PLACEMENTS} faces are on the photo; that is enough")
        photo.placements[placement.face] = placement
        photo.version = self._next_version()
        return photo

    def close(self) -> None:
        """Let the thread end."""
        self._thread.end()

    def _next_version(self) -> int:
        self._versions += 1
        return self._versions


def _as_jpeg(picture: bytes) -> tuple[bytes, int, int]:
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as opened:
            # Large photos are unpacked in small where their format can do that.
            opened.draft("RGB", (_LONGEST_PX, _LONGEST_PX))
            _check_size(opened)
            turned = ImageOps.exif_transpose(opened).convert("RGB")
    except PhotoRefusedError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no photo
        raise PhotoRefusedError(
            400, "this is no PNG or JPEG that can be read; take the photo again"
        ) from None
    turned.thumbnail((_LONGEST_PX, _LONGEST_PX))
    # A new picture: nothing of the old one's comments, place or time comes along.
    plain = Image.new("RGB", turned.size)
    plain.paste(turned)
    packed = io.BytesIO()
    plain.save(packed, "JPEG", quality=_QUALITY)
    return packed.getvalue(), plain.width, plain.height


def _check_size(photo: Image.Image) -> None:
    if photo.width * photo.height > _MOST_PIXELS:
        raise PhotoRefusedError(
            413, f"{photo.width} x {photo.height} pixels are too many; take a smaller photo"
        )
