"""Train both networks of a model on, together: `python -m training.together --help`.

Until here the network of frames learned from single blocks, and the one that gathers took it as it was. Now both
learn from the faces too, by the blocks that speak the loudest: those of a lesion too faint, and those of a clear face
that look the most like one (Shrivastava 2016, doi 10.1109/CVPR.2016.89). Where a model already judges most faces
rightly, `--again` shows those that it does not more often than the others, and keeps the mean of the weights before and
after: between what was learned from all faces and from the hard ones alone it errs less than either (after Wortsman
2022, arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
from numpy.typing import NDArray

from octmargin.margin.model_file import ModelFile, read_model, write_model
from octmargin.margin.network import GATHER_LAYERS, LAYERS
from training.batches import dim, features_of, noise_pool
from training.contexts import MALIGNANT_KINDS
from training.examples import out_of_db
from training.fit import Say, frames_loss, packed
from training.gather import gathered_losses
from training.network import Parameters, gathered_scores, scores
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
_SURE_SHARE = 0.25
"""Of the windows that a model is sure of, so many are shown in each pass where these are shown seldom."""


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
    sure: Sequence[bool] | None = None,
) -> Parameters:
    """Go on from the weights of `model`; the same seed and files give the same bits on the same kind of machine.

    Of the windows that are `sure`, each pass shows a part only (`_SURE_SHARE`).
    """
    parameters: Any = {
        name: tuple(jnp.asarray(values) for values in model.layer(name).unpack())
        for name in (*LAYERS, *GATHER_LAYERS)
    }
    size = min(BATCH, len(paths))
    chosen = window_order(len(paths), size, epochs, np.random.default_rng([seed, 51]), sure)
    steps = len(chosen)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, _PEAK_RATE, min(_WARM_UP_STEPS, steps // 3), steps, 0.02 * _PEAK_RATE
    )
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=_WEIGHT_DECAY))
    state = optimiser.init(parameters)

    @jax.jit
    def step(parameters: Any, state: Any, batch: Any) -> Any:
        (_, parts), gradient = jax.value_and_grad(_loss, has_aux=True)(parameters, *batch)
        updates, state = optimiser.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, parts

    began, losses = time.monotonic(), []
    for n, batch in enumerate(window_batches(paths, chosen, seed), start=1):
        parameters, state, parts = step(
            parameters, state, tuple(getattr(batch, name) for name in WindowBatch.__slots__)
        )
        losses.append(parts)
        if n % 100 == 0 or n == steps:
            frames, blocks, faces = np.mean(np.array(losses[-100:], np.float64), axis=0)
            say(
                f"step {n} of {steps}: loss of frames {frames:.4f}, of gathered blocks {blocks:.4f}, "
                f"of faces {faces:.4f}, {time.monotonic() - began:.0f} s"
            )
    return dict(parameters)


def mean_of(model: ModelFile, parameters: Parameters) -> Parameters:
    """The mean of the weights that `model` has and of those that it went on to."""
    means: Parameters = {}
    for name, (weights, bias) in parameters.items():
        weights_before, bias_before = model.layer(name).unpack()
        means[name] = ((weights + weights_before) / 2, (bias + bias_before) / 2)
    return means


def _loss(
    parameters: Any,
    features: Any,
    places: Any,
    kind: Any,
    counts: Any,
    gathered_counts: Any,
    sound: Any,
    told: Any,
) -> Any:
    block_scores, place_scores, zones = scores(parameters, features)
    of_frames = frames_loss(
        block_scores, place_scores, kind.reshape(len(features), -1), counts.reshape(len(features), -1), places
    )
    context = jnp.concatenate([zones, block_scores], axis=-1).reshape(*kind.shape, -1)
    known = jnp.concatenate([context * sound[..., None], sound[..., None]], axis=-1)
    of_blocks, of_faces = gathered_losses(
        gathered_scores(parameters, known), sound > 0, kind, gathered_counts
    )
    of_faces = (told * of_faces).mean()
    return _FRAMES_SHARE * of_frames + of_blocks + _FACE_SHARE * of_faces, (of_frames, of_blocks, of_faces)


def window_order(
    count: int, size: int, epochs: int, rng: np.random.Generator, sure: Sequence[bool] | None = None
) -> list[list[int]]:
    """Draw which of `count` windows make each batch of `size`: in each pass all but some of those that are `sure`."""
    is_sure = np.zeros(count, np.bool_) if sure is None else np.asarray(sure, np.bool_)
    others, seldom = np.flatnonzero(~is_sure), np.flatnonzero(is_sure)
    chosen = []
    for _ in range(epochs):
        some = rng.choice(seldom, round(_SURE_SHARE * len(seldom)), replace=False)
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
    parser.add_argument(
        "--again",
        action="store_true",
        help="of a model that was trained so before: show the windows whose face it judges rightly, and by far, in one "
        "pass in four, and keep the mean of its weights before and after",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {text}", flush=True)

    seeds = range(FIRST_TOGETHER_SEED, FIRST_TOGETHER_SEED + options.specimens)
    say(f"windows of {len(seeds)} specimens")
    paths = render_windows(Path(options.windows), seeds, options.processes)
    model = read_model(options.model)
    sure = None
    if options.again:
        sure = surely_right(model, paths, options.processes)
        say(f"{model.name} {model.version} is sure of {sum(sure)} of {len(sure)} windows")
    parameters = fit_together(model, paths, epochs=options.epochs, seed=model.card.seed, say=say, sure=sure)
    layers = packed(mean_of(model, parameters) if options.again else parameters)
    card = msgspec.structs.replace(
        model.card,
        trained_on=f"{model.card.trained_on}; then "
        + (
            f"of {len(seeds)}, these among them, mostly those that it did not judge rightly by far"
            if options.again
            else f"together with what gathers, {WINDOW_FRAMES} frames of a face of each of {len(seeds)} more"
        ),
        together_seeds=(seeds[0], seeds[-1]),
    )
    write_model(msgspec.structs.replace(model, layers=layers, card=card), Path(options.model))
    say(f"{options.model} written, not yet calibrated")


if __name__ == "__main__":
    main()
