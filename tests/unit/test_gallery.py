"""Pictures beside an acquisition: what is slow or fails is counted, and nobody waits long for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from octmargin.gallery import Gallery

PATIENCE_S = 60.0
"""Far more than anything here takes that goes on at all."""


@pytest.fixture
def disk() -> Iterator[threading.Event]:
    """Stands still until it is set."""
    moves_on = threading.Event()
    yield moves_on
    moves_on.set()


class Slow:
    """A disk that takes `PICTURE_S` for each picture, by a clock that runs only while somebody waits for the disk."""

    PICTURE_S = 40.0

    def __init__(self) -> None:
        self.now_s = 0.0
        self._may_write = threading.Semaphore(0)

    def write(self) -> None:
        """Write one."""
        self._may_write.acquire(timeout=PATIENCE_S)

    async def wait(
        self,
        writing: Iterable[asyncio.Future[None]],
        *,
        timeout: float,  # noqa: ASYNC109 - what it takes the place of has it
        return_when: str,
    ) -> Any:
        """As `asyncio.wait`, by that clock."""
        if timeout < self.PICTURE_S:
            return set(), set(writing)
        self.now_s += self.PICTURE_S
        self._may_write.release()
        return await asyncio.wait(writing, timeout=PATIENCE_S, return_when=return_when)

    def let_go(self) -> None:
        """Take no time any more."""
        self._may_write.release(1000)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """Each picture takes less than a standstill, two of them more."""
    disk = Slow()
    monkeypatch.setattr("octmargin.gallery.time", SimpleNamespace(monotonic=lambda: disk.now_s))
    monkeypatch.setattr(
        "octmargin.gallery.asyncio",
        SimpleNamespace(
            wait=disk.wait, wrap_future=asyncio.wrap_future, FIRST_COMPLETED=asyncio.FIRST_COMPLETED
        ),
    )
    monkeypatch.setattr("octmargin.gallery._STANDSTILL_S", 1.5 * disk.PICTURE_S)
    yield disk
    disk.let_go()


def gallery() -> Gallery:
    return Gallery("pictures", every=8, axial_um=4.0, synthetic=True)


async def test_a_disk_that_stands_still_does_not_hold_up_the_end(
    disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.gallery._STANDSTILL_S", 0.1)
    pictures, written = gallery(), list[int]()
    pictures._write(lambda: written.append(0))
    pictures._write(lambda: disk.wait(PATIENCE_S))  # type: ignore[arg-type,return-value]
    for n in (1, 2):
        pictures._write(lambda n=n: written.append(n))  # type: ignore[misc]
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(PATIENCE_S / 2):
            await pictures.finish()
    assert (written, pictures.skipped) == ([0], 3)
    assert [(entry["log_level"], entry["count"]) for entry in logs] == [("warning", 3)]


async def test_pictures_that_go_on_are_waited_for_and_written_in_their_order(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.gallery._FINISH_S", 100 * slow.PICTURE_S)
    pictures, written = gallery(), list[int]()

    def write(n: int) -> None:
        slow.write()
        written.append(n)

    for n in range(6):
        pictures._write(lambda n=n: write(n))  # type: ignore[misc]
    await pictures.finish()
    assert (written, pictures.skipped) == (list(range(6)), 0)


async def test_but_not_for_ever(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octmargin.gallery._FINISH_S", 3.5 * slow.PICTURE_S)
    pictures = gallery()
    for _ in range(60):
        pictures._write(slow.write)
    await pictures.finish()
    assert pictures.skipped == 60 - 3


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("odd picture")])
async def test_a_picture_that_cannot_be_written_is_told_and_the_next_one_is_written(error: Exception) -> None:
    pictures, written = gallery(), list[int]()

    def fail() -> None:
        raise error

    with structlog.testing.capture_logs() as logs:
        pictures._write(fail)
        pictures._write(lambda: written.append(1))
        await pictures.finish()
    assert (written, pictures.skipped) == ([1], 1)
    assert logs[0]["reason"] == str(error)


PROCESS = """
import asyncio
import threading
import octmargin.gallery as g

async def main():
    g._STANDSTILL_S = 0.1
    pictures = g.Gallery("pictures", every=8, axial_um=4.0, synthetic=True)
    pictures._write(threading.Event().wait)
    await pictures.finish()
    print(pictures.skipped, flush=True)

asyncio.run(main())
"""


def test_a_process_ends_though_the_disk_of_its_pictures_stands_still() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith("1\n")
