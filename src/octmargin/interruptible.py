"""Blocking work that nobody waits for when the daemon is to end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from octmargin.device import on_loop


class StoppedError(Exception):
    """The end was asked for before the work was done."""


async def unless_stopped(work: Callable[[], None], stop: asyncio.Event) -> None:
    """Run `work` in a thread and wait for it; StoppedError where `stop` comes first, and the thread is left alone."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # noqa: BLE001 - raised where it is awaited
            error = caught
        on_loop(loop, finish, error)

    # Not asyncio's threads: those are waited for at the end.
    threading.Thread(target=run, name="interruptible", daemon=True).start()
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((done, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if not done.done():
        raise StoppedError
    done.result()
