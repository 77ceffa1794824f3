"""What the log of a recording tells of a case: sweeps with their verdicts, and what people said meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from octmargin.archive import Recording
from octmargin.case.log_entries import (
    DecideArguments,
    LoggedBeginning,
    LoggedCommand,
    LoggedDaemon,
    LoggedFace,
    LoggedFinding,
    LoggedGrid,
    LoggedLoss,
    LoggedSpecimen,
    LoggedStates,
    MarkArguments,
)
from octmargin.case.record.model import Decision, Mark, StateCounts, Statement, SweepRecord
from octmargin.errors import InputError
from octmargin.words import counted

_KEPT_AS = re.compile(r"^kept as (\S+)")
_LETTERS = {".": "not_scanned", "L": "lost", "P": "poor", "N": "nothing_suspicious", "S": "suspicious"}
_JUDGED = "NS"

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was told of one specimen, in its order; the ids are those under which it was scanned."""

    case_id: str
    specimen_id: str
    sweeps: tuple[SweepRecord, ...]
    decisions: tuple[Decision, ...]
    marks: tuple[Mark, ...]
    statements: tuple[Statement, ...]


def read_recorded(recording: Recording) -> Recorded:
    """What the log tells; a recording is of one specimen.

    InputError where there is no log of results, or where it was changed: then nothing that it says is taken.
    """
    if trouble := recording.log_trouble():
        raise InputError(f"{recording.path}: {trouble}; nothing is taken from it, restore it from a copy")
    reading = _Reading(recording)
    try:
        for entry in recording.log():
            reading.take(entry)
        return reading.result()
    except msgspec.ValidationError as error:
        raise InputError(
            f"{recording.path}: its log cannot be used ({error}); take it with the octmargin that wrote it"
        ) from error


