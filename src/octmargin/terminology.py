"""The code system of what OCT of a margin finds: no public one has these meanings, so it is our own.

DICOM names it by `DESIGNATOR` and `UID`, FHIR by `URL`. A code keeps its meaning for ever; a new meaning is a new code.
LOINC 44669-0 and others that are nearly right are never used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DESIGNATOR: Final = "99OCTMARGIN"
UID: Final = "2.25.62575100889808535737572695143793438077"
URL: Final = f"urn:oid:{UID}"
NAME: Final = "octmargin findings"
VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class Term:
    """One concept: its code, what people read, and what is meant."""

    code: str
    display: str
    definition: str


def _term(code: str, display: str, definition: str) -> Term:
    term = Term(code, display, definition)
    TERMS[code] = term
    return term


TERMS: Final[dict[str, Term]] = {}
"""Every term by its code, in the order in which they are documented."""

REPORT = _term(
    "margin-report",
    "OCT margin report",
    "Interpretation of optical coherence tomography of an excised breast specimen or axillary node.",
)
FACE = _term(
    "face-assessment",
    "OCT assessment of a specimen's face",
    "What was found on one face, shave or node by one sweep, and by whom.",
)
FACE_NAME = _term(
    "face", "face", "The face, shave or node that is meant, of the specimen as it lay in the body."
)
VERDICT = _term("verdict", "verdict of the algorithm", "What the algorithm says of a face.")
READING = _term("reading", "reading of the interpreter", "What the interpreter says of a face.")
OPINION = _term("opinion", "reader's opinion of the verdict", "Whether a reader agrees with the algorithm.")

SUSPICIOUS = _term(
    "suspicious", "suspicious", "Features that look like tumour within the depth that could be judged."
)
NOTHING_SUSPICIOUS = _term(
    "nothing-suspicious",
    "nothing suspicious down to the visualised depth",
    "No suspicious feature down to the visualised depth where the face was covered, and no more.",
)
INDETERMINATE = _term("indeterminate", "indeterminate", "Too little was seen, or evidence is doubtful.")
NOT_ASSESSED = _term(
    "not-assessed", "not assessed", "The face was not scanned, or the interpreter says nothing of it."
)
POOR = _term("poor", "not judged, poor signal", "The place was scanned and cannot be judged.")
LOST = _term("lost", "lost", "Spectra of the place were numbered by the console and lost.")
NOT_SCANNED = _term("not-scanned", "not scanned", "The place was planned and not scanned.")

AGREE = _term("agree", "agrees", "The reader agrees with the verdict.")
DISAGREE = _term("disagree", "disagrees", "The reader disagrees with the verdict.")
UNSURE = _term("unsure", "unsure", "The reader is unsure about the verdict.")

COVERAGE = _term(
    "coverage", "coverage", "Share of the planned places of a face that were judged, in percent."
)
VISUALISED_DEPTH = _term(
    "visualised-depth", "visualised depth", "How deep below the surface the face could be judged, in mm."
)
DISTANCE = _term(
    "distance",
    "distance of the nearest suspicious feature from the surface",
    "From the specimen's surface, in mm; not a distance from tumour to ink, which only pathology measures.",
)
EVIDENCE = _term("evidence", "evidence", "How strongly the algorithm suspects a place, in percent.")
CLUSTERS = _term(
    "clusters", "suspicious clusters", "How many groups of touching suspicious places there are."
)
LOST_FRAMES = _term("lost-frames", "lost frames", "How many frames of the sweep were lost.")
CLUSTER = _term("cluster", "suspicious cluster", "A group of touching suspicious places.")
ACTION = _term("action", "action taken", "What was done about a face because of what was found.")
RE_EXCISION = _term(
    "re-excision", "re-excision", "More tissue was taken at the face because of what was found."
)
PATHOLOGY_REPORT = _term(
    "pathology-report",
    "margins as pathology found them",
    "What pathology found at the margins of a specimen, as the record of the margin assessment has it.",
)
PATHOLOGY = _term(
    "pathology", "pathology's result at a margin", "What pathology found at one margin, or in a node."
)
PATHOLOGY_POSITIVE = _term(
    "pathology-positive", "positive", "Tumour at ink, or in the node, as pathology found it."
)
PATHOLOGY_CLOSE = _term(
    "pathology-close", "close", "Tumour nearer to ink than the margin that is asked for, and not at ink."
)
PATHOLOGY_NEGATIVE = _term(
    "pathology-negative",
    "negative",
    "No tumour within the margin that is asked for, or none in the node, as pathology found it.",
)
PATHOLOGY_NOT_ASSESSED = _term(
    "pathology-not-assessed", "not assessed by pathology", "Pathology says nothing of this margin."
)
INK_DISTANCE = _term(
    "ink-distance", "distance from ink to tumour", "As pathology measured it, in mm; 0 is tumour at ink."
)
ENTITY = _term("entity", "entity", "The kind of tumour that pathology found at a margin.")
DATA_ORIGIN = _term("data-origin", "origin of the data", "Whether spectra were measured or computed.")
SYNTHETIC = _term("synthetic", "SYNTHETIC: spectra were computed, not measured", "No tissue was imaged.")
MEASURED = _term("measured", "measured", "Spectra were measured.")

OF_VERDICT: Final = {
    "suspicious": SUSPICIOUS,
    "nothing_suspicious": NOTHING_SUSPICIOUS,
    "indeterminate": INDETERMINATE,
    "not_assessed": NOT_ASSESSED,
}
OF_PATHOLOGY: Final = {
    "positive": PATHOLOGY_POSITIVE,
    "close": PATHOLOGY_CLOSE,
    "negative": PATHOLOGY_NEGATIVE,
    "not_assessed": PATHOLOGY_NOT_ASSESSED,
}
OF_DECISION: Final = {"agree": AGREE, "disagree": DISAGREE, "unsure": UNSURE}
OF_LETTER: Final = {
    "S": SUSPICIOUS,
    "N": NOTHING_SUSPICIOUS,
    "P": POOR,
    "L": LOST,
    ".": NOT_SCANNED,
}
"""Of the letters of a map."""
