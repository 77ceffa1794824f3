"""Blocking work that nobody waits for when the daemon is to end, or not for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

from octmargin.own_thread import detached

_T = TypeVar("_T")


class StoppedError(Exception):
    """The end was asked for before the work was done."""


class StandstillError(Exception):
    """The work was not done in time."""


async def unless_stopped(work: Callable[[], None], stop: asyncio.Event) -> None:
    """Run `work` in a thread and wait for it; StoppedError where `stop` comes first, and the thread is left alone."""
    done = asyncio.wrap_future(detached("detached", work))
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
    done = detached("detached", work)
    wait((done,), seconds)
    if not done.done():
        if late is not None:
            done.add_done_callback(partial(_hand_over, late))
        raise StandstillError
    return done.result()


def _hand_over(late: Callable[[_T], object], done: Future[_T]) -> None:
    """What was given up came after all; an error in its place has nobody to be told to."""
    if done.exception() is None:
        late(done.result())
