"""What a margin model is: the contract of whatever judges the blocks of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

CLASSES: tuple[str, ...] = ("adipose", "stroma", "invasive", "dcis", "other_benign", "artefact")
"""What the trained models tell apart."""
MALIGNANT = ("invasive", "dcis")


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Averaged profile of each block below its surface, in bins of depth.

    `log_bins` float64 (blocks, bins): natural logarithm of the signal over nothing, the roll-off taken back;
    `bins_seen` int64 (blocks,): bins down to where noise hides the tissue, what lies below is not set.
    """

    log_bins: NDArray[np.float64]
    bins_seen: NDArray[np.int64]
    first_mm: float
    bin_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """One frame as a model sees it; arrays are read-only and only good during the call.

    `bscan_db` and `intensity` float32 (alines, depth), dB and linear; `surface_px` float32 (alines,), NaN where
    there is none; `usable` bool (alines,): a surface, and not saturated; `noise` the mean noise in units of
    `intensity`; `axial_um` the depth pixel in tissue; `aline_um` the distance of A-lines, None where nobody
    knows; `profile` of each block of `alines_per_block`.
    """

    bscan_db: NDArray[np.float32]
    intensity: NDArray[np.float32]
    surface_px: NDArray[np.float32]
    usable: NDArray[np.bool_]
    noise: float
    axial_um: float
    aline_um: float | None
    alines_per_block: int
    profile: Profile

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be short."""
        return -(-len(self.surface_px) // self.alines_per_block)


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a model says of the blocks of a frame; NaN where it can say nothing.

    `suspicion` float32 (blocks,), 0..1; `probabilities` float32 (blocks, classes), rows sum to 1; `distance_mm`
    float32 (blocks,): surface to the nearest suspicious feature, should the block be suspicious;
    `attenuation_per_mm` float32 (blocks,): of what was judged; `unfamiliar` bool (blocks,): unlike what the
    model was validated on, so that its answer does not count, and `why_unfamiliar` in words, where it can say;
    `context` float32 (blocks, n): whatever the model wants back of each block when the sweep's evidence is gathered.
    """

    suspicion: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    distance_mm: NDArray[np.float32]
    attenuation_per_mm: NDArray[np.float32]
    unfamiliar: NDArray[np.bool_]
    context: NDArray[np.float32]
    why_unfamiliar: str = ""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """From which evidence on, of 0 to 1, blocks of a sweep are suspicious or doubtful, and how many must touch.

    `doubtful_alone_at` is the suspicion from which a single block, as its frame alone shows it, leaves a face open
    whatever its neighbours say; None where a model's suspicion is no probability.
    """

    suspicious_at: float
    doubtful_at: float
    min_cluster_blocks: int
    doubtful_alone_at: float | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What goes into the record: name, version, hash of what was trained, where there is such a thing."""

    name: str
    version: str
    fingerprint: str = ""
    seen_seeds: tuple[tuple[int, int], ...] = ()
    """First and last seeds of the simulated specimens that it was trained or calibrated on."""


class MarginModel(Protocol):
    """Judges the blocks of one frame after the other. One object serves one thread at a time.

    `judged_mm` is the depth below the surface down to which it judges: no flag claims to have seen deeper.
    `suspicious_at` is the suspicion from which a block of a frame is suspicious, `operating_point` what the
    evidence of a sweep is judged by, both unless the configuration says otherwise.
    """

    identity: ModelIdentity
    classes: tuple[str, ...]
    judged_mm: float
    suspicious_at: float
    operating_point: OperatingPoint

    def judge(self, view: FrameView) -> Judgement:
        """Judge every block of `view`."""
        ...

    def gather(
        self,
        suspicion: NDArray[np.float32],
        context: NDArray[np.float32],
        sound: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """Gather the evidence over neighbouring blocks and frames of a sweep: float32 (frames, blocks), 0..1.

        `suspicion` (frames, blocks) and `context` (frames, blocks, n) as judged frame by frame, anything where not
        `sound` bool (frames, blocks): not scanned, lost or poor. NaN there, and only there. May be called from
        another thread than `judge`, at the same time.
        """
        ...
