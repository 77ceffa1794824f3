"""The networks of the trained model: cells of a frame to scores of its blocks, blocks of a sweep to their evidence.

Three strided convolutions bring 8 columns x 8 rows of cells to one place, a block of 16 A-lines and 128 µm of depth;
a residual pair (He 2016, doi 10.1109/CVPR.2016.90) looks at what is finer before the third, two more look at the
neighbours after it, and between these each place learns what its whole column holds. One head scores every place, one
every block, from three zones of its column down to a millimetre. These zones and its scores, four more convolutions
gather over neighbouring blocks and frames. All of it runs as numba kernels; training/network.py is the same in PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from octmargin.buffers import aligned_zeros
from octmargin.errors import ConfigError, InputError
from octmargin.margin import _network_kernels as kernels
from octmargin.margin._cell_kernels import BORDER, FEATURES, ROWS
from octmargin.margin.model import CLASSES
from octmargin.margin.model_file import ModelFile

BANDS = ROWS // 8
"""Places below a block: 128 µm each, the first half above the surface."""
ZONES = ((0, 3), (3, 6), (6, 9))
"""Bands whose highest and mean a block's score rests on: three zones, down to a millimetre."""
COLUMNS_PER_BLOCK = 8
LAYERS = {
    "entry": (4, 4),
    "second": (3, 3),
    "fine_a": (3, 3),
    "fine_b": (3, 3),
    "third": (3, 3),
    "first_a": (3, 3),
    "first_b": (3, 3),
    "column": (3, 1),
    "last_a": (3, 3),
    "last_b": (3, 3),
    "place": (1, 1),
    "block_a": (3, 1),
    "block_b": (1, 1),
}
"""Taps along and down, in the order of computation."""
GATHER_LAYERS = {"gather_a": (1, 1), "gather_b": (3, 3), "gather_c": (3, 3), "gather_d": (3, 3)}
"""Across frames and along blocks."""
_LANES = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """One layer, its channels out padded to a multiple of sixteen."""

    taps: tuple[int, int]
    channels_in: int
    channels_out: int
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