@dataclass(slots=True)
class _Scan:
    """The scan of a face that is being told of: states by frame, losses by cause."""

    began: LoggedFace
    rows: dict[int, list[int]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    grid: tuple[str, ...] = ()

    def enter(self, entry: dict[str, Any]) -> None:
        match entry["kind"]:
            case "flags":
                states = msgspec.convert(entry, LoggedStates)
                self.rows[states.frame_index] = states.state
            case "lost":
                loss = msgspec.convert(entry, LoggedLoss)
                self.lost[loss.cause] = self.lost.get(loss.cause, 0) + loss.count
            case "map":
                self.grid = msgspec.convert(entry, LoggedGrid).grid


class _Reading:
    """Takes the entries in their order."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._began: LoggedBeginning | None = None
        self._missed = 0
        self._open: dict[str, _Scan] = {}
        """By face, those without a verdict so far."""
        self._told: list[tuple[_Scan, LoggedFinding | None]] = []
        self._commands: list[LoggedCommand] = []
        self._places: dict[tuple[str, str], None] = {}

    def take(self, entry: dict[str, Any]) -> None:
        self._missed += msgspec.convert(entry.get("missed", 0), int)
        kind, face = entry.get("kind"), str(entry.get("face"))
        if kind == "began" and "description" in entry:
            self._began = msgspec.convert(entry, LoggedBeginning)
        elif kind == "command":
            self._commands.append(msgspec.convert(entry, LoggedCommand))
        elif kind == "face":
            self._cut_short(face)
            self._open[face] = _Scan(msgspec.convert(entry, LoggedFace))
        elif kind in ("flags", "lost", "map", "verdict"):
            scan = self._open.setdefault(face, _Scan(_without_beginning(entry)))
            if kind == "verdict":
                self._told.append((self._open.pop(face), msgspec.convert(entry, LoggedFinding)))
            else:
                scan.enter(entry)
            if "case_id" in entry:
                self._places[entry["case_id"], entry["specimen_id"]] = None

    def result(self) -> Recorded:
        for face in list(self._open):
            self._cut_short(face)
        if self._began is None:
            raise InputError(
                f"{self._recording.path}: has no log of what was said of it live; only `octmargin run` writes one"
            )
        if len(self._places) != 1:
            of = ", ".join(f"{specimen} of {case}" for case, specimen in self._places) or "none"
            raise InputError(
                f"{self._recording.path}: tells of specimens {of}, where one is taken; nothing is taken from it"
            )
        ((case_id, specimen_id),) = self._places
        about = [command for command in self._commands if command.is_about(case_id, specimen_id)]
        daemon = self._began.description
        said_of = _Sayings(daemon.instance_id, about)
        return Recorded(
            case_id=case_id,
            specimen_id=specimen_id,
            sweeps=tuple(self._sweep(daemon, scan, finding) for scan, finding in self._told),
            decisions=tuple(said_of.decisions()),
            marks=tuple(said_of.marks()),
            statements=(*said_of.statements(specimen_id), *_at_the_beginning(self._began)),
        )

    def _cut_short(self, face: str) -> None:
        """Nothing more comes of this scan; one of which nothing came is none."""
        scan = self._open.pop(face, None)
        if scan is not None and (scan.rows or scan.lost):
            self._told.append((scan, None))

    def _sweep(self, daemon: LoggedDaemon, scan: _Scan, finding: LoggedFinding | None) -> SweepRecord:
        plan = self._recording.plan(scan.began.face)
        said = _said(scan, finding, daemon.instance_id, plan.frames, plan.blocks)
        return SweepRecord(
            **said,
            face=scan.began.face,
            started_at=scan.began.at,
            ended_at=finding.at if finding is not None else None,
            provisional=finding is None,
            frames=plan.frames,
            width_mm=plan.width_mm,
            height_mm=plan.height_mm,
            lost_frames=sum(scan.lost.values()),
            lost_by_cause=dict(scan.lost),
            recording=str(self._recording.path.resolve()),
            recording_log_sha256=self._recording.log_sha256 or "",
            trouble=self._trouble(),
            synthetic=daemon.synthetic or self._recording.synthetic,
            versions=daemon.versions(),
        )

    def _trouble(self) -> str:
        troubles = []
        if not self._recording.complete:
            troubles.append("its recording was cut short: nobody knows how its log ended")
        if self._missed:
            troubles.append(f"{counted(self._missed, 'entry', 'entries')} found no place in the log")
        return "; ".join(troubles)


def _said(
    scan: _Scan, finding: LoggedFinding | None, session: str, frames: int, blocks: int
) -> dict[str, Any]:
    """What the algorithm said; of a scan without a verdict it is counted what was judged, and nothing concluded."""
    if finding is not None:
        said = {
            name: getattr(finding, name)
            for name in LoggedFinding.__struct_fields__
            if name not in ("at", "case_id", "specimen_id", "face")
        }
        return {**said, "session": session, "grid": scan.grid}
    letters = tuple(_LETTERS)
    nothing = [0] * blocks
    grid = tuple("".join(letters[s] for s in scan.rows.get(frame, nothing)) for frame in range(frames))
    everything = "".join(grid)
    return {
        # A log that has no number for it: its entry is as good a name.
        "session": session if scan.began.sweep is not None else f"{session}/{scan.began.n}",
        "sweep": scan.began.sweep or 0,
        "verdict": "indeterminate",
        "coverage": sum(map(everything.count, _JUDGED)) / max(len(everything), 1),
        "counts": StateCounts(**{name: everything.count(letter) for letter, name in _LETTERS.items()}),
        "reasons": ("the sweep was cut short; it has no final verdict",),
        "grid": grid,
    }


def _without_beginning(entry: dict[str, Any]) -> LoggedFace:
    """A scan whose beginning found no place in the log begins with what is known of it first."""
    return msgspec.convert({**entry, "sweep": None}, LoggedFace)


def _at_the_beginning(began: LoggedBeginning) -> Iterator[Statement]:
    specimen = began.specimen
    if specimen is not None and (specimen.laterality != "unknown" or specimen.orientation):
        yield Statement(
            source="stage",
            at=began.at,
            by="octmargin run",
            laterality=specimen.laterality,
            orientation=specimen.orientation,
        )


class _Sayings:
    """What people said by commands that were carried out."""

    def __init__(self, session: str, commands: list[LoggedCommand]) -> None:
        self._session = session
        self._commands = commands

    def decisions(self) -> Iterator[Decision]:
        for number, command, said in self._of("decide", DecideArguments):
            yield Decision(
                **self._by(number, command),
                **msgspec.structs.asdict(said),
            )

    def marks(self) -> Iterator[Mark]:
        for number, command, said in self._of("mark", MarkArguments):
            yield Mark(**self._by(number, command), **msgspec.structs.asdict(said))

    def statements(self, specimen_id: str) -> Iterator[Statement]:
        for _, command, said in self._of("register", LoggedSpecimen):
            # Asked for while another specimen was on the stage, it may have waited for this recording.
            if f"specimen {specimen_id} is on the stage" == command.reason:
                yield Statement(
                    source="stage",
                    at=command.done_at,
                    by=f"{command.role}/{command.user}",
                    laterality=said.laterality,
                    orientation=said.orientation,
                )

    def _of(self, name: str, kind: type[_Entry]) -> Iterator[tuple[int, LoggedCommand, _Entry]]:
        for number, command in enumerate(self._commands):
            if command.command == name and command.outcome == "done":
                yield number, command, msgspec.convert(command.arguments, kind)

    def _by(self, number: int, command: LoggedCommand) -> dict[str, Any]:
        kept = _KEPT_AS.match(command.reason)
        return {
            "id": kept[1] if kept else f"command-{number}",
            "by": command.user,
            "role": command.role,
            "at": command.done_at,
            "session": self._session,
        }
