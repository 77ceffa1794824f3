"""Widen a trained network, which says the same at first, and train on: `python -m training.grow --help`.

What a narrow network has learned need not be learned again by a wider one (after Net2Net: Chen 2016, arXiv 1511.05641,
where new channels are copies of old ones). Here the old channels stay as they are, and new ones are drawn beside them.
These see all that is there, but nothing old listens to them yet: the weights between begin at zero, and training finds
out what they are worth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from octmargin.margin.model_file import ModelFile, read_model, write_model
from octmargin.margin.network import GATHER_LAYERS
from octmargin.signal._lanes import LANES
from training.card import after
from training.network import (
    Parameters,
    context_of,
    initial_parameters,
    packed,
    parameters_of,
    zones_of,
)

GROWN = (48, 64, 96)
_GROUPS = {"column": 2, "block_a": zones_of(1), "gather_a": zones_of(1)}
"""Layers whose channels in are several times those of the network, one after the other: highest, and mean, by zone."""


def grown(model: ModelFile, channels: tuple[int, int, int], seed: int) -> Parameters:
    """The weights of `model` within a network of so many channels after the three strided layers.

    It says what it said before. ValueError where it would have to give up channels, or the kernels could not run it.
    """
    if odd := [count for count in channels if count % LANES]:
        raise ValueError(f"{odd[0]} channels are no multiple of {LANES}")
    old = parameters_of(model)
    drawn = initial_parameters(torch.Generator().manual_seed(seed), channels)
    out = old["gather_a"][1].shape[0]
    # All that it gives is old: there is nothing to draw.
    drawn["gather_a"] = (
        torch.zeros((*GATHER_LAYERS["gather_a"], context_of(channels[-1]), out)),
        torch.zeros(out),
    )
    width = old["third"][1].shape[0]
    new = dict(old)
    for name, (weights, bias) in drawn.items():
        before = old[name]
        if weights.shape[2] < before[0].shape[2] or weights.shape[3] < before[0].shape[3]:
            raise ValueError(
                f"layer {name} has {before[0].shape[2]} channels in and {before[0].shape[3]} out; {channels} would "
                f"leave {weights.shape[2]} and {weights.shape[3]}"
            )
        listening = _old_ones(before[0].shape[2], _GROUPS.get(name, 1), width, channels[-1])
        new[name] = _widened((weights, bias), before, listening)
    return new


def _old_ones(count: int, groups: int, width: int, new_width: int) -> Tensor:
    """Where a layer's `count` old channels in lie among the new ones."""
    if groups == 1:
        return torch.arange(count)
    of_groups = torch.cat([torch.arange(width) + group * new_width for group in range(groups)])
    return torch.cat([of_groups, torch.arange(count - len(of_groups)) + groups * new_width])


def _widened(
    drawn: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor], old_ones: Tensor
) -> tuple[Tensor, Tensor]:
    (weights, bias), out = drawn, before[1].shape[0]
    weights[..., :out] = 0.0
    weights[:, :, old_ones, :out] = before[0]
    bias[:out] = before[1]
    return weights, bias


def main() -> None:
    """Widen the network of a file."""
    parser = argparse.ArgumentParser(prog="python -m training.grow", description=__doc__)
    parser.add_argument("--model", default="src/octmargin/margin/models/margin-1.json")
    parser.add_argument("--channels", type=int, nargs=3, default=GROWN, metavar="N")
    parser.add_argument("--version", help="of the model that it becomes, if another")
    options = parser.parse_args()
    model = read_model(options.model)
    first, second, width = options.channels
    try:
        layers = packed(grown(model, (first, second, width), model.card.seed))
    except ValueError as error:
        parser.error(f"--channels: {error}")
    card = after(model.card, f"widened to {first}, {second} and {width} channels")
    write_model(
        msgspec.structs.replace(model, layers=layers, card=card, version=options.version or model.version),
        Path(options.model),
    )
    print(
        f"{options.model} has {first}, {second} and {width} channels and says what it said; now training.together"
    )


if __name__ == "__main__":
    main()
