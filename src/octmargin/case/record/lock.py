"""One process writes a record at a time; the next one waits a moment, and is then told who does."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from octmargin.errors import RecordBusyError, RecordError
from octmargin.holding import Holder

LOCK_WAIT_S = 5.0
"""So long somebody waits who wants to write: others hold the lock for milliseconds."""
_POLL_S = 0.02


@contextlib.contextmanager
def writing(record: Path, what: str, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Write `record` alone while entered; `what` is what the next one is told. The lock ends with its process.

    RecordBusyError after `wait_s` names who has it; RecordError where no lock can be made.
    """
    path = record.with_name(f"{record.name}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be made ({error.strerror}); the record is written by whoever may write its folder"
        ) from error
    try:
        _wait(record, descriptor, wait_s)
        holder = Holder(os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"), user(), what)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        yield
    finally:
        os.close(descriptor)


def user() -> str:
    """The name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def _wait(record: Path, descriptor: int, wait_s: float) -> None:
    until_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until_s:
                raise RecordBusyError(
                    f"{record}: is being written by {_holder(descriptor)}; try again when it has finished"
                ) from error
            time.sleep(_POLL_S)
        else:
            return


def _holder(descriptor: int) -> str:
    try:
        return str(msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder))
    except msgspec.DecodeError:
        return "another octmargin process"
