"""Features of a B-scan's blocks, the rule that flags them, the map of a sweep and the verdict on a face.

rule-1 splits each block's averaged profile into layers and calls a layer suspicious that attenuates strongly
and either begins at the surface, is brighter than the layer above, or is long. See docs/margin-rule.md.
"""

import numpy as np

from octmargin.margin.assess import MODELS, Assessor
from octmargin.margin.flags import BlockFlags
from octmargin.margin.rule import CLASSES, RuleParameters
from octmargin.margin.sweep import SweepMap
from octmargin.margin.verdict import Cluster, Outcome, Policy, Verdict, judge

__all__ = [
    "CLASSES",
    "MODELS",
    "Assessor",
    "BlockFlags",
    "Cluster",
    "Outcome",
    "Policy",
    "RuleParameters",
    "SweepMap",
    "Verdict",
    "judge",
    "warm_up",
]


def warm_up() -> None:
    """Compile, or load from numba's cache, every kernel that `Assessor.assess` uses."""
    bscan_db = np.full((16, 64), 30.0, dtype=np.float32)
    bscan_db[:, :16] = 0.0
    Assessor().assess(bscan_db, axial_um=4.0)
