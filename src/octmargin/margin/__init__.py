"""Models that judge a B-scan's blocks, the map of a sweep, the evidence in it, and the verdict on a face.

A model is found by name (`octmargin.margin.registry`); margin-1 is trained on simulated specimens, rule-1 is a plain
rule to compare with. See docs/assessment.md.
"""

import numpy as np

from octmargin.margin.assess import DEFAULT_MODEL, Assessor
from octmargin.margin.flags import BlockFlags
from octmargin.margin.model import CLASSES, FrameView, Judgement, MarginModel, ModelIdentity
from octmargin.margin.quality import QualityParameters
from octmargin.margin.registry import load_model, model_names
from octmargin.margin.rule import RuleParameters
from octmargin.margin.rule_model import RuleModel
from octmargin.margin.sweep import SweepMap
from octmargin.margin.verdict import Cluster, Outcome, Policy, Verdict, face_score, judge

__all__ = [
    "CLASSES",
    "DEFAULT_MODEL",
    "Assessor",
    "BlockFlags",
    "Cluster",
    "FrameView",
    "Judgement",
    "MarginModel",
    "ModelIdentity",
    "Outcome",
    "Policy",
    "QualityParameters",
    "RuleModel",
    "RuleParameters",
    "SweepMap",
    "Verdict",
    "face_score",
    "judge",
    "load_model",
    "model_names",
    "warm_up",
]


def warm_up() -> None:
    """Compile, or load from numba's cache, every kernel that `Assessor.assess` uses with the models that come along."""
    bscan_db = np.full((16, 64), 30.0, dtype=np.float32)
    bscan_db[:, :16] = 0.0
    for model in (DEFAULT_MODEL, "rule-1"):
        Assessor(model).assess(bscan_db, axial_um=4.0)
