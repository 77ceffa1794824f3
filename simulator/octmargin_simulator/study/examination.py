"""One specimen of a study: its faces are scanned, reconstructed and judged as the engine does it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from octmargin.frames import ALINES_PER_BLOCK
from octmargin.margin import Assessor, Policy, SweepMap, face_score, judge
from octmargin.signal import Calibration, Reconstructor
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.optics import ConsoleOptics
from octmargin_simulator.study.plan import ARTEFACT_PART, Condition, StudyPlan, Task
from octmargin_simulator.study.records import Blocks, FaceRecord
from octmargin_simulator.study.truth import block_truth, lesion_of
from octmargin_simulator.study.worlds import REFERENCE, load_world
from octmargin_simulator.tissue.scan import FaceScanner
from octmargin_simulator.tissue.specimen import TissueSpecimen
from octmargin_simulator.tissue.truth import FrameTruth


@dataclass(frozen=True, eq=False)
class Examined:
    """One face: its record, and its blocks."""

    record: FaceRecord
    blocks: Blocks


def examine(plan: StudyPlan, task: Task) -> list[Examined]:
    """Examine one specimen; depends on nothing but plan and task."""
    world = load_world(REFERENCE if task.part == ARTEFACT_PART else task.part)
    specimen = TissueSpecimen(task.seed, task.sort, world.priors())
    optics = world.console(specimen.console(plan.samples))
    alines = plan.alines_at(world.aline_spacing)
    grid = ScanGrid(alines, plan.frames, optics.depth_px, plan.width_mm, plan.height_mm, optics.axial_um)
    reader = _Reader(plan.model, optics, grid)
    return [reader.examine(specimen, task, condition) for condition in plan.conditions(task)]


class _Reader:
    """Reconstruction and assessment for one console, with their buffers."""

    def __init__(self, model: str, optics: ConsoleOptics, grid: ScanGrid) -> None:
        self._optics, self._grid = optics, grid
        self._assessor = Assessor(model)
        calibration = Calibration.from_polynomial(
            optics.k_map_coefficients.tolist(),
            optics.dispersion_coefficients.tolist(),
            samples=optics.samples,
            axial_um=optics.axial_um,
        )
        self._reconstructor = Reconstructor(calibration, samples=optics.samples, depth=optics.depth_px)
        self._spectra = np.empty((grid.alines, optics.samples), np.uint16)
        self._bscan_db = np.empty((grid.alines, optics.depth_px), np.float32)
        self._intensity = np.empty_like(self._bscan_db)

    def examine(self, specimen: TissueSpecimen, task: Task, condition: Condition) -> Examined:
        """Scan and judge one face."""
        grid = self._grid
        tissue = specimen.face(condition.face, grid, condition.scenario)
        scanner = FaceScanner(specimen, condition.face, tissue, self._optics)
        lost = _lost_frames(specimen.seed, grid.frames, condition.lost_share)
        blocks_per_frame = -(-grid.alines // ALINES_PER_BLOCK)
        sweep_map = SweepMap(
            grid.frames, blocks_per_frame, self._assessor.model, frame_um=1000 * grid.height_mm / grid.frames
        )
        truths, frames = [], []
        for frame in range(grid.frames):
            truth = scanner.expose(frame, self._spectra)
            truths.append(truth)
            frames.append(
                self._lose(sweep_map, frame, truth)
                if frame in lost
                else self._assess(sweep_map, frame, truth)
            )
        policy = Policy()
        verdict = judge(sweep_map, policy, complete=True)
        point = policy.operating_point(sweep_map.operating_point)
        seen_mm = np.where(sweep_map.sound, sweep_map.visualised_depth_mm, np.float32(np.nan))
        lesion = lesion_of(truths, grid, seen_mm)
        depth_mm = verdict.visualised_depth_mm
        blocks = replace(
            Blocks.joined(frames),
            evidence=sweep_map.evidence.reshape(-1),
            state=sweep_map.state_by_evidence(point.suspicious_at).reshape(-1),
        )
        record = FaceRecord(
            seed=specimen.seed,
            sort=specimen.sort,
            face=condition.face,
            part=task.part,
            condition=condition.name,
            drawn_lesion=tissue.lesion,
            lesion_width_mm=None if lesion is None else round(lesion.width_mm, 4),
            lesion_top_mm=None if lesion is None else round(lesion.top_mm, 4),
            lesion_seen_mm=None if lesion is None else round(lesion.seen_width_mm, 4),
            benign=tissue.benign,
            artefacts=tissue.covers.names,
            outcome=verdict.outcome,
            reasons=verdict.reasons,
            coverage=verdict.coverage,
            visualised_depth_mm=None if np.isnan(depth_mm) else depth_mm,
            score=face_score(sweep_map, point.min_cluster_blocks),
            snr_db=specimen.snr_db,
            blocks=len(blocks.state),
        )
        return Examined(record, blocks)

    def _assess(self, sweep_map: SweepMap, frame: int, truth: FrameTruth) -> Blocks:
        self._reconstructor.process(self._spectra, out=self._bscan_db, intensity=self._intensity)
        flags = self._assessor.assess(
            self._bscan_db,
            axial_um=self._optics.axial_um,
            aline_um=1000 * self._grid.width_mm / self._grid.alines,
            intensity=self._intensity,
            saturated=self._spectra.max(axis=1) >= self._optics.full_scale,
        )
        sweep_map.place(frame, flags)
        return self._blocks(flags.suspicion, flags.probabilities, flags.state, flags.quality, truth)

    def _lose(self, sweep_map: SweepMap, frame: int, truth: FrameTruth) -> Blocks:
        sweep_map.mark_lost(frame)
        unknown = np.full((sweep_map.blocks, len(self._assessor.classes)), np.nan, np.float32)
        nothing = np.zeros(sweep_map.blocks, np.uint8)
        return self._blocks(unknown[:, 0], unknown, sweep_map.state[frame], nothing, truth)

    def _blocks(
        self,
        suspicion: NDArray[np.float32],
        probabilities: NDArray[np.float32],
        state: NDArray[np.uint8],
        quality: NDArray[np.uint8],
        truth: FrameTruth,
    ) -> Blocks:
        return Blocks(
            suspicion,
            suspicion,
            probabilities.astype(np.float16),
            state,
            quality,
            *block_truth(truth, self._grid),
        )


def _lost_frames(seed: int, frames: int, share: float) -> frozenset[int]:
    rng = np.random.default_rng([seed, zlib.crc32(b"lost frames")])
    return frozenset(rng.permutation(frames)[: round(share * frames)].tolist())
