"""The file of a trained model: JSON that says what it is, was trained on and reached, with its weights."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from octmargin.errors import ConfigError

FORMAT = 1
_WEIGHTS = "<f2"

Share = Annotated[float, Meta(gt=0, lt=1)]


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of one layer: float16, little-endian, base64, [along][down][channel in][channel out], then the bias."""

    name: str
    shape: tuple[int, int, int, int]
    weights: str
    bias: str

    @classmethod
    def pack(cls, name: str, weights: NDArray[Any], bias: NDArray[Any]) -> Layer:
        """Make a layer of `weights` (along, down, in, out) and `bias` (out,), rounded to float16."""
        along, down, channels_in, channels_out = weights.shape
        return cls(name, (along, down, channels_in, channels_out), _encode(weights), _encode(bias))

    def unpack(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights and bias as float32. Raises ConfigError where they are not what `shape` says."""
        weights, bias = _decode(self.weights), _decode(self.bias)
        if weights.size != int(np.prod(self.shape)) or bias.size != self.shape[3]:
            raise ConfigError(f"model file: layer {self.name} does not hold {self.shape} weights")
        return weights.reshape(self.shape), bias


class ModelCalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From scores to probabilities: logit(p) = slope * score + intercept (Platt 1999)."""

    slope: float
    intercept: float


class OperatingShares(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `octmargin.margin.model.OperatingPoint`; all but the last chosen on the ROC of the calibration specimens."""

    suspicious_at: Share
    doubtful_at: Share
    min_cluster_blocks: Annotated[int, Meta(ge=1)]
    doubtful_alone_at: Share | None = None


class ValidFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model was validated for; a frame outside is poor, as unfamiliar. A pair is [lowest, highest].

    A face whose frames lie further apart than `max_frame_um` is never cleared.
    """

    axial_um: tuple[float, float]
    aline_um: tuple[float, float]
    max_frame_um: float | None = None


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model card (after Mitchell 2019, doi 10.1145/3287560.3287596), in words and figures."""

    intended_use: str
    trained_on: str
    training_seeds: tuple[int, int]
    gathering_seeds: tuple[int, int]
    calibration_seeds: tuple[int, int]
    seed: int
    software: dict[str, str]
    metrics: dict[str, float]
    limits: list[str]
    together_seeds: tuple[int, int] = (0, -1)
    """Of what both networks were trained on together; none where the first is after the last."""

    def seen_seeds(self) -> tuple[tuple[int, int], ...]:
        """First and last seeds of all specimens that the model has seen."""
        seen = (self.training_seeds, self.gathering_seeds, self.together_seeds, self.calibration_seeds)
        return tuple((first, last) for first, last in seen if first <= last)


class _Format(msgspec.Struct, frozen=True):
    format: int


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    format: Annotated[int, Meta(ge=1)]
    name: str
    version: str
    notice: str
    classes: tuple[str, ...]
    suspicious_at: Share
    """Of a block, as its frame alone shows it."""
    operating_point: OperatingShares
    """Of the evidence of a sweep."""
    calibration: ModelCalibration
    """Of a block's score."""
    gathered_calibration: ModelCalibration
    """Of the score that the sweep's evidence gives it."""
    valid_for: ValidFor
    card: Card
    layers: list[Layer]

    def layer(self, name: str) -> Layer:
        """Find a layer. Raises ConfigError where there is none of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ConfigError(
            f"model file {self.name}: layer {name} is missing; the file does not fit this version"
        )

    def fingerprint(self) -> str:
        """A short hash of everything in the file, for the record."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


def read_model(source: str) -> ModelFile:
    """Read the file of a model: one that comes with octmargin, by name, or any by its path ("x.json").

    Raises ConfigError for a file that cannot be read or is no model of this format.
    """
    path = (
        Path(source) if source.endswith(".json") else files(__package__).joinpath("models", f"{source}.json")
    )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"model {source}: cannot be read: {error.strerror}; give the path of a .json"
        ) from error
    try:
        # Another format has other fields: say which it is before asking for ours.
        found = msgspec.json.decode(content, type=_Format).format
        if found != FORMAT:
            raise ConfigError(
                f"model {source}: has format {found}, this version reads {FORMAT}; update octmargin or train anew"
            )
        return msgspec.json.decode(content, type=ModelFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"model {source}: is no model file: {error}; give one that `python -m training.train` wrote"
        ) from error


def write_model(model: ModelFile, path: Path) -> None:
    """Write a model as JSON, indented, the same bytes for the same model."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=1) + b"\n")


def _encode(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, _WEIGHTS).tobytes()).decode()


def _decode(text: str) -> NDArray[np.float32]:
    try:
        raw = base64.b64decode(text, validate=True)
        values = np.frombuffer(raw, _WEIGHTS).astype(np.float32)
    except ValueError as error:
        raise ConfigError(f"model file: weights cannot be decoded: {error}") from error
    if not np.isfinite(values).all():
        raise ConfigError("model file: a weight is not finite; train it anew")
    return values
