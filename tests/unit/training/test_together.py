"""Both networks trained on together: parts of sweeps that show what matters, and the same bits from the same seed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from octmargin.margin.model_file import ModelFile, read_model
from octmargin.margin.network import GATHER_LAYERS, LAYERS
from training.contexts import MALIGNANT_KINDS, contexts
from training.network import packed, parameters_of
from training.sure import surely_right
from training.sweeps import WINDOW_FRAMES, read_sweep, render_windows
from training.together import fit_together, mean_of, window_batches, window_order

SEEDS = (50_005, 50_006)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return render_windows(tmp_path_factory.mktemp("windows"), SEEDS, processes=2)


def test_windows_depend_on_their_seed_alone_and_stay(paths: list[Path], tmp_path: Path) -> None:
    (again,) = render_windows(tmp_path, SEEDS[1:], processes=1)
    assert again.read_bytes() == paths[1].read_bytes()
    written = again.stat().st_mtime_ns
    render_windows(tmp_path, SEEDS[1:], processes=1)
    assert again.stat().st_mtime_ns == written, "what is there is not rendered again"


def test_a_window_holds_some_frames_and_the_truth_of_each(paths: list[Path]) -> None:
    for path in paths:
        window = read_sweep(path)
        frames, blocks = window.kind.shape
        assert frames == WINDOW_FRAMES
        assert window.cells_db.shape[:2] == (frames, 16 * blocks)
        assert window.places.shape[:2] == (frames, blocks)
        np.testing.assert_allclose(window.places.astype(np.float64).sum(axis=-1), 1, atol=0.01)


def test_a_batch_shows_each_window_with_its_truth_however_it_is_turned(paths: list[Path]) -> None:
    windows = [read_sweep(path) for path in paths]
    batches = list(window_batches(paths, [[0, 1]] * 6, seed=1))
    assert len(batches) == 6
    for batch in batches:
        assert batch.features.shape[0] == batch.places.shape[0] == 2 * WINDOW_FRAMES
        for kind, counts, sound, gathered in zip(
            batch.kind, batch.counts, batch.sound, batch.gathered_counts, strict=True
        ):
            turned = [
                window
                for window in windows
                for along in (1, -1)
                for across in (1, -1)
                if np.array_equal(window.kind[::across, ::along], kind)
                and np.array_equal((window.usable & ~window.touched)[::across, ::along], counts)
            ]
            assert turned, "the truth belongs to one of the windows"
            assert (gathered <= counts).all()
            assert (gathered <= sound).all()
    assert any((batch.gathered_counts < batch.counts).any() for batch in batches), "some are shown with holes"


def test_a_face_that_a_lesion_merely_touches_is_neither(paths: list[Path], tmp_path: Path) -> None:
    with np.load(paths[0]) as content:
        arrays = dict(content)
    arrays["kind"][np.isin(arrays["kind"], MALIGNANT_KINDS)] = 0
    for name, touches, is_malignant, expected in (
        ("clear", False, False, 1.0),
        ("touched", True, False, 0.0),
        ("malignant", True, True, 1.0),
    ):
        kind, touched = arrays["kind"].copy(), np.zeros_like(arrays["touched"])
        touched[3, 4] = touches
        kind[5, 6] = MALIGNANT_KINDS[0] if is_malignant else kind[5, 6]
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{**arrays, "kind": kind, "touched": touched, "usable": np.ones_like(touched)})
        (batch,) = window_batches([path], [[0]], seed=1)
        assert batch.told.tolist() == [expected], name


def test_each_pass_shows_every_window_once_and_of_the_sure_ones_a_share() -> None:
    sure = [k < 40 for k in range(60)]
    rng = np.random.default_rng(1)
    whole, part = window_order(60, 4, 3, rng), window_order(60, 4, 3, rng, sure, 0.25)
    # What does not fill a batch waits for another pass: 28 of 20 + 10.
    for chosen, per_pass in ((whole, 60), (part, 28)):
        shown = np.concatenate(chosen).reshape(-1)
        assert {len(batch) for batch in chosen} == {4}
        assert len(shown) == 3 * per_pass
        for of_pass in shown.reshape(3, per_pass):
            assert len(set(of_pass)) == per_pass, "none twice"
            if chosen is part:
                assert sum(sure[k] for k in of_pass) <= 10
    assert not np.array_equal(np.sort(part[0]), np.sort(part[7]))


def test_a_model_is_sure_of_a_window_where_what_it_says_of_its_face_is_right_by_far(
    paths: list[Path], tmp_path: Path
) -> None:
    model = read_model("margin-1")
    one_sure_block = tmp_path / "few.npz"
    with np.load(paths[0]) as content:
        arrays = dict(content)
    arrays["usable"] = np.zeros_like(arrays["usable"])
    np.savez(one_sure_block, **arrays)
    turned = tmp_path / "turned.npz"
    windows = [read_sweep(path) for path in paths]
    is_malignant = [bool(np.isin(w.kind[w.usable & ~w.touched], MALIGNANT_KINDS).any()) for w in windows]
    found = surely_right(model, paths, processes=1)
    for path, malignant, sure in zip(paths, is_malignant, found, strict=True):
        with np.load(path) as content:
            arrays = dict(content)
        arrays["touched"] = np.zeros_like(arrays["touched"])
        arrays["kind"] = np.full_like(arrays["kind"], 0 if malignant else MALIGNANT_KINDS[0])
        np.savez(turned, **arrays)
        assert not (sure and surely_right(model, [turned], processes=1)[0]), (
            "not of both of two contradictions"
        )
    assert any(found), "it has learned something"
    assert surely_right(model, [one_sure_block], processes=1) == [False]


def test_training_together_gives_the_same_bits_from_the_same_seed(paths: list[Path]) -> None:
    model = read_model("margin-1")

    def trained(seed: int) -> bytes:
        return msgspec.json.encode(
            packed(fit_together(model, paths, epochs=2, seed=seed, say=lambda _: None))
        )

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


def test_it_goes_on_from_the_weights_that_the_model_has(paths: list[Path]) -> None:
    model = read_model("margin-1")
    layers = packed(fit_together(model, paths, epochs=1, seed=1, say=lambda _: None))
    assert {layer.name for layer in layers} == {*LAYERS, *GATHER_LAYERS}
    # One small step: what it says of the same windows is nearly what it said before, and not quite.
    before, after = (_said(one, paths) for one in (model, msgspec.structs.replace(model, layers=layers)))
    assert 0 < np.abs(after - before).max() < 0.5 * np.abs(before).max()


def test_the_mean_of_before_and_after_lies_in_the_middle() -> None:
    model = read_model("margin-1")
    before = parameters_of(model)
    after = {name: (weights + 1, bias - 2) for name, (weights, bias) in before.items()}
    for name, (weights, bias) in mean_of(model, after).items():
        np.testing.assert_allclose(weights, before[name][0] + 0.5, atol=1e-6)
        np.testing.assert_allclose(bias, before[name][1] - 1, atol=1e-6)


def _said(model: ModelFile, paths: list[Path]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.concatenate([sweep.scores.ravel() for sweep in contexts(model, paths)])
