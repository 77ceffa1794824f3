"""From the map of a sweep to the verdict on a face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import ndimage

from octmargin.errors import ConfigError
from octmargin.frames import BlockQuality, BlockState
from octmargin.margin.model import OperatingPoint
from octmargin.margin.sweep import SweepMap
from octmargin.words import percent

_DEPTH_QUANTILE = 0.1
_QUALITY_WORDS = {
    BlockQuality.NO_SURFACE: "without a surface",
    BlockQuality.SATURATED: "saturated",
    BlockQuality.LOW_SIGNAL: "too dark",
    BlockQuality.SHALLOW: "too shallow",
    BlockQuality.UNFAMILIAR: "unfamiliar to the model",
}


class Outcome(StrEnum):
    """What is said of a face."""

    SUSPICIOUS = "suspicious"
    NOTHING_SUSPICIOUS = "nothing_suspicious"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What counts as a margin and what a verdict needs; set by the site.

    `min_coverage` share of planned blocks that must be usable; `min_visualised_depth_mm` that almost every
    usable block must reach; `max_frame_um` that frames may lie apart, None in recordings of before there
    was a limit: a lesion of half a millimetre shows in two frames;
    `suspicious_at` and `doubtful_at`, evidence from which blocks make a face suspicious or
    leave it open, `min_cluster_blocks` that must touch, and `doubtful_alone_at`, suspicion from which one block of a
    frame leaves it open: the model's operating point unless given;
    `invasive_margin_mm` 0 is "no ink on tumour" (SSO-ASTRO 2014), `dcis_margin_mm` 2 is SSO-ASTRO-ASCO 2016.
    """

    min_coverage: float = 0.95
    min_visualised_depth_mm: float = 0.3
    max_frame_um: float | None = 250.0
    suspicious_at: float | None = None
    doubtful_at: float | None = None
    min_cluster_blocks: int | None = None
    doubtful_alone_at: float | None = None
    invasive_margin_mm: float = 0.0
    dcis_margin_mm: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.min_coverage <= 1:
            raise ConfigError(
                f"policy: min_coverage is {self.min_coverage}; give a share above 0 and up to 1"
            )
        if not self.min_visualised_depth_mm > 0:
            raise ConfigError(
                f"policy: min_visualised_depth_mm is {self.min_visualised_depth_mm}; give a depth above 0"
            )
        if self.max_frame_um is not None and not (np.isfinite(self.max_frame_um) and self.max_frame_um > 0):
            raise ConfigError(
                f"policy: max_frame_um is {self.max_frame_um}; give a distance above 0, in µm, a large one for no limit"
            )
        for name in ("suspicious_at", "doubtful_at"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ConfigError(f"policy: {name} is {value}; give evidence between 0 and 1")
        if self.doubtful_alone_at is not None and not 0 < self.doubtful_alone_at < 1:
            raise ConfigError(
                f"policy: doubtful_alone_at is {self.doubtful_alone_at}; give a suspicion between 0 and 1"
            )
        if self.min_cluster_blocks is not None and self.min_cluster_blocks < 1:
            raise ConfigError(f"policy: min_cluster_blocks is {self.min_cluster_blocks}; give at least 1")
        for name in ("invasive_margin_mm", "dcis_margin_mm"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"policy: {name} is {getattr(self, name)}; give a distance of at least 0")

    def operating_point(self, of_model: OperatingPoint) -> OperatingPoint:
        """Return the model's, with what the site has set; ConfigError where doubt would begin above suspicion."""
        suspicious_at = of_model.suspicious_at if self.suspicious_at is None else self.suspicious_at
        doubtful_at = (
            min(of_model.doubtful_at, suspicious_at) if self.doubtful_at is None else self.doubtful_at
        )
        if doubtful_at > suspicious_at:
            raise ConfigError(
                f"policy: doubtful_at is {doubtful_at}, above suspicious_at, {suspicious_at}; lower it"
            )
        return OperatingPoint(
            suspicious_at,
            doubtful_at,
            of_model.min_cluster_blocks if self.min_cluster_blocks is None else self.min_cluster_blocks,
            of_model.doubtful_alone_at if self.doubtful_alone_at is None else self.doubtful_alone_at,
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """Suspicious blocks that touch, also diagonally; ranges are inclusive.

    `evidence` is the highest of its blocks, found in `peak_frame` and `peak_block`.
    """

    blocks: int
    first_frame: int
    last_frame: int
    first_block: int
    last_block: int
    nearest_distance_mm: float
    evidence: float
    peak_frame: int
    peak_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the algorithm says of one face, with what it rests on.

    `coverage` usable over planned blocks; `visualised_depth_mm` what nine in ten usable blocks reach, NaN
    without any; `nearest_distance_mm` of a suspicious feature from the surface, NaN without any; `counts`
    blocks per state, as the evidence gives it; `clusters` of suspicious blocks, largest first, also those too small
    to make a face suspicious.
    """

    outcome: Outcome
    coverage: float
    visualised_depth_mm: float
    nearest_distance_mm: float
    counts: dict[BlockState, int]
    clusters: tuple[Cluster, ...]
    reasons: tuple[str, ...] = field(default=())


def judge(sweep_map: SweepMap, policy: Policy, *, complete: bool) -> Verdict:
    """Judge one sweep; `complete` says that the console has ended it and nothing more will come.

    A cluster of enough suspicious blocks (`Policy.operating_point`) is suspicious, however little was
    covered. Else an incomplete sweep, frames too far apart, too little coverage or depth, fewer suspicious blocks than
    that, a cluster of doubtful ones, or a single block that its frame alone finds suspicious, is indeterminate. Only
    what was seen well enough everywhere else is nothing suspicious: lost, poor and not scanned blocks never are.
    """
    point = policy.operating_point(sweep_map.operating_point)
    state = sweep_map.state_by_evidence(point.suspicious_at)
    usable = sweep_map.sound
    coverage = float(usable.mean())
    depths_mm = sweep_map.visualised_depth_mm[usable]
    # The value of a real block, not one between two; a depth that is not known was not reached.
    depth_mm = (
        float(np.quantile(np.nan_to_num(depths_mm, nan=0.0), _DEPTH_QUANTILE, method="lower"))
        if depths_mm.size
        else float("nan")
    )
    clusters = find_clusters(sweep_map, point.suspicious_at)
    found = [cluster for cluster in clusters if cluster.blocks >= point.min_cluster_blocks]
    # What is suspicious is also doubtful: a cluster may be of both.
    doubtful = [
        cluster
        for cluster in find_clusters(sweep_map, point.doubtful_at)
        if cluster.blocks >= point.min_cluster_blocks
    ]
    shortfalls = _shortfalls(sweep_map, policy, coverage, depth_mm, complete)
    nearest_mm = _nearest(found or clusters)
    if found:
        outcome = Outcome.SUSPICIOUS
        reasons = [_finding(found, nearest_mm, policy), *shortfalls]
    else:
        doubts = _doubts(clusters, doubtful, point) or _doubts_of_frames(sweep_map, point)
        outcome = Outcome.INDETERMINATE if doubts or shortfalls else Outcome.NOTHING_SUSPICIOUS
        reasons = [*doubts, *shortfalls]
    return Verdict(
        outcome=outcome,
        coverage=coverage,
        visualised_depth_mm=depth_mm,
        nearest_distance_mm=nearest_mm,
        counts={s: int((state == s).sum()) for s in BlockState},
        clusters=clusters,
        reasons=(*reasons, *_uncertified_margins(policy, depth_mm)),
    )


def _nearest(clusters: Sequence[Cluster]) -> float:
    distances_mm = [c.nearest_distance_mm for c in clusters if np.isfinite(c.nearest_distance_mm)]
    return min(distances_mm, default=float("nan"))


def _doubts(clusters: Sequence[Cluster], doubtful: Sequence[Cluster], point: OperatingPoint) -> list[str]:
    if clusters:
        return [
            f"suspicious blocks in clusters of {clusters[0].blocks} at most, below {point.min_cluster_blocks}"
        ]
    if doubtful:
        highest = max(cluster.evidence for cluster in doubtful)
        limits = f"below {point.suspicious_at:g}, but not below {point.doubtful_at:g}"
        return [f"{doubtful[0].blocks} neighbouring blocks with evidence of {highest:.2f}, {limits}"]
    return []


def _doubts_of_frames(sweep_map: SweepMap, point: OperatingPoint) -> list[str]:
    """What a frame alone finds in a sound block though the evidence around it does not bear it out.

    A small lesion may lie in one frame, and its neighbours then speak against it.
    """
    if point.doubtful_alone_at is None:
        return []
    with np.errstate(invalid="ignore"):
        alone = sweep_map.sound & (sweep_map.suspicion >= point.doubtful_alone_at)
    count = int(alone.sum())
    if not count:
        return []
    highest = float(sweep_map.suspicion[alone].max())
    blocks = f"{count} block{'s' if count > 1 else ''}"
    limit = f"not below {point.doubtful_alone_at:g}"
    return [
        f"{blocks} with a suspicion of up to {highest:.2f} in the frame alone, {limit}; neighbours speak against it"
    ]


def _shortfalls(
    sweep_map: SweepMap, policy: Policy, coverage: float, depth_mm: float, complete: bool
) -> list[str]:
    shortfalls = []
    if not complete:
        shortfalls.append("the sweep is not complete")
    if sparse := sweep_map.why_sparse(policy.max_frame_um):
        shortfalls.append(sparse)
    if not coverage >= policy.min_coverage:
        causes = _uncovered(sweep_map)
        shortfalls.append(
            f"coverage {percent(coverage)} is below {100 * policy.min_coverage:g}%"
            + (f" ({causes})" if causes else "")
        )
        if sweep_map.why_unfamiliar:
            shortfalls.append(sweep_map.why_unfamiliar)
    if np.isnan(depth_mm):
        shortfalls.append("no block is usable")
    elif depth_mm < policy.min_visualised_depth_mm:
        shortfalls.append(
            f"visualised depth {np.floor(depth_mm * 100) / 100:.2f} mm "
            f"is below {policy.min_visualised_depth_mm:g} mm"
        )
    return shortfalls


def _uncovered(sweep_map: SweepMap) -> str:
    """Why blocks are not covered, the commonest cause first; a block may have several."""
    state = sweep_map.state
    poor = state == BlockState.POOR
    causes = {
        _QUALITY_WORDS[bit]: int((poor & ((sweep_map.quality & bit) > 0)).sum()) for bit in _QUALITY_WORDS
    }
    causes["lost"] = int((state == BlockState.LOST).sum())
    causes["not scanned"] = int((state == BlockState.NOT_SCANNED).sum())
    said = sorted((-count, cause) for cause, count in causes.items() if count)
    return ", ".join(f"{-count} {cause}" for count, cause in said)


def _finding(found: list[Cluster], nearest_mm: float, policy: Policy) -> str:
    blocks = sum(cluster.blocks for cluster in found)
    text = f"{blocks} suspicious blocks in {len(found)} cluster{'s' if len(found) > 1 else ''}"
    if np.isnan(nearest_mm):
        return text
    margins = [
        f"{'within' if nearest_mm <= margin_mm else 'beyond'} the {name} margin of {margin_mm:g} mm"
        for name, margin_mm in (("invasive", policy.invasive_margin_mm), ("DCIS", policy.dcis_margin_mm))
    ]
    return f"{text}, nearest {nearest_mm:.2f} mm below the surface: {', '.join(margins)}"


def _uncertified_margins(policy: Policy, depth_mm: float) -> list[str]:
    if np.isnan(depth_mm):
        return []
    return [
        f"{name} margin of {margin_mm:g} mm cannot be certified: visualised depth {depth_mm:.1f} mm"
        for name, margin_mm in (("invasive", policy.invasive_margin_mm), ("DCIS", policy.dcis_margin_mm))
        if margin_mm > depth_mm
    ]


def find_clusters(sweep_map: SweepMap, at: float) -> tuple[Cluster, ...]:
    """Find blocks that touch and have evidence of at least `at`, largest cluster first."""
    evidence = sweep_map.evidence
    with np.errstate(invalid="ignore"):
        labels, _ = ndimage.label(evidence >= at, structure=np.ones((3, 3)))
    clusters = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        members = labels[place] == number
        distances_mm = sweep_map.feature_mm[place][members]
        known_mm = distances_mm[np.isfinite(distances_mm)]
        frames, blocks = place
        peak = np.unravel_index(np.where(members, evidence[place], -1.0).argmax(), members.shape)
        clusters.append(
            Cluster(
                blocks=int(members.sum()),
                first_frame=frames.start,
                last_frame=frames.stop - 1,
                first_block=blocks.start,
                last_block=blocks.stop - 1,
                nearest_distance_mm=float(known_mm.min()) if known_mm.size else float("nan"),
                evidence=float(evidence[place][peak]),
                peak_frame=frames.start + int(peak[0]),
                peak_block=blocks.start + int(peak[1]),
            )
        )
    return tuple(sorted(clusters, key=lambda cluster: (-cluster.blocks, -cluster.evidence)))


def face_score(sweep_map: SweepMap, min_cluster_blocks: int) -> float:
    """Highest evidence at which a cluster of `min_cluster_blocks` stands: what an operating point is chosen on.

    0 where there is no sound block.
    """
    evidence = np.nan_to_num(sweep_map.evidence, nan=-1.0)
    levels = np.unique(evidence[evidence >= 0])
    # A cluster that stands at one level stands at all lower ones: search by halves.
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        labels, count = ndimage.label(evidence >= levels[middle], structure=np.ones((3, 3)))
        stands = bool(count) and np.bincount(labels.ravel())[1:].max() >= min_cluster_blocks
        low, high = (middle + 1, high) if stands else (low, middle)
    return float(levels[low - 1]) if low else 0.0
