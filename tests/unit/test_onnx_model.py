"""Somebody else's model as an ONNX file: found by name, judged like any other, refused where it does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from octmargin.errors import ConfigError, InputError
from octmargin.frames import BlockState
from octmargin.margin import CLASSES, Assessor, load_model

ROWS, ALINES = 100, 32
AXIAL_UM = 4.0


def write(
    path: Path,
    *,
    classes: int = 6,
    shape: Any = ("n", 1, ALINES, ROWS),
    softmax: bool = True,
    **metadata: str,
) -> str:
    """Mean of a patch, in dB, times 1 for "invasive" and 0 for the others, through a softmax."""
    weights = np.zeros((1, classes), np.float32)
    weights[0, min(2, classes - 1)] = 0.5
    nodes = [
        helper.make_node("GlobalAveragePool", ["patches"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"]),
        helper.make_node("MatMul", ["mean", "weights"], ["scores"]),
        helper.make_node("Softmax" if softmax else "Identity", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes, "mean of the patch",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "weights")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return f"onnx:{path}"


def frame(left_db: float, right_db: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """64 A-lines: tissue from pixel 50 on, as bright as told in either half, in noise of 0 dB."""
    rng = np.random.default_rng(0)
    mean = np.ones((64, 400))
    mean[:32, 50:300] += 10 ** (left_db / 10)
    mean[32:, 50:300] += 10 ** (right_db / 10)
    return (10 * np.log10(mean * rng.gamma(4, 0.25, mean.shape))).astype(np.float32)


def test_judges_each_block_by_its_patch_below_the_surface(tmp_path: Path) -> None:
    assessor = Assessor(write(tmp_path / "mean.onnx", suspicious_at="0.9", version="7"))
    flags = assessor.assess(frame(14.0, 22.0), axial_um=AXIAL_UM)
    assert assessor.classes == CLASSES
    assert assessor.suspicious_at == 0.9
    assert (assessor.model.identity.name, assessor.model.identity.version) == ("onnx:mean.onnx", "7")
    np.testing.assert_allclose(flags.probabilities.sum(axis=1), 1, atol=1e-5)
    # softmax of half the mean dB against five zeros; the mean of the dB lies 0.6 dB below the dB of the mean
    odds = np.log(5 * flags.suspicion / (1 - flags.suspicion))
    assert odds[0] == pytest.approx(0.5 * (14.0 - 0.6), abs=0.5)
    assert odds[3] == pytest.approx(0.5 * (22.0 - 0.6), abs=0.5)
    assert flags.suspicion[0] < flags.suspicion[1] < flags.suspicion[3]
    assert (flags.state == BlockState.SUSPICIOUS).all()


def test_where_nothing_is_seen_nothing_is_known(tmp_path: Path) -> None:
    dark = frame(15.0, 15.0)
    dark[32:] = frame(-90.0, -90.0)[32:]
    flags = Assessor(write(tmp_path / "mean.onnx")).assess(dark, axial_um=AXIAL_UM)
    assert np.isfinite(flags.suspicion[0])
    assert np.isnan(flags.suspicion[3])
    assert flags.state[3] == BlockState.POOR


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for content, said in (
        (None, "cannot be read: No such file"),
        (b"no model", "is no model that onnxruntime runs"),
    ):
        path = tmp_path / "some.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            load_model(f"onnx:{path}")
    with pytest.raises(ConfigError, match="name a file"):
        load_model("onnx")
    with pytest.raises(ConfigError, match=r"expected one output \(n, 6\)"):
        load_model(write(tmp_path / "few.onnx", classes=3))
    with pytest.raises(ConfigError, match=r"expected one float32 input \(n, 1, 32, rows\)"):
        load_model(write(tmp_path / "wide.onnx", shape=("n", 1, 48, ROWS)))
    with pytest.raises(ConfigError, match="suspicious_at 'often'"):
        load_model(write(tmp_path / "often.onnx", suspicious_at="often"))


def test_an_answer_that_is_no_probability_is_refused(tmp_path: Path) -> None:
    assessor = Assessor(write(tmp_path / "scores.onnx", softmax=False))
    with pytest.raises(InputError, match="its answer is no probabilities"):
        assessor.assess(frame(15.0, 15.0), axial_um=AXIAL_UM)


def test_without_onnxruntime_one_line_says_what_to_install(tmp_path: Path) -> None:
    name = write(tmp_path / "mean.onnx")
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from octmargin.errors import ConfigError\nfrom octmargin.margin import load_model\n"
        f"try: load_model({name!r})\nexcept ConfigError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "onnxruntime is missing; pip install octmargin[onnx]" in ran.stdout
