"""What is said on the bus: one frozen struct per message, JSON on the wire.

Every message carries its schema version, the publisher's session, a sequence number, and when it was
acquired, published and ceases to be valid. The publisher stamps them; a message that was never stamped
has expired in 1970, so forgetting the stamp can never make a result look fresh. No message carries
a patient's identity: cases and specimens have opaque identifiers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Annotated, Any, Literal, Protocol

from msgspec import Meta, Struct

from octmargin.frames import BlockState
from octmargin.words import NOTICE

SCHEMA = 1
UNSTAMPED = datetime(1970, 1, 1, tzinfo=UTC)

State = Literal["init", "ready", "alert", "disconnected", "lost"]
Word = Literal["suspicious", "nothing_suspicious", "indeterminate"]
LifecycleWord = Literal["starting", "ready", "acquiring", "degraded", "faulted", "stopping"]
Priority = Literal["high", "medium", "low"]
SpecimenKind = Literal["lumpectomy", "shave", "node"]
Laterality = Literal["left", "right", "unknown"]
"""`unknown` where nobody said it: never guessed."""
Phase = Literal["idle", "scanning", "paused", "closed"]
Colour = Annotated[str, Meta(min_length=1, max_length=32)]

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, UTC.")]
Sequence64 = Annotated[
    int, Meta(ge=0, description="Counts the messages of this kind in this session, from 0.")
]
Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Millimetres = Annotated[float, Meta(ge=0)]
Identifier = Annotated[str, Meta(max_length=64, description="Opaque; never a patient's name or number.")]


MOST_KEY_VIEWS = 16
"""Of one verdict; `clusters` counts all."""
STATE_LETTERS = ".LPNS"
"""Letter of each `BlockState` in a map's grid."""


class Message(Struct, frozen=True, kw_only=True):
    """What every message carries. Fields that a reader does not know are to be ignored."""

    schema: Annotated[int, Meta(ge=1)] = SCHEMA
    session: Annotated[
        str, Meta(max_length=64, description="Drawn at random at each start of the daemon.")
    ] = ""
    sequence: Sequence64 = 0
    acquired_at: Instant
    published_at: Instant = UNSTAMPED
    valid_until: Instant = UNSTAMPED
    synthetic: Annotated[bool, Meta(description="True where the spectra were computed, not measured.")]


class ModelDescription(Struct, frozen=True, kw_only=True):
    """The model in use; `hash` is of its file, empty where nothing was trained."""

    name: str
    version: str
    hash: str = ""


class CalibrationDescription(Struct, frozen=True, kw_only=True):
    """The calibration in use; `hash` is of its content."""

    id: str
    hash: str


class ConsoleDescription(Struct, frozen=True, kw_only=True):
    """The console as its driver identified it."""

    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    driver: str
    address: str
    simulated: Annotated[
        bool, Meta(description="True where no specimen is being scanned now: a simulator, or a recording.")
    ]
    source: Annotated[str, Meta(description="What a simulated console shows; empty for a real one.")] = ""


class ScanDescription(Struct, frozen=True, kw_only=True):
    """Geometry of one sweep: `alines` of `samples` samples per frame, `frames` frames."""

    samples: Count
    alines: Count
    frames: Count
    width_mm: Millimetres
    height_mm: Millimetres
    line_rate_hz: Annotated[float, Meta(ge=0)]
    alines_per_block: Count


class Description(Message, frozen=True, kw_only=True):
    """Who publishes: retained, said once per start and after every reconnect."""

    instance_id: Annotated[str, Meta(min_length=1, description="The session of this daemon's messages.")]
    software_version: str
    model: ModelDescription
    calibration: CalibrationDescription
    configuration_hash: str
    console: ConsoleDescription
    scan: ScanDescription
    policy: Annotated[dict[str, Any], Meta(description="What counts as a margin, and the coverage it needs.")]
    axial_um: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Depth pixel in tissue, µm; null where not said."),
    ] = None
    depth: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Depth pixels of a B-scan; null where not said.")
    ] = None
    display_url: Annotated[
        str, Meta(description="Where this daemon serves a display; empty where it does not.")
    ] = ""
    notice: str = NOTICE


class Specimen(Struct, frozen=True, kw_only=True):
    """What kind of specimen it is and how it lay in the body."""

    kind: SpecimenKind
    laterality: Annotated[Laterality, Meta(description="`unknown` where nobody said it.")]
    orientation: Annotated[
        str, Meta(max_length=200, description="What its sutures or ink say; may be empty.")
    ] = ""
    label: Annotated[
        str, Meta(max_length=64, description="What people call it; never a patient's name or number.")
    ] = ""


