"""Raw spectra to depth profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.buffers import aligned_zeros
from octmargin.errors import InputError
from octmargin.signal import _frame_kernels as frames
from octmargin.signal._chain_kernels import DB, INTENSITY, Workspace
from octmargin.signal._decibels import store_db
from octmargin.signal._fft_passes import ROW
from octmargin.signal._fft_plan import work_buffers
from octmargin.signal._frame_kernels import Part
from octmargin.signal._lanes import LANES
from octmargin.signal._spectrum_shape import make_tables
from octmargin.signal._teamwork import Team, new_progress
from octmargin.signal.calibration import Calibration

RAW_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
MONO12P = "mono12p"
RAW_FORMATS = ("counts", MONO12P)
_MAX_SEGMENTS = 8


class Reconstructor:
    """The chain from spectra to a B-scan for one calibration and one shape of spectrum.

    Background subtraction, resampling to linear wavenumber, window x dispersion phasor, FFT, removal of the fixed
    pattern, crop to `depth`, squared magnitude, averaging, dB: sixteen A-lines side by side, in single precision.

    `samples` is the console's; a number with other factors than 2, 3 and 5 is resampled to the next one without,
    over the same wavenumbers. `depth` pixels are kept, at most half of the samples.

    `interpolation` is "linear", "cubic" (four-tap Lagrange) or "lanczos" (eight taps): the further from zero delay
    the fringes, the more taps they need.

    The background is the calibration's, else the mean spectrum over the frame's A-lines: that also removes what
    lies at one depth over the whole frame, and all of a frame of a single A-line. With `running_mean_frames` = n
    it follows the frames' means with a time constant of n frames, so that one frame's flat surface stays.

    `remove_fixed_pattern` subtracts from each A-line the minimum-variance mean of the frame's complex profiles
    (Moon et al. 2010, doi 10.1364/OE.18.024395); it takes a second pass and at least 16 A-lines.

    `average_alines` neighbouring A-lines, and `average_bscans` B-scans, are averaged in intensity.

    `raw_format` "mono12p" takes two 12-bit counts from three bytes, low bits first, as USB3 Vision packs them.

    0 dB is a fringe with an amplitude of 1 count: the transform is divided by half of the window's sum. Intensity
    is the square of that amplitude, in counts^2. An intensity of 0 is -100 dB, and nothing is lower. A float
    A-line that holds a NaN or an infinity becomes NaN and leaves the others alone.

    Holds work buffers, and allocates none once it has seen its largest frame: one object serves one caller at a
    time. `threads` share the A-lines of a frame. Raises InputError or CalibrationError for a shape that does not fit.
    """

    def __init__(
        self,
        calibration: Calibration,
        *,
        samples: int,
        depth: int,
        threads: int = 1,
        interpolation: str = "cubic",
        running_mean_frames: int | None = None,
        remove_fixed_pattern: bool = False,
        average_alines: int = 1,
        average_bscans: int = 1,
        raw_format: str = "counts",
    ) -> None:
        calibration.check_fits(samples)
        if not 1 <= depth <= samples // 2:
            raise InputError(f"depth is {depth}; {samples} samples give depths from 1 to {samples // 2}")
        for name, value in (
            ("threads", threads),
            ("average_alines", average_alines),
            ("average_bscans", average_bscans),
            ("running_mean_frames", 1 if running_mean_frames is None else running_mean_frames),
        ):
            if value < 1:
                raise InputError(f"{name} is {value}; give a number of at least 1")
        if raw_format not in RAW_FORMATS:
            raise InputError(f"raw_format is {raw_format!r}; use one of {', '.join(RAW_FORMATS)}")
        if raw_format == MONO12P and samples % 2:
            raise InputError(f"{MONO12P} packs counts in pairs; {samples} samples are odd")
        if running_mean_frames is not None and calibration.background is not None:
            raise InputError("the calibration has a background; give either that or running_mean_frames")
        self.calibration = calibration
        self.samples = samples
        self.depth = depth
        self.threads = threads
        self._running_mean_frames = running_mean_frames or 1
        self._remove_fixed_pattern = remove_fixed_pattern
        self._average_alines = average_alines
        self._average_bscans = average_bscans
        self._is_packed = raw_format == MONO12P

        self._tables = make_tables(calibration, samples, interpolation)
        length = len(self._tables.phasor)
        self._spaces = [
            Workspace(
                *work_buffers(length),
                aligned_zeros(LANES * LANES, np.float32),
                np.zeros(samples, dtype=np.float32),
                np.empty(samples, dtype=np.uint32),
            )
            for _ in range(threads)
        ]
        self._totals = np.zeros((threads, samples))
        self._team = Team(helpers=threads - 1)
        self._background = np.zeros(samples, dtype=np.float32)
        if calibration.background is not None:
            self._background[:] = calibration.background
        self._mean = np.empty(samples, dtype=np.float32)
        self._has_background = False
        self._pattern = np.zeros((depth, 2), dtype=np.float32)
        self._counts = np.empty((0, samples), dtype=np.uint16)
        self._single = np.empty((0, depth), dtype=np.float32)
        self._depths = np.empty((0, depth * ROW), dtype=np.float32)

    def process(
        self,
        raw: NDArray[Any],
        out: NDArray[np.float32] | None = None,
        intensity: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Reconstruct one frame.

        `raw` (alines, samples), uint8, uint16 or float32, in counts; packed, uint8 (alines, samples * 3 / 2);
        with `average_bscans` = n > 1, n such frames (n, alines, samples). `out` and `intensity`, if given, are
        C-contiguous float32 (alines / average_alines, depth) and receive dB and linear intensity of the same pass.
        Returns the B-scan in dB: `out`, or a new array.
        """
        spectra = self._checked_raw(raw)
        averaged = self._average_bscans * self._average_alines
        if len(spectra) % averaged:
            raise InputError(
                f"{len(spectra) // self._average_bscans} A-lines cannot be averaged by {self._average_alines}; "
                "give a multiple"
            )
        lines = len(spectra) // averaged
        if out is None:
            out = aligned_zeros((lines, self.depth), np.float32)
        else:
            self._check_target("out", out, lines)
        if intensity is not None:
            self._check_target("intensity", intensity, lines)
        if averaged > 1:
            single = self._scratch_intensity(len(spectra))
            self._run(spectra, single, single, INTENSITY)
            target = intensity if intensity is not None else single[:lines]
            self._average(single, target, out)
        elif intensity is not None:
            self._run(spectra, intensity, out, INTENSITY | DB)
        else:
            self._run(spectra, out, out, DB)
        return out

    def forget_background(self) -> None:
        """Let the running background begin anew with the next frame."""
        self._has_background = False

    def _average(
        self, single: NDArray[np.float32], target: NDArray[np.float32], out: NDArray[np.float32]
    ) -> None:
        # The mean goes to `out` first: `target` may be the memory that is averaged.
        frames.average(single.reshape(self._average_bscans, -1, self.depth), out)
        target[:] = out
        store_db(target, self._spaces[0].tile, out)

    def _run(
        self,
        raw: NDArray[Any],
        intensity: NDArray[np.float32],
        out: NDArray[np.float32],
        wanted: int,
    ) -> None:
        newest = self._follow(raw)
        if self._remove_fixed_pattern:
            self._run_without_pattern(raw, newest, intensity, out, wanted)
        else:
            self._together(
                newest,
                lambda part, space: frames.reconstruct_frame(
                    raw, part, self._tables, space, intensity, out, wanted
                ),
            )
        self._background[:] = self._spaces[0].background

    def _run_without_pattern(
        self,
        raw: NDArray[Any],
        newest: float,
        intensity: NDArray[np.float32],
        out: NDArray[np.float32],
        wanted: int,
    ) -> None:
        groups = -(-len(raw) // LANES)
        if len(self._depths) < groups:
            self._depths = np.empty((groups, self.depth * ROW), dtype=np.float32)
        self._together(
            newest, lambda part, space: frames.transform_frame(raw, part, self._tables, space, self._depths)
        )
        whole = len(raw) // LANES
        frames.minimum_variance_mean(self._depths, whole, min(_MAX_SEGMENTS, whole), self._pattern)
        self._together(
            0.0,
            lambda part, space: frames.finish_frame(
                self._depths, self._pattern, part, space, intensity, out, wanted
            ),
        )

    def _together(self, newest: float, work: Callable[[Part, Workspace], None]) -> None:
        """Let every thread take shares of the frame until none is left."""
        self._totals[:] = 0.0
        progress = new_progress(stages=2)
        background, totals, spaces = self._background, self._totals, self._spaces
        newest_share = np.float32(newest)

        def task(member: int) -> None:
            work(Part(member, background, newest_share, totals, progress), spaces[member])

        self._team.run(task)

    def _follow(self, raw: NDArray[Any]) -> float:
        """Share of this frame's mean in its background that is still to be measured: 0 where that is done."""
        if self.calibration.background is not None:
            return 0.0
        newest = 1.0 / self._running_mean_frames if self._has_background else 1.0
        if raw.dtype != np.float32:
            self._has_background = True
            return newest
        # In one thread: sums of floats would depend on who made which.
        if frames.mean_finite_lines(raw, self._mean):
            self._has_background = True
            if newest < 1.0:
                self._mean -= self._background
                self._mean *= np.float32(newest)
                self._mean += self._background
            self._background[:] = self._mean
        return 0.0

    def _checked_raw(self, raw: object) -> NDArray[Any]:
        """All A-lines of `raw`, unpacked, as one contiguous read-only (alines, samples)."""
        dtypes = RAW_DTYPES[:1] if self._is_packed else RAW_DTYPES
        if not isinstance(raw, np.ndarray) or raw.dtype not in dtypes:
            found = getattr(raw, "dtype", type(raw).__name__)
            wanted = (
                "a uint8 array of packed counts" if self._is_packed else "a uint8, uint16 or float32 array"
            )
            raise InputError(f"raw spectra are {found}; give {wanted}")
        width = self.samples * 3 // 2 if self._is_packed else self.samples
        expected = (
            f"({self._average_bscans}, alines, {width})" if self._average_bscans > 1 else f"(alines, {width})"
        )
        dimensions = 3 if self._average_bscans > 1 else 2
        if (
            raw.ndim != dimensions
            or raw.shape[-1] != width
            or not raw.size
            or (dimensions == 3 and len(raw) != self._average_bscans)
        ):
            raise InputError(f"raw spectra: expected shape {expected}, got {raw.shape}")
        raw = np.ascontiguousarray(raw).reshape(-1, width)
        if self._remove_fixed_pattern and len(raw) < LANES:
            raise InputError(f"{len(raw)} A-lines are too few to find a fixed pattern; give at least {LANES}")
        if self._is_packed:
            raw = self._unpacked(raw)
        # numba compiles anew for a writable, a read-only or a strided array; one kind is what warm_up has
        # compiled.
        raw = raw.view()
        raw.flags.writeable = False
        return raw

    def _unpacked(self, packed: NDArray[np.uint8]) -> NDArray[np.uint16]:
        if len(self._counts) < len(packed):
            self._counts = np.empty((len(packed), self.samples), dtype=np.uint16)
        packed = packed.view()
        packed.flags.writeable = False
        counts = self._counts[: len(packed)]
        frames.unpack_mono12p(packed, counts)
        return counts

    def _check_target(self, name: str, target: NDArray[np.float32], alines: int) -> None:
        expected = (alines, self.depth)
        if target.shape != expected or target.dtype != np.float32 or not target.flags.c_contiguous:
            raise InputError(
                f"{name}: expected a C-contiguous float32 array {expected}, got {target.dtype} {target.shape}"
            )
        if not target.flags.writeable:
            raise InputError(f"{name} is read-only; give an array that can be written")

    def _scratch_intensity(self, alines: int) -> NDArray[np.float32]:
        if len(self._single) < alines:
            self._single = np.empty((alines, self.depth), dtype=np.float32)
        return self._single[:alines]
