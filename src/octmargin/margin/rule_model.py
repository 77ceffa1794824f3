"""rule-1 as a model: attenuation and brightness of layers, nothing learned. The baseline for whatever is learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import ConfigError
from octmargin.margin import _segments, _suspicion
from octmargin.margin.model import FrameView, Judgement, ModelIdentity, OperatingPoint
from octmargin.margin.rule import CLASSES, RuleParameters

_LEAST_VARIANCE = 0.005
_ADIPOSE_SPREAD = 0.15


class RuleModel:
    """rule-1 (docs/margin-rule.md); its outputs are an order, not calibrated probabilities."""

    classes: tuple[str, ...] = CLASSES
    judged_mm = float("inf")

    def __init__(self, parameters: RuleParameters | None = None) -> None:
        self.parameters = parameters or RuleParameters()
        self.identity = ModelIdentity("rule-1", "1")
        self.suspicious_at = self.parameters.suspicious_at
        self.operating_point = OperatingPoint(self.suspicious_at, self.suspicious_at, 3)
        self._rule = _suspicion.pack(self.parameters)
        self._bins, self._scratch = 0, _segments.layer_scratch(0)

    def judge(self, view: FrameView) -> Judgement:
        """Split each block's profile into layers; the most suspicious one speaks for the block."""
        profile = view.profile
        bins = profile.log_bins.shape[1]
        if bins != self._bins:
            self._bins, self._scratch = bins, _segments.layer_scratch(bins)
        variance = _segments.residual_variance(profile.log_bins, profile.bins_seen, _LEAST_VARIANCE)
        found = np.empty((view.blocks, _suspicion.COLUMNS))
        _suspicion.judge_layers(
            profile.log_bins,
            profile.bins_seen,
            variance,
            self._rule,
            profile.bin_mm,
            profile.first_mm,
            self._scratch,
            np.empty((bins, _segments.COLUMNS)),
            found,
        )
        suspicion, mean_per_mm = found[:, _suspicion.SUSPICION], found[:, _suspicion.MEAN_ATTENUATION]
        weak = np.log(np.maximum(mean_per_mm, 1e-3) / self.parameters.adipose_attenuation_per_mm)
        adipose = 1.0 / (1.0 + np.exp(weak / _ADIPOSE_SPREAD))
        rest = 1.0 - suspicion
        probabilities = np.stack([rest * adipose, rest * (1.0 - adipose), suspicion], axis=1)
        return Judgement(
            suspicion=suspicion.astype(np.float32),
            probabilities=probabilities.astype(np.float32),
            distance_mm=found[:, _suspicion.TOP_MM].astype(np.float32),
            attenuation_per_mm=found[:, _suspicion.ATTENUATION].astype(np.float32),
            unfamiliar=np.zeros(view.blocks, np.bool_),
            context=np.empty((view.blocks, 0), np.float32),
        )

    def gather(
        self, suspicion: NDArray[np.float32], context: NDArray[np.float32], sound: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Take each block's suspicion as it is: the rule knows nothing of neighbours."""
        del context
        return np.where(sound, suspicion, np.float32(np.nan))


def make(argument: str | None) -> RuleModel:
    """Make rule-1 with its default numbers. Raises ConfigError for an argument: it takes none."""
    if argument is not None:
        raise ConfigError(f"model rule-1:{argument}: rule-1 takes no argument; its numbers are in [rule]")
    return RuleModel()
