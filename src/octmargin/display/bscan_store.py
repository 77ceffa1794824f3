"""B-scans of every frame, in 8 bits, as far back as memory is given: the oldest sweep goes first, and is counted.

Lives on the event loop, where it only ever puts references into tables; nothing of it is computed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

MOST_SWEEPS = 512
"""Of so many it is still said that they were there."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SweepAbout:
    """What holds for every B-scan of a sweep. `aline_um` is the distance of A-lines, `axial_um` the depth pixel."""

    face: str
    session: str
    case_id: str
    specimen_id: str
    synthetic: bool
    alines: int
    depth: int
    axial_um: float
    aline_um: float


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A B-scan as `octmargin.levels` (alines, depth), and the lines that are drawn into it.

    `surface_px` per A-line, the others per block; NaN where there is none.
    """

    levels: NDArray[np.uint8]
    surface_px: NDArray[np.float32]
    state: NDArray[np.uint8]
    suspicion: NDArray[np.float32]
    distance_mm: NDArray[np.float32]
    visualised_depth_mm: NDArray[np.float32]

    @property
    def n_bytes(self) -> int:
        """Memory that it takes, all but some objects of Python's."""
        arrays = (self.surface_px, self.state, self.suspicion, self.distance_mm, self.visualised_depth_mm)
        return self.levels.nbytes + sum(array.nbytes for array in arrays)


@dataclass(slots=True)
class KeptSweep:
    """A sweep by the daemon's own number."""

    number: int
    about: SweepAbout
    frames: dict[int, KeptFrame] = field(default_factory=dict)
    """By their place in the sweep, in the order in which they came."""
    thrown_out: int = 0
    first: KeptFrame | None = None
    """The frame by which the grey levels of all of them are chosen; it stays as long as any of them."""


class BscanStore:
    """At most `max_bytes` of B-scans."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self.thrown_out = 0
        """Frames that had to make room, since the start."""
        self._sweeps: dict[int, KeptSweep] = {}

    @property
    def sweeps(self) -> Iterator[KeptSweep]:
        """The oldest first; those without frames had to make room."""
        return iter(self._sweeps.values())

    def begin(self, number: int, about: SweepAbout) -> KeptSweep:
        """A sweep begins; its number is one that no other has."""
        sweep = self._sweeps[number] = KeptSweep(number, about)
        while len(self._sweeps) > MOST_SWEEPS:
            oldest = next(iter(self._sweeps))
            self._throw_out(self._sweeps[oldest])
            del self._sweeps[oldest]
        return sweep

    def keep(self, sweep: KeptSweep, index: int, frame: KeptFrame) -> None:
        """Keep the B-scan of place `index`, and make room for it."""
        if sweep.first is None:
            sweep.first = frame
        replaced = sweep.frames.pop(index, None)
        sweep.frames[index] = frame
        self.n_bytes += frame.n_bytes - (0 if replaced is None else replaced.n_bytes)
        while self.n_bytes > self.max_bytes:
            oldest = next(each for each in self._sweeps.values() if each.frames)
            if oldest is not sweep:
                self._throw_out(oldest)
            elif len(sweep.frames) > 1:
                # One sweep alone is more than there is room for: then its oldest frames go.
                self._drop(sweep, next(iter(sweep.frames)))
            else:
                break

    def find(self, number: int, index: int, session: str | None = None) -> tuple[KeptSweep, KeptFrame] | str:
        """The B-scan of a place, or in words why there is none. `session` where it must be of that one."""
        sweep = self._sweeps.get(number)
        if sweep is None:
            return f"there is no sweep {number}, or none any more"
        if session is not None and session != sweep.about.session:
            return f"sweep {number} of the present session is another one"
        frame = sweep.frames.get(index)
        if frame is not None:
            return sweep, frame
        if sweep.thrown_out:
            return (
                f"frame {index} of sweep {number} is not kept, or not any more: the oldest make room "
                "(display.bscans_mb)"
            )
        return f"frame {index} of sweep {number} was lost, or has not been scanned"

    def _throw_out(self, sweep: KeptSweep) -> None:
        if not sweep.frames:
            return
        log.info(
            "B-scans make room", of_sweep=sweep.number, of_face=sweep.about.face, count=len(sweep.frames)
        )
        for index in list(sweep.frames):
            self._drop(sweep, index)
        sweep.first = None

    def _drop(self, sweep: KeptSweep, index: int) -> None:
        self.n_bytes -= sweep.frames.pop(index).n_bytes
        sweep.thrown_out += 1
        self.thrown_out += 1


def ranges(places: Iterable[int]) -> list[tuple[int, int]]:
    """Places as ranges, first and last, in order."""
    found: list[tuple[int, int]] = []
    for place in sorted(places):
        if found and place == found[-1][1] + 1:
            found[-1] = found[-1][0], place
        else:
            found.append((place, place))
    return found
