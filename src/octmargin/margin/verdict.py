"""From the map of a sweep to the verdict on a face."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import ndimage

from octmargin.errors import ConfigError
from octmargin.frames import BlockState
from octmargin.margin.sweep import SweepMap

_DEPTH_QUANTILE = 0.1


class Outcome(StrEnum):
    """What is said of a face."""

    SUSPICIOUS = "suspicious"
    NOTHING_SUSPICIOUS = "nothing_suspicious"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What counts as a margin and what a verdict needs; set by the site.

    `min_coverage` share of planned blocks that must be usable; `min_visualised_depth_mm` that almost every
    usable block must reach; `min_cluster_blocks` neighbouring suspicious blocks that make a face suspicious;
    `invasive_margin_mm` 0 is "no ink on tumour" (SSO-ASTRO 2014), `dcis_margin_mm` 2 is SSO-ASTRO-ASCO 2016.
    """

    min_coverage: float = 0.95
    min_visualised_depth_mm: float = 0.3
    min_cluster_blocks: int = 3
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
        if self.min_cluster_blocks < 1:
            raise ConfigError(f"policy: min_cluster_blocks is {self.min_cluster_blocks}; give at least 1")
        for name in ("invasive_margin_mm", "dcis_margin_mm"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"policy: {name} is {getattr(self, name)}; give a distance of at least 0")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Suspicious blocks that touch, also diagonally; ranges are inclusive."""

    blocks: int
    first_frame: int
    last_frame: int
    first_block: int
    last_block: int
    nearest_distance_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the algorithm says of one face, with what it rests on.

    `coverage` usable over planned blocks; `visualised_depth_mm` what nine in ten usable blocks reach, NaN
    without any; `nearest_distance_mm` of a suspicious feature from the surface, NaN without any; `counts`
    blocks per state; `clusters` all of them, largest first, also those too small to make a face suspicious.
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

    A cluster of at least `policy.min_cluster_blocks` suspicious blocks is suspicious, however little was
    covered. Else an incomplete sweep, too little coverage or depth, or a single suspicious block is
    indeterminate. Only what was seen well enough everywhere else is nothing suspicious: lost, poor and not
    scanned blocks never are.
    """
    state = sweep_map.state
    usable = (state == BlockState.NOTHING_SUSPICIOUS) | (state == BlockState.SUSPICIOUS)
    coverage = float(usable.mean())
    depths_mm = sweep_map.visualised_depth_mm[usable]
    # The value of a real block, not one between two; a depth that is not known was not reached.
    depth_mm = (
        float(np.quantile(np.nan_to_num(depths_mm, nan=0.0), _DEPTH_QUANTILE, method="lower"))
        if depths_mm.size
        else float("nan")
    )
    clusters = _clusters(sweep_map)
    distances_mm = [c.nearest_distance_mm for c in clusters if np.isfinite(c.nearest_distance_mm)]
    nearest_mm = min(distances_mm, default=float("nan"))

    found = [cluster for cluster in clusters if cluster.blocks >= policy.min_cluster_blocks]
    shortfalls = _shortfalls(policy, coverage, depth_mm, complete)
    if found:
        outcome = Outcome.SUSPICIOUS
        reasons = [_finding(found, nearest_mm, policy), *shortfalls]
    elif clusters:
        outcome = Outcome.INDETERMINATE
        reasons = [
            (
                f"suspicious blocks in clusters of {clusters[0].blocks} at most, "
                f"below {policy.min_cluster_blocks}"
            ),
            *shortfalls,
        ]
    else:
        outcome = Outcome.INDETERMINATE if shortfalls else Outcome.NOTHING_SUSPICIOUS
        reasons = shortfalls
    return Verdict(
        outcome=outcome,
        coverage=coverage,
        visualised_depth_mm=depth_mm,
        nearest_distance_mm=nearest_mm,
        counts={s: int((state == s).sum()) for s in BlockState},
        clusters=clusters,
        reasons=(*reasons, *_uncertified_margins(policy, depth_mm)),
    )


def _shortfalls(policy: Policy, coverage: float, depth_mm: float, complete: bool) -> list[str]:
    shortfalls = []
    if not complete:
        shortfalls.append("the sweep is not complete")
    if not coverage >= policy.min_coverage:
        # Rounded down, so that 0.9499 does not read as 0.95.
        shortfalls.append(f"coverage {np.floor(coverage * 100) / 100:.2f} is below {policy.min_coverage:g}")
    if np.isnan(depth_mm):
        shortfalls.append("no block is usable")
    elif depth_mm < policy.min_visualised_depth_mm:
        shortfalls.append(
            f"visualised depth {np.floor(depth_mm * 100) / 100:.2f} mm "
            f"is below {policy.min_visualised_depth_mm:g} mm"
        )
    return shortfalls


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


def _clusters(sweep_map: SweepMap) -> tuple[Cluster, ...]:
    suspicious = sweep_map.state == BlockState.SUSPICIOUS
    labels, _ = ndimage.label(suspicious, structure=np.ones((3, 3)))
    clusters = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        members = labels[place] == number
        distances_mm = sweep_map.distance_mm[place][members]
        known_mm = distances_mm[np.isfinite(distances_mm)]
        frames, blocks = place
        clusters.append(
            Cluster(
                blocks=int(members.sum()),
                first_frame=frames.start,
                last_frame=frames.stop - 1,
                first_block=blocks.start,
                last_block=blocks.stop - 1,
                nearest_distance_mm=float(known_mm.min()) if known_mm.size else float("nan"),
            )
        )
    return tuple(sorted(clusters, key=lambda cluster: -cluster.blocks))
