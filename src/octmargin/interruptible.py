"""Blocking work that nobody waits for when the daemon is to end, or not for long."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError, wait
from functools import partial
from typing import Any, TypeVar

_T = TypeVar("_T")


class StoppedError(Exception):
    """The end was asked for before the work was done."""


class StandstillError(Exception):
    """The work was not done in time."""


async def unless_stopped(work: Callable[[], None], stop: asyncio.Event) -> None:
    """Run `work` in a thread and wait for it; StoppedError where `stop` comes first, and the thread is left alone."""
    done = asyncio.wrap_future(_detached(work))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((done, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if not done.done():
        done.cancel()
        raise StoppedError
    done.result()


async def unless_stopping(work: Coroutine[Any, Any, _T], stop: asyncio.Event) -> _T:
    """Await `work`; where `stop` comes first, cancel it, and StoppedError once it has cleaned up."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        stopping.cancel()
        working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    raise StoppedError


def within(seconds: float, work: Callable[[], _T], *, late: Callable[[_T], object] | None = None) -> _T:
    """Run `work` in a thread and wait for it so long; StandstillError where that is not enough.

    The thread is left alone then, and `late` gets, in it, what comes of the work in the end.
    """
    done = _detached(work, late)
    wait((done,), seconds)
    if done.cancel():
        raise StandstillError
    return done.result()


def _detached(work: Callable[[], _T], late: Callable[[_T], object] | None = None) -> Future[_T]:
    done: Future[_T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for, if it still is
            _settle(partial(done.set_exception, error))
        else:
            if not _settle(partial(done.set_result, result)) and late is not None:
                late(result)

    # Neither asyncio's threads nor those of a pool: the end of the process waits for those.
    threading.Thread(target=run, name="detached", daemon=True).start()
    return done


def _settle(how: Callable[[], None]) -> bool:
    """Whether somebody still waited."""
    try:
        how()
    except InvalidStateError:
        return False
    return True
