"""What a voxel of a simulated specimen can be, and what that means for a margin."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import numpy as np


class Material(IntEnum):
    """What fills a voxel."""

    AIR = 0
    FLUID = 1
    """Saline on the surface, or a film of it."""
    INK = 2
    BLOOD = 3
    """Outside vessels: on the surface."""
    CAUTERY = 4
    """Coagulated tissue under the electrosurgical cut."""
    DEBRIS = 5
    GAP = 6
    """Air under a flap of tissue."""
    ADIPOSE = 7
    STROMA = 8
    DUCT_WALL = 9
    LUMEN = 10
    VESSEL = 11
    CYST = 12
    FIBROADENOMA = 13
    CAVITY = 14
    """Old blood and fluid of a biopsy cavity."""
    GRANULATION = 15
    """The cavity's wall."""
    CAPSULE = 16
    """Of a node."""
    CORTEX = 17
    """Of a node."""
    INVASIVE = 18
    DCIS = 19
    NECROSIS = 20
    """In the middle of a duct that DCIS fills."""
    CALCIFICATION = 21
    METASTASIS = 22


class Kind(StrEnum):
    """What a reader calls a place; the classes of the assessment."""

    ADIPOSE = "adipose"
    STROMA = "stroma"
    INVASIVE = "invasive"
    DCIS = "dcis"
    OTHER_BENIGN = "other_benign"
    ARTEFACT = "artefact"


KIND: dict[Material, Kind] = {
    Material.FLUID: Kind.ARTEFACT,
    Material.INK: Kind.ARTEFACT,
    Material.BLOOD: Kind.ARTEFACT,
    Material.CAUTERY: Kind.ARTEFACT,
    Material.DEBRIS: Kind.ARTEFACT,
    Material.GAP: Kind.ARTEFACT,
    Material.ADIPOSE: Kind.ADIPOSE,
    Material.STROMA: Kind.STROMA,
    Material.DUCT_WALL: Kind.STROMA,
    Material.LUMEN: Kind.STROMA,
    Material.VESSEL: Kind.STROMA,
    Material.CYST: Kind.OTHER_BENIGN,
    Material.FIBROADENOMA: Kind.OTHER_BENIGN,
    Material.CAVITY: Kind.OTHER_BENIGN,
    Material.GRANULATION: Kind.OTHER_BENIGN,
    Material.CAPSULE: Kind.OTHER_BENIGN,
    Material.CORTEX: Kind.OTHER_BENIGN,
    Material.INVASIVE: Kind.INVASIVE,
    Material.DCIS: Kind.DCIS,
    Material.NECROSIS: Kind.DCIS,
    Material.CALCIFICATION: Kind.DCIS,
    Material.METASTASIS: Kind.INVASIVE,
}
"""Every material but air; calcifications are drawn in ducts with DCIS only."""

MALIGNANT = np.array([KIND.get(m) in {Kind.INVASIVE, Kind.DCIS} for m in Material])
"""Whether a voxel of a material belongs to a malignant lesion, bool, indexed by `Material`."""
