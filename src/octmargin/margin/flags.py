"""What is said of the blocks of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octmargin.frames import BlockQuality, BlockState


@dataclass(frozen=True, slots=True, eq=False)
class BlockFlags:
    """Flags of one frame, one value per block unless said otherwise; arrays are read-only.

    Where a block could not be judged at all, `suspicion`, `probabilities` and the features are NaN: unknown
    is not 0. A block with any `quality` bit set is poor: never suspicious, and never "nothing suspicious"
    either.
    """

    suspicion: NDArray[np.float32]
    """0..1: probability that the block is malignant, as calibrated on synthetic tissue; in rule-1 an order only."""
    probabilities: NDArray[np.float32]
    """(blocks, classes) in the order of `Assessor.classes`; rows sum to 1."""
    suspicious: NDArray[np.bool_]
    distance_mm: NDArray[np.float32]
    """From the surface to the nearest suspicious feature; NaN where there is none."""
    feature_mm: NDArray[np.float32]
    """Depth of what the suspicion rests on, however small that is; NaN where nothing could be judged."""
    visualised_depth_mm: NDArray[np.float32]
    """From the surface to where the averaged profile is lost in the noise, or to where the model stops judging; 0 where
    nothing was seen."""
    quality: NDArray[np.uint8]
    """Bits of `BlockQuality`."""
    surface_mm: NDArray[np.float32]
    """Median depth of the surface below zero delay; NaN where there is none."""
    attenuation_per_mm: NDArray[np.float32]
    """Mean of what is visualised; in rule-1 of the most suspicious layer."""
    brightness_db: NDArray[np.float32]
    """Mean of the first 150 µm below the surface, over the noise."""
    surface_px: NDArray[np.float32]
    """Per A-line."""
    enface_db: NDArray[np.float32]
    """Per A-line: mean dB from 50 to 500 µm below the surface; NaN where there is none."""
    context: NDArray[np.float32]
    """(blocks, n): what the model wants back when the evidence of the sweep is gathered."""
    why_unfamiliar: str = ""
    """Why blocks are unlike what the model knows, where it can say."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def state(self) -> NDArray[np.uint8]:
        """`BlockState` of each block: only a sound block with a known suspicion can be "nothing suspicious"."""
        sound = (self.quality == BlockQuality.OK) & np.isfinite(self.suspicion)
        judged = np.where(self.suspicious, BlockState.SUSPICIOUS, BlockState.NOTHING_SUSPICIOUS)
        return np.where(sound, judged, BlockState.POOR).astype(np.uint8)

    @property
    def blocks(self) -> int:
        """Number of blocks of the frame."""
        return len(self.suspicion)
