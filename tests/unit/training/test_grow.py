"""A network widened: it says what it said, and has room to learn."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from octmargin.margin.model import CLASSES
from octmargin.margin.model_file import ModelFile, read_model
from octmargin.margin.network import GatherNetwork, Network
from training.grow import grown
from training.network import (
    Parameters,
    context_of,
    gathered_scores,
    initial_gathering,
    initial_parameters,
    packed,
    scores,
)

NARROW, WIDE = (16, 32, 32), (32, 48, 80)
BLOCKS, FRAMES = 5, 6


@pytest.fixture(scope="module")
def narrow() -> ModelFile:
    generator = torch.Generator().manual_seed(1)
    drawn = {
        **initial_parameters(generator, NARROW),
        **initial_gathering(generator, context_of(NARROW[-1])),
    }
    parameters = {
        name: (weights, torch.randn(bias.shape, generator=generator))
        for name, (weights, bias) in drawn.items()
    }
    return msgspec.structs.replace(read_model("margin-1"), layers=packed(parameters))


def test_it_says_what_it_said(narrow: ModelFile) -> None:
    wide = msgspec.structs.replace(narrow, layers=packed(grown(narrow, WIDE, seed=2)))
    of_frames, of_faces = [], []
    for model, width in ((narrow, NARROW[-1]), (wide, WIDE[-1])):
        network = Network(model)
        features = network.features_for(BLOCKS)
        context = []
        rng = np.random.default_rng(3)
        for _ in range(FRAMES):
            features[1:-1, 1:-1] = rng.standard_normal(features[1:-1, 1:-1].shape)
            of_blocks, of_places = network.run()
            of_frames.append(np.concatenate([of_blocks[:, :6].ravel(), of_places[..., :7].ravel()]))
            context.append(np.concatenate([network.zones, of_blocks[:, :6], np.ones((BLOCKS, 1))], axis=1))
        known = np.stack(context).astype(np.float32)
        assert known.shape[-1] == context_of(width)
        of_faces.append(GatherNetwork(model).run(known)[..., : len(CLASSES)])
    np.testing.assert_array_equal(of_frames[:FRAMES], of_frames[FRAMES:])
    np.testing.assert_array_equal(of_faces[0], of_faces[1])


def test_what_is_new_can_learn(narrow: ModelFile) -> None:
    before = grown(narrow, WIDE, seed=2)
    parameters: Parameters = {
        name: (weights.requires_grad_(), bias.requires_grad_()) for name, (weights, bias) in before.items()
    }
    features = torch.randn((2, 8 * BLOCKS, 104, 6), generator=torch.Generator().manual_seed(4))
    of_blocks, of_places, zones = scores(parameters, features)
    sound = torch.ones((*of_blocks.shape[:2], 1))
    gathered = gathered_scores(parameters, torch.cat([zones, of_blocks, sound], dim=-1)[None])
    (of_blocks.square().sum() + of_places.square().sum() + gathered.square().sum()).backward()  # type: ignore[no-untyped-call]
    for name, (first, width, group) in {
        "second": (NARROW[0], WIDE[0], 1),
        "third": (NARROW[1], WIDE[1], 1),
        "column": (NARROW[2], WIDE[2], 2),
        "place": (NARROW[2], WIDE[2], 1),
        "block_a": (NARROW[2], WIDE[2], 6),
        "gather_a": (NARROW[2], WIDE[2], 6),
    }.items():
        gradient = parameters[name][0].grad
        assert gradient is not None
        new = [k + width * g for g in range(group) for k in range(first, width)]
        assert gradient[:, :, new].abs().amax() > 0, f"{name} can begin to listen to what is new"


def test_none_of_its_channels_is_given_up(narrow: ModelFile) -> None:
    with pytest.raises(
        ValueError, match=r"layer second has 16 channels in and 32 out; .* would leave 32 and 16"
    ):
        grown(narrow, (32, 16, 32), seed=2)


def test_the_kernels_can_run_what_it_becomes(narrow: ModelFile) -> None:
    with pytest.raises(ValueError, match="40 channels are no multiple of 16"):
        grown(narrow, (40, 48, 80), seed=2)


def test_the_same_seed_draws_the_same_channels(narrow: ModelFile) -> None:
    one, same, other = (msgspec.json.encode(packed(grown(narrow, WIDE, seed=seed))) for seed in (1, 1, 2))
    assert one == same != other
