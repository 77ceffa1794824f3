"""Coded concepts for DICOM: public ones where there are any, else those of `octmargin.terminology`."""

from __future__ import annotations

from typing import Final

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from octmargin import terminology
from octmargin.terminology import Term

_LONGEST = 64
"""Characters of a code's meaning."""

SIDES: Final = {"left": codes.SCT.Left, "right": codes.SCT.Right}
SITES: Final = {
    "lumpectomy": codes.SCT.Breast,
    "shave": codes.SCT.Breast,
    "node": codes.SCT.AxillaryLymphNode,
}
BODY_PARTS: Final = {"lumpectomy": "BREAST", "shave": "BREAST", "node": "AXILLA"}
SPECIMEN_TYPES: Final = {
    "lumpectomy": codes.SCT.LumpectomyBreastSample,
    "shave": codes.SCT.SpecimenFromBreastObtainedByExcision,
}
"""A node has none that says no more than we know."""
FACES: Final = {
    "superior": codes.SCT.Superior,
    "inferior": codes.SCT.Inferior,
    "medial": codes.SCT.Medial,
    "lateral": codes.SCT.Lateral,
    "anterior": codes.SCT.Anterior,
    "posterior": codes.SCT.Posterior,
}
"""Of the specimen as it lay in the body; other faces have a name alone."""
PROCEDURE: Final = Code("0352T", "C4", "Interpretation and report of OCT of an excised specimen")
"""In our words: the descriptor of the set is its owner's."""


def own(term: Term) -> Code:
    """A term of ours as a code."""
    return Code(term.code, terminology.DESIGNATOR, term.display[:_LONGEST])
