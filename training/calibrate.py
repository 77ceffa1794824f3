"""Calibrate a trained model and choose its operating point: `python -m training.calibrate --help`.

The specimens are those of a study, with their natural share of lesions, but none that a study or training uses.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from octmargin.margin.model_file import (
    ModelCalibration,
    ModelFile,
    OperatingShares,
    read_model,
    write_model,
)
from octmargin.margin.network import GatherNetwork
from octmargin.margin.sweep import SweepMap
from octmargin.margin.trained import TrainedModel, gather_input
from octmargin.margin.verdict import face_score
from octmargin_simulator.study.statistics import auroc, calibration_sums, expected_calibration_error
from training.contexts import MALIGNANT_KINDS, SweepContext, contexts
from training.sweeps import render_sweeps

FIRST_CALIBRATION_SEED = 90_000
_CLIP = 14.0
_FALSE_BLOCKS = 0.01
_CLUSTER_BLOCKS = (2, 3, 4)
"""Sizes that are tried: a lesion of half a millimetre is at least two blocks."""
_DOUBTFUL_ALONE_AT = 0.8
"""Suspicion of a block in its frame alone that leaves a face open, whatever its neighbours say: four to one."""


@dataclass(frozen=True, slots=True)
class Aims:
    """What the operating point is chosen for, as shares of clear faces and of faces with a lesion."""

    false_share: float = 0.09
    not_missed: float = 0.98


def platt(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> ModelCalibration:
    """Slope and intercept of the logit that make `scores` probabilities (Platt 1999), by maximum likelihood."""

    def cost(line: NDArray[np.float64]) -> float:
        logit = line[0] * scores + line[1]
        return float(np.mean(np.logaddexp(0, logit) - truth * logit))

    slope, intercept = minimize(cost, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return ModelCalibration(round(float(slope), 4), round(float(intercept), 4))


def malignant_logit(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logit of the malignant share of scores (..., classes), before calibration."""
    logs = scores.astype(np.float64)
    malignant = np.logaddexp.reduce(logs[..., MALIGNANT_KINDS], axis=-1)
    rest = [k for k in range(logs.shape[-1]) if k not in MALIGNANT_KINDS]
    return np.asarray(np.clip(malignant - np.logaddexp.reduce(logs[..., rest], axis=-1), -_CLIP, _CLIP))


def calibrate(model: ModelFile, sweeps: list[SweepContext], aims: Aims) -> ModelFile:
    """Fit both calibrations, then choose the operating point on the ROC of the faces.

    Blocks are suspicious from the evidence on that about `aims.false_share` of the clear faces reach, and
    doubtful from that on at which `aims.not_missed` of the faces with a malignant block are not cleared: with those
    that a block's frame alone leaves open.
    """
    counts = np.stack([s.counts for s in sweeps])
    truth = np.stack([s.is_malignant for s in sweeps])
    frame_scores = np.stack([malignant_logit(s.scores) for s in sweeps])
    network = GatherNetwork(model)
    gathered = np.stack(
        [
            malignant_logit(network.run(gather_input(s.context, s.usable))[..., : len(model.classes)])
            for s in sweeps
        ]
    )
    calibrated = msgspec.structs.replace(
        model,
        calibration=platt(frame_scores[counts], truth[counts]),
        gathered_calibration=platt(gathered[counts], truth[counts]),
    )
    positive = np.asarray(truth.any(axis=(1, 2)))
    best = max(
        (_chosen(calibrated, sweeps, positive, blocks, aims) for blocks in _CLUSTER_BLOCKS),
        key=lambda found: found[0],
    )
    chosen = msgspec.structs.replace(
        calibrated,
        operating_point=best[1],
        suspicious_at=_suspicious_at(calibrated.calibration, frame_scores[counts], truth[counts]),
    )
    metrics = _metrics(chosen, sweeps, frame_scores[counts], gathered[counts], truth[counts])
    return msgspec.structs.replace(
        chosen, card=msgspec.structs.replace(model.card, metrics={k: round(v, 4) for k, v in metrics.items()})
    )


def _suspicious_at(
    calibration: ModelCalibration, scores: NDArray[np.float64], truth: NDArray[np.bool_]
) -> float:
    """Suspicion of a block from which on `_FALSE_BLOCKS` of those that are not malignant are flagged."""
    score = float(np.quantile(scores[~truth], 1 - _FALSE_BLOCKS))
    return float(
        np.clip(round(float(expit(calibration.slope * score + calibration.intercept)), 4), 1e-3, 0.999)
    )


