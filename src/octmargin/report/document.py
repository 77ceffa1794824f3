"""The report of one specimen as a document: every word that is printed, in the order in which it is read.

It is made by `octmargin.report.building` and set by `pdf`, `html` and `text`, which compute nothing.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from octmargin.report.coding import CodingSheet

State = Literal["preliminary", "final", "amended", "withdrawn"]
Tone = Literal["suspicious", "nothing_suspicious", "indeterminate", "open"]
"""How a word of a verdict is marked, besides being a word; `open` where nothing was said."""


class _Part(Struct, frozen=True, kw_only=True):
    pass


class Field(_Part, frozen=True, kw_only=True):
    """A label with its value; `alert` where a person must look at it."""

    label: str
    value: str
    alert: bool = False


class Picture(_Part, frozen=True, kw_only=True):
    """A picture, and in words what it shows; `data` is PNG or JPEG."""

    name: str
    """Of a file: letters, digits, hyphens."""
    kind: Literal["png", "jpeg"]
    data: bytes
    width_px: int
    height_px: int
    alt: str


class FacePictures(_Part, frozen=True, kw_only=True):
    """What there is of a face; `missing` says why something is not there."""

    map: Picture | None = None
    enface: Picture | None = None
    key_views: dict[int, Picture] = {}
    """By the number of the key view."""
    missing: str = ""


class Word(_Part, frozen=True, kw_only=True):
    """What someone says of a face, with its mark."""

    text: str
    tone: Tone


class KeyViewFigure(_Part, frozen=True, kw_only=True):
    """A suspicious cluster, with its B-scan where there is one."""

    title: str
    detail: str
    picture: Picture | None = None


class FaceSection(_Part, frozen=True, kw_only=True):
    """Everything that is said of one face."""

    face: str
    reader: Word
    """Of the interpreter; `open` where there is none."""
    algorithm: Word
    differs: bool
    """Whether reader and algorithm disagree."""
    action: str
    coverage: str
    depth: str
    distance: str
    extent: str
    """Of the planned grid."""
    not_seen: tuple[str, ...]
    reasons: tuple[str, ...]
    """Why the algorithm said it."""
    remarks: tuple[str, ...]
    """Decisions and marks of readers, earlier sweeps, times."""
    map: Picture | None = None
    enface: Picture | None = None
    no_pictures: str = ""
    """Which pictures are missing or not whole, and why."""
    key_views: tuple[KeyViewFigure, ...] = ()
    more_key_views: str = ""
    """How many are not shown; empty where all are."""


class Disagreement(_Part, frozen=True, kw_only=True):
    """Where reader and algorithm say different things."""

    face: str
    algorithm: Word
    reader: Word
    by: str
    note: str


class AddendumText(_Part, frozen=True, kw_only=True):
    """What was said after signing."""

    title: str
    text: str


class PathologyRow(_Part, frozen=True, kw_only=True):
    """What pathology found at a face, beside what was said during the operation."""

    face: str
    pathology: str
    detail: str
    reader: Word
    algorithm: Word
    missed: str = ""
    """Who had found nothing suspicious where pathology found a positive margin; empty where nobody had."""


class Signing(_Part, frozen=True, kw_only=True):
    """The signature block; `signed` is empty where nobody has signed."""

    interpreter: tuple[Field, ...]
    signed: tuple[Field, ...]
    statement: str


class VersionSet(_Part, frozen=True, kw_only=True):
    """What judged some sweeps."""

    of: str
    fields: tuple[Field, ...]


class ReportDocument(_Part, frozen=True, kw_only=True):
    """A report, ready to be set."""

    schema: int = 1
    language: str = "en"
    title: str
    subject: str
    """Specimen and case, for the head of every page."""
    patient_line: str
    """Who it is about, for the head of every page."""
    state: State
    state_text: str
    """What the state means, with names and times."""
    watermark: str
    """Across every page; empty on a signed report."""
    notice: str
    """Research use, on every page."""
    synthetic_notice: str
    """On every page; empty where the spectra were measured."""
    alerts: tuple[str, ...]
    """What a person must see before anything else."""
    patient: tuple[Field, ...]
    case: tuple[Field, ...]
    specimen: tuple[Field, ...]
    indication: str
    margin_status: tuple[Field, ...]
    """Faces by what is said of them."""
    status_by: str
    """Who says so."""
    interpretation: str
    """In the interpreter's own words."""
    faces: tuple[FaceSection, ...]
    not_seen: tuple[Field, ...]
    """Face by face, what was not seen."""
    limits: tuple[str, ...]
    """What holds for all faces."""
    disagreements: tuple[Disagreement, ...]
    no_disagreement: str
    """Said where there is none."""
    re_excisions: tuple[Field, ...]
    no_re_excision: str
    addenda: tuple[AddendumText, ...]
    later: tuple[Field, ...]
    """What else was recorded after signing."""
    pathology: tuple[PathologyRow, ...]
    no_pathology: str
    signing: Signing
    versions: tuple[VersionSet, ...]
    record: tuple[Field, ...]
    """Where all this stands, and how it is proved unaltered."""
    coding: CodingSheet
    created: str
    file_stem: str

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Every picture, in reading order."""
        found = []
        for face in self.faces:
            found += [face.enface, face.map, *(view.picture for view in face.key_views)]
        return tuple(picture for picture in found if picture is not None)
