"""What is known of a case: frozen structs, as reports, DICOM and FHIR read them. No input or output, no clock.

A snapshot is never written: it is the fold of the events in the log (`octmargin.case.record.reducer`). The types are
the record's own, apart from those of the messages on the bus: what was written years ago must still be read when the
messages have changed. Instants are UTC, ranges inclusive and counted from 0.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

Instant = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Millimetres = Annotated[float, Meta(ge=0)]
Identifier = Annotated[str, Meta(min_length=1, max_length=64)]
"""Opaque, fit for the bus: never a patient's name or number."""
FaceName = Annotated[str, Meta(min_length=1, max_length=31)]

SpecimenKind = Literal["lumpectomy", "shave", "node"]
Laterality = Literal["left", "right", "unknown"]
OrderLaterality = Literal["left", "right", "bilateral", "unknown"]
CodeSide = Literal["left", "right", "bilateral", "unspecified", "none", "unknown"]
"""What a diagnosis code says of the side: `unspecified` a breast of either side, `none` nothing with a side,
`unknown` where the code is in no set that was known when it was entered."""
Verdict = Literal["suspicious", "nothing_suspicious", "indeterminate"]
DecisionWord = Literal["agree", "disagree", "unsure"]
InterpreterRole = Literal["operating surgeon", "radiologist"]
PathologyFinding = Literal["positive", "close", "negative", "not_assessed"]
"""Of a margin: tumour at ink, within the margin that is asked for, beyond it. Of a node: positive or negative."""


class CasePhase(StrEnum):
    """What a case is at."""

    OPEN = "open"
    """Specimens come, are scanned, interpreted and signed."""
    CONFIRM = "confirm"
    """Order, specimens and diagnosis codes contradict each other: nothing is made final, signed or closed."""
    CLOSED = "closed"
    """Every report is signed; what comes later is added."""


class SpecimenPhase(StrEnum):
    """What a specimen is at."""

    REGISTERED = "registered"
    """Nothing was scanned yet."""
    SCANNED = "scanned"
    """There are sweeps that no interpretation is about."""
    DISCONTINUED = "discontinued"
    """Its acquisition was given up; nobody interpreted it since."""
    PRELIMINARY = "preliminary"
    """A first interpretation is there."""
    FINAL = "final"
    """The interpretation is whole, and not signed."""
    SIGNED = "signed"
    """The report is signed."""
    AMENDED = "amended"
    """The report is signed, and has addenda."""
    WITHDRAWN = "withdrawn"
    """It was registered by mistake."""


class _Part(Struct, frozen=True, kw_only=True):
    """Fields that a reader does not know are ignored."""


class PersonName(_Part, frozen=True, kw_only=True):
    """As DICOM keeps it, in five components; each may be empty."""

    family: str
    given: str = ""
    middle: str = ""
    prefix: str = ""
    suffix: str = ""

    @property
    def components(self) -> tuple[str, str, str, str, str]:
        """In DICOM's order."""
        return self.family, self.given, self.middle, self.prefix, self.suffix

    def __str__(self) -> str:
        given = " ".join(part for part in (self.given, self.middle) if part)
        return ", ".join(part for part in (self.family, given, self.prefix, self.suffix) if part)


class PatientIdentity(_Part, frozen=True, kw_only=True):
    """Who the patient is. It stays in the record and in DICOM, never on the bus."""

    name: PersonName
    patient_id: Annotated[str, Meta(min_length=1, max_length=64)]
    issuer: str = ""
    """Who gave the number."""
    birth_date: date | None = None
    sex: Literal["F", "M", "O", "U"] = "U"
    """As DICOM has it: female, male, other, unknown."""


class DiagnosisCode(_Part, frozen=True, kw_only=True):
    """An ICD-10-CM code, and what the set that was current said of its side when it was entered."""

    code: Annotated[str, Meta(min_length=3, max_length=8)]
    side: CodeSide
    title: str = ""
    """Of the official set; empty where the code is not in it."""
    checked_with: str = ""
    """Name and version of the set."""


class Order(_Part, frozen=True, kw_only=True):
    """What was asked for, from the worklist or by hand; identifiers may be empty where it was entered by hand."""

    accession: str = ""
    requested_procedure_id: str = ""
    scheduled_step_id: str = ""
    study_uid: str = ""
    laterality: OrderLaterality = "unknown"
    sides: tuple[OrderLaterality, ...] = ()
    """Where it says more than one, each of them; `laterality` is unknown then."""
    orientation: str = ""
    """What the order says of the specimen's sutures or ink; mostly nothing."""
    procedure: str = ""
    """In words, as the order has it."""
    diagnoses: tuple[DiagnosisCode, ...] = ()
    entered: Literal["worklist", "by hand"] = "by hand"

    @property
    def diagnosis_codes(self) -> list[str]:
        """The codes alone."""
        return [diagnosis.code for diagnosis in self.diagnoses]


