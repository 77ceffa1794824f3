"""Simulated specimens as a source of frames, one at a time or rendered ahead for a console."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.frames import FACES, PixelFormat
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.optics import ConsoleOptics, Interferometer, returned_amplitude
from octmargin_simulator.tissue.paint import cut
from octmargin_simulator.tissue.specimen import FaceTissue, Scenario, Sort, TissueSpecimen
from octmargin_simulator.tissue.truth import FrameTruth, frame_truth

REACH_MM = 1.0
"""A malignant lesion within this depth below the surface makes a face suspicious."""

SORT_FACES = {Sort.LUMPECTOMY: FACES, Sort.SHAVE: ("shave",), Sort.NODE: ("node",)}


class FaceScanner:
    """Renders the frames of one face: spectra, and the truth behind them; may be used by many threads."""

    def __init__(
        self, specimen: TissueSpecimen, name: str, tissue: FaceTissue, optics: ConsoleOptics
    ) -> None:
        self.tissue, self.optics = tissue, optics
        self._specimen, self._name = specimen, name
        grid = tissue.grid
        self._interferometer = Interferometer(optics, 1000 * grid.width_mm / grid.alines)
        self._full_light = optics.amplitude_for_snr(specimen.snr_db)

    def expose(self, frame: int, out: NDArray[np.uint16]) -> FrameTruth:
        """Spectra of a frame into `out`, uint16 (alines, samples); returns what is really there."""
        piece = cut(self.tissue, self._specimen.optics, frame)
        amplitude = returned_amplitude(
            piece.attenuation_per_mm,
            piece.backscatter,
            axial_um=self.optics.axial_um,
            full_light_counts=self._full_light,
            scattering_angle_rad=self._specimen.scattering_angle_rad,
            beam_radius_um=self.optics.beam_radius_um or 10.0,
            refractive_index=self.optics.refractive_index,
        )
        amplitude *= piece.transmission[:, None]
        rng = self._specimen.rng(self._name, frame)
        self._interferometer.expose(amplitude, rng, out, piece.reflections)
        return frame_truth(self.tissue, frame, piece.labels)


class TissueScan:
    """All faces of one specimen (a `FrameSource`), synthetic, rendered at construction.

    `scenarios` says what a face must carry; else the seed decides. `threads` defaults to the number of processors
    and does not change a single count; `progress(done, total)` is told of every finished frame, in the
    constructor's thread. The default is one face after the other of 8 x 8 mm: 520 MB of spectra for a lumpectomy.

    Raises InputError for names or sizes that cannot be a scan.
    """

    synthetic = True
    pixel_format = PixelFormat.MONO12

    def __init__(
        self,
        seed: int = 7,
        *,
        sort: Sort = Sort.LUMPECTOMY,
        samples: int = 2048,
        alines: int = 512,
        frames: int = 40,
        width_mm: float = 8.0,
        height_mm: float = 8.0,
        faces: Sequence[str] | None = None,
        scenarios: Mapping[str, Scenario] | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.specimen = TissueSpecimen(seed, sort)
        self.name = f"synthetic {self.specimen.sort}, seed {seed}"
        self.faces = tuple(faces) if faces is not None else SORT_FACES[self.specimen.sort]
        self.samples, self.alines, self.frames = samples, alines, frames
        self.width_mm, self.height_mm = width_mm, height_mm
        scenarios = dict(scenarios or {})
        self._check(scenarios)
        self.optics = self.specimen.console(samples)
        grid = ScanGrid(alines, frames, self.optics.depth_px, width_mm, height_mm, self.optics.axial_um)
        self.tissue = {name: self.specimen.face(name, grid, scenarios.get(name)) for name in self.faces}
        self._spectra = {name: np.empty((frames, alines, samples), np.uint16) for name in self.faces}
        self.frame_truths: dict[str, list[FrameTruth]] = {}
        self._render_all(threads or os.cpu_count() or 1, progress)
        for spectra in self._spectra.values():
            spectra.flags.writeable = False

    @property
    def factory_calibration(self) -> Mapping[str, Any]:
        """The optics' own numbers, exact; the keys and units are those of `FrameSource`."""
        return {
            "axial_um": self.optics.axial_um,
            "k_map": self.optics.k_map_coefficients.tolist(),
            "dispersion_rad": self.optics.dispersion_coefficients.tolist(),
        }

    @property
    def truth(self) -> Mapping[str, str]:
        """Per face "suspicious" where a malignant lesion comes within a millimetre of the surface, else "clear"."""
        return {name: "suspicious" if self.truth_map(name).any() else "clear" for name in self.faces}

    def truth_map(self, face: str) -> NDArray[np.bool_]:
        """Where a malignant lesion lies within a millimetre below the surface, bool (frames, alines)."""
        self._check_face(face)
        with np.errstate(invalid="ignore"):
            return np.stack([truth.malignant_mm <= REACH_MM for truth in self.frame_truths[face]])

    def frame(self, face: str, index: int) -> NDArray[np.uint16]:
        """Spectra of frame `index` of `face`, uint16 (alines, samples), C-contiguous, read-only."""
        self._check_face(face)
        if not 0 <= index < self.frames:
            raise InputError(f"{self.name}: no frame {index}; a sweep has frames 0 to {self.frames - 1}")
        spectra: NDArray[np.uint16] = self._spectra[face][index]
        return spectra

    def _check(self, scenarios: Mapping[str, Scenario]) -> None:
        if not self.faces or len(set(self.faces)) < len(self.faces):
            raise InputError(f"{self.name}: faces are {list(self.faces)}; name at least one, each once")
        if unknown := set(scenarios) - set(self.faces):
            raise InputError(
                f"{self.name}: scenario for {sorted(unknown)}, but the faces are {list(self.faces)}"
            )
        for what in ("alines", "frames", "width_mm", "height_mm"):
            if not getattr(self, what) > 0:
                raise InputError(f"{self.name}: {what} is {getattr(self, what)}; give a number above 0")

    def _check_face(self, face: str) -> None:
        if face not in self.faces:
            raise InputError(f"{self.name}: no face {face!r}; it has {', '.join(self.faces)}")

    def _render_all(self, threads: int, progress: Callable[[int, int], None] | None) -> None:
        scanners = {
            name: FaceScanner(self.specimen, name, tissue, self.optics)
            for name, tissue in self.tissue.items()
        }
        jobs = [(face, index) for face in self.faces for index in range(self.frames)]
        truths: dict[tuple[str, int], FrameTruth] = {}
        with ThreadPoolExecutor(threads, thread_name_prefix="tissue") as pool:
            futures = {
                pool.submit(scanners[face].expose, index, self._spectra[face][index]): (face, index)
                for face, index in jobs
            }
            for done, future in enumerate(as_completed(futures), start=1):
                truths[futures[future]] = future.result()
                if progress is not None:
                    progress(done, len(jobs))
        self.frame_truths = {name: [truths[name, i] for i in range(self.frames)] for name in self.faces}
