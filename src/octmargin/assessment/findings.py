"""What was found on a face: its clusters of suspicious blocks, the most suspicious first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from octmargin.frames import BlockState
from octmargin.margin import Cluster


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One cluster of suspicious blocks.

    `number` counts from 1, the most suspicious first; `frame` is the one in which it is most suspicious;
    `summed_evidence` of its blocks, so that size and evidence both count; `probabilities` (classes,) their mean.
    """

    number: int
    cluster: Cluster
    frame: int
    summed_evidence: float
    probabilities: NDArray[np.float32]


def rank(
    clusters: Iterable[Cluster],
    state: NDArray[np.uint8],
    evidence: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> tuple[Finding, ...]:
    """Order clusters by the summed evidence of their blocks; `probabilities` (frames, blocks, classes).

    A cluster is known by its extent: where the extents of two overlap, their shared blocks count for both.
    """
    suspicious = np.where(state == BlockState.SUSPICIOUS, np.nan_to_num(evidence), 0.0)

    def describe(cluster: Cluster) -> Finding:
        place = extent(cluster)
        inside = state[place] == BlockState.SUSPICIOUS
        per_frame = suspicious[place].sum(axis=1)
        return Finding(
            number=0,
            cluster=cluster,
            frame=cluster.first_frame + int(per_frame.argmax()),
            summed_evidence=float(per_frame.sum()),
            probabilities=probabilities[place][inside].mean(axis=0),
        )

    ordered = sorted(map(describe, clusters), key=lambda finding: -finding.summed_evidence)
    return tuple(replace(finding, number=number) for number, finding in enumerate(ordered, start=1))


def extent(cluster: Cluster) -> tuple[slice, slice]:
    """Frames and blocks of a cluster, as an index of a map."""
    return (
        slice(cluster.first_frame, cluster.last_frame + 1),
        slice(cluster.first_block, cluster.last_block + 1),
    )