class Versions(_Part, frozen=True, kw_only=True):
    """What judged a sweep; empty where it is not known."""

    software: str = ""
    model: str = ""
    model_version: str = ""
    model_hash: str = ""
    calibration: str = ""
    calibration_hash: str = ""
    configuration_hash: str = ""
    console_maker: str = ""
    console_model: str = ""
    console_serial: str = ""
    console_firmware: str = ""
    console_source: str = ""
    """What a simulated console showed; empty for a real one."""


class StateCounts(_Part, frozen=True, kw_only=True):
    """Blocks of a face by state."""

    not_scanned: Count = 0
    lost: Count = 0
    poor: Count = 0
    nothing_suspicious: Count = 0
    suspicious: Count = 0


class KeyView(_Part, frozen=True, kw_only=True):
    """A cluster of suspicious blocks, and where in it to look."""

    number: Annotated[int, Meta(ge=1)]
    """Its place among those of the sweep, most suspicious first."""
    first_frame: Count
    last_frame: Count
    first_block: Count
    last_block: Count
    frame: Count
    block: Count
    evidence: Fraction
    distance_mm: Millimetres | None = None
    blocks: Annotated[int, Meta(ge=1)] = 1


class SweepRecord(_Part, frozen=True, kw_only=True):
    """One sweep over a face, and what the algorithm said of it.

    `session` and `sweep` tell it from all others: a daemon counts its sweeps from its start on.
    """

    session: str
    sweep: Count
    face: FaceName
    started_at: Instant
    ended_at: Instant | None = None
    """None while it goes on, or where the end was never told."""
    verdict: Verdict
    provisional: bool
    """True where no final verdict is known: the sweep was cut short."""
    coverage: Fraction
    """Share of the planned blocks that were judged."""
    visualised_depth_mm: Millimetres | None = None
    distance_mm: Millimetres | None = None
    """Of the nearest suspicious feature from the surface."""
    clusters: Count = 0
    counts: StateCounts = StateCounts()
    frames: Count = 0
    """That were planned."""
    lost_frames: Count = 0
    lost_by_cause: dict[str, Count] = {}
    reasons: tuple[str, ...] = ()
    key_views: tuple[KeyView, ...] = ()
    grid: tuple[str, ...] = ()
    """The en-face map as it is on the bus: one row per frame, one of `.LPNS` per block; empty where it is not known."""
    width_mm: Millimetres | None = None
    """Along a frame."""
    height_mm: Millimetres | None = None
    """Across frames."""
    recording: str = ""
    """Where its spectra are; empty where they were not kept."""
    recording_log_sha256: str = ""
    """Of the last line of that recording's log."""
    trouble: str = ""
    """Why what is said here cannot be relied on (its log was changed, or is not whole); empty where it can."""
    synthetic: bool
    versions: Versions = Versions()

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells it from all others: session, sweep and face."""
        return self.session, self.sweep, self.face


class Decision(_Part, frozen=True, kw_only=True):
    """What one person said of a verdict or of a key view; the newest of a person on a subject counts."""

    id: Identifier
    by: str
    role: str
    at: Instant
    session: str
    sweep: Count
    face: FaceName
    subject: Literal["face", "cluster"]
    cluster: Annotated[int, Meta(ge=1)] | None = None
    """`number` of the key view; None where it is of the face."""
    word: DecisionWord
    note: str = ""


class Mark(_Part, frozen=True, kw_only=True):
    """A region of interest that one person drew."""

    id: Identifier
    by: str
    role: str
    at: Instant
    session: str
    sweep: Count
    face: FaceName
    first_frame: Count
    last_frame: Count
    first_block: Count
    last_block: Count
    note: str = ""


class ReExcision(_Part, frozen=True, kw_only=True):
    """More tissue was taken at a face."""

    face: FaceName
    at: Instant
    why: str
    by: str
    immediate: bool = True
    """In the same operation; False where another operation was needed."""
    specimen_id: str = ""
    """The shave that came of it, where it is registered."""


class Interpreter(_Part, frozen=True, kw_only=True):
    """Who interprets and signs, by name; `taxonomy` is the NUCC code, empty where it is not known."""

    name: Annotated[str, Meta(min_length=1)]
    role: InterpreterRole
    taxonomy: str = ""


class FaceFinding(_Part, frozen=True, kw_only=True):
    """What the interpreter says of a face, and what is done about it."""

    face: FaceName
    finding: Verdict | Literal["not_assessed"]
    action: str = ""


class Interpretation(_Part, frozen=True, kw_only=True):
    """What the interpreter says of the specimen; a final one can still be replaced until it is signed.

    One that was final is preliminary again where a sweep, a discontinuation, a confirmation, an orientation where there
    was none, or another patient came after it.
    """

    by: Interpreter
    at: Instant
    mode: Literal["real-time", "referred"]
    state: Literal["preliminary", "final"]
    faces: tuple[FaceFinding, ...]
    text: str = ""


class Signature(_Part, frozen=True, kw_only=True):
    """Who signed the report, and which log it stands on: `log_seq` and `log_head` are those of the event before it."""

    by: Interpreter
    at: Instant
    log_seq: Count
    log_head: str


class Addendum(_Part, frozen=True, kw_only=True):
    """What is said after signing: also a correction is one, for nothing that was signed is changed."""

    number: Annotated[int, Meta(ge=1)]
    by: Interpreter
    at: Instant
    text: str
    corrects: bool = False
    """True where something of the signed report is wrong."""


class PathologyResult(_Part, frozen=True, kw_only=True):
    """What pathology says of one margin, or of a node."""

    face: FaceName
    finding: PathologyFinding
    distance_mm: Millimetres | None = None
    """From ink to tumour."""
    entity: str = ""
    """Such as "invasive carcinoma" or "DCIS"."""
    text: str = ""
    accession: str = ""
    reported_at: Instant | None = None
    by: str = ""
    """The pathologist."""
    source: str = "entered"
    """"entered", or the name of the file that it came from."""


class Discontinuation(_Part, frozen=True, kw_only=True):
    """The acquisition was begun or planned, and given up."""

    at: Instant
    by: str
    why: str


class Statement(_Part, frozen=True, kw_only=True):
    """What some source says of where a specimen came from: compared with the others, never put right in silence."""

    source: Literal["registration", "stage", "confirmation"]
    """The record; the daemon that scanned it; a person who looked into a contradiction."""
    at: Instant
    by: str
    laterality: Laterality
    orientation: str = ""
    why: str = ""
    despite: tuple[str, ...] = ()
    """Of a confirmation: what said otherwise, and does not hold anything up any more."""


class Staging(_Part, frozen=True, kw_only=True):
    """Where a specimen lies, or lay last, to be scanned, and what the stage was told of it: all fit for the bus."""

    console: Identifier
    """Site and console, as `north.or-3`."""
    at: Instant
    is_open: bool
    """False once it was closed there."""
    laterality: Laterality = "unknown"
    orientation: str = ""
    label: str = ""
    faces: tuple[FaceName, ...] = ()


class Conflict(_Part, frozen=True, kw_only=True):
    """A contradiction that holds up the report, in words, with what to do."""

    specimen_id: str
    what: Literal["laterality", "orientation", "time"]
    text: str


class SpecimenRecord(_Part, frozen=True, kw_only=True):
    """One specimen; it has one report."""

    specimen_id: Identifier
    phase: SpecimenPhase
    kind: SpecimenKind
    laterality: Laterality
    orientation: str = ""
    """What its sutures or ink say."""
    label: str = ""
    container: str = ""
    registered_at: Instant
    excised_at: Instant | None = None
    formalin_at: Instant | None = None
    faces: tuple[FaceName, ...]
    """Planned, in scanning order."""
    statements: tuple[Statement, ...] = ()
    diagnoses: tuple[DiagnosisCode, ...] = ()
    staging: Staging | None = None
    """None where no daemon ever had it on its stage."""
    sweeps: tuple[SweepRecord, ...] = ()
    """In the order in which they were told; the newest of a face counts."""
    decisions: tuple[Decision, ...] = ()
    marks: tuple[Mark, ...] = ()
    re_excisions: tuple[ReExcision, ...] = ()
    discontinued: Discontinuation | None = None
    """None also where a whole sweep was begun after it: the acquisition went on."""
    interpretation: Interpretation | None = None
    """The newest; outdated where `phase` is before `preliminary`: a sweep came after it."""
    signature: Signature | None = None
    addenda: tuple[Addendum, ...] = ()
    pathology: tuple[PathologyResult, ...] = ()
    withdrawn_why: str = ""

    @property
    def diagnosis_codes(self) -> list[str]:
        """The codes alone."""
        return [diagnosis.code for diagnosis in self.diagnoses]

    @property
    def is_synthetic(self) -> bool:
        """Whether anything that is said of it was computed, not measured."""
        return any(sweep.synthetic for sweep in self.sweeps)

    def newest_sweep(self, face: str) -> SweepRecord | None:
        """The sweep that counts for a face; None where it was never scanned."""
        return next((sweep for sweep in reversed(self.sweeps) if sweep.face == face), None)


class CaseSnapshot(_Part, frozen=True, kw_only=True):
    """A case as the log tells it up to an event."""

    case_id: Identifier
    phase: CasePhase
    opened_at: Instant
    closed_at: Instant | None = None
    patient: PatientIdentity | None = None
    order: Order | None = None
    indication: str = ""
    specimens: tuple[SpecimenRecord, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    log_seq: Count
    log_head: str
    """Hash of the newest event of this case: it stands for every event before it, of whatever case."""

    def conflicts_about(self, specimen_id: str) -> list[Conflict]:
        """Those of one specimen, and those of the order that it came with."""
        return [one for one in self.conflicts if one.specimen_id in ("", specimen_id)]

    def specimen(self, specimen_id: str) -> SpecimenRecord | None:
        """The specimen of that id; None where there is none."""
        return next((one for one in self.specimens if one.specimen_id == specimen_id), None)
