"""Fits the network to examples."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from octmargin.margin.model import CLASSES, MALIGNANT
from octmargin.margin.model_file import Layer
from training.batches import batches
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

Say = Callable[[str], None]


def fit(examples: Examples, *, epochs: int, seed: int, say: Say) -> Parameters:
    """Train from weights drawn by `seed`; the same seed and examples give the same bits on the same kind of machine."""
    steps = epochs * (len(examples.seed) // BATCH)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, _PEAK_RATE, min(_WARM_UP_STEPS, steps // 3), steps, 0.02 * _PEAK_RATE
    )
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=_WEIGHT_DECAY))
    parameters = initial_parameters(jax.random.key(seed))
    state = optimiser.init(parameters)

    @jax.jit
    def step(parameters: Any, state: Any, batch: Any) -> Any:
        loss, gradient = jax.value_and_grad(_loss)(parameters, *batch)
        updates, state = optimiser.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss

    began, losses = time.monotonic(), []
    for n, batch in enumerate(batches(examples, BATCH, epochs, seed), start=1):
        parameters, state, loss = step(
            parameters, state, (batch.features, batch.kind, batch.counts, batch.places)
        )
        losses.append(loss)
        if n % 100 == 0 or n == steps:
            mean = float(np.mean([float(value) for value in losses[-100:]]))
            say(f"step {n} of {steps}: loss {mean:.4f}, {time.monotonic() - began:.0f} s")
    return parameters


def packed(parameters: Parameters) -> list[Layer]:
    """Layers as they go into the model's file."""
    return [Layer.pack(name, np.asarray(w), np.asarray(b)) for name, (w, b) in parameters.items()]


def _loss(parameters: Any, features: Any, kind: Any, counts: Any, places: Any) -> Any:
    block_scores, place_scores, _ = scores(parameters, features)
    return frames_loss(block_scores, place_scores, kind, counts, places)


def frames_loss(block_scores: Any, place_scores: Any, kind: Any, counts: Any, places: Any) -> Any:
    """Cross-entropy of the blocks that count, and of the places below them by the share of each class."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(block_scores), kind[..., None], axis=-1)[..., 0]
    weights = counts * jnp.where(kind == CLASSES.index("dcis"), _DCIS_WEIGHT, 1.0)
    is_malignant = jnp.isin(kind, jnp.array([CLASSES.index(name) for name in MALIGNANT])) & (counts > 0)
    small = jnp.sqrt(_SMALL_BLOCKS / jnp.maximum(is_malignant.sum(axis=1, keepdims=True), 1))
    weights = weights * jnp.where(is_malignant, jnp.clip(small, 1.0, _SMALL_WEIGHT), 1.0)
    of_blocks = -(chosen * weights).sum() / weights.sum()
    of_places = -(places * jax.nn.log_softmax(place_scores)).sum(axis=-1).mean(axis=-1)
    return of_blocks + _PLACE_SHARE * (of_places * counts).sum() / counts.sum()
