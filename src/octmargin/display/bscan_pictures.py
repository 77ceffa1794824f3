"""Kept B-scans as PNG pictures, made in a thread that gives way to those that judge frames."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.display.bscan_store import KeptFrame, KeptSweep
from octmargin.levels import FLOOR_DB, HIGHEST, STEP_DB
from octmargin.own_thread import OwnThread

RANGE_DB = 48.0
"""From black to white: tissue at its surface lies about so far over the noise."""
_NOISE_QUANTILE = 0.2
"""Of a B-scan, some of which is always noise; light returned by tissue moves it little."""
_KEPT_PICTURES = 32
NICE = 10
"""The threads that judge frames come first."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is black and what is white in the pictures of a sweep, dB."""

    floor_db: float
    top_db: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A B-scan as PNG: 8-bit grey, one column an A-line, depth downwards."""

    png: bytes
    window: Window


class BscanPictures:
    """Makes pictures, one at a time; those asked for last are kept, for several displays show the same."""

    def __init__(self) -> None:
        self._thread = OwnThread("display pictures", nice=NICE)
        self._kept: OrderedDict[int, tuple[KeptFrame, Future[Picture]]] = OrderedDict()

    async def of(self, sweep: KeptSweep, frame: KeptFrame) -> Picture:
        """The picture of a frame."""
        # By identity, and with the frame held on to, so that no other can take its place.
        kept = self._kept.get(id(frame))
        if kept is None:
            chosen_by = sweep.first or frame
            kept = frame, self._thread.submit(_draw, frame.levels, chosen_by.levels)
            self._kept[id(frame)] = kept
            while len(self._kept) > _KEPT_PICTURES:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(id(frame))
        # Whoever goes away does not take the picture from others who wait for it.
        return await asyncio.shield(asyncio.wrap_future(kept[1]))

    def close(self) -> None:
        """Let the thread end."""
        self._thread.end()


def _draw(levels: NDArray[np.uint8], chosen_by: NDArray[np.uint8]) -> Picture:
    window = window_of(chosen_by)
    level_db = FLOOR_DB + STEP_DB * (np.arange(HIGHEST + 1) - 1)
    grey = np.clip((level_db - window.floor_db) / (window.top_db - window.floor_db), 0, 1)
    grey[0] = 0.0
    return Picture(png_of(np.round(grey * 255).astype(np.uint8)[levels].T), window)


def window_of(levels: NDArray[np.uint8]) -> Window:
    """Black at the noise, white `RANGE_DB` above it, whatever tissue is in the B-scan, and whether any is."""
    counts = np.bincount(levels.reshape(-1), minlength=HIGHEST + 1)
    noise = int(np.searchsorted(np.cumsum(counts), _NOISE_QUANTILE * levels.size))
    floor_db = FLOOR_DB + STEP_DB * (max(noise, 1) - 1)
    return Window(floor_db, floor_db + RANGE_DB)


def png_of(grey: NDArray[np.uint8]) -> bytes:
    """A PNG of 8-bit grey (rows, columns).

    Speckle has no neighbours that foretell it: without filters and matches it takes a quarter of the time of Pillow's
    fastest, and is smaller.
    """
    rows, columns = grey.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # each begins with the number of its filter, 0 for none
    lines[:, 1:] = grey
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(lines.data) + packer.flush()
    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
