"""Train both networks of a model on, together: `python -m training.together --help`.

Until here the network of frames learned from single blocks, and the one that gathers took it as it was. Now both
learn from the faces too, by the blocks that speak the loudest: those of a lesion too faint, and those of a clear face
that look the most like one (Shrivastava 2016, doi 10.1109/CVPR.2016.89). Where a model already judges most faces
rightly, `--sure-share` shows these more seldom than the others. `--mean` keeps the mean of the weights before and
after: between what was learned from all faces and from the hard ones it errs less than either (after Wortsman 2022,
arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from octmargin.margin.model_file import ModelFile, read_model, write_model
from training.batches import dim, features_of, noise_pool
from training.card import after
from training.contexts import MALIGNANT_KINDS
from training.descent import Descent
from training.examples import out_of_db
from training.fit import Say, frames_loss
from training.gather import gathered_losses
from training.network import Parameters, gathered_scores, packed, parameters_of, scores
from training.sure import surely_right
from training.sweeps import WINDOW_FRAMES, read_sweep, render_windows

FIRST_TOGETHER_SEED = 120_000
BATCH = 4
_PEAK_RATE = 5e-4
_WARM_UP_STEPS = 200
_WEIGHT_DECAY = 0.05
_FRAMES_SHARE = 0.5
_FACE_SHARE = 0.4
"""Of what the frames alone say, and of the faces, beside the gathered evidence of the blocks."""
_HOLES = 0.3
"""Share of the windows that are shown with holes, as losses make them."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowBatch:
    """Some windows of `frames` frames each, these one after the other.

    `features` float32 (windows * frames, columns, rows, FEATURES), `places` float32 (windows * frames, blocks, bands,
    classes + 1); `kind` int64, `counts`, `gathered_counts` and `sound` float32 (windows, frames, blocks): what is
    trained on, the same without what was lost, and what evidence is gathered from; `told` float32 (windows,): 0 where
    a lesion merely touches the frames, so that the face is neither.
    """

    features: NDArray[np.float32]
    places: NDArray[np.float32]
    kind: NDArray[np.int64]
    counts: NDArray[np.float32]
    gathered_counts: NDArray[np.float32]
    sound: NDArray[np.float32]
    told: NDArray[np.float32]


