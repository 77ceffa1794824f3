"""The network of `octmargin.margin.network` in PyTorch, to be trained; layers, taps and paddings are the same."""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import Tensor

from octmargin.margin._cell_kernels import FEATURES
from octmargin.margin.model import CLASSES
from octmargin.margin.model_file import Layer, ModelFile
from octmargin.margin.network import GATHER_LAYERS, LAYERS, ZONES

Parameters = dict[str, tuple[Tensor, Tensor]]
"""Weights [along][down][channel in][channel out] and bias of each layer."""

CHANNELS = (32, 48, 64)
"""After the three strided layers, of a network that begins."""
_HIDDEN, _GATHERED = 64, 32
_SMALL = ("fine_b", "first_b", "last_b", "place", "block_b")
"""Layers that begin nearly silent: residuals, so that the network begins as a shallow one, and scores."""


def zones_of(width: int) -> int:
    """Values that the zones of a block hold, of `width` channels each."""
    return 2 * len(ZONES) * width


def context_of(width: int) -> int:
    """What is gathered of each block: its zones, scores, and whether it is sound."""
    return zones_of(width) + len(CLASSES) + 1


def _layer_channels(channels: tuple[int, int, int]) -> dict[str, tuple[int, int]]:
    """Channels in and out of every layer of a network of frames."""
    first, second, width = channels
    return {
        "entry": (FEATURES, first),
        "second": (first, second),
        **dict.fromkeys(("fine_a", "fine_b"), (second, second)),
        "third": (second, width),
        **dict.fromkeys(("first_a", "first_b", "last_a", "last_b"), (width, width)),
        "column": (2 * width, width),
        "place": (width, len(CLASSES) + 1),
        "block_a": (zones_of(width), _HIDDEN),
        "block_b": (_HIDDEN, len(CLASSES)),
    }


def _drawn_weights(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    """Draw weights that keep the variance of what they are given (He 2015, doi 10.1109/ICCV.2015.123)."""
    return sqrt(2 / prod(shape[:3])) * torch.randn(shape, generator=generator)


def initial_parameters(generator: torch.Generator, channels: tuple[int, int, int] = CHANNELS) -> Parameters:
    """Draw the weights that training begins with."""
    parameters = {}
    for name, (into, out) in _layer_channels(channels).items():
        weights = _drawn_weights((*LAYERS[name], into, out), generator)
        parameters[name] = ((0.1 if name in _SMALL else 1.0) * weights, torch.zeros(out))
    return parameters


def parameters_of(model: ModelFile) -> Parameters:
    """The weights of a model's file."""
    parameters = {}
    for name in (*LAYERS, *GATHER_LAYERS):
        weights, bias = model.layer(name).unpack()
        parameters[name] = torch.from_numpy(weights), torch.from_numpy(bias)
    return parameters


def packed(parameters: Parameters) -> list[Layer]:
    """Layers as they go into the model's file."""
    return [Layer.pack(name, w.numpy(), b.numpy()) for name, (w, b) in parameters.items()]


def scores(parameters: Parameters, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of blocks (n, blocks, classes) and of places (n, blocks, bands, classes + 1), zones (n, blocks, values).

    `features` float32 (n, columns, rows, FEATURES), without a border.
    """

    def layer(name: str, x: Tensor, step: int = 1) -> Tensor:
        return _convolved(parameters, name, x, step)

    def residual(name: str, x: Tensor) -> Tensor:
        return torch.relu(x + layer(f"{name}_b", torch.relu(layer(f"{name}_a", x))))

    def pooled(x: Tensor) -> Tensor:
        return torch.cat([x.amax(dim=3, keepdim=True), x.mean(dim=3, keepdim=True)], dim=1)

    x = features.permute(0, 3, 1, 2)
    for name in ("entry", "second"):
        x = torch.relu(layer(name, x, step=2))
    x = torch.relu(layer("third", residual("fine", x), step=2))
    x = residual("first", x)
    x = residual("last", x + torch.relu(layer("column", pooled(x))))
    zones = torch.cat([pooled(x[..., first:stop]) for first, stop in ZONES], dim=1)
    blocks = layer("block_b", torch.relu(layer("block_a", zones)))
    return (
        blocks[..., 0].permute(0, 2, 1),
        layer("place", x).permute(0, 2, 3, 1),
        zones[..., 0].permute(0, 2, 1),
    )


def initial_gathering(generator: torch.Generator, context: int = context_of(CHANNELS[-1])) -> Parameters:
    """Draw the weights that the gathering network begins with, where `context` values are known of each block."""
    channels = {
        "gather_a": (context, _GATHERED),
        "gather_b": (_GATHERED, _GATHERED),
        "gather_c": (_GATHERED, _GATHERED),
        "gather_d": (_GATHERED, len(CLASSES)),
    }
    parameters = {}
    for name, (into, out) in channels.items():
        weights = _drawn_weights((*GATHER_LAYERS[name], into, out), generator)
        # The last one begins nearly silent: what is learned is a correction.
        parameters[name] = ((0.1 if name == "gather_d" else 1.0) * weights, torch.zeros(out))
    return parameters


def gathered_scores(parameters: Parameters, known: Tensor) -> Tensor:
    """Scores (n, frames, blocks, classes) from what is known of each block, float32 (n, frames, blocks, values)."""
    x = known.permute(0, 3, 1, 2)
    for name in GATHER_LAYERS:
        x = _convolved(parameters, name, x)
        if name != "gather_d":
            x = torch.relu(x)
    return known[..., -1 - len(CLASSES) : -1] + x.permute(0, 2, 3, 1)


def _convolved(parameters: Parameters, name: str, x: Tensor, step: int = 1) -> Tensor:
    """One layer over `x` (n, channels, along, down), best where its channels lie side by side in memory."""
    weights, bias = parameters[name]
    along, down = weights.shape[:2]
    padding = (int(along > 1), int(down > 1))
    return torch.nn.functional.conv2d(x, weights.permute(3, 2, 0, 1), bias, step, padding)