def _metrics(
    model: ModelFile,
    sweeps: list[SweepContext],
    frame_scores: NDArray[np.float64],
    gathered: NDArray[np.float64],
    truth: NDArray[np.bool_],
) -> dict[str, float]:
    """What the model reaches on the specimens that it was calibrated on: better than on others, if anything."""
    point, line = model.operating_point, model.gathered_calibration
    trained = TrainedModel(model)
    scores = np.array([_face_score(trained, sweep, point.min_cluster_blocks) for sweep in sweeps])
    positive = np.array([sweep.is_malignant.any() for sweep in sweeps])
    is_open = (scores >= point.doubtful_at) | [_is_doubtful_alone(model, sweep) for sweep in sweeps]
    one_specimen = np.zeros(len(truth), np.int64)
    sums = calibration_sums(
        expit(line.slope * gathered + line.intercept), truth, one_specimen, 1, equal_mass=True
    )
    return {
        "calibration specimens: block auroc, frame alone": auroc(frame_scores, truth),
        "calibration specimens: block auroc, gathered": auroc(gathered, truth),
        "calibration specimens: block expected_calibration error, gathered": float(
            expected_calibration_error(sums).item()
        ),
        "calibration specimens: face auroc": auroc(scores, positive),
        "calibration specimens: faces found": float((scores[positive] >= point.suspicious_at).mean()),
        "calibration specimens: faces found or doubtful": float(is_open[positive].mean()),
        "calibration specimens: clear faces not even doubtful": float((~is_open)[~positive].mean()),
        "calibration specimens: clear faces not suspicious": float(
            (scores[~positive] < point.suspicious_at).mean()
        ),
    }


def _chosen(
    model: ModelFile, sweeps: list[SweepContext], positive: NDArray[np.bool_], blocks: int, aims: Aims
) -> tuple[float, OperatingShares]:
    """The operating point for clusters of so many blocks, and its worth: shares of faces found + of faces cleared."""
    trained = TrainedModel(model)
    scores = np.array([_face_score(trained, sweep, blocks) for sweep in sweeps])
    open_anyway = np.array([_is_doubtful_alone(model, sweep) for sweep in sweeps])
    clear = np.sort(scores[~positive])
    # Rounded down: the face that lies on it is among those that reach it.
    suspicious_at = _within(clear[int(len(clear) * (1 - aims.false_share)) - 1])
    found = np.sort(np.where(open_anyway, 1.0, scores)[positive])[::-1]
    doubtful_at = _within(found[int(np.ceil(aims.not_missed * len(found))) - 1])
    doubtful_at = min(doubtful_at, suspicious_at)
    cleared = (scores < doubtful_at) & ~open_anyway
    worth = float((scores[positive] >= suspicious_at).mean() + cleared[~positive].mean())
    return worth, OperatingShares(suspicious_at, doubtful_at, blocks, _DOUBTFUL_ALONE_AT)


def _is_doubtful_alone(model: ModelFile, sweep: SweepContext) -> bool:
    """Whether the frame of a block alone leaves the face open, whatever its neighbours say."""
    logit = model.calibration.slope * malignant_logit(sweep.scores) + model.calibration.intercept
    return bool((sweep.usable & (expit(logit) >= _DOUBTFUL_ALONE_AT)).any())


def _within(evidence: float) -> float:
    """Evidence as a setting: a few digits, rounded down, and neither 0 nor 1."""
    return float(min(max(np.floor(evidence * 1e4) / 1e4, 1e-3), 0.999))


def _face_score(model: TrainedModel, sweep: SweepContext, blocks: int) -> float:
    frames, block_count = sweep.kind.shape
    sweep_map = SweepMap(frames, block_count, model)
    sweep_map.enter(np.zeros(sweep.kind.shape, np.float32), sweep.context, sweep.usable)
    return face_score(sweep_map, blocks)


def main() -> None:
    """Render sweeps, calibrate, write."""
    parser = argparse.ArgumentParser(prog="python -m training.calibrate", description=__doc__)
    parser.add_argument("--model", default="src/octmargin/margin/models/margin-1.json")
    parser.add_argument("--sweeps", default=".cache/sweeps", help="folder that keeps the rendered sweeps")
    parser.add_argument("--specimens", type=int, default=300)
    parser.add_argument(
        "--false-share", type=float, default=0.09, help="of clear faces, about so many suspicious"
    )
    parser.add_argument("--not-missed", type=float, default=0.98, help="of faces with a lesion, not cleared")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    seeds = range(FIRST_CALIBRATION_SEED, FIRST_CALIBRATION_SEED + options.specimens)
    paths = render_sweeps(Path(options.sweeps), seeds, options.processes, natural=True)
    model = read_model(options.model)
    model = calibrate(model, contexts(model, paths), Aims(options.false_share, options.not_missed))
    card = msgspec.structs.replace(model.card, calibration_seeds=(seeds[0], seeds[-1]))
    write_model(msgspec.structs.replace(model, card=card), Path(options.model))
    print(f"{options.model} calibrated: {model.operating_point}")
    for name, value in model.card.metrics.items():
        print(f"{name}: {value:g}")


if __name__ == "__main__":
    main()
