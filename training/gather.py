"""Teach a trained model to gather evidence over a sweep: `python -m training.gather --help`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from octmargin.margin.model import CLASSES
from octmargin.margin.model_file import read_model, write_model
from octmargin.margin.trained import gather_input
from training.card import after
from training.contexts import MALIGNANT_KINDS, SweepContext, contexts
from training.descent import Descent
from training.fit import is_malignant
from training.network import Parameters, gathered_scores, initial_gathering, packed
from training.sweeps import render_sweeps

FIRST_GATHERING_SEED = 110_000
BATCH = 8
_PEAK_RATE = 3e-3
_WEIGHT_DECAY = 0.3
_HOLES = 0.3
"""Share of the sweeps of a batch that are shown with holes, as losses make them."""
_FACE_SHARE = 0.1
"""Of the faces' loss beside that of the blocks: a small lesion is few blocks, but a whole face."""
_SURELY_NOT = -20.0
_IS_MALIGNANT = torch.isin(torch.arange(len(CLASSES)), torch.tensor(MALIGNANT_KINDS))
FACE_BLOCKS = 4
"""So many blocks make a face suspicious: the face's score in training is that of the fourth highest block."""


def fit_gathering(sweeps: list[SweepContext], *, epochs: int, seed: int) -> Parameters:
    """Train on whole sweeps, mirrored and with holes; the same seed gives the same bits on the same kind of machine."""
    known = np.stack([gather_input(s.context, s.usable) for s in sweeps])
    kind = np.stack([s.kind for s in sweeps]).astype(np.int64)
    counts = np.stack([s.counts for s in sweeps]).astype(np.float32)
    size = min(BATCH, len(sweeps))
    per_epoch = len(sweeps) // size
    steps = epochs * per_epoch
    descent = Descent(
        initial_gathering(torch.Generator().manual_seed(seed), known.shape[-1]),
        peak_rate=_PEAK_RATE,
        warm_up_steps=steps // 20 + 1,
        steps=steps + 1,
        weight_decay=_WEIGHT_DECAY,
    )
    rng = np.random.default_rng([seed, 40])
    for _ in range(epochs):
        order = rng.permutation(len(sweeps))
        for n in range(per_epoch):
            chosen = order[n * size : (n + 1) * size]
            batch = _changed(known[chosen], kind[chosen], counts[chosen], rng)
            descent.step(_loss(descent.parameters, *(torch.from_numpy(values) for values in batch)))
    return descent.found()


def _loss(parameters: Parameters, known: Tensor, kind: Tensor, counts: Tensor) -> Tensor:
    of_blocks, of_faces = gathered_losses(
        gathered_scores(parameters, known), known[..., -1] > 0, kind, counts
    )
    return of_blocks + _FACE_SHARE * of_faces.mean()


def gathered_losses(found: Tensor, is_sound: Tensor, kind: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the blocks that count, and of each of the faces, by its highest blocks."""
    logs = torch.log_softmax(found, dim=-1)
    chosen = logs.gather(-1, kind[..., None])[..., 0]
    malignant = torch.where(_IS_MALIGNANT, logs, -torch.inf).logsumexp(dim=-1)
    logit = malignant - torch.log1p(-malignant.exp().clamp(max=1 - 1e-6))
    highest = torch.where(is_sound, logit, _SURELY_NOT).flatten(1).topk(FACE_BLOCKS).values
    of_face = highest[:, -1]
    has_lesion = is_malignant(kind, counts).flatten(1).any(dim=1)
    of_faces = torch.nn.functional.softplus(of_face) - has_lesion * of_face
    return -(chosen * counts).sum() / counts.sum(), of_faces


def _changed(
    known: NDArray[np.float32], kind: NDArray[np.int64], counts: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    for n in range(len(known)):
        for axis in (0, 1):
            if rng.random() < 0.5:
                known[n], kind[n], counts[n] = (
                    np.flip(values[n], axis).copy() for values in (known, kind, counts)
                )
        if rng.random() < _HOLES:
            lost = rng.random(known.shape[1]) < rng.uniform(0, 0.3)
            known[n, lost], counts[n, lost] = 0.0, 0.0
    return known, kind, counts


def main() -> None:
    """Render sweeps, run the model over them, train, write."""
    parser = argparse.ArgumentParser(prog="python -m training.gather", description=__doc__)
    parser.add_argument("--model", default="src/octmargin/margin/models/margin-1.json")
    parser.add_argument("--sweeps", default=".cache/sweeps", help="folder that keeps the rendered sweeps")
    parser.add_argument("--specimens", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.monotonic()
    seeds = range(FIRST_GATHERING_SEED, FIRST_GATHERING_SEED + options.specimens)
    paths = render_sweeps(Path(options.sweeps), seeds, options.processes)
    model = read_model(options.model)
    parameters = fit_gathering(contexts(model, paths), epochs=options.epochs, seed=model.card.seed)
    names = {layer.name for layer in packed(parameters)}
    write_model(
        msgspec.structs.replace(
            model,
            layers=[layer for layer in model.layers if layer.name not in names] + packed(parameters),
            card=after(
                model.card,
                f"to gather, on sweeps of {len(seeds)} more",
                gathering_seeds=(seeds[0], seeds[-1]),
            ),
        ),
        Path(options.model),
    )
    print(f"{options.model} gathers evidence, not yet calibrated ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