class CaseMessage(Message, frozen=True, kw_only=True):
    """What is on the stage, and what is being done with it: results of any other specimen are not about it."""

    case_id: Identifier
    specimen_id: Annotated[
        str, Meta(max_length=64, description="Opaque; empty where no specimen is registered.")
    ]
    specimen: Annotated[Specimen | None, Meta(description="Null where no specimen is registered.")]
    faces: Annotated[list[str], Meta(description="The faces that are planned, in scanning order.")]
    phase: Annotated[
        Phase,
        Meta(description="`closed` also where no specimen is registered: only `register` is taken then."),
    ]
    face: Annotated[str | None, Meta(description="The face that is selected, or being scanned.")]
    sweeps: Annotated[dict[str, Count], Meta(description="The newest sweep over each face that has one.")]
    ink: Annotated[dict[str, Colour], Meta(description="The site's convention: colour of the ink by face.")]
    sutures: Annotated[
        str, Meta(max_length=200, description="The site's convention, in words; may be empty.")
    ]

    def is_about(self, result: OfSpecimen) -> bool:
        """Whether a result is of the specimen on the stage."""
        return (result.case_id, result.specimen_id) == (self.case_id, self.specimen_id)


class OfSpecimen(Protocol):
    """A message on one specimen."""

    @property
    def case_id(self) -> str:
        """Opaque."""

    @property
    def specimen_id(self) -> str:
        """Opaque."""


class FlagMessage(Message, frozen=True, kw_only=True):
    """Flags of one frame, column by column: entry i of each list is block i, A-lines 16 i to 16 i + 15."""

    case_id: Identifier
    specimen_id: Identifier
    face: str
    sweep: Count
    frame_index: Count
    frame_sequence: Annotated[int, Meta(ge=0, description="The console's own count of frames.")]
    received_at_ns: Annotated[int, Meta(ge=0, description="Host clock at the frame's last byte, Unix epoch.")]
    state: Annotated[
        list[BlockState],
        Meta(description="0 not scanned, 1 lost, 2 poor, 3 nothing suspicious, 4 suspicious."),
    ]
    suspicion: Annotated[list[Fraction | None], Meta(description="Null where nothing could be judged.")]
    distance_mm: Annotated[
        list[Millimetres | None],
        Meta(description="From the surface to the nearest suspicious feature; null where there is none."),
    ]
    visualised_depth_mm: list[Millimetres | None]
    quality: Annotated[
        list[Count],
        Meta(
            description="Sum of 1 no surface, 2 saturated, 4 low signal, 8 shallow, 16 unfamiliar; 0 is sound."
        ),
    ]
    late: Annotated[
        bool,
        Meta(description="True where a later run says it, which found it waiting: history, not the present."),
    ] = False

    def __post_init__(self) -> None:
        columns = (self.suspicion, self.distance_mm, self.visualised_depth_mm, self.quality)
        if any(len(column) != len(self.state) for column in columns):
            raise ValueError(f"the lists are not all of {len(self.state)} blocks, the length of `state`")


class StateCounts(Struct, frozen=True, kw_only=True):
    """Blocks of a face by state."""

    not_scanned: Count = 0
    lost: Count = 0
    poor: Count = 0
    nothing_suspicious: Count = 0
    suspicious: Count = 0

    @property
    def total(self) -> int:
        """All blocks of the planned grid."""
        return self.not_scanned + self.lost + self.poor + self.nothing_suspicious + self.suspicious


class MapMessage(Message, frozen=True, kw_only=True):
    """En-face map of one face: one row per frame, one letter per block."""

    case_id: Identifier
    specimen_id: Identifier
    face: str
    sweep: Count
    frames: Count
    blocks: Count
    grid: Annotated[
        list[str],
        Meta(description=". not scanned, L lost, P poor, N nothing suspicious, S suspicious."),
    ]
    counts: StateCounts

    def __post_init__(self) -> None:
        if len(self.grid) != self.frames or any(len(row) != self.blocks for row in self.grid):
            raise ValueError(f"the grid is not {self.frames} rows of {self.blocks} letters")
        if _count_letters(self.grid) != self.counts:
            raise ValueError("the counts are not those of the grid")


class KeyView(Struct, frozen=True, kw_only=True):
    """One cluster of suspicious blocks, and where in it to look; ranges are inclusive, counted from 0."""

    number: Annotated[
        int, Meta(ge=1, description="Its place among the key views of this sweep, most suspicious first.")
    ]
    first_frame: Count
    last_frame: Count
    first_block: Count
    last_block: Count
    frame: Annotated[int, Meta(ge=0, description="The B-scan to look at: where the evidence is highest.")]
    block: Annotated[int, Meta(ge=0, description="The block to look at in it.")]
    evidence: Annotated[float, Meta(ge=0, le=1, description="The highest of its blocks.")]
    distance_mm: Annotated[
        Millimetres | None, Meta(description="Of the nearest suspicious feature from the surface.")
    ]
    blocks: Annotated[int, Meta(ge=1, description="Blocks that belong to it.")]


