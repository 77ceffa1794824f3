"""Every frame of a face through the same chain as live, and what follows from all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from octmargin.assessment.findings import Finding, rank
from octmargin.assessment.subject import Subject
from octmargin.errors import InputError
from octmargin.frame_judge import EngineSettings, FrameJudge, Judged, Outcome
from octmargin.frames import BlockState, Frame, FrameHeader, LossCause, LostFrames, ScanPlan
from octmargin.margin import Policy, SweepMap, Verdict, judge

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class AssessedFace:
    """What is said of one face and what it rests on.

    `state` uint8 (frames, blocks) of `BlockState`, as the evidence gives it;
    `enface_db` (frames, alines), NaN where there is no surface or no frame; `probabilities` (frames, blocks,
    classes), NaN where unknown; `lost` frames by cause; `failures`, each once, why frames could not be judged.
    """

    plan: ScanPlan
    map: SweepMap
    state: NDArray[np.uint8]
    verdict: Verdict
    findings: tuple[Finding, ...]
    enface_db: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    lost: Counter[LossCause]
    failures: tuple[str, ...]

    @property
    def most_suspicious_frame(self) -> int | None:
        """The frame to look at first: of the first finding, else the one with most suspicion; None without any."""
        if self.findings:
            return self.findings[0].frame
        known = np.isfinite(self.map.evidence)
        if not known.any():
            return None
        return int(np.where(known, self.map.evidence, 0.0).sum(axis=1).argmax())


class FaceAssessor:
    """Assesses the faces of a subject, each frame by one of `threads` threads. Not for several callers at once.

    ConfigError or CalibrationError where `settings` do not fit.
    """

    def __init__(
        self, subject: Subject, settings: EngineSettings, policy: Policy, *, threads: int = 1
    ) -> None:
        self._subject = subject
        self._policy = policy
        self._threads = threads
        self._model = settings.make_assessor().model
        self._classes = len(self._model.classes)
        policy.operating_point(self._model.operating_point)
        self._free: SimpleQueue[FrameJudge] = SimpleQueue()
        for _ in range(threads):
            self._free.put(FrameJudge(settings))
        self._picture_judge = FrameJudge(replace(settings, bscan_every=1))

    def assess(self, face: str, progress: Progress | None = None) -> AssessedFace:
        """Judge every frame of `face`; a frame that is missing or damaged becomes a hole of the map.

        `progress(done, total)` is told of every frame, in the caller's thread.
        """
        plan = self._subject.plan(face)
        sweep_map = SweepMap(plan.frames, plan.blocks, self._model, frame_um=plan.frame_um)
        enface_db = np.full((plan.frames, plan.alines), np.nan, np.float32)
        probabilities = np.full((plan.frames, plan.blocks, self._classes), np.nan, np.float32)
        lost: Counter[LossCause] = Counter()
        failures: dict[str, None] = {}
        for index, outcome in enumerate(self.outcomes(plan)):
            if isinstance(outcome, Judged):
                sweep_map.place(index, outcome.flags)
                enface_db[index] = outcome.flags.enface_db
                probabilities[index] = outcome.flags.probabilities
            else:
                sweep_map.mark_lost(index)
                lost[outcome.cause] += 1
                if outcome.cause is LossCause.NOT_JUDGED:
                    failures[outcome.detail] = None
            if progress is not None:
                progress(index + 1, plan.frames)
        complete = not bool((sweep_map.state == BlockState.NOT_SCANNED).any())
        verdict = judge(sweep_map, self._policy, complete=complete)
        point = self._policy.operating_point(sweep_map.operating_point)
        state = sweep_map.state_by_evidence(point.suspicious_at)
        return AssessedFace(
            plan=plan,
            map=sweep_map,
            state=state,
            verdict=verdict,
            findings=rank(verdict.clusters, state, sweep_map.evidence, probabilities),
            enface_db=enface_db,
            probabilities=probabilities,
            lost=lost,
            failures=tuple(failures),
        )

    def look(self, face: str, index: int) -> Judged:
        """One frame again, with its B-scan; InputError for a frame that was lost."""
        outcome = self._judge(self._picture_judge, self._subject.plan(face), index)
        if isinstance(outcome, LostFrames):
            raise InputError(
                f"frame {index} of {face}: {outcome.detail or outcome.cause.value}; look at another"
            )
        return outcome

    def outcomes(self, plan: ScanPlan) -> Iterator[Outcome]:
        """What becomes of each frame of a plan of the subject's, in order."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="assess") as pool:
            yield from pool.map(lambda index: self._judge_by_any(plan, index), range(plan.frames))

    def _judge_by_any(self, plan: ScanPlan, index: int) -> Outcome:
        # As many threads as judges: one is always free.
        judge_of_frame = self._free.get()
        try:
            return self._judge(judge_of_frame, plan, index)
        finally:
            self._free.put(judge_of_frame)

    def _judge(self, frame_judge: FrameJudge, plan: ScanPlan, index: int) -> Outcome:
        try:
            spectra = self._subject.frame(plan.face, index)
        except InputError as error:
            return LostFrames(index, 1, LossCause.SPOILED, str(error))
        if spectra is None:
            return LostFrames(index, 1, LossCause.UNRECORDED)
        frame_judge.aline_um = 1000 * plan.width_mm / plan.alines
        header = FrameHeader(index, 1, index, 0, plan.alines, plan.samples, plan.pixel_format)
        return frame_judge.judge(Frame(header, spectra))
