"""Photos of specimens, and where on them the scanned areas lie: in memory, and on disk where a folder is named."""

from __future__ import annotations

import asyncio
import contextlib
import io
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

from octmargin.display.bscan_pictures import NICE
from octmargin.display.photo import Photo, PhotoRefusedError, Placement, Specimen
from octmargin.display.photo_files import PhotoFiles
from octmargin.own_thread import OwnThread

MOST_PHOTO_BYTES = 10_000_000
MOST_PHOTOS = 16
"""In memory, of so many specimens; the one that was looked at least recently goes first."""
MOST_PLACEMENTS = 64
_MOST_PIXELS = 25_000_000
"""That are unpacked: as many bytes of memory, four or five times over."""
_LONGEST_PX = 2048
_QUALITY = 88
_MOST_AT_ONCE = 4
_NO_FOLDER = "no display.photo_folder is set"

# A picture that would fill memory when it is unpacked is an error like any other, nothing to be printed.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class Photos:
    """One photo a specimen; what is in memory is what is shown. Kept in `folder` beyond the end, where there is one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._photos: OrderedDict[Specimen, Photo] = OrderedDict()
        self._thread = OwnThread("display photos", nice=NICE)
        self._files = PhotoFiles(folder) if folder is not None else None
        self._taken_in = 0
        self._versions = 0

    async def of(self, specimen: Specimen) -> Photo | None:
        """The photo of a specimen, None where there is none. PhotoRefusedError where its disk stands still."""
        if specimen not in self._photos and self._files is not None:
            kept = await self._files.load(specimen)
            # Another one may have come meanwhile.
            if kept is not None and specimen not in self._photos:
                self._versions = max(self._versions, kept.version)
                self._show(specimen, kept)
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

        Placements do not stay: they were on another photo. Where it cannot be kept, it says why.
        """
        jpeg, width_px, height_px = await asyncio.wrap_future(self._thread.submit(_as_jpeg, picture))
        # Its version follows that of the one on disk; a disk that stands still keeps no photo from being shown.
        with contextlib.suppress(PhotoRefusedError):
            await self.of(specimen)
        photo = Photo(jpeg, width_px, height_px, by, self._next_version())
        self._show(specimen, photo)
        await self._keep(specimen, photo)
        return photo

    async def place(self, specimen: Specimen, placement: Placement) -> Photo:
        """Say where a face is. PhotoRefusedError where there is no photo, or too many faces are on it."""
        photo = await self.of(specimen)
        if photo is None:
            raise PhotoRefusedError(409, "there is no photo of this specimen to place a face on")
        if placement.face not in photo.placements and len(photo.placements) >= MOST_PLACEMENTS:
            raise PhotoRefusedError(409, f"{MOST_PLACEMENTS} faces are on the photo; that is enough")
        photo.placements[placement.face] = placement
        photo.version = self._next_version()
        await self._keep(specimen, photo)
        return photo

    def close(self) -> None:
        """Let the threads end after what they were given."""
        self._thread.end()
        if self._files is not None:
            self._files.close()

    def _show(self, specimen: Specimen, photo: Photo) -> None:
        self._photos[specimen] = photo
        self._photos.move_to_end(specimen)
        while len(self._photos) > MOST_PHOTOS:
            self._photos.popitem(last=False)

    async def _keep(self, specimen: Specimen, photo: Photo) -> None:
        photo.not_kept = _NO_FOLDER if self._files is None else await self._files.keep(specimen, photo)

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
