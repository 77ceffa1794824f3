"""What a trained network says of the blocks of whole sweeps, before evidence is gathered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octmargin.margin import _cell_kernels as kernels
from octmargin.margin.model import CLASSES, MALIGNANT
from octmargin.margin.model_file import ModelFile
from octmargin.margin.network import Network
from training.examples import out_of_db
from training.sweeps import read_sweep

MALIGNANT_KINDS = [CLASSES.index(name) for name in MALIGNANT]


@dataclass(frozen=True, slots=True, eq=False)
class SweepContext:
    """One face: `context` float32 (frames, blocks, n), its last columns the scores; the rest as in `Sweep`."""

    context: NDArray[np.float32]
    kind: NDArray[np.int8]
    usable: NDArray[np.bool_]
    touched: NDArray[np.bool_]

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores of the blocks as their frame alone gives them, (frames, blocks, classes)."""
        return self.context[..., -len(CLASSES) :]

    @property
    def is_malignant(self) -> NDArray[np.bool_]:
        """Truth of the blocks, (frames, blocks)."""
        return np.isin(self.kind, MALIGNANT_KINDS)

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Blocks that can be judged and are not merely touched by a lesion."""
        return self.usable & ~self.touched


def contexts(model: ModelFile, paths: list[Path]) -> list[SweepContext]:
    """Run the network over every frame of every sweep."""
    network = Network(model)
    return [_context(network, path) for path in paths]


def _context(network: Network, path: Path) -> SweepContext:
    sweep = read_sweep(path)
    features = network.features_for(sweep.kind.shape[1])
    scratch, tile = np.empty(sweep.cells_db.shape[1:], np.float32), np.zeros(16, np.float32)
    said = []
    for cells_db in sweep.cells_db:
        cells = out_of_db(cells_db)
        kernels.cell_features(cells, scratch, tile, features)
        scores, _ = network.run()
        said.append(np.concatenate([network.zones, scores[:, : len(CLASSES)]], axis=1))
    return SweepContext(np.stack(said), sweep.kind, sweep.usable, sweep.touched)
