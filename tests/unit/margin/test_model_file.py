"""The file of a trained model: read back as it was written, and refused where it is not one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from octmargin.errors import ConfigError
from octmargin.margin import load_model
from octmargin.margin.model_file import Layer, ModelFile, read_model, write_model


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return read_model("margin-1")


def test_a_model_comes_back_as_it_was_written(model: ModelFile, tmp_path: Path) -> None:
    write_model(model, tmp_path / "copy.json")
    assert read_model(str(tmp_path / "copy.json")) == model
    again = tmp_path / "again.json"
    write_model(read_model(str(tmp_path / "copy.json")), again)
    assert again.read_bytes() == (tmp_path / "copy.json").read_bytes()
    assert load_model(f"trained:{again}").identity == load_model("margin-1").identity


def test_weights_are_kept_in_half_precision() -> None:
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(3, 2, 5, 7)), rng.normal(size=7)
    unpacked, unpacked_bias = Layer.pack("x", weights, bias).unpack()
    np.testing.assert_array_equal(unpacked, weights.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(unpacked_bias, bias.astype(np.float16).astype(np.float32))


def test_the_card_says_what_a_reader_must_know(model: ModelFile) -> None:
    said = msgspec.json.encode(model.card).decode() + model.notice
    for word in (
        "SYNTHETIC",
        "Research use only",
        "No patient",
        "training_seeds",
        "auroc",
        "expected_calibration",
    ):
        assert word in said
    assert all(first >= 90_000 for first, _ in model.card.seen_seeds()), "seeds below are for studies"


def test_what_the_model_has_seen_does_not_overlap(model: ModelFile) -> None:
    ranges = [set(range(first, last + 1)) for first, last in model.card.seen_seeds()]
    assert all(ranges)
    assert sum(map(len, ranges)) == len(set().union(*ranges))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no model file"),
        (b"{}", "missing required field"),
        (b"\xff\xfe", "is no model file"),
    ],
)
def test_a_file_that_is_no_model_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_model(str(tmp_path / "broken.json"))


def test_what_is_not_there_or_not_readable_is_refused(model: ModelFile, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        read_model(str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match=r"model trained: name a model file"):
        load_model("trained")
    with pytest.raises(ConfigError, match="margin-1 takes no argument"):
        load_model("margin-1:x")
    (tmp_path / "newer.json").write_bytes(b'{"format": 2, "something": "else"}')
    with pytest.raises(ConfigError, match="has format 2, this version reads 1"):
        read_model(str(tmp_path / "newer.json"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "AAA="}, "does not hold"),
        ({"weights": "?"}, "cannot be decoded"),
        ({"bias": "AHw="}, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: dict[str, str], said: str) -> None:
    layer = Layer.pack("x", np.zeros((1, 1, 2, 1)), np.zeros(1))
    with pytest.raises(ConfigError, match=said):
        msgspec.structs.replace(layer, **change).unpack()
