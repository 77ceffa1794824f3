"""The synthetic layered phantom as a source of frames: all spectra of a specimen, rendered ahead of time."""

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
from octmargin_simulator.optics import ConsoleOptics, Interferometer
from octmargin_simulator.phantom.layers import Specimen, scattering_amplitude
from octmargin_simulator.phantom.priors import PhantomPriors


class LayeredPhantom:
    """A specimen of `faces` (a `FrameSource`) whose spectra are synthetic and exact in their geometry.

    Everything is rendered at construction: `len(faces) * frames * alines * samples` uint16 values, 400 MB for
    the defaults; `threads` defaults to the number of processors and does not change a single count.
    `progress(done, total)` is told of every finished frame, in the constructor's thread. `tumour_faces` names
    the faces that carry tumour; by default the seed chooses exactly one of `faces`.

    Raises InputError for names or sizes that cannot be a scan.
    """

    synthetic = True
    pixel_format = PixelFormat.MONO12

    def __init__(
        self,
        seed: int = 7,
        *,
        samples: int = 2048,
        alines: int = 512,
        frames: int = 32,
        width_mm: float = 12.8,
        height_mm: float = 8.0,
        faces: Sequence[str] = FACES,
        tumour_faces: Sequence[str] | None = None,
        priors: PhantomPriors | None = None,
        optics: ConsoleOptics | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.name = f"synthetic layered phantom, seed {seed}"
        self.faces = tuple(faces)
        self.samples, self.alines, self.frames = samples, alines, frames
        self.width_mm, self.height_mm = width_mm, height_mm
        self.optics = optics or ConsoleOptics(samples=samples)
        self._check(tumour_faces)

        self.specimen = Specimen(seed, priors)
        self._with_tumour = (
            (self.specimen.choose_face(self.faces),) if tumour_faces is None else tuple(tumour_faces)
        )
        self._interferometer = Interferometer(self.optics)
        self._stroma_counts = self.optics.amplitude_for_snr(self.specimen.priors.stroma_surface_snr_db)
        grid = ScanGrid(alines, frames, self.optics.depth_px, width_mm, height_mm, self.optics.axial_um)
        self.geometry = {
            name: self.specimen.face(name, grid, tumour=name in self._with_tumour) for name in self.faces
        }
        self._spectra = {name: np.empty((frames, alines, samples), np.uint16) for name in self.faces}
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
        """Per face "suspicious" where tumour lies within reach of the surface, else "clear"."""
        reach_mm = self.specimen.priors.reach_mm
        return {
            name: "suspicious"
            if any(t.depth_mm - t.half_depth_mm <= reach_mm for t in face.tumours)
            else "clear"
            for name, face in self.geometry.items()
        }

    def truth_map(self, face: str) -> NDArray[np.bool_]:
        """Where tumour lies within 0.3 mm (`priors.reach_mm`) below the surface, bool (frames, alines)."""
        self._check_face(face)
        return self.geometry[face].tumour_within(self.specimen.priors.reach_mm)

    def frame(self, face: str, index: int) -> NDArray[np.uint16]:
        """Spectra of frame `index` of `face`, uint16 (alines, samples), C-contiguous, read-only."""
        self._check_face(face)
        if not 0 <= index < self.frames:
            raise InputError(f"{self.name}: no frame {index}; a sweep has frames 0 to {self.frames - 1}")
        spectra: NDArray[np.uint16] = self._spectra[face][index]
        return spectra

    def _check(self, tumour_faces: Sequence[str] | None) -> None:
        if not self.faces or len(set(self.faces)) < len(self.faces):
            raise InputError(f"{self.name}: faces are {list(self.faces)}; name at least one, each once")
        if unknown := set(tumour_faces or ()) - set(self.faces):
            raise InputError(
                f"{self.name}: tumour on {sorted(unknown)}, but the faces are {list(self.faces)}"
            )
        if self.optics.samples != self.samples:
            raise InputError(
                f"{self.name}: optics of {self.optics.samples} samples, but {self.samples} asked for"
            )
        for what in ("alines", "frames", "width_mm", "height_mm"):
            if not getattr(self, what) > 0:
                raise InputError(f"{self.name}: {what} is {getattr(self, what)}; give a number above 0")

    def _check_face(self, face: str) -> None:
        if face not in self.faces:
            raise InputError(f"{self.name}: no face {face!r}; it has {', '.join(self.faces)}")

    def _render(self, face: str, index: int) -> None:
        tissue = self.geometry[face].tissue(index)
        amplitude = scattering_amplitude(tissue, self.specimen, self._stroma_counts, self.optics.axial_um)
        self._interferometer.expose(amplitude, self.specimen.rng(face, index), self._spectra[face][index])

    def _render_all(self, threads: int, progress: Callable[[int, int], None] | None) -> None:
        jobs = [(face, index) for face in self.faces for index in range(self.frames)]
        with ThreadPoolExecutor(threads, thread_name_prefix="phantom") as pool:
            futures = [pool.submit(self._render, *job) for job in jobs]
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(jobs))
