"""Saying that kernels are compiled, when they are: once on a machine, and after an update."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from numba.core import event

from octmargin import kernel_cache

COMPILING = "compiling kernels"
"""How every line begins, so that whoever follows the log of another process knows it."""
ABOUT_S = 30
"""Everything that `octmargin run` compiles, on one core of a server of 2022."""


@contextmanager
def compiling_told(say: Callable[[str], None]) -> Iterator[None]:
    """Say so before the first kernel is compiled, name each group as it begins, and say when all are done.

    Silent where numba finds every kernel in its cache. `say` takes one line; it is called from the thread
    that compiles.
    """
    listener = _Listener(say)
    with event.install_listener("numba:compile", listener):
        yield
    listener.finish()


def cached_kernels() -> tuple[Path, int]:
    """The folder in which numba caches the kernels of `octmargin.signal`, and how many it holds there."""
    from octmargin.signal import _surface_kernels  # noqa: PLC0415 - loading the kernels takes a second

    folder = next(
        Path(item.stats.cache_path) for item in vars(_surface_kernels).values() if hasattr(item, "stats")
    )
    return folder, sum(1 for _ in folder.glob("*.nbi"))


class _Listener(event.Listener):
    """Hears of each kernel just before it is compiled; numba does not say so for one that it loads."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._began_s: float | None = None
        self._groups: set[str] = set()
        self._lock = threading.Lock()

    def on_start(self, event: event.Event) -> None:
        """Hear that numba begins to compile."""
        module: str = event.data["dispatcher"].py_func.__module__
        # The rest are numba's own building blocks, compiled on the way.
        if not module.startswith("octmargin"):
            return
        with self._lock:
            if self._began_s is None:
                self._began_s = time.monotonic()
                self._say(f"{COMPILING} ({_how_long()}) ...")
            group = _group_name(module)
            if group not in self._groups:
                self._groups.add(group)
                self._say(f"{COMPILING}: {group}")

    def on_end(self, event: event.Event) -> None:
        """Nothing to say: the next group or the end will."""

    def finish(self) -> None:
        """Say how long it took, if anything was compiled."""
        if self._began_s is not None:
            self._say(f"{COMPILING}: done in {time.monotonic() - self._began_s:.0f} s")


def _how_long() -> str:
    if kernel_cache.is_temporary():
        return (
            f"at every start, about {ABOUT_S} s, longer on a busy machine: no folder for their cache can be written; "
            f"set {kernel_cache.VARIABLE} to one that can"
        )
    return f"once, about {ABOUT_S} s, longer on a busy machine"


def _group_name(module: str) -> str:
    """`octmargin.signal._surface_kernels` is `surface`."""
    return module.rpartition(".")[2].strip("_").removesuffix("_kernels").replace("_", " ")