def fit_together(
    model: ModelFile,
    paths: Sequence[Path],
    *,
    epochs: int,
    seed: int,
    say: Say,
    peak_rate: float = _PEAK_RATE,
    sure: Sequence[bool] | None = None,
    sure_share: float = 1.0,
) -> Parameters:
    """Go on from the weights of `model`; the same seed and files give the same bits on the same kind of machine.

    Of the windows that are `sure`, each pass shows `sure_share` only.
    """
    size = min(BATCH, len(paths))
    chosen = window_order(len(paths), size, epochs, np.random.default_rng([seed, 51]), sure, sure_share)
    steps = len(chosen)
    descent = Descent(
        parameters_of(model),
        peak_rate=peak_rate,
        warm_up_steps=min(_WARM_UP_STEPS, steps // 3),
        steps=steps,
        weight_decay=_WEIGHT_DECAY,
    )
    began, losses = time.monotonic(), []
    for n, batch in enumerate(window_batches(paths, chosen, seed), start=1):
        loss, parts = _loss(
            descent.parameters, *(torch.from_numpy(getattr(batch, name)) for name in WindowBatch.__slots__)
        )
        descent.step(loss)
        losses.append([part.item() for part in parts])
        if n % 100 == 0 or n == steps:
            frames, blocks, faces = np.mean(losses[-100:], axis=0)
            say(
                f"step {n} of {steps}: loss of frames {frames:.4f}, of gathered blocks {blocks:.4f}, "
                f"of faces {faces:.4f}, {time.monotonic() - began:.0f} s"
            )
    return descent.found()


def mean_of(model: ModelFile, parameters: Parameters) -> Parameters:
    """The mean of the weights that `model` has and of those that it went on to."""
    before = parameters_of(model)
    return {
        name: ((weights + before[name][0]) / 2, (bias + before[name][1]) / 2)
        for name, (weights, bias) in parameters.items()
    }


def _loss(
    parameters: Parameters,
    features: Tensor,
    places: Tensor,
    kind: Tensor,
    counts: Tensor,
    gathered_counts: Tensor,
    sound: Tensor,
    told: Tensor,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    block_scores, place_scores, zones = scores(parameters, features)
    of_frames = frames_loss(
        block_scores, place_scores, kind.reshape(len(features), -1), counts.reshape(len(features), -1), places
    )
    context = torch.cat([zones, block_scores], dim=-1).reshape(*kind.shape, -1)
    known = torch.cat([context * sound[..., None], sound[..., None]], dim=-1)
    of_blocks, each_face = gathered_losses(
        gathered_scores(parameters, known), sound > 0, kind, gathered_counts
    )
    of_faces = (told * each_face).mean()
    return _FRAMES_SHARE * of_frames + of_blocks + _FACE_SHARE * of_faces, (of_frames, of_blocks, of_faces)


def window_order(
    count: int,
    size: int,
    epochs: int,
    rng: np.random.Generator,
    sure: Sequence[bool] | None = None,
    sure_share: float = 1.0,
) -> list[list[int]]:
    """Draw which of `count` windows make each batch of `size`: in each pass all, but of the `sure` ones a share."""
    is_sure = np.zeros(count, np.bool_) if sure is None else np.asarray(sure, np.bool_)
    others, seldom = np.flatnonzero(~is_sure), np.flatnonzero(is_sure)
    chosen = []
    for _ in range(epochs):
        some = rng.choice(seldom, round(sure_share * len(seldom)), replace=False)
        order = rng.permutation(np.concatenate([others, some])).tolist()
        chosen += [order[first : first + size] for first in range(0, len(order) - size + 1, size)]
    return chosen


def window_batches(
    paths: Sequence[Path], chosen: Sequence[Sequence[int]], seed: int
) -> Iterator[WindowBatch]:
    """Yield the batches of `chosen` windows; the next is made while one is trained on."""
    rng = np.random.default_rng([seed, 50])
    pool = noise_pool(rng)
    streams = rng.spawn(len(chosen))

    def made(n: int) -> WindowBatch:
        return _batch([paths[k] for k in chosen[n]], streams[n], pool)

    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(made, 0)
        for n in range(len(chosen)):
            ready = waiting.result()
            if n + 1 < len(chosen):
                waiting = thread.submit(made, n + 1)
            yield ready


def _batch(paths: Sequence[Path], rng: np.random.Generator, pool: NDArray[np.float32]) -> WindowBatch:
    windows = [_window(path, rng, pool) for path in paths]
    features, places, *others = (
        np.stack([getattr(window, name)[0] for window in windows])
        if name not in ("features", "places")
        else np.concatenate([getattr(window, name) for window in windows])
        for name in WindowBatch.__slots__
    )
    return WindowBatch(features, places, *others)


def _window(path: Path, rng: np.random.Generator, pool: NDArray[np.float32]) -> WindowBatch:
    """One window, its brightness changed, mirrored, turned round, with holes."""
    window = read_sweep(path)
    cells = out_of_db(window.cells_db)
    dim(cells, rng, pool)
    along, across = (slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(2))
    lost = np.zeros(len(cells), np.bool_)
    if rng.random() < _HOLES:
        lost = rng.random(len(cells)) < rng.uniform(0, 0.3)
    kind, usable, touched = (values[across, along] for values in (window.kind, window.usable, window.touched))
    counts = usable & ~touched
    is_malignant = (np.isin(kind, MALIGNANT_KINDS) & counts).any()
    sound = usable & ~lost[:, None]
    return WindowBatch(
        features_of(np.ascontiguousarray(cells[across, along])),
        window.places[across, along].astype(np.float32),
        kind[None].astype(np.int64),
        counts[None].astype(np.float32),
        (sound & ~touched)[None].astype(np.float32),
        sound[None].astype(np.float32),
        np.array([is_malignant or not touched.any()], np.float32),
    )


def main() -> None:
    """Render windows, train, write."""
    parser = argparse.ArgumentParser(prog="python -m training.together", description=__doc__)
    parser.add_argument("--model", default="src/octmargin/margin/models/margin-1.json")
    parser.add_argument("--windows", default=".cache/windows", help="folder that keeps the rendered windows")
    parser.add_argument("--specimens", type=int, default=2600)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=_PEAK_RATE, help="highest step size")
    parser.add_argument(
        "--sure-share",
        type=float,
        default=1.0,
        help="of the windows whose face the model judges rightly, and by far, each pass shows this share",
    )
    parser.add_argument("--mean", action="store_true", help="keep the mean of the weights before and after")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if not 0 < options.sure_share <= 1:
        parser.error(f"--sure-share {options.sure_share:g}: give a share above 0 and at most 1")
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {text}", flush=True)

    seeds = range(FIRST_TOGETHER_SEED, FIRST_TOGETHER_SEED + options.specimens)
    say(f"windows of {len(seeds)} specimens")
    paths = render_windows(Path(options.windows), seeds, options.processes)
    model = read_model(options.model)
    sure = None
    if options.sure_share < 1:
        sure = surely_right(model, paths, options.processes)
        say(f"{model.name} {model.version} is sure of {sum(sure)} of {len(sure)} windows")
    parameters = fit_together(
        model,
        paths,
        epochs=options.epochs,
        seed=model.card.seed,
        say=say,
        peak_rate=options.rate,
        sure=sure,
        sure_share=options.sure_share,
    )
    among = ", those of before among them" if model.card.together_seeds[0] == seeds[0] else ""
    card = after(
        model.card,
        f"together with what gathers, {options.epochs} times on {WINDOW_FRAMES} frames of a face of each of "
        f"{len(seeds)} more"
        + among
        + (f", a share of {options.sure_share:g} of those that it judged rightly by far" if sure else "")
        + ("; the mean of the weights before and after" if options.mean else ""),
        together_seeds=(seeds[0], seeds[-1]),
    )
    layers = packed(mean_of(model, parameters) if options.mean else parameters)
    write_model(msgspec.structs.replace(model, layers=layers, card=card), Path(options.model))
    say(f"{options.model} written, not yet calibrated")


if __name__ == "__main__":
    main()
