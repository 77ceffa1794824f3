"""The page that a person reads: every face unfolded, then each face with its findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from octmargin.assessment.face_pictures import FacePictures
from octmargin.assessment.record import Assessment, ClusterRecord, FaceRecord
from octmargin.frames import FACES
from octmargin.margin import Outcome
from octmargin.words import percent

_TEMPLATE = "sheet.html.j2"
_URGENCY = (Outcome.SUSPICIOUS, Outcome.INDETERMINATE, Outcome.NOTHING_SUSPICIOUS)
"""In which order a reader looks closer."""


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A cluster with its B-scan."""

    cluster: ClusterRecord
    file: str
    at_mm: float
    """Where its frame lies across the frames."""


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face with its pictures."""

    anchor: str
    record: FaceRecord
    pictures: FacePictures
    findings: list[ShownFinding]


def render_sheet(assessment: Assessment, pictures: Sequence[FacePictures]) -> str:
    """Fill the page; `pictures` are of the assessment's faces, in their order. It needs nothing from elsewhere."""
    faces = [
        ShownFace(f"face-{number}", record, drawn, _findings(record, drawn))
        for number, (record, drawn) in enumerate(zip(assessment.faces, pictures, strict=True), start=1)
    ]
    recorded = {face.record.face for face in faces}
    # A single face would be lost among the empty places of five others.
    is_unfolded = len(recorded) > 1 and recorded <= set(FACES)
    environment = Environment(
        loader=PackageLoader("octmargin.assessment"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template(_TEMPLATE).render(
        assessment=assessment,
        faces=faces,
        closer=sorted(faces, key=lambda face: _URGENCY.index(Outcome(face.record.verdict))),
        is_unfolded=is_unfolded,
        absent=[face for face in FACES if face not in recorded] if is_unfolded else [],
        verdicts=Counter(face.record.verdict for face in faces),
    )


def _findings(record: FaceRecord, pictures: FacePictures) -> list[ShownFinding]:
    by_number = {cluster.number: cluster for cluster in record.clusters}
    shown = []
    for key in pictures.keys:
        cluster = by_number[key.finding.number]
        shown.append(
            ShownFinding(
                cluster=cluster,
                file=key.file,
                at_mm=(cluster.key_frame + 0.5) * record.height_mm / record.frames,
            )
        )
    return shown
