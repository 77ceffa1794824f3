"""Frames that are computed ahead of time: what every simulated thing to look at has in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.frames import PixelFormat
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.optics import ConsoleOptics

Progress = Callable[[int, int], None]
_Truth = TypeVar("_Truth")


class RenderedSource:
    """All spectra of `faces`, each `grid` large, seen by `optics` (a `FrameSource` but for its truth).

    A subclass calls `_render` once. Raises InputError for names or sizes that cannot be a scan.
    """

    synthetic = True
    pixel_format = PixelFormat.MONO12

    def __init__(
        self,
        name: str,
        faces: Sequence[str],
        optics: ConsoleOptics,
        *,
        alines: int,
        frames: int,
        width_mm: float,
        height_mm: float,
    ) -> None:
        self.name = name
        self.faces = tuple(faces)
        self.optics, self.samples = optics, optics.samples
        self.alines, self.frames = alines, frames
        self.width_mm, self.height_mm = width_mm, height_mm
        if not self.faces or len(set(self.faces)) < len(self.faces):
            raise InputError(f"{name}: faces are {list(self.faces)}; name at least one, each once")
        for what in ("alines", "frames", "width_mm", "height_mm"):
            if not getattr(self, what) > 0:
                raise InputError(f"{name}: {what} is {getattr(self, what)}; give a number above 0")
        self.grid = ScanGrid(alines, frames, optics.depth_px, width_mm, height_mm, optics.axial_um)
        self._spectra = {face: np.empty((frames, alines, self.samples), np.uint16) for face in self.faces}

    @property
    def factory_calibration(self) -> Mapping[str, Any]:
        """The optics' own numbers, exact; the keys and units are those of `FrameSource`."""
        return {
            "axial_um": self.optics.axial_um,
            "k_map": self.optics.k_map_coefficients.tolist(),
            "dispersion_rad": self.optics.dispersion_coefficients.tolist(),
        }

    def frame(self, face: str, index: int) -> NDArray[np.uint16]:
        """Spectra of frame `index` of `face`, uint16 (alines, samples), C-contiguous, read-only."""
        self._check_face(face)
        if not 0 <= index < self.frames:
            raise InputError(f"{self.name}: no frame {index}; a sweep has frames 0 to {self.frames - 1}")
        spectra: NDArray[np.uint16] = self._spectra[face][index]
        return spectra

    def _check_face(self, face: str) -> None:
        if face not in self.faces:
            raise InputError(f"{self.name}: no face {face!r}; it has {', '.join(self.faces)}")

    def _render(
        self,
        expose: Callable[[str, int, NDArray[np.uint16]], _Truth],
        threads: int | None,
        progress: Progress | None,
    ) -> dict[str, list[_Truth]]:
        """Let `expose(face, index, out)` fill every frame; returns what it returned, per face.

        `threads` defaults to the number of processors. `progress(done, total)` is told of every finished frame, in
        the caller's thread.
        """
        jobs = [(face, index) for face in self.faces for index in range(self.frames)]
        returned: dict[tuple[str, int], _Truth] = {}
        with ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="render") as pool:
            futures = {
                pool.submit(expose, face, index, self._spectra[face][index]): (face, index)
                for face, index in jobs
            }
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    returned[futures[future]] = future.result()
                    if progress is not None:
                        progress(done, len(jobs))
            except BaseException:
                # Ctrl-C, for one: only what is being rendered is waited for.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for spectra in self._spectra.values():
            spectra.flags.writeable = False
        return {face: [returned[face, index] for index in range(self.frames)] for face in self.faces}
