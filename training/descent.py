"""How weights are brought to fit: AdamW with a warm-up, a cosine fall of its rate, and clipped gradients."""

from __future__ import annotations

from math import cos, pi

import torch
from torch import Tensor

from training.network import Parameters

_LARGEST_GRADIENT = 1.0
"""Norm of all gradients together; longer ones are shortened to it."""
_LAST_RATE = 0.02
"""Of the peak rate, at the end."""


class Descent:
    """Steps of AdamW (Loshchilov 2019, arXiv 1711.05101) over copies of the weights it is given.

    Its rate rises from 0 to `peak_rate` in `warm_up_steps`, and falls along a cosine to 2 % of that at `steps`
    (Loshchilov 2017, arXiv 1608.03983).
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        peak_rate: float,
        warm_up_steps: int,
        steps: int,
        weight_decay: float,
    ) -> None:
        self.parameters: Parameters = {
            name: (weights.clone().requires_grad_(), bias.clone().requires_grad_())
            for name, (weights, bias) in parameters.items()
        }
        self._values = [values for layer in self.parameters.values() for values in layer]
        self._adamw = torch.optim.AdamW(self._values, lr=peak_rate, weight_decay=weight_decay)
        self._rate = torch.optim.lr_scheduler.LambdaLR(
            self._adamw, lambda step: _share_of_rate(step, warm_up_steps, steps)
        )

    def step(self, loss: Tensor) -> None:
        """Go one step down the gradient of `loss`."""
        self._adamw.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._values, _LARGEST_GRADIENT)
        self._adamw.step()
        self._rate.step()

    def found(self) -> Parameters:
        """The weights as they are now, of which no gradient is taken any more."""
        return {
            name: (weights.detach().clone(), bias.detach().clone())
            for name, (weights, bias) in self.parameters.items()
        }


def _share_of_rate(step: int, warm_up_steps: int, steps: int) -> float:
    if step < warm_up_steps:
        return step / warm_up_steps
    share = min(1.0, (step - warm_up_steps) / max(1, steps - warm_up_steps))
    return _LAST_RATE + (1 - _LAST_RATE) * (1 + cos(pi * share)) / 2
