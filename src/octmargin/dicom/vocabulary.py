"""Words that our DICOM objects say of any case: who happens to be called so is not given away by one of them."""

from __future__ import annotations

import re
from typing import Final

from octmargin import terminology
from octmargin.words import NOTICE

_SAID: Final = """
    abnormal above accession acquisition addendum all alone amended and anew anonymized anonymizer anterior
    application are artificial automatic axes axilla basic below between beyond binary block blocks body breast
    but calibration certified class clean code columns comment complete concept confidentiality configuration
    console container contains content context continuous contributors copy correction covered cut dark dcis dcm
    dcmr delay derived descendants descriptor descriptors dicom dimensions discontinued doubtful english
    equipment excised excisions faces final finding findings firmware first give group has have highdicom
    identifier identity ignore image imaging inferior intelligence interpretation intraoperative invasive iso
    issuer item its keep kept know known language lateral laterality lay least left level levels lines lower
    lumpectomy made manufacturer map meaning measurement measurements medial median mod model modifier
    monochrome more morphologically most mostly name neighbouring node noise none num number obs observer
    octmargin once open operating option organization orientation original other others our owner parameters
    patient percent person pixel pixels pname policy polygon position posterior primary procedure processing
    profile provisional radiologist recorded referenced region relational relied removed reported requested rfc
    right role rows said sample saturated says scan scans scheduled scoord sct seg segment session set shallow
    share shave short shows site software source space spatial states step structure structured study subject
    superior surgeon sweep syn tells text than that there those tissue too topographical tracking type ucum uid
    uidref unfamiliar unique united units unknown usable value verified version view viewer volume was what
    where which with within without words yes zero
"""
"""Of descriptions, sentences, code meanings and terms of DICOM itself, besides our own terms."""

VOCABULARY: Final = frozenset(
    word
    for text in (_SAID, NOTICE, *(f"{term.code} {term.display}" for term in terminology.TERMS.values()))
    for word in re.findall(r"[^\W\d_]+", text.lower())
)
"""In small letters."""
