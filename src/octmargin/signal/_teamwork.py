"""How threads share a frame without a word between them: shares that whoever is free takes next.

A thread that wakes late finds less left to do, and nobody waits for it: what counts is what was taken and what is
finished, in atomic counters that all threads see.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from octmargin.signal._fft_passes import kernel
from octmargin.signal._lanes import intrinsic

Task = Callable[[int], None]

_APART = 8
"""int64 from one counter to the next: a cache line, so that taking does not disturb finishing."""


def new_progress(stages: int) -> NDArray[np.int64]:
    """Counters of a frame that is worked on in `stages` stages."""
    return np.zeros(2 * stages * _APART, dtype=np.int64)


@intrinsic
def _add_one(_typing: Any, counters: Any, _index: Any) -> Any:
    """Add 1 atomically; the number before."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _counter(context, builder, sig, args)
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", pointer, one, "acq_rel")

    return types.int64(counters, types.intp), lower


@intrinsic
def _number(_typing: Any, counters: Any, _index: Any) -> Any:
    """What the counter says now."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(_counter(context, builder, sig, args), "acquire", 8)

    return types.int64(counters, types.intp), lower


def _counter(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@kernel
def take_share(progress: NDArray[np.int64], stage: int) -> int:
    """Number of the next share of a stage that nobody has."""
    return _add_one(progress, 2 * stage * _APART)  # type: ignore[no-any-return]


@kernel
def finish_share(progress: NDArray[np.int64], stage: int) -> None:
    """Say that a share is done, for all to see what it wrote."""
    _add_one(progress, (2 * stage + 1) * _APART)


@kernel
def wait_for_shares(progress: NDArray[np.int64], stage: int, shares: int) -> None:
    """Wait until so many shares of a stage are done, all of which are taken: as a rule for less than one takes.

    Without rest, because a thread that sleeps wakes later than that. Where the machine halts a thread that holds a
    share, the others wait as long.
    """
    while _number(progress, (2 * stage + 1) * _APART) < shares:
        pass


class Team:
    """Threads beside the caller's own that live as long as this object.

    Lighter than an executor: there is nothing to hand back, because a task says in its counters what is done.
    """

    def __init__(self, helpers: int) -> None:
        self._queues: list[SimpleQueue[Task | None]] = [SimpleQueue() for _ in range(helpers)]
        for number, queue in enumerate(self._queues):
            threading.Thread(
                target=_work, args=(queue, number + 1), name=f"reconstruct-{number + 1}", daemon=True
            ).start()
            weakref.finalize(self, queue.put, None)

    def run(self, task: Task) -> None:
        """Call `task` with 1, 2, ... in the helpers' threads and with 0 in this one; returns when this one is done.

        A helper may begin later than that: a task that comes to an end for the caller must have nothing left to do.
        """
        for queue in self._queues:
            queue.put(task)
        task(0)


def _work(queue: SimpleQueue[Task | None], number: int) -> None:
    while True:
        task = queue.get()
        if task is None:
            return
        task(number)
        # A thread that waits must not keep the frame, or its own team, alive.
        del task
