"""The chain from one frame's spectra to its flags: what every frame goes through, live or from a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.buffers import aligned_zeros
from octmargin.frames import Frame, FrameFlags, FrameHeader, LossCause, LostFrames
from octmargin.levels import to_levels
from octmargin.margin import Assessor, BlockFlags
from octmargin.signal import Calibration, Reconstructor

_DISTRUSTED = FrameFlags.LASER_OFF | FrameFlags.SHUTTER_CLOSED | FrameFlags.TRIGGER_TOO_FAST
"""A frame with one of these shows something else than the tissue."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How frames are reconstructed and judged; `bscan_every` keeps the B-scan of each n-th frame (0: none).

    `aline_um` is the distance of A-lines, None where nobody knows.
    """

    calibration: Calibration
    axial_um: float
    samples: int
    depth: int
    make_assessor: Callable[[], Assessor]
    aline_um: float | None = None
    bscan_every: int = 0
    interpolation: str = "cubic"
    running_mean_frames: int | None = None
    remove_fixed_pattern: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """One frame's result; `bscan`, `octmargin.levels` (alines, depth), only for frames whose B-scan is kept."""

    header: FrameHeader
    flags: BlockFlags
    reconstruct_ns: int
    assess_ns: int
    bscan: NDArray[np.uint8] | None = None


Outcome = Judged | LostFrames


class FrameJudge:
    """Reconstructs and judges frames, one at a time: holds kernels and buffers of its own, for one thread."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.aline_um = settings.aline_um
        """Distance of A-lines of the frames to come, µm; None where nobody knows."""
        self._assessor = settings.make_assessor()
        self._reconstructor = Reconstructor(
            settings.calibration,
            samples=settings.samples,
            depth=settings.depth,
            interpolation=settings.interpolation,
            running_mean_frames=settings.running_mean_frames,
            remove_fixed_pattern=settings.remove_fixed_pattern,
        )
        self._bscan_db = np.empty((0, settings.depth), np.float32)
        self._intensity = np.empty((0, settings.depth), np.float32)

    def warm_up(self, frame: Frame) -> None:
        """Run every kernel once on `frame`, and forget it."""
        self._judge(frame)
        self._reconstructor.forget_background()

    def judge(self, frame: Frame) -> Outcome:
        """Judge one frame. One that fails counts as lost, with the reason: it must not end what judges the others."""
        try:
            return self._judge(frame)
        except Exception as error:  # noqa: BLE001 - whatever it was, the frame is accounted for
            return LostFrames(
                frame.header.sequence, 1, LossCause.NOT_JUDGED, f"{type(error).__name__}: {error}"
            )

    def _judge(self, frame: Frame) -> Outcome:
        header, spectra = frame.header, frame.spectra
        if header.flags & _DISTRUSTED:
            return LostFrames(header.sequence, 1, LossCause.UNUSABLE, _names(header.flags & _DISTRUSTED))
        if self._bscan_db.shape[0] != header.alines:
            shape = (header.alines, self._settings.depth)
            self._bscan_db, self._intensity = (
                aligned_zeros(shape, np.float32),
                aligned_zeros(shape, np.float32),
            )
        started = time.perf_counter_ns()
        self._reconstructor.process(spectra, out=self._bscan_db, intensity=self._intensity)
        reconstructed = time.perf_counter_ns()
        flags = self._assessor.assess(
            self._bscan_db,
            axial_um=self._settings.axial_um,
            aline_um=self.aline_um,
            intensity=self._intensity,
            saturated=spectra.max(axis=1) >= header.pixel_format.full_scale,
        )
        assessed = time.perf_counter_ns()
        every = self._settings.bscan_every
        bscan = to_levels(self._bscan_db) if every and header.index % every == 0 else None
        return Judged(header, flags, reconstructed - started, assessed - reconstructed, bscan)


def _names(flags: FrameFlags) -> str:
    return ", ".join((flag.name or "").lower().replace("_", " ") for flag in flags)
