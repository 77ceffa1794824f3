"""Training: the same bits from the same seed, and no specimen that a study may use."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.special import expit

from octmargin.errors import InputError
from octmargin.margin.model_file import read_model
from octmargin_simulator.study.leakage import check_unseen, training_seeds_of
from octmargin_simulator.study.plan import StudyPlan
from training.calibrate import FIRST_CALIBRATION_SEED, Aims, calibrate, platt
from training.contexts import contexts
from training.examples import Examples, training_examples
from training.fit import fit
from training.gather import FIRST_GATHERING_SEED, fit_gathering
from training.network import packed
from training.sweeps import render_sweeps
from training.together import FIRST_TOGETHER_SEED
from training.train import FIRST_TRAINING_SEED

SEEDS = (50_001, 50_002, 50_003, 50_004)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return training_examples(SEEDS, tmp_path_factory.mktemp("examples"), processes=2)


def test_examples_depend_on_their_seed_alone(examples: Examples, tmp_path: Path) -> None:
    again = training_examples(SEEDS[2:], tmp_path, processes=1)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == len(SEEDS[2:])
    chosen = np.isin(examples.seed, SEEDS[2:])
    for name in Examples.__slots__:
        np.testing.assert_array_equal(getattr(examples, name)[chosen], getattr(again, name))
    training_examples(SEEDS[2:], tmp_path, processes=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what is there is not rendered again"


def test_places_are_shares_and_every_frame_has_its_truth(examples: Examples) -> None:
    np.testing.assert_allclose(examples.places.astype(np.float64).sum(axis=-1), 1, atol=0.01)
    assert set(np.unique(examples.seed)) == set(SEEDS)
    assert examples.counts.mean() > 0.5
    assert len(np.unique(examples.kind)) >= 3


def test_training_gives_the_same_bits_from_the_same_seed(examples: Examples) -> None:
    def trained(seed: int) -> bytes:
        return msgspec.json.encode(packed(fit(examples, epochs=2, seed=seed, say=lambda _: None)))

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


def test_gathering_and_calibration_give_the_same_bits_from_the_same_seed(tmp_path: Path) -> None:
    paths = render_sweeps(tmp_path, SEEDS[:2], processes=2)
    kept = [path.stat().st_mtime_ns for path in paths]
    assert render_sweeps(tmp_path, SEEDS[:2], processes=2) == paths
    assert [path.stat().st_mtime_ns for path in paths] == kept, "what is there is not rendered again"
    model = read_model("margin-1")
    sweeps = contexts(model, paths)
    if not any(sweep.is_malignant.any() for sweep in sweeps):
        sweeps[0].kind[10:14, 5:9] = 2

    def gathered() -> list[object]:
        return list(packed(fit_gathering(sweeps, epochs=2, seed=1)))

    assert gathered() == gathered()
    first, second = (calibrate(model, sweeps, Aims()) for _ in range(2))
    assert first == second
    assert 0 < first.operating_point.doubtful_at <= first.operating_point.suspicious_at < 1


def test_calibrated_scores_are_probabilities() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(-2, 3, 20_000)
    truth = rng.random(20_000) < expit(0.7 * scores - 1.5)
    line = platt(scores, truth)
    assert line.slope == pytest.approx(0.7, abs=0.05)
    assert line.intercept == pytest.approx(-1.5, abs=0.1)


class TestNoLeakage:
    """A specimen is in training, in calibration or in a study, never in two."""

    def test_the_ranges_of_seeds_lie_apart(self) -> None:
        card = read_model("margin-1").card
        assert card.training_seeds[0] == FIRST_TRAINING_SEED
        assert card.gathering_seeds[0] == FIRST_GATHERING_SEED > card.training_seeds[1]
        assert card.gathering_seeds[1] < FIRST_TOGETHER_SEED
        assert card.together_seeds[0] == FIRST_TOGETHER_SEED
        assert card.calibration_seeds[0] == FIRST_CALIBRATION_SEED
        assert card.calibration_seeds[1] < FIRST_TRAINING_SEED
        assert StudyPlan().seeds[-1] < FIRST_CALIBRATION_SEED

    def test_a_study_refuses_what_its_model_has_seen(self) -> None:
        seen = training_seeds_of("margin-1")
        for seed in (FIRST_TRAINING_SEED, FIRST_CALIBRATION_SEED, FIRST_GATHERING_SEED, FIRST_TOGETHER_SEED):
            with pytest.raises(InputError, match=rf"seed {seed}: model margin-1 was trained on"):
                check_unseen("margin-1", [1, seed], seen)
        check_unseen("margin-1", StudyPlan().seeds, seen)
        assert training_seeds_of("rule-1") == ()
