"""Photos on disk, for the next run: a file of each specimen, a line of JSON and behind it the JPEG.

Files are named by a digest of the opaque identifiers, are their owner's alone, and are whole or not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from octmargin.display.photo import Photo, PhotoRefusedError, Placement, Specimen
from octmargin.own_thread import OwnThread

MOST_KEPT = 200
"""Specimens whose photos are on disk, of at most about 1 MB each; the one that was changed longest ago goes first."""
_SUFFIX, _UNFINISHED = ".photo", ".photo-unfinished"
_LONGEST_HEAD_BYTES = 65_536
_PATIENCE_S = 5.0
_STILL = "the disk of display.photo_folder stands still"

T = TypeVar("T")
log = structlog.get_logger()


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a file."""

    case_id: str
    specimen_id: str
    width_px: int
    height_px: int
    by: str
    version: int
    placements: list[Placement]
    jpeg_bytes: int
    jpeg_crc32: int


class PhotoFiles:
    """The files of `folder`, which is made where it is not there. Every call ends within seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: OrderedDict[Specimen, Path] = OrderedDict()
        """In the order in which they were changed. The thread's alone."""
        self._thread = OwnThread("display photo files")
        self._thread.submit(self._look)

    async def load(self, specimen: Specimen) -> Photo | None:
        """The photo of a specimen, None where there is none. PhotoRefusedError where the disk does not tell."""
        try:
            return await self._within(lambda: self._read(specimen))
        except TimeoutError:
            raise PhotoRefusedError(503, f"{_STILL}: no photo can be read; mend it") from None

    async def keep(self, specimen: Specimen, photo: Photo) -> str:
        """Write a photo as it is now, in place of what was there of its specimen. Why that failed; empty where not."""
        head = _Head(
            case_id=specimen[0],
            specimen_id=specimen[1],
            width_px=photo.width_px,
            height_px=photo.height_px,
            by=photo.by,
            version=photo.version,
            placements=list(photo.placements.values()),
            jpeg_bytes=len(photo.jpeg),
            jpeg_crc32=zlib.crc32(photo.jpeg),
        )
        content = msgspec.json.encode(head) + b"\n" + photo.jpeg
        try:
            await self._within(lambda: self._write(specimen, content))
        except TimeoutError:
            why = _STILL
        except OSError as error:
            why = f"display.photo_folder cannot be written ({error.strerror or error})"
        else:
            return ""
        log.error("a photo is in memory alone", folder=str(self._folder), reason=why)
        return why

    def close(self) -> None:
        """Let the thread end after what it was given; returns at once."""
        self._thread.end()

    async def _within(self, call: Callable[[], T]) -> T:
        # What waits behind a call that hangs would only be more to hold in memory.
        if self._thread.busy_s > _PATIENCE_S:
            raise TimeoutError
        async with asyncio.timeout(_PATIENCE_S):
            return await asyncio.wrap_future(self._thread.submit(call))

    # -- in the thread ----------------------------------------------------------------------------------

    def _look(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in self._folder.glob(f"*{_UNFINISHED}"):
                path.unlink()
            for path in sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda each: each.stat().st_mtime_ns):
                with path.open("rb") as file:
                    head = _decoded(file.readline(_LONGEST_HEAD_BYTES))
                if head is not None:
                    self._known[head.case_id, head.specimen_id] = path
                else:
                    log.warning("a photo is unreadable", path=str(path))
        except OSError as error:
            log.warning("photos of earlier runs are not read", folder=str(self._folder), reason=str(error))

    def _read(self, specimen: Specimen) -> Photo | None:
        path = self._known.get(specimen)
        if path is None:
            return None
        try:
            first, _, jpeg = path.read_bytes().partition(b"\n")
        except OSError as error:
            log.warning("a photo is unreadable", path=str(path), reason=str(error))
            return None
        head = _decoded(first)
        is_whole = head is not None and (len(jpeg), zlib.crc32(jpeg)) == (head.jpeg_bytes, head.jpeg_crc32)
        if head is None or not is_whole or (head.case_id, head.specimen_id) != specimen:
            log.warning("a photo is unreadable", path=str(path))
            return None
        placements = {placement.face: placement for placement in head.placements}
        return Photo(jpeg, head.width_px, head.height_px, head.by, head.version, placements)

    def _write(self, specimen: Specimen, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{_name_of(specimen)}{_SUFFIX}"
        # Made for its owner alone.
        descriptor, unfinished = tempfile.mkstemp(dir=self._folder, suffix=_UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(unfinished).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(unfinished).unlink()
            raise
        _sync_folder(self._folder)
        self._known[specimen] = path
        self._known.move_to_end(specimen)
        while len(self._known) > MOST_KEPT:
            _, oldest = self._known.popitem(last=False)
            oldest.unlink(missing_ok=True)
            log.info("the oldest photo made room", path=str(oldest), most=MOST_KEPT)


def _name_of(specimen: Specimen) -> str:
    return hashlib.sha256(msgspec.json.encode(specimen)).hexdigest()[:32]


def _decoded(line: bytes) -> _Head | None:
    try:
        return msgspec.json.decode(line, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
