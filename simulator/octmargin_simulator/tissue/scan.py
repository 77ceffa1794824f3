"""Simulated specimens as a source of frames, one at a time or rendered ahead for a console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.frames import FACES
from octmargin_simulator.optics import ConsoleOptics, Interferometer, returned_amplitude
from octmargin_simulator.rendered import Progress, RenderedSource
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


class TissueScan(RenderedSource):
    """All faces of one specimen (a `FrameSource`), synthetic, rendered at construction.

    `scenarios` says what a face must carry; else the seed decides. `threads` defaults to the number of processors
    and does not change a single count; `progress(done, total)` is told of every finished frame, in the
    constructor's thread. The default is one face after the other of 8 x 8 mm: 520 MB of spectra for a lumpectomy.

    Raises InputError for names or sizes that cannot be a scan.
    """

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
        progress: Progress | None = None,
    ) -> None:
        self.specimen = TissueSpecimen(seed, sort)
        name = f"synthetic {self.specimen.sort}, seed {seed}"
        super().__init__(
            name,
            SORT_FACES[self.specimen.sort] if faces is None else faces,
            self.specimen.console(samples),
            alines=alines,
            frames=frames,
            width_mm=width_mm,
            height_mm=height_mm,
        )
        scenarios = dict(scenarios or {})
        if unknown := set(scenarios) - set(self.faces):
            raise InputError(f"{name}: scenario for {sorted(unknown)}, but the faces are {list(self.faces)}")
        self.tissue = {face: self.specimen.face(face, self.grid, scenarios.get(face)) for face in self.faces}
        scanners = {
            face: FaceScanner(self.specimen, face, tissue, self.optics)
            for face, tissue in self.tissue.items()
        }
        self.frame_truths = self._render(
            lambda face, index, out: scanners[face].expose(index, out), threads, progress
        )
        """Per face, of each frame."""

    @property
    def truth(self) -> Mapping[str, str]:
        """Per face "suspicious" where a malignant lesion comes within a millimetre of the surface, else "clear"."""
        return {name: "suspicious" if self.truth_map(name).any() else "clear" for name in self.faces}

    def truth_map(self, face: str) -> NDArray[np.bool_]:
        """Where a malignant lesion lies within a millimetre below the surface, bool (frames, alines)."""
        self._check_face(face)
        with np.errstate(invalid="ignore"):
            return np.stack([truth.malignant_mm <= REACH_MM for truth in self.frame_truths[face]])
