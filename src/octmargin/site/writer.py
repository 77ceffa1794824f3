"""Files that are written once: what is there stays, and secrets are for their owner alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from octmargin.errors import InputError

_PUBLIC_MODE = 0o644
_SECRET_MODE = 0o600
_FOLDER_MODE = 0o700


class Writer:
    """Writes below `root`, and keeps what it did in `done`. `InputError` names what cannot be written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: list[str] = []

    def folder(self, path: Path) -> None:
        """Make a folder and those above it, for their owner alone, where they are missing."""
        with self._told(path):
            if not path.is_dir():
                self.folder(path.parent)
                path.mkdir(_FOLDER_MODE)

    def once(self, path: Path, content: bytes, *, secret: bool = False) -> None:
        """Write a file that is not there yet; one that is there stays as it is."""
        if path.exists():
            return
        self.folder(path.parent)
        self._put(path, content, _SECRET_MODE if secret else _PUBLIC_MODE)
        self._note("written", path)

    def replace(self, path: Path, content: bytes, *, why: str, secret: bool = False) -> None:
        """Put new content into a file at once, so that nobody reads half of it; its owner and rights stay."""
        self.folder(path.parent)
        beside = path.with_name(f".{path.name}.new")
        with self._told(path):
            beside.unlink(missing_ok=True)
            self._put(beside, content, _SECRET_MODE if secret else _PUBLIC_MODE)
            if path.exists():
                there = path.stat()
                beside.chmod(there.st_mode & 0o777)
                with contextlib.suppress(PermissionError):
                    os.chown(beside, there.st_uid, there.st_gid)
            beside.replace(path)
        self._note(why, path)

    def append(self, path: Path, text: str, *, what: str) -> None:
        """Add text at the end of a secret file; nothing happens where there is none to add."""
        if not text:
            return
        with self._told(path):
            handle = os.open(path, os.O_WRONLY | os.O_APPEND)
            with os.fdopen(handle, "ab") as file:
                file.write(text.encode())
        self._note(what, path)

    def _put(self, path: Path, content: bytes, mode: int) -> None:
        with self._told(path):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(content)

    def _note(self, what: str, path: Path) -> None:
        self.done.append(f"{what}: {path.relative_to(self.root)}")

    @contextlib.contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); check folder and rights"
            ) from error
