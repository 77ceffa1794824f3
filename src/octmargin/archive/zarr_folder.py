"""Zarr in a folder, written by the thread that asks for it and by no other.

Zarr's own store writes in the threads of a pool, and the end of a process waits for those: a disk that stands still
would keep it from ending.
"""

from __future__ import annotations

from pathlib import Path

from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

_DESCRIPTION = "zarr.json"


class ZarrFolder:
    """What Zarr puts into `store` comes into the folder `path` with `flush`: each file whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, Buffer] = {}
        self._flushed: dict[str, Buffer] = {}
        """Descriptions as they are on disk: Zarr looks at them again, at chunks it does not."""
        self.store = MemoryStore(self._values)

    @classmethod
    def opened(cls, path: Path) -> ZarrFolder:
        """One that is there already, with its descriptions; OSError where they cannot be read."""
        folder = cls(path)
        as_buffer = default_buffer_prototype().buffer.from_bytes
        for file in path.rglob(_DESCRIPTION):
            folder._values[file.relative_to(path).as_posix()] = as_buffer(file.read_bytes())
        folder._flushed = dict(folder._values)
        return folder

    def flush(self) -> None:
        """Write what is new; OSError where that cannot be."""
        for key, value in list(self._values.items()):
            if self._flushed.get(key) is value:
                continue
            _write_whole(self._path / key, value.to_bytes())
            if key.endswith(_DESCRIPTION):
                self._flushed[key] = value
            else:
                del self._values[key]


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
