"""The synthetic layered phantom as a source of frames: all spectra of a specimen, rendered ahead of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.frames import FACES
from octmargin_simulator.optics import ConsoleOptics, Interferometer
from octmargin_simulator.phantom.layers import Specimen, scattering_amplitude
from octmargin_simulator.phantom.priors import PhantomPriors
from octmargin_simulator.rendered import Progress, RenderedSource


class LayeredPhantom(RenderedSource):
    """A specimen of `faces` (a `FrameSource`) whose spectra are synthetic and exact in their geometry.

    Everything is rendered at construction: `len(faces) * frames * alines * samples` uint16 values, 400 MB for
    the defaults; `threads` defaults to the number of processors and does not change a single count.
    `progress(done, total)` is told of every finished frame, in the constructor's thread. `tumour_faces` names
    the faces that carry tumour; by default the seed chooses exactly one of `faces`.

    Raises InputError for names or sizes that cannot be a scan.
    """

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
        progress: Progress | None = None,
    ) -> None:
        optics = optics or ConsoleOptics(samples=samples)
        name = f"synthetic layered phantom, seed {seed}"
        if optics.samples != samples:
            raise InputError(f"{name}: optics of {optics.samples} samples, but {samples} asked for")
        super().__init__(
            name, faces, optics, alines=alines, frames=frames, width_mm=width_mm, height_mm=height_mm
        )
        if unknown := set(tumour_faces or ()) - set(self.faces):
            raise InputError(f"{name}: tumour on {sorted(unknown)}, but the faces are {list(self.faces)}")
        self.specimen = Specimen(seed, priors)
        self._with_tumour = (
            (self.specimen.choose_face(self.faces),) if tumour_faces is None else tuple(tumour_faces)
        )
        self._interferometer = Interferometer(self.optics)
        self._stroma_counts = self.optics.amplitude_for_snr(self.specimen.priors.stroma_surface_snr_db)
        self.geometry = {
            face: self.specimen.face(face, self.grid, tumour=face in self._with_tumour) for face in self.faces
        }
        self._render(self._expose, threads, progress)

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

    def _expose(self, face: str, index: int, out: NDArray[np.uint16]) -> None:
        tissue = self.geometry[face].tissue(index)
        amplitude = scattering_amplitude(tissue, self.specimen, self._stroma_counts, self.optics.axial_um)
        self._interferometer.expose(amplitude, self.specimen.rng(face, index), out)
