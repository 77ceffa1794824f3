"""Judge a recording again, as it was judged live, and compare: the same spectra must give the same flags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from octmargin.archive import Recording
from octmargin.archive.logged_frames import LoggedFrame
from octmargin.assessment import FaceAssessor
from octmargin.bus import StateCounts, count_states, rounded
from octmargin.engine import Judged, Outcome
from octmargin.errors import InputError
from octmargin.frames import BlockState, LossCause
from octmargin.logged import LoggedFlags, LoggedVerdict, bits_of
from octmargin.margin import BlockFlags, SweepMap, Verdict, judge
from octmargin.said import FaceThen, Then
from octmargin.startup import engine_settings, make_assessor
from octmargin.words import counted

Progress = Callable[[str, int, int], None]


class Fate(StrEnum):
    """What is found of a frame that was recorded or judged live; in words for people."""

    SAME = "the same"
    DIFFERENT = "different"
    DAMAGED = "damaged since"
    GONE = "recorded and not there any more"
    FAILED = "cannot be judged any more"
    ANOTHER = "judged live, but another frame is recorded in its place"
    UNSAID = "recorded, and the log does not say what became of it"
    UNRECORDED = "judged live and not recorded"
    LOST_LIVE = "recorded and not judged live"
    UNKNOWN = "recorded, and what was said of it is missing from the log"


COMPARED = (Fate.SAME, Fate.DIFFERENT)
DIFFERENCES = (Fate.DIFFERENT, Fate.DAMAGED, Fate.GONE, Fate.FAILED, Fate.ANOTHER, Fate.UNSAID)
"""What must not be in a recording that is judged again as it was judged."""
_KNOWN = (*COMPARED, Fate.LOST_LIVE)
"""Frames of which a verdict can be made as it was made then."""


@dataclass(frozen=True, slots=True)
class FaceReplay:
    """A face then and now.

    `fates` has the frames of each fate, by index; a frame that never came has none. `exact` of those that are the same
    are so to the last bit. `lost_causes` says why recorded frames were not judged live. `verdict_then` is None where
    the log has none; `verdict_differs` names what of it does, `verdict_uncompared` says why it was not compared.
    """

    face: str
    fates: dict[Fate, tuple[int, ...]]
    exact: int
    lost_causes: tuple[str, ...]
    verdict_then: LoggedVerdict | None
    verdict_now: Verdict
    verdict_differs: tuple[str, ...]
    verdict_uncompared: str

    @property
    def same(self) -> int:
        """Frames that give the same flags as were published."""
        return len(self.fates.get(Fate.SAME, ()))

    @property
    def compared(self) -> int:
        """Frames that were judged live and now."""
        return sum(len(self.fates.get(fate, ())) for fate in COMPARED)

    @property
    def is_same(self) -> bool:
        """Whether everything that can be compared is as it was, and what should be there is."""
        return not self.verdict_differs and not any(fate in self.fates for fate in DIFFERENCES)


def is_confirmed(then: Then, faces: Sequence[FaceReplay]) -> bool:
    """Whether something was compared, nothing of it differs, and the log with which it was compared is whole."""
    return not then.trouble and all(face.is_same for face in faces) and any(face.compared for face in faces)


def replay(
    recording: Recording, then: Then, *, threads: int = 1, on_progress: Progress | None = None
) -> Iterator[FaceReplay]:
    """Judge each face of the recording, and compare.

    InputError where results depended on the order of the frames, or the calibration is missing.
    """
    if then.engine.running_mean_frames is not None:
        raise InputError(
            f"{recording.path}: was judged with engine.running_mean_frames, so that flags depended on which thread got "
            "which frame; that cannot be repeated, judge it with `octmargin assess`"
        )
    if recording.calibration is None or recording.axial_um is None:
        raise InputError(f"{recording.path}: has no calibration; restore it from a copy")
    for face in recording.faces:
        plan = recording.plan(face)
        settings = engine_settings(then.judging, then.engine, plan, recording.calibration, recording.axial_um)
        assessor = FaceAssessor(recording, settings, then.judging.policy, threads=threads)
        face_replay = _FaceReplaying(
            recording,
            then,
            face,
            SweepMap(plan.frames, plan.blocks, make_assessor(then.judging).model, frame_um=plan.frame_um),
        )
        for index, outcome in enumerate(assessor.outcomes(plan)):
            face_replay.take(index, outcome)
            if on_progress is not None:
                on_progress(face, index + 1, plan.frames)
        yield face_replay.result()


class _FaceReplaying:
    """Compares the frames of one face in their order, and at last its verdict."""

    def __init__(self, recording: Recording, then: Then, face: str, sweep_map: SweepMap) -> None:
        self._recording = recording
        self._then = then
        self._face = face
        self._said = then.faces.get(face, FaceThen())
        self._map = sweep_map
        self._fates: dict[Fate, list[int]] = {}
        self._exact = 0
        self._lost_causes: set[str] = set()

    def take(self, index: int, outcome: Outcome) -> None:
        """Enter what became of the next frame."""
        fate = self._fate(index, outcome)
        if fate is not None:
            self._fates.setdefault(fate, []).append(index)
        if fate in COMPARED and isinstance(outcome, Judged):
            self._map.place(index, outcome.flags)
            self._exact += self._said.flags[index].bits == bits_of(outcome.flags)
        else:
            self._map.mark_lost(index)

    def _fate(self, index: int, outcome: Outcome) -> Fate | None:
        said, written = self._said.flags.get(index), self._then.frames.get((self._face, index))
        cause = None if isinstance(outcome, Judged) else outcome.cause
        if cause is LossCause.SPOILED:
            return Fate.DAMAGED
        if cause is LossCause.UNRECORDED:
            if written is not None or self._recording.present(self._face)[index]:
                return Fate.GONE
            return None if said is None else Fate.UNRECORDED
        if said is None:
            return self._fate_of_unsaid(written)
        if written is not None and (written.sweep, written.sequence) != (said.sweep, said.frame_sequence):
            return Fate.ANOTHER
        return _fate_of_said(said, outcome)

    def _fate_of_unsaid(self, written: LoggedFrame | None) -> Fate:
        loss = self._said.loss_of(written.sequence) if written is not None else None
        if loss is not None:
            self._lost_causes.add(loss.cause)
            return Fate.LOST_LIVE
        return Fate.UNSAID if self._then.knows_all_of(self._face) else Fate.UNKNOWN

    def result(self) -> FaceReplay:
        """Judge the face, and compare."""
        said, policy = self._said, self._then.judging.policy
        out_of_plan = sorted(set(said.flags) - set(range(self._map.frames)))
        if out_of_plan:
            self._fates.setdefault(Fate.GONE, []).extend(out_of_plan)
        is_whole = said.verdict is not None and said.verdict.counts.not_scanned == 0
        now = judge(self._map, policy, complete=is_whole)
        point = policy.operating_point(self._map.operating_point)
        counts = count_states(self._map.state_by_evidence(point.suspicious_at))
        uncompared = self._why_verdict_is_uncompared()
        return FaceReplay(
            face=self._face,
            fates={fate: tuple(frames) for fate, frames in self._fates.items()},
            exact=self._exact,
            lost_causes=tuple(sorted(self._lost_causes)),
            verdict_then=said.verdict,
            verdict_now=now,
            verdict_differs=_differences(said.verdict, now, counts)
            if said.verdict and not uncompared
            else (),
            verdict_uncompared=uncompared,
        )

    def _why_verdict_is_uncompared(self) -> str:
        verdict = self._said.verdict
        if verdict is None:
            return "the log has none"
        if verdict.counts.not_scanned:
            return "the face was not scanned whole"
        unknown = sum(len(frames) for fate, frames in self._fates.items() if fate not in _KNOWN)
        if unknown:
            return f"it may rest on {counted(unknown, 'frame')} that could not be compared"
        without_fate = self._map.frames - sum(map(len, self._fates.values()))
        if self._then.missed and without_fate:
            return f"what became of {counted(without_fate, 'frame')} may be missing from the log"
        return ""


def _fate_of_said(said: LoggedFlags, outcome: Outcome) -> Fate:
    if not isinstance(outcome, Judged):
        return Fate.FAILED
    return Fate.SAME if _is_same(said, outcome.flags) else Fate.DIFFERENT


def _is_same(said: LoggedFlags, flags: BlockFlags) -> bool:
    """Whether what was published of a frame would be published again."""
    return (
        said.state == [BlockState(int(state)) for state in flags.state]
        and said.suspicion == rounded(flags.suspicion, 3)
        and said.distance_mm == rounded(flags.distance_mm, 3)
        and said.visualised_depth_mm == rounded(flags.visualised_depth_mm, 2)
        and said.quality == flags.quality.tolist()
    )


def _differences(then: LoggedVerdict, now: Verdict, counts: StateCounts) -> tuple[str, ...]:
    pairs = {
        "verdict": (then.verdict, now.outcome.value),
        "coverage": (then.coverage, round(now.coverage, 4)),
        "visualised_depth_mm": ([then.visualised_depth_mm], rounded([now.visualised_depth_mm], 3)),
        "distance_mm": ([then.distance_mm], rounded([now.nearest_distance_mm], 3)),
        "clusters": (then.clusters, len(now.clusters)),
        "counts": (then.counts, counts),
        "reasons": (then.reasons, list(now.reasons)),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)
