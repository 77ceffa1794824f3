"""A recording as what the simulated console looks at: the same spectra over a wire again, holes and all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octmargin.archive import Recording
from octmargin.archive.metadata import PolynomialCalibration
from octmargin.errors import InputError
from octmargin.frames import PixelFormat


class ArchivedSource:
    """The faces of a recording (a `FrameSource`), read into memory at once: decoding takes longer than a frame lasts.

    A frame that is lost in the recording is numbered and not sent. A maker's calibration is handed on as the console's
    own; another lies beside the spectra as a file, to be configured.

    Raises InputError for a folder that is no recording, has a damaged frame, or faces of different size.
    """

    def __init__(self, path: str | Path) -> None:
        recording = Recording.open(path)
        plans = [recording.plan(face) for face in recording.faces]
        first = plans[0]
        sizes = {(plan.frames, plan.alines, plan.width_mm, plan.height_mm) for plan in plans}
        if len(sizes) > 1:
            raise InputError(
                f"{recording.path}: its faces differ in frames, A-lines or extent, and a console has one size; "
                "serve another recording"
            )
        self.name = f"recording {recording.path.name}"
        self.synthetic = recording.synthetic
        self.faces = recording.faces
        self.samples, self.alines, self.frames = first.samples, first.alines, first.frames
        self.width_mm, self.height_mm = first.width_mm, first.height_mm
        self.pixel_format: PixelFormat = first.pixel_format
        self._truth = dict(recording.truth)
        self._calibration = _factory(recording)
        self._frames = {
            (face, index): spectra
            for face in recording.faces
            for index in range(first.frames)
            if (spectra := recording.frame(face, index)) is not None
        }
        for spectra in self._frames.values():
            spectra.flags.writeable = False

    @property
    def factory_calibration(self) -> Mapping[str, Any]:
        """The maker's, where that is what the recording has; else empty."""
        return self._calibration

    @property
    def truth(self) -> Mapping[str, str]:
        """As the recording knows it."""
        return self._truth

    def frame(self, face: str, index: int) -> NDArray[np.unsignedinteger[Any]] | None:
        """Frame `index` of `face`, (alines, samples), read-only; None where the recording has none."""
        return self._frames.get((face, index))


def _factory(recording: Recording) -> dict[str, Any]:
    kept = recording.kept_calibration
    if not isinstance(kept, PolynomialCalibration):
        return {}
    return {
        "k_map": list(kept.k_map),
        "dispersion_rad": list(kept.dispersion_rad),
        "axial_um": recording.axial_um,
    }
