"""Calls that may be held up: in their order, and never waited for longer than is wanted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from octmargin.interruptible import StandstillError, StoppedError, unless_stopped, within
from octmargin.own_thread import OwnThread, detached

WAIT_S = 60.0


class Held:
    """Work that stands still until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()

    def __call__(self) -> int:
        self.begun.set()
        assert self.go.wait(WAIT_S)
        return 7


def test_calls_are_made_one_after_the_other_in_their_order() -> None:
    thread, made = OwnThread("test"), []
    for number in range(100):
        thread.submit(made.append, number)
    assert thread.submit(lambda: list(made)).result(WAIT_S) == list(range(100))
    thread.end()


def test_an_error_is_told_to_who_waits_and_the_next_call_is_made() -> None:
    thread = OwnThread("test")
    failed: Future[float] = thread.submit(lambda: 1 / 0)
    assert thread.submit(lambda: 2).result(WAIT_S) == 2
    with pytest.raises(ZeroDivisionError):
        failed.result(WAIT_S)
    thread.end()


def test_for_how_long_a_call_is_running_is_known() -> None:
    thread, held = OwnThread("test"), Held()
    assert thread.busy_s == 0
    call = thread.submit(held)
    assert held.begun.wait(WAIT_S)
    before = thread.busy_s
    while thread.busy_s == before:
        pass
    held.go.set()
    assert call.result(WAIT_S) == 7
    assert thread.submit(lambda: None).result(WAIT_S) is None
    thread.end()


def test_a_thread_of_one_call_ends_after_it() -> None:
    assert detached("test of one call", lambda: 3).result(WAIT_S) == 3
    for thread in threading.enumerate():
        if thread.name == "test of one call":
            thread.join(WAIT_S)
            assert not thread.is_alive()


def test_a_process_ends_though_a_call_stands_still() -> None:
    program = (
        "from octmargin.own_thread import detached; import threading; detached('x', threading.Event().wait)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_work_that_is_done_in_time_gives_its_result_or_its_error() -> None:
    assert within(WAIT_S, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(WAIT_S, lambda: 1 / 0)


def test_an_error_that_says_timeout_is_the_works_own() -> None:
    def fail() -> None:
        raise TimeoutError("of the network")

    with pytest.raises(TimeoutError, match="of the network"):
        within(WAIT_S, fail)


def test_what_comes_of_work_that_was_given_up_is_handed_over_once() -> None:
    held, came = Held(), []
    arrived = threading.Event()

    def late(result: int) -> None:
        came.append((result, threading.current_thread().name))
        arrived.set()

    with pytest.raises(StandstillError):
        within(0.01, held, late=late)
    assert came == []
    held.go.set()
    assert arrived.wait(WAIT_S)
    assert came == [(7, "detached")], "in the thread of the work, so that it holds up nobody either"


def test_an_error_of_work_that_was_given_up_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    held, came = Held(), []

    def fail() -> int:
        held()
        raise OSError("gone")

    with pytest.raises(StandstillError):
        within(0.01, fail, late=came.append)
    held.go.set()
    for thread in threading.enumerate():
        if thread.name == "detached":
            thread.join(WAIT_S)
    assert (came, caplog.records) == ([], [])


async def test_work_is_left_alone_when_the_end_is_asked_for() -> None:
    held, stop = Held(), asyncio.Event()
    waiting = asyncio.create_task(unless_stopped(held, stop))
    await asyncio.to_thread(held.begun.wait, WAIT_S)
    stop.set()
    with pytest.raises(StoppedError):
        await waiting
    held.go.set()


async def test_work_that_is_done_before_the_end_is_no_matter_of_it() -> None:
    await unless_stopped(lambda: None, asyncio.Event())
    with pytest.raises(ZeroDivisionError):
        await unless_stopped(lambda: 1 / 0, asyncio.Event())
