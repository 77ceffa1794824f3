"""The page's own files, read once: no request ever touches a disk, and no path leads out of the folder."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Self

INDEX = "index.html"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".woff2": "font/woff2",
}
_PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `etag` is of its content."""

    content: bytes
    media_type: str
    etag: str


class Assets:
    """Files by their path below `static/`, with slashes."""

    def __init__(self, by_path: dict[str, Asset]) -> None:
        self._by_path = by_path

    @classmethod
    def shipped(cls) -> Self:
        """Those that came with the package."""
        by_path: dict[str, Asset] = {}
        _read(files("octmargin.display") / "static", "", by_path)
        return cls(by_path)

    def get(self, path: str) -> Asset | None:
        """None where there is none of that name."""
        return self._by_path.get(path)

    @property
    def index(self) -> Asset:
        """The page itself."""
        return self._by_path[INDEX]


def _read(folder: Traversable, above: str, into: dict[str, Asset]) -> None:
    for entry in folder.iterdir():
        path = f"{above}{entry.name}"
        if entry.is_dir():
            _read(entry, f"{path}/", into)
        else:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
            into[path] = Asset(content, _media_type(entry.name), etag)


def _media_type(name: str) -> str:
    suffix = name[name.rfind(".") :] if "." in name else ""
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or _PLAIN
