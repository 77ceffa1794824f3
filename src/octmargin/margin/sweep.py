"""The map of one sweep: what is known of every planned block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import InputError
from octmargin.frames import BlockState
from octmargin.margin.flags import BlockFlags
from octmargin.margin.grid import frame_limit, told_um
from octmargin.margin.model import MarginModel, OperatingPoint

_WITHOUT_MODEL = OperatingPoint(suspicious_at=0.5, doubtful_at=0.5, min_cluster_blocks=3)


class SweepMap:
    """En face grid (frames, blocks) of one sweep; starts as not scanned.

    `state` uint8 of `BlockState` and `suspicion` float32 are what each frame alone says; `quality` uint8 of
    `BlockQuality`; `visualised_depth_mm` and `feature_mm` float32, NaN where unknown. `model`
    gathers the evidence and has the operating point; without one a block's evidence is its suspicion. `frame_um` is
    the distance of the planned frames, None where nobody knows it.
    """

    def __init__(
        self, frames: int, blocks: int, model: MarginModel | None = None, *, frame_um: float | None = None
    ) -> None:
        if frames < 1 or blocks < 1:
            raise InputError(f"sweep map: {frames} frames x {blocks} blocks; give at least one of each")
        self.state = np.full((frames, blocks), BlockState.NOT_SCANNED, dtype=np.uint8)
        self.suspicion = np.full((frames, blocks), np.nan, dtype=np.float32)
        self.visualised_depth_mm = np.full((frames, blocks), np.nan, dtype=np.float32)
        self.feature_mm = np.full((frames, blocks), np.nan, dtype=np.float32)
        self.quality = np.zeros((frames, blocks), dtype=np.uint8)
        self.why_unfamiliar = ""
        """Why blocks are unlike what the model knows, where it can say."""
        self._frame_um = frame_um
        self._placed = np.zeros(frames, dtype=np.bool_)
        self._model = model
        self.operating_point = model.operating_point if model is not None else _WITHOUT_MODEL
        self._context = np.empty((frames, blocks, 0), dtype=np.float32)
        self._evidence: NDArray[np.float32] | None = None

    @property
    def frames(self) -> int:
        """Planned frames."""
        return self.state.shape[0]

    @property
    def blocks(self) -> int:
        """Planned blocks per frame."""
        return self.state.shape[1]

    def place(self, frame_index: int, flags: BlockFlags) -> None:
        """Enter a frame's flags; a frame that comes again replaces itself, also where it was marked lost.

        Raises InputError for a frame outside the sweep or with another number of blocks.
        """
        self._check_index(frame_index)
        if flags.suspicion.shape != (self.blocks,):
            raise InputError(f"sweep map: frame has {flags.blocks} blocks, planned were {self.blocks}")
        if self._context.shape[2] != flags.context.shape[1]:
            if self._placed.any():
                raise InputError(
                    f"sweep map: context of {flags.context.shape[1]} values, that of other frames has "
                    f"{self._context.shape[2]}; one model must judge a whole sweep"
                )
            self._context = np.zeros((self.frames, self.blocks, flags.context.shape[1]), dtype=np.float32)
        self.state[frame_index] = flags.state
        self.suspicion[frame_index] = flags.suspicion
        self.visualised_depth_mm[frame_index] = flags.visualised_depth_mm
        self.feature_mm[frame_index] = flags.feature_mm
        self.quality[frame_index] = flags.quality
        self._context[frame_index] = flags.context
        self.why_unfamiliar = flags.why_unfamiliar or self.why_unfamiliar
        self._placed[frame_index] = True
        self._evidence = None

    def enter(
        self, suspicion: NDArray[np.float32], context: NDArray[np.float32], sound: NDArray[np.bool_]
    ) -> None:
        """Enter a whole sweep that was judged elsewhere; a block that is not `sound` (frames, blocks) is poor."""
        self.state[:] = np.where(sound, BlockState.NOTHING_SUSPICIOUS, BlockState.POOR)
        self.suspicion[:], self._context = suspicion, context
        self._placed[:] = True
        self._evidence = None

    def mark_lost(self, frame_index: int) -> None:
        """Enter that a frame was lost; a frame that is already placed stays as it is."""
        self._check_index(frame_index)
        if not self._placed[frame_index]:
            self.state[frame_index] = BlockState.LOST

    @property
    def judgeable(self) -> NDArray[np.bool_]:
        """Blocks that were scanned, came, and are not poor, (frames, blocks)."""
        judged: NDArray[np.bool_] = (self.state == BlockState.NOTHING_SUSPICIOUS) | (
            self.state == BlockState.SUSPICIOUS
        )
        return judged

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Judgeable blocks of which there is evidence, (frames, blocks): what counts as covered."""
        return np.isfinite(self.evidence)

    @property
    def evidence(self) -> NDArray[np.float32]:
        """Evidence over neighbouring blocks and frames, (frames, blocks), 0..1; NaN where there is none.

        Raises InputError where the model's is of another shape.
        """
        if self._evidence is None:
            judgeable = self.judgeable
            evidence = self.suspicion
            if self._model is not None:
                evidence = self._model.gather(self.suspicion, self._context, judgeable)
            if evidence.shape != self.state.shape:
                raise InputError(
                    f"model {self._model.identity.name if self._model else ''}: evidence of shape {evidence.shape}, "
                    f"expected {self.state.shape}"
                )
            # Whatever a model says of what could not be judged, it does not count.
            self._evidence = np.where(judgeable, evidence, np.float32(np.nan)).astype(np.float32)
        return self._evidence

    def state_by_evidence(self, suspicious_at: float) -> NDArray[np.uint8]:
        """`BlockState` where sound blocks are suspicious from this evidence on, (frames, blocks)."""
        state = self.state.copy()
        with np.errstate(invalid="ignore"):
            suspicious = self.evidence >= suspicious_at
        state[self.judgeable] = BlockState.POOR
        state[self.sound] = BlockState.NOTHING_SUSPICIOUS
        state[suspicious] = BlockState.SUSPICIOUS
        return state

    def why_sparse(self, allowed_um: float | None) -> str:
        """Why a lesion may lie between the planned frames, which may be `allowed_um` apart; empty where none may."""
        limit = frame_limit(self._model, allowed_um)
        if self._frame_um is None or not limit.is_passed(self._frame_um):
            return ""
        return (
            f"frames {told_um(self._frame_um)} apart, and {limit.said}: what lies between them was not seen"
        )

    def _check_index(self, frame_index: int) -> None:
        if not 0 <= frame_index < self.frames:
            raise InputError(f"sweep map: frame {frame_index} is outside the planned 0..{self.frames - 1}")
