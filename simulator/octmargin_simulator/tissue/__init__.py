"""Simulated specimens: tissue, lesions and artefacts in three dimensions, with the truth of every voxel.

Everything here is synthetic; every assumption stands in `priors.toml`.
"""

from octmargin_simulator.tissue.materials import KIND, MALIGNANT, Kind, Material
from octmargin_simulator.tissue.scan import REACH_MM, FaceScanner, TissueScan
from octmargin_simulator.tissue.specimen import Scenario, Sort, TissueSpecimen

__all__ = [
    "KIND",
    "MALIGNANT",
    "REACH_MM",
    "FaceScanner",
    "Kind",
    "Material",
    "Scenario",
    "Sort",
    "TissueScan",
    "TissueSpecimen",
]
