"""Threads for calls that a disk or a network may hold up: the process ends without waiting for them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class OwnThread:
    """Runs what is submitted, in its order. Unlike an executor's, the thread is a daemon: one that hangs is left.

    With `nice` above 0 it gives way to others where processors are few.
    """

    def __init__(self, name: str, *, nice: int = 0) -> None:
        self._nice = nice
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._waiting_since_s: float | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def busy_s(self) -> float:
        """For how long the present call has been running; 0 between calls."""
        since_s = self._waiting_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have it called after what was submitted before; never blocks."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*arguments)
            except BaseException as error:  # noqa: BLE001 - whoever awaits it is told
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.put(run)
        return future

    def end(self) -> None:
        """Let the thread end after what was submitted; returns at once."""
        self._calls.put(None)

    def _work(self) -> None:
        if self._nice:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        while (call := self._calls.get()) is not None:
            self._waiting_since_s = time.monotonic()
            try:
                call()
            finally:
                self._waiting_since_s = None


def detached(name: str, call: Callable[..., T], *arguments: Any) -> Future[T]:
    """Have one call made in a thread of its own, which ends after it."""
    thread = OwnThread(name)
    future = thread.submit(call, *arguments)
    thread.end()
    return future
