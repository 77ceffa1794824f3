"""The numbers of rule-1, the first rule that tells suspicious from other tissue. See docs/margin-rule.md."""

from __future__ import annotations

from dataclasses import dataclass, fields

from octmargin.errors import ConfigError

CLASSES = ("adipose", "stroma", "tumour")
"""What the columns of `BlockFlags.probabilities` stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleParameters:
    """Thresholds of rule-1. Chosen on synthetic tissue, not on patients.

    Attenuation in 1/mm with the double-pass convention I ~ exp(-2 mu z); lengths in µm of tissue.
    """

    segment_penalty: float = 25.0
    """What a further segment must gain, in squared residuals over their variance."""
    suspicious_attenuation_per_mm: float = 4.7
    attenuation_spread: float = 0.08
    """Width of the logistic of attenuation, in relative units (natural logarithm)."""
    confidence_sigmas: float = 2.0
    """A layer's attenuation counts less this many of its standard errors: short layers are read badly."""
    edge_attenuation_per_mm: float = 12.0
    """A short layer steeper than this is a slanted interface, averaged over the block."""
    adipose_attenuation_per_mm: float = 2.1
    brighter_by_db: float = 3.0
    """A suspicious segment that begins below others must be brighter than the one above by this much..."""
    brightness_spread_db: float = 0.6
    long_run_um: float = 240.0
    """...or be so long that no slanted interface can imitate it."""
    long_run_spread_um: float = 20.0
    min_run_um: float = 100.0
    """Shorter segments are never suspicious."""
    surface_run_um: float = 100.0
    """A segment that begins at the surface has nothing above to be compared with: it must be this long."""
    suspicious_at: float = 0.5
    """Suspicion from which a block is suspicious, unless the configuration's `model.suspicious_at` says otherwise."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(
                    f"rule parameter {field.name} is {getattr(self, field.name)}; give a number above 0"
                )
