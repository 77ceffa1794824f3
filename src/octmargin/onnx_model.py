"""A margin model of somebody else, as an ONNX file that judges patches of a B-scan: "onnx:FILE.onnx".

The file has one input, float32 (n, 1, alines, rows): patches of a block and half a block to each side, flattened to
the surface, in dB over the noise, 4 µm a row from the surface down; and one output, float32 (n, 6): the
probabilities of the classes of `octmargin.margin.CLASSES`. Its metadata may set `suspicious_at`. Needs `onnxruntime`
(pip install octmargin[onnx]).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from octmargin.errors import ConfigError, InputError
from octmargin.margin.model import (
    CLASSES,
    MALIGNANT,
    FrameView,
    Judgement,
    ModelIdentity,
    OperatingPoint,
)

PATCH_ALINES = 32
ROW_UM = 4.0
_SUM_TOLERANCE = 1e-3
_MALIGNANT = [CLASSES.index(name) for name in MALIGNANT]
_DB_PER_NEPER = 10 / np.log(10)
_MIN_CLUSTER_BLOCKS = 3


class OnnxModel:
    """Runs an ONNX file on the patches of each block, on one thread.

    Raises ConfigError for a file that cannot be read, or whose input or output is not as above.
    """

    classes: tuple[str, ...] = CLASSES

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime  # noqa: PLC0415 - an extra: only who names an ONNX file needs it
        except ImportError as error:
            raise ConfigError(
                f"model onnx:{path}: onnxruntime is missing; pip install octmargin[onnx]"
            ) from error
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"model onnx:{path}: cannot be read: {error.strerror}; check the path"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has exceptions of many kinds, all about the file
            reason = _first_line(error)
            raise ConfigError(f"model onnx:{path}: is no model that onnxruntime runs: {reason}") from error
        self._input, self.rows = self._checked(path)
        self.judged_mm = self.rows * ROW_UM / 1000
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.suspicious_at = _share(path, metadata.get("suspicious_at", "0.5"))
        self.operating_point = OperatingPoint(self.suspicious_at, self.suspicious_at, _MIN_CLUSTER_BLOCKS)
        self.identity = ModelIdentity(
            f"onnx:{path.name}", metadata.get("version", "?"), hashlib.sha256(content).hexdigest()[:16]
        )

    def judge(self, view: FrameView) -> Judgement:
        """Judge every block of `view`. Raises InputError where the file answers with what are no probabilities."""
        blocks = view.blocks
        unknown = np.full(blocks, np.nan, np.float32)
        probabilities = np.full((blocks, len(CLASSES)), np.nan, np.float32)
        lines, found = self._flattened(view)
        if found.any():
            patches = np.ascontiguousarray(
                sliding_window_view(lines, PATCH_ALINES, axis=0)[:: view.alines_per_block].swapaxes(1, 2)
            )
            answer = self._run(patches[:, None])
            probabilities[found] = self._checked_answer(answer, blocks)[found]
        return Judgement(
            suspicion=np.asarray(probabilities[:, _MALIGNANT].sum(axis=1), np.float32),
            probabilities=probabilities,
            distance_mm=unknown,
            attenuation_per_mm=unknown,
            unfamiliar=np.zeros(blocks, np.bool_),
            context=np.empty((blocks, 0), np.float32),
        )

    def gather(
        self, suspicion: NDArray[np.float32], context: NDArray[np.float32], sound: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Take each block's suspicion as it is: the file knows nothing of neighbouring frames."""
        del context
        return np.where(sound, suspicion, np.float32(np.nan))

    def _flattened(self, view: FrameView) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Flatten to dB over the noise, (A-lines of the blocks and half a block more at each end, rows).

        And which blocks have a usable A-line. Other A-lines take the nearest usable one.
        """
        depth = view.bscan_db.shape[1]
        usable = np.flatnonzero(view.usable)
        wanted = np.arange(view.blocks * view.alines_per_block)
        found = np.isin(wanted // view.alines_per_block, usable // view.alines_per_block)
        found = np.asarray(found.reshape(view.blocks, -1).any(axis=1))
        if not usable.size or not np.isfinite(view.noise):
            return np.zeros((len(wanted) + view.alines_per_block, self.rows), np.float32), found & False
        source = usable[np.abs(wanted[:, None] - usable).argmin(axis=1)]
        top_px = np.rint(view.surface_px[source]).astype(np.int64)
        rows_px = np.rint(np.arange(self.rows) * ROW_UM / view.axial_um).astype(np.int64)
        at_px = top_px[:, None] + rows_px
        lines = view.bscan_db[source[:, None], np.minimum(at_px, depth - 1)]
        lines = lines - np.float32(_DB_PER_NEPER * np.log(view.noise))
        lines[at_px >= depth] = 0.0
        beside = (PATCH_ALINES - view.alines_per_block) // 2
        return np.pad(lines, ((beside, beside), (0, 0)), mode="edge").astype(np.float32), found

    def _checked(self, path: Path) -> tuple[str, int]:
        """Name of the input and rows of a patch."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        is_float = len(inputs) == 1 and inputs[0].type == "tensor(float)"
        shape = inputs[0].shape if is_float else []
        fits = len(shape) == 4 and not isinstance(shape[0], int) and shape[1:3] == [1, PATCH_ALINES]
        if not fits or not isinstance(shape[3], int):
            raise ConfigError(
                f"model onnx:{path}: takes {[i.shape for i in inputs]}; "
                f"expected one float32 input (n, 1, {PATCH_ALINES}, rows)"
            )
        if len(outputs) != 1 or outputs[0].shape[1:] != [len(CLASSES)]:
            raise ConfigError(
                f"model onnx:{path}: gives {[o.shape for o in outputs]}; expected one output (n, {len(CLASSES)})"
            )
        return inputs[0].name, shape[3]

    def _run(self, patches: NDArray[np.float32]) -> Any:
        try:
            (answer,) = self._session.run(None, {self._input: patches})
        except Exception as error:  # the runtime has exceptions of many kinds, all about the file
            raise InputError(
                f"model {self.identity.name}: fails on {patches.shape} patches: {_first_line(error)}; "
                "check that it takes any number of them"
            ) from error
        return answer

    def _checked_answer(self, answer: Any, blocks: int) -> NDArray[np.float32]:
        probabilities = np.asarray(answer, np.float32)
        sums = probabilities.sum(axis=-1)
        # Written so that NaN does not pass.
        if (
            probabilities.shape != (blocks, len(CLASSES))
            or not (np.abs(sums - 1) <= _SUM_TOLERANCE).all()
            or not (probabilities >= 0).all()
        ):
            raise InputError(
                f"model {self.identity.name}: its answer is no probabilities of {len(CLASSES)} classes that sum to 1"
            )
        return probabilities


def make(argument: str | None) -> OnnxModel:
    """Make the model of "onnx:FILE.onnx". Raises ConfigError without a file."""
    if not argument:
        raise ConfigError("model onnx: name a file, as onnx:FILE.onnx")
    return OnnxModel(Path(argument))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _share(path: Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise ConfigError(
            f"model onnx:{path}: its metadata say suspicious_at {text!r}; give a number between 0 and 1"
        )
    return value
