"""The map of one sweep: what is known of every planned block."""

from __future__ import annotations

import numpy as np

from octmargin.errors import InputError
from octmargin.frames import BlockState
from octmargin.margin.flags import BlockFlags


class SweepMap:
    """En face grid (frames, blocks) of one sweep; starts as not scanned.

    `state` uint8 of `BlockState`; `suspicion`, `visualised_depth_mm` and `distance_mm` float32, NaN where
    unknown.
    """

    def __init__(self, frames: int, blocks: int) -> None:
        if frames < 1 or blocks < 1:
            raise InputError(f"sweep map: {frames} frames x {blocks} blocks; give at least one of each")
        self.state = np.full((frames, blocks), BlockState.NOT_SCANNED, dtype=np.uint8)
        self.suspicion = np.full((frames, blocks), np.nan, dtype=np.float32)
        self.visualised_depth_mm = np.full((frames, blocks), np.nan, dtype=np.float32)
        self.distance_mm = np.full((frames, blocks), np.nan, dtype=np.float32)
        self._placed = np.zeros(frames, dtype=np.bool_)

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
        self.state[frame_index] = flags.state
        self.suspicion[frame_index] = flags.suspicion
        self.visualised_depth_mm[frame_index] = flags.visualised_depth_mm
        self.distance_mm[frame_index] = flags.distance_mm
        self._placed[frame_index] = True

    def mark_lost(self, frame_index: int) -> None:
        """Enter that a frame was lost; a frame that is already placed stays as it is."""
        self._check_index(frame_index)
        if not self._placed[frame_index]:
            self.state[frame_index] = BlockState.LOST

    def _check_index(self, frame_index: int) -> None:
        if not 0 <= frame_index < self.frames:
            raise InputError(f"sweep map: frame {frame_index} is outside the planned 0..{self.frames - 1}")