class Network:
    """Runs the network of a model file; holds buffers for one frame size at a time, for one thread.

    Raises ConfigError for a file whose layers are not those of this network.
    """

    def __init__(self, model: ModelFile) -> None:
        self._layers = {name: _unpacked(model, name, taps) for name, taps in LAYERS.items()}
        layers = self._layers
        width = layers["third"].channels_out
        expected = {
            "entry": FEATURES,
            "second": layers["entry"].channels_out,
            **dict.fromkeys(("fine_a", "fine_b", "third"), layers["second"].channels_out),
            **dict.fromkeys(("first_a", "first_b", "last_a", "last_b", "place"), width),
            "column": 2 * width,
            "block_a": 2 * len(ZONES) * width,
            "block_b": layers["block_a"].channels_out,
        }
        for name, channels in expected.items():
            if layers[name].channels_in != channels:
                raise ConfigError(
                    f"model {model.name}: layer {name} takes {layers[name].channels_in} channels, here come "
                    f"{channels}; the file does not fit this version"
                )
        for name in ("fine_a", "fine_b"):
            _expect(model, name, layers[name].channels_out, layers["second"].channels_out)
        for name in ("first_a", "first_b", "last_a", "last_b", "column"):
            _expect(model, name, layers[name].channels_out, width)
        _expect(model, "block_b", model.layer("block_b").shape[3], len(CLASSES))
        _expect(model, "place", model.layer("place").shape[3], len(CLASSES) + 1)
        self._blocks = 0

    def features_for(self, blocks: int) -> NDArray[np.float32]:
        """Where the features of a frame of `blocks` go: (columns + 2, ROWS + 2, FEATURES), zeros at its border."""
        if blocks != self._blocks:
            self._allocate(blocks)
        return self._features

    def run(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores of the blocks, (blocks, n), and of the places, (blocks, BANDS, n): n classes, padded with nothing."""
        blocks = self._blocks
        columns = blocks * COLUMNS_PER_BLOCK
        entry, second, x = self._entry, self._second, self._x
        features = self._features.reshape(-1)
        self._convolve("entry", features, ROWS + 2, (columns // 2, ROWS // 2), entry, step=(2, 2))
        self._convolve("second", entry, ROWS // 2 + 2, (columns // 4, ROWS // 4), second, step=(2, 2))
        self._residual("fine", second, self._fine, (columns // 4, ROWS // 4))
        self._convolve("third", second, ROWS // 4 + 2, (blocks, BANDS), x, step=(2, 2))
        width = self._layers["third"].channels_out
        shape, pooled = (blocks, BANDS, width), 2 * len(ZONES) * width
        self._residual("first", x, self._scratch, (blocks, BANDS))
        kernels.pool_rows(x, shape, BANDS, self._pooled_all, 2 * width, 0)
        self._convolve_line("column", self._pooled_all, self._column)
        kernels.add_to_rows(x, shape, self._column)
        self._residual("last", x, self._scratch, (blocks, BANDS))
        self._convolve(
            "place",
            x[(BANDS + 3) * width :],
            BANDS + 2,
            (blocks, BANDS),
            self._places,
            border=0,
            rectify=False,
        )
        for zone, (first, stop) in enumerate(ZONES):
            kernels.pool_rows(x[first * width :], shape, stop - first, self._pooled, pooled, 2 * zone * width)
        self._convolve_line("block_a", self._pooled, self._hidden)
        self._convolve_line("block_b", self._hidden, self._scores, rectify=False)
        return (
            self._scores.reshape(blocks, -1),
            self._places.reshape(blocks, BANDS, -1),
        )

    @property
    def zones(self) -> NDArray[np.float32]:
        """What the zones of each block hold, (blocks, n), after `run`."""
        return self._pooled.reshape(self._blocks + 2, -1)[1:-1]

    def _residual(
        self,
        name: str,
        x: NDArray[np.float32],
        scratch: tuple[NDArray[np.float32], NDArray[np.float32]],
        size: tuple[int, int],
    ) -> None:
        hidden, change = scratch
        self._convolve(f"{name}_a", x, size[1] + 2, size, hidden)
        self._convolve(f"{name}_b", hidden, size[1] + 2, size, change, rectify=False)
        kernels.add_rectified(x, change)

    def _convolve(
        self,
        name: str,
        source: NDArray[np.float32],
        rows_in: int,
        size: tuple[int, int],
        out: NDArray[np.float32],
        *,
        step: tuple[int, int] = (1, 1),
        border: int = BORDER,
        rectify: bool = True,
    ) -> None:
        layer = self._layers[name]
        kernels.convolve(
            source,
            (0, rows_in, layer.channels_in),
            layer.taps,
            step,
            layer.weights,
            layer.bias,
            out,
            (*size, layer.channels_out),
            border,
            rectify,
        )

    def _convolve_line(
        self, name: str, source: NDArray[np.float32], out: NDArray[np.float32], *, rectify: bool = True
    ) -> None:
        """A layer of one row: its columns are to the kernel what rows are elsewhere, a tile's at a time."""
        layer = self._layers[name]
        along, _ = layer.taps
        kernels.convolve(
            source,
            (0, self._blocks + along - 1, layer.channels_in),
            (1, along),
            (1, 1),
            layer.weights,
            layer.bias,
            out,
            (1, self._blocks, layer.channels_out),
            0,
            rectify,
        )

    def _allocate(self, blocks: int) -> None:
        layers, columns = self._layers, blocks * COLUMNS_PER_BLOCK
        width = layers["third"].channels_out

        def bordered(along: int, down: int, channels: int) -> NDArray[np.float32]:
            return aligned_zeros(((along + 2) * (down + 2) * channels,), np.float32)

        self._features = aligned_zeros((columns + 2, ROWS + 2, FEATURES), np.float32)
        self._entry = bordered(columns // 2, ROWS // 2, layers["entry"].channels_out)
        fine = (columns // 4, ROWS // 4, layers["second"].channels_out)
        self._second, self._fine = bordered(*fine), (bordered(*fine), bordered(*fine))
        self._x = bordered(blocks, BANDS, width)
        self._scratch = bordered(blocks, BANDS, width), bordered(blocks, BANDS, width)
        self._pooled_all = aligned_zeros(((blocks + 2) * 2 * width,), np.float32)
        self._pooled = aligned_zeros(((blocks + 2) * 2 * len(ZONES) * width,), np.float32)
        self._column = aligned_zeros((blocks * layers["column"].channels_out,), np.float32)
        self._hidden = aligned_zeros((blocks * layers["block_a"].channels_out,), np.float32)
        self._scores = aligned_zeros((blocks * layers["block_b"].channels_out,), np.float32)
        self._places = aligned_zeros((blocks * BANDS * layers["place"].channels_out,), np.float32)
        self._blocks = blocks


class GatherNetwork:
    """Scores of a sweep's blocks from what the frames' network said of them; keeps nothing between calls.

    Raises ConfigError for a file whose layers are not those of this network.
    """

    def __init__(self, model: ModelFile) -> None:
        self._layers = [_unpacked(model, name, taps) for name, taps in GATHER_LAYERS.items()]
        for layer, following in pairwise(self._layers):
            if layer.channels_out != following.channels_in:
                raise ConfigError(f"model {model.name}: its layers that gather do not fit each other")
        self.channels_in = self._layers[0].channels_in
        known = model.layer("block_a").shape[2] + len(CLASSES) + 1
        if self.channels_in != known:
            raise ConfigError(
                f"model {model.name}: layer gather_a takes {self.channels_in} channels, here come {known}; "
                "the file does not fit this version"
            )
        _expect(model, "gather_d", model.layer("gather_d").shape[3], len(CLASSES))

    def run(self, known: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (frames, blocks, n), padded with nothing, from `known` float32 (frames, blocks, channels_in).

        What is learned is a correction of the scores that each frame alone gives; they are the last but one in `known`.
        InputError where `known` is not what the weights were made for.
        """
        frames, blocks, channels = known.shape
        if channels != self.channels_in:
            raise InputError(
                f"evidence from {channels} values per block; these weights take {self.channels_in}"
            )
        inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        source = np.ascontiguousarray(known, np.float32)
        for layer in self._layers:
            out = np.zeros((frames + 2, blocks + 2, layer.channels_out), np.float32)
            kernels.convolve(
                source.reshape(-1),
                (0, source.shape[1], layer.channels_in),
                layer.taps,
                (1, 1),
                layer.weights,
                layer.bias,
                out.reshape(-1),
                (frames, blocks, layer.channels_out),
                BORDER,
                layer is not self._layers[-1],
            )
            source = out
        scores = source[inside]
        scores[..., : len(CLASSES)] += known[..., -1 - len(CLASSES) : -1]
        return scores


def _expect(model: ModelFile, name: str, found: int, expected: int) -> None:
    if found != expected:
        raise ConfigError(
            f"model {model.name}: layer {name} gives {found} channels, expected {expected}; "
            "the file does not fit this version"
        )


def _unpacked(model: ModelFile, name: str, taps: tuple[int, int]) -> _Weights:
    weights, bias = model.layer(name).unpack()
    if weights.shape[:2] != taps:
        raise ConfigError(
            f"model {model.name}: layer {name} has {weights.shape[:2]} taps, expected {taps}; "
            "the file does not fit this version"
        )
    missing = -weights.shape[3] % _LANES
    padded = np.pad(weights, ((0, 0), (0, 0), (0, 0), (0, missing)))
    return _Weights(
        taps,
        weights.shape[2],
        padded.shape[3],
        np.ascontiguousarray(padded).reshape(-1),
        np.pad(bias, (0, missing)),
    )
