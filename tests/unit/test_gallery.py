"""Pictures beside an acquisition: what is slow or fails is counted, and nobody waits long for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each takes less than a standstill, all together more."""
    monkeypatch.setattr("octmargin.gallery._STANDSTILL_S", 0.6)
    pictures, written, pause = gallery(), list[int](), threading.Event()

    def write(n: int) -> None:
        pause.wait(0.15)
        written.append(n)

    for n in range(6):
        pictures._write(lambda n=n: write(n))  # type: ignore[misc]
    await pictures.finish()
    assert (written, pictures.skipped) == (list(range(6)), 0)


async def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octmargin.gallery._FINISH_S", 0.3)
    pictures, pause = gallery(), threading.Event()
    for _ in range(60):
        pictures._write(lambda: pause.wait(0.05))  # type: ignore[arg-type,return-value]
    await pictures.finish()
    assert 0 < pictures.skipped < 60


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
