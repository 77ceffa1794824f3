"""What the log of a recording tells of how it was judged live, and of what was said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from octmargin.archive import Recording
from octmargin.archive.logged_frames import LoggedFrame, logged_frames
from octmargin.bus import Description
from octmargin.config import EngineSection, JudgingSection, ModelSection
from octmargin.errors import InputError
from octmargin.logged import LoggedFlags, LoggedVerdict
from octmargin.margin import Policy, QualityParameters, RuleParameters


class _Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything is needed here: what is not in the log must not be taken for what is usual."""

    policy: Policy
    model: ModelSection
    quality: QualityParameters
    rule: RuleParameters
    engine: EngineSection


class _Began(msgspec.Struct, frozen=True, kw_only=True):
    configuration: _Configuration
    description: Description


class _OfFace(msgspec.Struct, frozen=True, kw_only=True):
    face: str


class Loss(_OfFace, frozen=True, kw_only=True):
    """Frames that were numbered and not judged."""

    first_sequence: int
    count: int
    cause: str

    def covers(self, sequence: int | None) -> bool:
        """Whether the frame of this number is one of them."""
        return sequence is not None and self.first_sequence <= sequence < self.first_sequence + self.count


@dataclass(slots=True)
class FaceThen:
    """What was said of a face since its scan began: flags by frame index, losses, the final verdict."""

    flags: dict[int, LoggedFlags] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    verdict: LoggedVerdict | None = None

    def loss_of(self, sequence: int | None) -> Loss | None:
        """The loss that the frame of this number is part of."""
        return next((loss for loss in self.losses if loss.covers(sequence)), None)


@dataclass(frozen=True, slots=True)
class Then:
    """How a recording was judged, and what was said of it.

    `frames` are those that the log knows to be on disk, by face and index. `missed` entries found no place in the log:
    what they said is not known. `trouble` says in words why the log cannot be relied on; empty where it can.
    """

    judging: JudgingSection
    engine: EngineSection
    description: Description
    faces: dict[str, FaceThen]
    frames: dict[tuple[str, int], LoggedFrame]
    missed: int
    trouble: str
    is_complete: bool

    def knows_all_of(self, face: str) -> bool:
        """Whether whatever was said of the face must be in the log: its end is, and nothing before is missing."""
        has_end = self.is_complete or (face in self.faces and self.faces[face].verdict is not None)
        return has_end and not self.missed and not self.trouble


def read_then(recording: Recording) -> Then:
    """InputError where the recording has no log of results, or one that cannot be read."""
    began: _Began | None = None
    faces: dict[str, FaceThen] = {}
    missed = 0
    trouble = recording.log_trouble()
    try:
        for entry in recording.log():
            missed += msgspec.convert(entry.get("missed", 0), int)
            if entry.get("kind") == "began" and "configuration" in entry:
                began = msgspec.convert(_as_it_was(entry), _Began)
            else:
                _enter(faces, entry)
        frames = logged_frames(recording)
    except (msgspec.ValidationError, InputError) as error:
        if trouble:
            raise _useless(recording, trouble) from error
        raise InputError(
            f"{recording.path}: its log cannot be used ({error}); replay it with the octmargin that wrote it"
        ) from error
    if began is None and trouble:
        raise _useless(recording, trouble)
    if began is None:
        raise InputError(
            f"{recording.path}: has no log of what was said of it live; judge it with `octmargin assess`"
        )
    return Then(
        judging=JudgingSection(
            policy=began.configuration.policy,
            model=began.configuration.model,
            quality=began.configuration.quality,
            rule=began.configuration.rule,
        ),
        engine=began.configuration.engine,
        description=began.description,
        faces=faces,
        frames=frames,
        missed=missed,
        trouble=trouble or _unknown_faces([*faces, *(face for face, _ in frames)], recording),
        is_complete=recording.complete,
    )


def _as_it_was(began: dict[str, Any]) -> dict[str, Any]:
    """The entry, in which a limit that did not exist when it was written is none, not what is usual now."""
    configuration = began["configuration"]
    if not isinstance(configuration, dict) or not isinstance(configuration.get("policy"), dict):
        return began
    policy = {"max_frame_um": None, **configuration["policy"]}
    return {**began, "configuration": {**configuration, "policy": policy}}


def _useless(recording: Recording, trouble: str) -> InputError:
    return InputError(f"{recording.path}: {trouble}; restore it from a copy")


def _enter(faces: dict[str, FaceThen], entry: dict[str, Any]) -> None:
    match entry.get("kind"):
        case "face":
            # It is scanned, maybe anew: what was said of it before is not about what is recorded.
            faces[msgspec.convert(entry, _OfFace).face] = FaceThen()
        case "flags":
            flags = msgspec.convert(entry, LoggedFlags)
            faces.setdefault(flags.face, FaceThen()).flags[flags.frame_index] = flags
        case "lost":
            loss = msgspec.convert(entry, Loss)
            faces.setdefault(loss.face, FaceThen()).losses.append(loss)
        case "verdict":
            verdict = msgspec.convert(entry, LoggedVerdict)
            faces.setdefault(verdict.face, FaceThen()).verdict = verdict


def _unknown_faces(faces: Sequence[str], recording: Recording) -> str:
    unknown = sorted(set(faces) - set(recording.faces))
    return f"the log tells of {', '.join(unknown)}, which the recording does not have" if unknown else ""
