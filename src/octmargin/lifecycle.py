"""The life of the daemon: one state, from what is known of its parts. No input or output, no clock.

docs/lifecycle.md draws it. The state is never set: it follows from the facts, so that no order of events can leave it
wrong. What may follow upon what is in `TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum


class Lifecycle(StrEnum):
    """What the daemon is at."""

    STARTING = "starting"
    """Connecting, identifying the console, compiling kernels."""
    READY = "ready"
    """Everything works; no face is being scanned."""
    ACQUIRING = "acquiring"
    """Everything works; a face is being scanned."""
    DEGRADED = "degraded"
    """It goes on, and something is wrong or missing; the reasons say what."""
    FAULTED = "faulted"
    """It cannot scan until somebody, or time, mends what the reasons say."""
    STOPPING = "stopping"
    """It closes its books; nothing more is scanned."""


_RUNNING = frozenset({Lifecycle.READY, Lifecycle.ACQUIRING, Lifecycle.DEGRADED, Lifecycle.FAULTED})
TRANSITIONS: Mapping[Lifecycle, frozenset[Lifecycle]] = {
    Lifecycle.STARTING: _RUNNING - {Lifecycle.ACQUIRING} | {Lifecycle.STOPPING},
    **{state: _RUNNING - {state} | {Lifecycle.STOPPING} for state in _RUNNING},
    Lifecycle.STOPPING: frozenset(),
}
"""What may follow upon each state."""


class LifecycleMachine:
    """Holds the facts; `on_change(state, reasons)` is told when state or reasons have changed."""

    def __init__(self, on_change: Callable[[Lifecycle, tuple[str, ...]], None]) -> None:
        self._on_change = on_change
        self._has_started = False
        self._is_stopping = False
        self._is_scanning = False
        self._faults: dict[str, tuple[str, bool]] = {}
        """Text, and whether nothing can be scanned with it, by the fault's id."""
        self._told: tuple[Lifecycle, tuple[str, ...]] = Lifecycle.STARTING, ()

    @property
    def state(self) -> Lifecycle:
        """What follows from the facts."""
        if self._is_stopping:
            return Lifecycle.STOPPING
        if not self._has_started:
            return Lifecycle.STARTING
        if any(disables for _, disables in self._faults.values()):
            return Lifecycle.FAULTED
        if self._faults:
            return Lifecycle.DEGRADED
        return Lifecycle.ACQUIRING if self._is_scanning else Lifecycle.READY

    @property
    def fault_ids(self) -> frozenset[str]:
        """What is wrong, by id."""
        return frozenset(self._faults)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, that with which nothing can be scanned first; empty where nothing is."""
        worst_first = sorted(self._faults.values(), key=lambda fault: not fault[1])
        return tuple(text for text, _ in worst_first)

    def started(self) -> None:
        """Everything is prepared."""
        self._has_started = True
        self._tell()

    def scanning(self, *, now: bool) -> None:
        """A face begins, or has ended."""
        self._is_scanning = now
        self._tell()

    def fault(self, fault_id: str, text: str, *, disables: bool = False) -> None:
        """Something is wrong; `disables` where nothing can be scanned with it."""
        self._faults[fault_id] = text, disables
        self._tell()

    def over(self, fault_id: str) -> None:
        """It is not wrong any more; nothing happens where it was not."""
        self._faults.pop(fault_id, None)
        self._tell()

    def stopping(self) -> None:
        """The end begins: nothing comes after it."""
        self._is_stopping = True
        self._tell()

    def _tell(self) -> None:
        now = self.state, self.reasons
        if now != self._told:
            self._told = now
            self._on_change(*now)
