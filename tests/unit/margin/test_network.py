"""The networks' kernels against NumPy, and as a whole against the same networks in PyTorch."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from octmargin.errors import ConfigError
from octmargin.margin import _network_kernels as kernels
from octmargin.margin.model import CLASSES
from octmargin.margin.model_file import Layer, ModelFile, read_model
from octmargin.margin.network import BANDS, GatherNetwork, Network
from training.network import (
    CHANNELS,
    Parameters,
    context_of,
    gathered_scores,
    initial_gathering,
    initial_parameters,
    packed,
    scores,
)


def random(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(
    columns=st.integers(1, 6),
    rows=st.integers(1, 30),
    taps=st.sampled_from([(1, 1), (3, 1), (1, 3), (3, 3), (4, 4)]),
    step=st.sampled_from([(1, 1), (2, 2)]),
    channels_in=st.integers(1, 9),
    groups=st.integers(1, 3),
    rectify=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_convolution_is_a_sum_over_its_taps(
    columns: int, rows: int, taps: tuple[int, int], step: tuple[int, int], channels_in: int, groups: int,
    rectify: bool, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    channels_out = 16 * groups
    source = random(rng, (columns - 1) * step[0] + taps[0], (rows - 1) * step[1] + taps[1], channels_in)
    weights, bias = random(rng, *taps, channels_in, channels_out), random(rng, channels_out)
    out = np.zeros((columns + 2, rows + 2, channels_out), np.float32)
    kernels.convolve(
        source.reshape(-1), source.shape, taps, step, weights.reshape(-1), bias, out.reshape(-1),
        (columns, rows, channels_out), 1, rectify,
    )  # fmt: skip
    windows = sliding_window_view(source.astype(np.float64), taps, axis=(0, 1))[:: step[0], :: step[1]]
    expected = np.einsum("xycij,ijco->xyo", windows[:columns, :rows], weights) + bias
    np.testing.assert_allclose(
        out[1:-1, 1:-1], np.maximum(expected, 0) if rectify else expected, rtol=1e-4, atol=1e-4
    )
    out[1:-1, 1:-1] = 0
    assert not out.any(), "the border stays zero"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86-64 processor")
def test_a_convolution_is_the_same_for_processors_with_fewer_registers() -> None:
    """Tiles are of other sizes there."""
    narrow = os.environ | {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}
    this = f"{__file__}::{test_a_convolution_is_a_sum_over_its_taps.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", this],
        env=narrow, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_pooling_takes_maximum_and_mean_of_the_first_rows() -> None:
    x = random(np.random.default_rng(0), 5, 9, 16)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    pooled = np.zeros((7, 40), np.float32)
    kernels.pool_rows(padded.reshape(-1), x.shape, 4, pooled.reshape(-1), 40, 8)
    np.testing.assert_array_equal(pooled[1:-1, 8:24], x[:, :4].max(axis=1))
    np.testing.assert_allclose(pooled[1:-1, 24:40], x[:, :4].mean(axis=1), atol=1e-6)
    assert not pooled[:, :8].any()
    assert not pooled[[0, -1]].any()


@pytest.fixture(scope="module")
def drawn() -> tuple[ModelFile, Parameters, Parameters]:
    """A model file of random weights, and these weights, rounded as the file rounds them."""
    rng, generator = np.random.default_rng(5), torch.Generator().manual_seed(3)

    def rounded(initial: Parameters) -> Parameters:
        return {
            name: (
                (3 * weights).half().float(),
                torch.from_numpy(0.1 * random(rng, *bias.shape)).half().float(),
            )
            for name, (weights, bias) in initial.items()
        }

    parameters, gathering = rounded(initial_parameters(generator)), rounded(initial_gathering(generator))
    model = msgspec.structs.replace(read_model("margin-1"), layers=packed(parameters) + packed(gathering))
    return model, parameters, gathering


@pytest.mark.parametrize("blocks", [1, 2, 7, 13, 14, 32])
def test_the_kernels_compute_what_was_trained(
    drawn: tuple[ModelFile, Parameters, Parameters], blocks: int
) -> None:
    model, parameters, _ = drawn
    network = Network(model)
    features = network.features_for(blocks)
    for seed in range(2):  # the second frame finds what the first one left
        features[1:-1, 1:-1] = random(np.random.default_rng(seed), *features[1:-1, 1:-1].shape)
        of_blocks, of_places = network.run()
        expected_blocks, expected_places, expected_zones = (
            said.numpy() for said in scores(parameters, torch.from_numpy(features[None, 1:-1, 1:-1].copy()))
        )
        largest = max(np.abs(expected_blocks).max(), np.abs(expected_places).max())
        np.testing.assert_allclose(of_blocks[:, :6], expected_blocks[0], atol=2e-5 * largest)
        np.testing.assert_allclose(of_places[:, :BANDS, :7], expected_places[0], atol=2e-5 * largest)
        np.testing.assert_allclose(
            network.zones, expected_zones[0], atol=2e-5 * float(np.abs(expected_zones).max())
        )


@pytest.mark.parametrize("shape", [(1, 1), (3, 32), (40, 20)])
def test_evidence_is_gathered_as_it_was_trained(
    drawn: tuple[ModelFile, Parameters, Parameters], shape: tuple[int, int]
) -> None:
    model, _, parameters = drawn
    known = random(np.random.default_rng(0), *shape, context_of(CHANNELS[-1]))
    expected = gathered_scores(parameters, torch.from_numpy(known[None])).numpy()[0]
    found = GatherNetwork(model).run(known)[..., : len(CLASSES)]
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_a_file_whose_layers_do_not_fit_is_refused(drawn: tuple[ModelFile, Parameters, Parameters]) -> None:
    model = drawn[0]
    without = [layer for layer in model.layers if layer.name != "second"]
    with pytest.raises(ConfigError, match="layer second is missing"):
        Network(msgspec.structs.replace(model, layers=without))
    narrow = Layer.pack("second", np.zeros((3, 3, 8, 48)), np.zeros(48))
    with pytest.raises(ConfigError, match="layer second takes 8 channels, here come 32"):
        Network(msgspec.structs.replace(model, layers=[*without, narrow]))
    wide = [layer for layer in model.layers if layer.name != "first_a"]
    with pytest.raises(ConfigError, match="layer first_a gives 48 channels, expected 64"):
        Network(
            msgspec.structs.replace(
                model, layers=[*wide, Layer.pack("first_a", np.zeros((3, 3, 64, 48)), np.zeros(48))]
            )
        )
    few = [layer for layer in model.layers if layer.name != "gather_d"]
    with pytest.raises(ConfigError, match="layer gather_d gives 3 channels, expected 6"):
        GatherNetwork(
            msgspec.structs.replace(
                model, layers=[*few, Layer.pack("gather_d", np.zeros((3, 3, 32, 3)), np.zeros(3))]
            )
        )
    flat = Layer.pack("second", np.zeros((3, 1, 32, 48)), np.zeros(48))
    with pytest.raises(ConfigError, match=r"layer second has \(3, 1\) taps, expected \(3, 3\)"):
        Network(msgspec.structs.replace(model, layers=[*without, flat]))
