"""A console is held by one process, and the next one is told by whom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from octmargin.errors import DeviceBusyError
from octmargin.holding import holding

HOLDER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from octmargin.holding import holding
with holding("usb", "a", "doomed"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_second_holder_is_told_who_the_first_one_is() -> None:
    with holding("usb", "usbip://h:1", "octmargin run for or-3"):
        with (
            pytest.raises(
                DeviceBusyError, match=rf"held by process {os.getpid()} of .*octmargin run for or-3, since 20"
            ),
            holding("usb", "usbip://h:1", "another"),
        ):
            raise AssertionError("it must not come to this")
        with holding("usb", "usbip://h:2", "another console"):
            pass
    with holding("usb", "usbip://h:1", "free again"):
        pass


def test_a_link_to_a_port_is_that_port(tmp_path: Path) -> None:
    (tmp_path / "tty").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "tty")
    with (
        holding("serial", f"{tmp_path}/tty?baud=3000000", "one"),
        pytest.raises(DeviceBusyError, match="held by process"),
        holding("serial", f"{tmp_path}/by-id", "two"),
    ):
        raise AssertionError("it must not come to this")


@pytest.mark.parametrize("what", ["link", "hard link", "pipe"])
def test_what_somebody_laid_in_the_place_of_the_lock_is_left_alone(tmp_path: Path, what: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    with holding("usb", "a", "to see its name"):
        [lock] = tmp_path.glob("octmargin-console-*.lock")
    lock.unlink()
    if what == "link":
        lock.symlink_to(precious)
    elif what == "hard link":
        lock.hardlink_to(precious)
    else:
        os.mkfifo(lock)
    with holding("usb", "a", "goes on without a lock"):
        pass
    assert precious.read_text() == "keep me"


def test_the_console_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DeviceBusyError, match=f"process {holder.pid} "), holding("usb", "a", "second"):
        raise AssertionError("it must not come to this")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with holding("usb", "a", "second"):
        pass
