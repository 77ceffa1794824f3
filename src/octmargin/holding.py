"""Which process of this machine holds which console, so that a second one can be told."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from octmargin.errors import DeviceBusyError

log = structlog.get_logger()


class Holder(Struct, frozen=True):
    """A process that holds a console."""

    pid: int
    since: str
    user: str
    what: str

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user}, {self.what}, since {self.since}"


@contextlib.contextmanager
def holding(driver: str, address: str, what: str) -> Iterator[None]:
    """Hold the console at `address` while entered; `what` is what the second comer is told.

    DeviceBusyError names the process that has it. The lock ends with its process, however that ends. Where no lock can
    be made (a read-only machine), nothing is held: the console itself still refuses a second host.
    """
    descriptor = _open(_lock_path(driver, address))
    if descriptor is None:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DeviceBusyError(
                f"{address}: the console is held by {_holder(descriptor)}; stop that one first"
            ) from error
        except OSError as error:
            log.warning("nothing keeps a second octmargin from this console", reason=str(error))
        # Another user's file cannot be written; its lock holds all the same.
        with contextlib.suppress(OSError):
            holder = Holder(os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"), _user(), what)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int | None:
    """Open the lock file, ours or another user's; None, and a warning, where there can be none."""
    # The folder is everybody's: no link that somebody laid there is followed, and nothing but a file is taken.
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o644)
        except PermissionError:
            descriptor = os.open(path, flags | os.O_RDONLY)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return descriptor
        os.close(descriptor)
        reason = f"{path} is not a plain file"
    except OSError as error:
        reason = str(error)
    log.warning("nothing keeps a second octmargin from this console", reason=reason)
    return None


def _lock_path(driver: str, address: str) -> Path:
    """A file for the console, the same for every process and user of the machine."""
    # A serial port may be named by a link.
    real = os.path.realpath(address.split("?", maxsplit=1)[0]) if address.startswith("/") else address
    name = hashlib.sha256(f"{driver} {real}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"octmargin-console-{name}.lock"


def _holder(descriptor: int) -> str:
    try:
        return str(msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder))
    except msgspec.DecodeError:
        return "another octmargin process"


def _user() -> str:
    return os.environ.get("USER") or f"user {os.getuid()}"