class VerdictMessage(Message, frozen=True, kw_only=True):
    """What the algorithm says of one face, always with how much of it was seen and how deep."""

    case_id: Identifier
    specimen_id: Identifier
    face: str
    sweep: Count
    verdict: Word
    provisional: Annotated[bool, Meta(description="True until the sweep is complete.")]
    coverage: Annotated[float, Meta(ge=0, le=1, description="Share of the planned blocks that were judged.")]
    visualised_depth_mm: Annotated[Millimetres | None, Meta(description="Null where nothing was seen.")]
    distance_mm: Annotated[
        Millimetres | None,
        Meta(
            description="Smallest distance of a suspicious feature from the surface; null if there is none."
        ),
    ]
    clusters: Annotated[int, Meta(ge=0, description="Connected groups of suspicious blocks.")]
    counts: StateCounts
    reasons: Annotated[list[str], Meta(description="Why, in words for a person.")]
    key_views: Annotated[
        list[KeyView],
        Meta(max_length=MOST_KEY_VIEWS, description="The most suspicious of the clusters, those first."),
    ] = []
    late: Annotated[
        bool,
        Meta(description="True where a later run says it, which found it waiting: history, not the present."),
    ] = False

    def __post_init__(self) -> None:
        if self.verdict == "nothing_suspicious" and not (self.coverage and self.visualised_depth_mm):
            raise ValueError("nothing_suspicious needs a coverage and a visualised depth above 0")


class FrameCounts(Struct, frozen=True, kw_only=True):
    """Frames since the start: as the console numbered them, and what became of them."""

    sent: Count = 0
    received: Count = 0
    processed: Count = 0
    lost: Count = 0
    lost_by_reason: dict[str, Count] = {}


class FlagCounts(Struct, frozen=True, kw_only=True):
    """Flags that the broker acknowledged since the start: blocks, and the messages that held them."""

    published: Count = 0
    messages: Count = 0


class QueueCounts(Struct, frozen=True, kw_only=True):
    """The way out: what waits, what was dropped (flags), what a newer message replaced (all others).

    `late` flags and verdicts of earlier runs arrived in this one; `refused` messages the broker will never take.
    """

    waiting: Count = 0
    dropped: Count = 0
    coalesced: Count = 0
    late: Count = 0
    refused: Count = 0


class RecordingCounts(Struct, frozen=True, kw_only=True):
    """Raw frames since the start: written to disk, and those that came and could not be."""

    frames: Count = 0
    missed: Count = 0


class LatencyMs(Struct, frozen=True, kw_only=True):
    """From a frame's last byte to its flags at the way out, in ms."""

    p50: float
    p99: float


class Health(Message, frozen=True, kw_only=True):
    """How the daemon does, twice a second; its absence is a fault."""

    state: State
    frames: FrameCounts
    flags: FlagCounts
    queue: QueueCounts
    rate_alines_per_s: Annotated[float, Meta(ge=0)]
    latency_ms: LatencyMs | None
    over_budget: Annotated[
        Fraction | None,
        Meta(
            description="Share of the frames that took longer than a frame lasts; null before the first one."
        ),
    ]
    recording: Annotated[RecordingCounts | None, Meta(description="Null where nothing is recorded.")]
    reconnects: Annotated[
        int, Meta(ge=0, description="Times that the connection to the broker was made anew.")
    ]
    uptime_s: Annotated[float, Meta(ge=0)]
    lifecycle: Annotated[
        LifecycleWord, Meta(description="What the daemon is at; `$state` has fewer words for it.")
    ]
    reasons: Annotated[list[str], Meta(description="What is wrong, the worst first; empty where nothing is.")]


class Alarm(Message, frozen=True, kw_only=True):
    """A technical fault, with a priority after IEC 60601-1-8. A suspicious margin is never an alarm."""

    id: str
    priority: Priority
    text: str
    remedy: str
    active: bool
    acknowledged_by: Annotated[
        str, Meta(max_length=64, description="Who knows of it; empty where nobody said so. It stays active.")
    ] = ""


def utc_from_ns(nanoseconds: int) -> datetime:
    """Instant of a count of ns since the Unix epoch, cut to whole µs without rounding up."""
    return UNSTAMPED + timedelta(microseconds=nanoseconds // 1000)


def rounded(values: Iterable[float], digits: int) -> list[float | None]:
    """Plain floats of `digits` decimals; None where a value is NaN or infinite."""
    return [round(float(value), digits) if isfinite(value) else None for value in values]


def grid_letters(states: Iterable[Iterable[int]]) -> list[str]:
    """Rows of a map's grid from block states, (frames, blocks) of `BlockState` values."""
    return ["".join(STATE_LETTERS[BlockState(int(state))] for state in row) for row in states]


def count_states(states: Iterable[Iterable[int]]) -> StateCounts:
    """Blocks by state, of block states (frames, blocks)."""
    return _count_letters(grid_letters(states))


def _count_letters(grid: Sequence[str]) -> StateCounts:
    everything = "".join(grid)
    if unknown := set(everything) - set(STATE_LETTERS):
        raise ValueError(f"the grid holds {min(unknown)!r}, which is none of {STATE_LETTERS!r}")
    return StateCounts(**{state.name.lower(): everything.count(STATE_LETTERS[state]) for state in BlockState})
