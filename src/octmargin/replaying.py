"""Judge a recording again, as it was judged live, and compare: the same spectra must give the same flags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from octmargin.archive import Recording
from octmargin.assessment import FaceAssessor
from octmargin.bus import Description, rounded
from octmargin.config import EngineSection, JudgingSection
from octmargin.engine import Judged
from octmargin.errors import InputError
from octmargin.frames import BlockState
from octmargin.logged import LoggedFlags, LoggedVerdict, bits_of
from octmargin.margin import BlockFlags, SweepMap, Verdict, judge
from octmargin.startup import engine_settings, make_assessor

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class FaceReplay:
    """A face then and now.

    `frames` that were judged live and can be judged again; `same` of them give the same flags as published, `exact`
    to the last bit; `different` are the others. `unrecorded` were judged live and are not in the recording.
    `verdict_then` is None where the face has none; `verdict_differs` names what of it does.
    """

    face: str
    frames: int
    same: int
    exact: int
    different: tuple[int, ...]
    unrecorded: int
    verdict_then: LoggedVerdict | None
    verdict_now: Verdict
    verdict_differs: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether everything that can be compared is as it was."""
        return not (self.different or self.verdict_differs)


@dataclass(frozen=True, slots=True)
class Then:
    """What the log of a recording tells of how it was judged."""

    judging: JudgingSection
    engine: EngineSection
    description: Description
    flags: dict[tuple[str, int], LoggedFlags]
    verdicts: dict[str, LoggedVerdict]


def read_then(recording: Recording) -> Then:
    """InputError where the recording has no log of results, or one that cannot be read."""
    began: dict[str, Any] | None = None
    flags: dict[tuple[str, int], LoggedFlags] = {}
    verdicts: dict[str, LoggedVerdict] = {}
    try:
        for entry in recording.log():
            if entry["kind"] == "began" and "configuration" in entry:
                began = entry
            elif entry["kind"] == "flags":
                of_frame = msgspec.convert(entry, LoggedFlags)
                flags[of_frame.face, of_frame.frame_index] = of_frame
            elif entry["kind"] == "verdict":
                verdicts[entry["face"]] = msgspec.convert(entry, LoggedVerdict)
            elif entry["kind"] == "face":
                # It is scanned, maybe anew: what was said of it before is not about what is recorded.
                flags = {key: value for key, value in flags.items() if key[0] != entry["face"]}
                verdicts.pop(entry["face"], None)
        if began is None:
            raise InputError(
                f"{recording.path}: has no log of what was said of it live; judge it with `octmargin assess`"
            )
        configuration = began["configuration"]
        judging = {name: configuration[name] for name in ("policy", "model", "quality", "rule")}
        return Then(
            msgspec.convert(judging, JudgingSection),
            msgspec.convert(configuration["engine"], EngineSection),
            msgspec.convert(began["description"], Description),
            flags,
            verdicts,
        )
    except (msgspec.ValidationError, KeyError) as error:
        raise InputError(
            f"{recording.path}: its log cannot be used ({error}); replay it with the octmargin that wrote it"
        ) from error


def replay(
    recording: Recording, then: Then, *, threads: int = 1, on_progress: Progress | None = None
) -> Iterator[FaceReplay]:
    """Judge each face of which something was said, and compare.

    InputError where results depended on the order of the frames, or the calibration is missing.
    """
    if then.engine.running_mean_frames is not None:
        raise InputError(
            f"{recording.path}: was judged with engine.running_mean_frames, so that flags depended on which thread got "
            "which frame; that cannot be repeated, judge it with `octmargin assess`"
        )
    if recording.calibration is None or recording.axial_um is None:
        raise InputError(f"{recording.path}: has no calibration; restore it from a copy")
    said_of = {face for face, _ in then.flags} | set(then.verdicts)
    for face in recording.faces:
        if face not in said_of:
            continue
        plan = recording.plan(face)
        settings = engine_settings(then.judging, then.engine, plan, recording.calibration, recording.axial_um)
        assessor = FaceAssessor(recording, settings, then.judging.policy, threads=threads)
        sweep_map = SweepMap(plan.frames, plan.blocks, make_assessor(then.judging).model)
        same = exact = unrecorded = 0
        different = []
        for index, outcome in enumerate(assessor.outcomes(plan)):
            said = then.flags.get((face, index))
            if said is None:
                # Lost then: whatever is on disk, nothing was said of it.
                sweep_map.mark_lost(index)
            elif not isinstance(outcome, Judged):
                sweep_map.mark_lost(index)
                unrecorded += 1
            else:
                sweep_map.place(index, outcome.flags)
                exact += said.bits == bits_of(outcome.flags)
                if _is_same(said, outcome.flags):
                    same += 1
                else:
                    different.append(index)
            if on_progress is not None:
                on_progress(face, index + 1, plan.frames)
        verdict_then = then.verdicts.get(face)
        is_whole = verdict_then is not None and verdict_then.counts.not_scanned == 0
        verdict = judge(sweep_map, then.judging.policy, complete=is_whole)
        comparable = verdict_then is not None and is_whole and not unrecorded
        yield FaceReplay(
            face=face,
            frames=same + len(different),
            same=same,
            exact=exact,
            different=tuple(different),
            unrecorded=unrecorded,
            verdict_then=verdict_then,
            verdict_now=verdict,
            verdict_differs=_differences(verdict_then, verdict) if verdict_then and comparable else (),
        )


def _is_same(said: LoggedFlags, flags: BlockFlags) -> bool:
    """Whether what was published of a frame would be published again."""
    return (
        said.state == [BlockState(int(state)) for state in flags.state]
        and said.suspicion == rounded(flags.suspicion, 3)
        and said.distance_mm == rounded(flags.distance_mm, 3)
        and said.visualised_depth_mm == rounded(flags.visualised_depth_mm, 2)
        and said.quality == flags.quality.tolist()
    )


def _differences(then: LoggedVerdict, now: Verdict) -> tuple[str, ...]:
    pairs = {
        "verdict": (then.verdict, now.outcome.value),
        "coverage": (then.coverage, round(now.coverage, 4)),
        "visualised_depth_mm": ([then.visualised_depth_mm], rounded([now.visualised_depth_mm], 3)),
        "distance_mm": ([then.distance_mm], rounded([now.nearest_distance_mm], 3)),
        "clusters": (then.clusters, len(now.clusters)),
        "reasons": (then.reasons, list(now.reasons)),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)
