"""The FFT as the chain has it: spectra that are in lanes already and depths that stay there."""

from __future__ import annotations

from octmargin.signal._chain_kernels import Floats, Integers
from octmargin.signal._fft_passes import kernel, one_pass
from octmargin.signal._fft_plan import make_plan, next_supported, work_buffers
from octmargin.signal._lanes import LANES


class ResidentFft:
    """All passes of one length, as often as a frame of `alines` A-lines has groups of sixteen.

    The spectra are zero: what a pass takes does not depend on its values, and zero does not grow from one transform
    to the next.
    """

    def __init__(self, samples: int, alines: int) -> None:
        self._plan = make_plan(next_supported(samples))
        self._here, self._there = work_buffers(self._plan.length)
        self._groups = -(-alines // LANES)

    def transform(self) -> None:
        """Transform the same sixteen A-lines again for each group."""
        plan = self._plan
        _transform_again(
            self._here,
            self._there,
            plan.radices,
            plan.firsts,
            plan.lengths,
            plan.strides,
            plan.twiddles,
            self._groups,
        )


@kernel
def _transform_again(
    here: Floats,
    there: Floats,
    radices: Integers,
    firsts: Integers,
    lengths: Integers,
    strides: Integers,
    twiddles: Floats,
    times: int,
) -> None:
    passes = radices.shape[0]
    for _ in range(times):
        x, y = here, there
        for k in range(passes):
            one_pass(radices[k], x, y, twiddles, firsts[k], lengths[k], strides[k])
            x, y = y, x
