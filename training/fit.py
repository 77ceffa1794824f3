"""Fits the network to examples."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from octmargin.margin.model import CLASSES
from training.batches import batches
from training.contexts import MALIGNANT_KINDS
from training.descent import Descent
from training.examples import Examples
from training.network import Parameters, initial_parameters, scores

BATCH = 16
_PEAK_RATE = 1.5e-3
_WARM_UP_STEPS = 300
_WEIGHT_DECAY = 0.02
_DCIS_WEIGHT = 2.0
"""Of a block with DCIS against another: there are few, and they are the hard ones; calibration comes after."""
_SMALL_BLOCKS, _SMALL_WEIGHT = 8, 2.5
"""Of a lesion of fewer blocks in a frame each counts for more, up to so much: a small one is as much a lesion."""
_PLACE_SHARE = 0.5
"""Of the places' loss in the whole one."""

_MALIGNANT = torch.tensor(MALIGNANT_KINDS)

Say = Callable[[str], None]


def fit(examples: Examples, *, epochs: int, seed: int, say: Say) -> Parameters:
    """Train from weights drawn by `seed`; the same seed and examples give the same bits on the same kind of machine."""
    steps = epochs * (len(examples.seed) // BATCH)
    descent = Descent(
        initial_parameters(torch.Generator().manual_seed(seed)),
        peak_rate=_PEAK_RATE,
        warm_up_steps=min(_WARM_UP_STEPS, steps // 3),
        steps=steps,
        weight_decay=_WEIGHT_DECAY,
    )
    began, losses = time.monotonic(), []
    for n, batch in enumerate(batches(examples, BATCH, epochs, seed), start=1):
        features, kind, counts, places = (
            torch.from_numpy(values) for values in (batch.features, batch.kind, batch.counts, batch.places)
        )
        of_blocks, of_places, _ = scores(descent.parameters, features)
        loss = frames_loss(of_blocks, of_places, kind, counts, places)
        descent.step(loss)
        losses.append(loss.item())
        if n % 100 == 0 or n == steps:
            mean = float(np.mean(losses[-100:]))
            say(f"step {n} of {steps}: loss {mean:.4f}, {time.monotonic() - began:.0f} s")
    return descent.found()


def frames_loss(
    block_scores: Tensor, place_scores: Tensor, kind: Tensor, counts: Tensor, places: Tensor
) -> Tensor:
    """Cross-entropy of the blocks that count, and of the places below them by the share of each class."""
    chosen = torch.log_softmax(block_scores, dim=-1).gather(-1, kind[..., None])[..., 0]
    weights = counts * torch.where(kind == CLASSES.index("dcis"), _DCIS_WEIGHT, 1.0)
    malignant = is_malignant(kind, counts)
    small = torch.sqrt(_SMALL_BLOCKS / malignant.sum(dim=1, keepdim=True).clamp(min=1))
    weights = weights * torch.where(malignant, small.clamp(1.0, _SMALL_WEIGHT), 1.0)
    of_blocks = -(chosen * weights).sum() / weights.sum()
    of_places = -(places * torch.log_softmax(place_scores, dim=-1)).sum(dim=-1).mean(dim=-1)
    return of_blocks + _PLACE_SHARE * (of_places * counts).sum() / counts.sum()


def is_malignant(kind: Tensor, counts: Tensor) -> Tensor:
    """Which blocks show a lesion, of those that count."""
    return torch.isin(kind, _MALIGNANT) & (counts > 0)
