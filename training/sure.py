"""Of which windows a model is sure, and right: it has little left to learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from octmargin.margin.model import CLASSES
from octmargin.margin.model_file import ModelFile
from octmargin.margin.network import GatherNetwork
from octmargin.margin.trained import gather_input
from training.calibrate import malignant_logit
from training.contexts import contexts
from training.gather import FACE_BLOCKS

_SURE_LOGIT = 4.0
"""The face's loss is then below 0.02, and so is what is learned from it."""


def surely_right(model: ModelFile, paths: Sequence[Path], processes: int) -> list[bool]:
    """Whether the face of each window is rightly judged by far: by its fourth highest block, as in training.

    Never where a lesion merely touches the frames, or where too little is sound.
    """
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return list(pool.map(partial(_is_surely_right, model), paths, chunksize=32))


def _is_surely_right(model: ModelFile, path: Path) -> bool:
    (window,) = contexts(model, [path])
    is_malignant = bool((window.is_malignant & window.counts).any())
    if window.usable.sum() < FACE_BLOCKS or (window.touched.any() and not is_malignant):
        return False
    found = GatherNetwork(model).run(gather_input(window.context, window.usable))[..., : len(CLASSES)]
    score = np.sort(malignant_logit(found)[window.usable])[-FACE_BLOCKS]
    return bool(score > _SURE_LOGIT if is_malignant else score < -_SURE_LOGIT)
