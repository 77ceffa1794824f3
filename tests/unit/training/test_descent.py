"""Steps of descent: against the formulas that they are made of."""

from __future__ import annotations

import numpy as np
import torch

from training.descent import Descent
from training.network import Parameters

PEAK, WARM_UP, STEPS, DECAY = 0.1, 4, 12, 0.3


def test_a_step_is_adam_with_a_warm_up_a_cosine_fall_and_clipped_gradients() -> None:
    rng = np.random.default_rng(1)
    start, slopes = rng.normal(size=5), 3 * rng.normal(size=(STEPS, 5))
    slopes[1] /= 100  # too small to be clipped
    parameters: Parameters = {"layer": (torch.tensor(start), torch.zeros(1, dtype=torch.float64))}
    descent = Descent(parameters, peak_rate=PEAK, warm_up_steps=WARM_UP, steps=STEPS, weight_decay=DECAY)
    expected, mean, square = start.copy(), np.zeros(5), np.zeros(5)
    for n, slope in enumerate(slopes):
        weights, bias = descent.parameters["layer"]
        descent.step((weights * torch.tensor(slope)).sum() + 0 * bias.sum())
        share = (n - WARM_UP) / (STEPS - WARM_UP)
        rate = PEAK * (n / WARM_UP if n < WARM_UP else 0.02 + 0.98 * (1 + np.cos(np.pi * share)) / 2)
        clipped = slope / max(1.0, float(np.linalg.norm(slope)))
        mean, square = 0.9 * mean + 0.1 * clipped, 0.999 * square + 0.001 * clipped**2
        unbiased = mean / (1 - 0.9 ** (n + 1)), square / (1 - 0.999 ** (n + 1))
        expected -= rate * (DECAY * expected + unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8))
        np.testing.assert_allclose(descent.found()["layer"][0], expected, rtol=1e-5)


def test_the_weights_that_it_is_given_stay_as_they_are() -> None:
    weights, bias = torch.ones(3), torch.zeros(1)
    descent = Descent({"layer": (weights, bias)}, peak_rate=1.0, warm_up_steps=0, steps=2, weight_decay=0.0)
    descent.step((descent.parameters["layer"][0] ** 2).sum())
    assert torch.equal(weights, torch.ones(3))
    assert not torch.equal(descent.found()["layer"][0], weights)
