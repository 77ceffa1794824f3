"""The network of `octmargin.margin.network` in jax, to be trained; layers, taps and paddings are the same."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from octmargin.margin._cell_kernels import FEATURES
from octmargin.margin.model import CLASSES
from octmargin.margin.network import GATHER_LAYERS, LAYERS, ZONES

Parameters = dict[str, tuple[jax.Array, jax.Array]]
"""Weights [along][down][channel in][channel out] and bias of each layer."""

CHANNELS = (32, 48, 64)
"""After the three strided layers."""
_ZONES = 2 * len(ZONES) * CHANNELS[-1]
_HIDDEN, _GATHERED = 64, 32
CONTEXT = _ZONES + len(CLASSES) + 1
"""What is gathered of each block: its zones, scores, and whether it is sound."""
_SMALL = ("fine_b", "first_b", "last_b", "place", "block_b")
"""Layers that begin nearly silent: residuals, so that the network begins as a shallow one, and scores."""


def initial_parameters(key: jax.Array) -> Parameters:
    """Draw the weights that training begins with (He 2015, doi 10.1109/ICCV.2015.123)."""
    first, second, width = CHANNELS
    channels = {
        "entry": (FEATURES, first),
        "second": (first, second),
        **dict.fromkeys(("fine_a", "fine_b"), (second, second)),
        "third": (second, width),
        **dict.fromkeys(("first_a", "first_b", "last_a", "last_b"), (width, width)),
        "column": (2 * width, width),
        "place": (width, len(CLASSES) + 1),
        "block_a": (_ZONES, _HIDDEN),
        "block_b": (_HIDDEN, len(CLASSES)),
    }
    parameters = {}
    for name, own in zip(LAYERS, jax.random.split(key, len(LAYERS)), strict=True):
        shape = (*LAYERS[name], *channels[name])
        scale = float(np.sqrt(2 / np.prod(shape[:3]))) * (0.1 if name in _SMALL else 1.0)
        parameters[name] = (scale * jax.random.normal(own, shape), jnp.zeros(shape[3]))
    return parameters


def scores(parameters: Parameters, features: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scores of blocks (n, blocks, classes) and of places (n, blocks, bands, classes + 1), zones (n, blocks, values).

    `features` (n, columns, rows, FEATURES), without a border.
    """

    def layer(name: str, x: Any, step: int = 1) -> Any:
        weights, bias = parameters[name]
        along, down = LAYERS[name]
        padding = [(1, 1) if along > 1 else (0, 0), (1, 1) if down > 1 else (0, 0)]
        return (
            jax.lax.conv_general_dilated(
                x, weights, (step, step), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            + bias
        )

    def residual(name: str, x: Any) -> Any:
        return jax.nn.relu(x + layer(f"{name}_b", jax.nn.relu(layer(f"{name}_a", x))))

    def pooled(x: Any) -> Any:
        return jnp.concatenate([x.max(axis=2, keepdims=True), x.mean(axis=2, keepdims=True)], axis=-1)

    x = features
    for name in ("entry", "second"):
        x = jax.nn.relu(layer(name, x, step=2))
    x = jax.nn.relu(layer("third", residual("fine", x), step=2))
    x = residual("first", x)
    x = residual("last", x + jax.nn.relu(layer("column", pooled(x))))
    zones = jnp.concatenate([pooled(x[:, :, first:stop]) for first, stop in ZONES], axis=-1)
    blocks = layer("block_b", jax.nn.relu(layer("block_a", zones)))
    return blocks[:, :, 0], layer("place", x), zones[:, :, 0]


def initial_gathering(key: jax.Array) -> Parameters:
    """Draw the weights that the gathering network begins with."""
    channels = {
        "gather_a": (CONTEXT, _GATHERED),
        "gather_b": (_GATHERED, _GATHERED),
        "gather_c": (_GATHERED, _GATHERED),
        "gather_d": (_GATHERED, len(CLASSES)),
    }
    parameters = {}
    for name, own in zip(GATHER_LAYERS, jax.random.split(key, len(GATHER_LAYERS)), strict=True):
        shape = (*GATHER_LAYERS[name], *channels[name])
        # The last one begins nearly silent: what is learned is a correction.
        scale = float(np.sqrt(2 / np.prod(shape[:3]))) * (0.1 if name == "gather_d" else 1.0)
        parameters[name] = (scale * jax.random.normal(own, shape), jnp.zeros(shape[3]))
    return parameters


def gathered_scores(parameters: Parameters, known: jax.Array) -> jax.Array:
    """Scores (n, frames, blocks, classes) from what is known of each block (n, frames, blocks, CONTEXT)."""
    x: Any = known
    for name in GATHER_LAYERS:
        weights, bias = parameters[name]
        x = jax.lax.conv_general_dilated(
            x, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = x + bias
        if name != "gather_d":
            x = jax.nn.relu(x)
    corrected: jax.Array = known[..., -1 - len(CLASSES) : -1] + x
    return corrected
