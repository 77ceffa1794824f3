"""What the simulated console looks at: anything that yields spectra for the frames of a face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from octmargin.frames import PixelFormat


class FrameSource(Protocol):
    """Spectra for every frame of every face, ready before they are asked for.

    `frame` is called at the console's line rate, so it must only look up, not compute.
    """

    name: str
    """Shown to people: "layered phantom, seed 7" or the file's name."""
    synthetic: bool
    """True where the spectra were computed, False where they were once measured."""
    faces: tuple[str, ...]
    samples: int
    alines: int
    frames: int
    """Frames of one sweep over one face."""
    width_mm: float
    height_mm: float
    pixel_format: PixelFormat

    @property
    def factory_calibration(self) -> Mapping[str, Any]:
        """What the maker would have written into the console: see docs/protocol.md, self-description.

        Empty for a source whose calibration is unknown. Else `axial_um` (depth pixel in tissue),
        `k_map` and `dispersion_rad`, each a list of polynomial coefficients over x = j/(samples-1),
        lowest power first; `k_map` gives pixel positions, `dispersion_rad` radians.
        """
        ...

    @property
    def truth(self) -> Mapping[str, str]:
        """Per face what is really there: "suspicious" or "clear"; empty where nobody knows."""
        ...

    def frame(self, face: str, index: int) -> NDArray[Any] | None:
        """Spectra of frame `index` of `face`, (alines, samples), C-contiguous, read-only; dtype of `pixel_format`.

        None for one that was lost when it was recorded: the console numbers it, and sends nothing.
        """
        ...
