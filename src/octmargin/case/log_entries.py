"""Entries of a recording's log as the record reads them: the fields that it needs, whatever else is there."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from octmargin.case.record.model import DecisionWord, KeyView, Laterality, StateCounts, Verdict, Versions


class _Named(Struct, frozen=True, kw_only=True):
    name: str = ""
    version: str = ""
    hash: str = ""
    id: str = ""


class _Console(Struct, frozen=True, kw_only=True):
    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    source: str = ""


class LoggedDaemon(Struct, frozen=True, kw_only=True):
    """Who made the recording; `instance_id` is the session of its messages."""

    instance_id: str
    synthetic: bool
    software_version: str
    model: _Named
    calibration: _Named
    configuration_hash: str
    console: _Console

    def versions(self) -> Versions:
        """What judged."""
        return Versions(
            software=self.software_version,
            model=self.model.name,
            model_version=self.model.version,
            model_hash=self.model.hash,
            calibration=self.calibration.id,
            calibration_hash=self.calibration.hash,
            configuration_hash=self.configuration_hash,
            console_maker=self.console.maker,
            console_model=self.console.model,
            console_serial=self.console.serial,
            console_firmware=self.console.firmware,
            console_source=self.console.source,
        )


class LoggedSpecimen(Struct, frozen=True, kw_only=True):
    """Where the specimen on the stage came from, as the stage was told."""

    laterality: Laterality = "unknown"
    orientation: str = ""


class LoggedBeginning(Struct, frozen=True, kw_only=True):
    """The first entry of a daemon's recording."""

    at: datetime
    description: LoggedDaemon
    specimen: LoggedSpecimen | None = None


class LoggedFace(Struct, frozen=True, kw_only=True):
    """The scan of a face begins, in entry `n`; `sweep` is the daemon's number of it, None where the log has none."""

    n: int
    at: datetime
    face: str
    sweep: int | None = None


class LoggedStates(Struct, frozen=True, kw_only=True):
    """Of the flags of a frame, whose they are and what is known of each block, as `BlockState` has it."""

    case_id: str
    specimen_id: str
    face: str
    frame_index: int
    state: list[Annotated[int, Meta(ge=0, le=4)]]


class LoggedLoss(Struct, frozen=True, kw_only=True):
    """Frames that were numbered and not judged."""

    face: str
    count: int
    cause: str


class LoggedGrid(Struct, frozen=True, kw_only=True):
    """The final map of a face."""

    face: str
    grid: tuple[str, ...]


class LoggedFinding(Struct, frozen=True, kw_only=True):
    """The final verdict on a face."""

    at: datetime
    case_id: str
    specimen_id: str
    face: str
    sweep: int
    verdict: Verdict
    coverage: float
    visualised_depth_mm: float | None
    distance_mm: float | None
    clusters: int
    counts: StateCounts
    reasons: tuple[str, ...]
    key_views: tuple[KeyView, ...] = ()


class LoggedCommand(Struct, frozen=True, kw_only=True):
    """What somebody asked of the daemon, and what became of it."""

    at: datetime
    answered_at: datetime | None = None
    command: str
    role: str
    user: str
    outcome: str
    reason: str
    arguments: dict[str, Any] = {}
    case_id: str | None = None
    specimen_id: str | None = None
    """What was on the stage; None where the log does not say."""

    @property
    def done_at(self) -> datetime:
        """When it was answered; when it was logged, where that is not known."""
        return self.answered_at or self.at

    def is_about(self, case_id: str, specimen_id: str) -> bool:
        """Whether it may be about this specimen."""
        return self.case_id in (None, case_id) and self.specimen_id in (None, specimen_id)


class DecideArguments(Struct, frozen=True, kw_only=True):
    """Of `decide`."""

    face: str
    sweep: int
    subject: str
    word: DecisionWord
    cluster: int | None = None
    note: str = ""


class MarkArguments(Struct, frozen=True, kw_only=True):
    """Of `mark`."""

    face: str
    sweep: int
    first_frame: int
    last_frame: int
    first_block: int
    last_block: int
    note: str = ""
