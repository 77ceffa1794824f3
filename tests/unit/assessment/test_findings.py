"""The most suspicious cluster comes first, and its key frame is where it is most suspicious."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from octmargin.assessment.findings import extent, rank
from octmargin.frames import BlockState
from octmargin.margin import Policy, SweepMap, judge

FRAMES, BLOCKS = 6, 8


def filled(suspicion: np.ndarray) -> SweepMap:
    """A map in which every block of a half or more is suspicious."""
    sweep_map = SweepMap(*suspicion.shape)
    sweep_map.suspicion[:] = suspicion
    sweep_map.state[:] = np.where(suspicion >= 0.5, BlockState.SUSPICIOUS, BlockState.NOTHING_SUSPICIOUS)
    sweep_map.visualised_depth_mm[:] = 1.0
    return sweep_map


def ranked(sweep_map: SweepMap) -> tuple:
    verdict = judge(sweep_map, Policy(), complete=True)
    probabilities = np.stack([1 - sweep_map.suspicion, sweep_map.suspicion], axis=2)
    state = sweep_map.state_by_evidence(0.5)
    return verdict, rank(verdict.clusters, state, sweep_map.evidence, probabilities)


@settings(deadline=None)
@given(arrays(np.float32, (FRAMES, BLOCKS), elements=st.floats(0, 1, width=32)))
def test_every_cluster_is_found_once_in_falling_order(suspicion: np.ndarray) -> None:
    sweep_map = filled(suspicion)
    verdict, findings = ranked(sweep_map)
    assert [f.number for f in findings] == list(range(1, len(verdict.clusters) + 1))
    assert {id(f.cluster) for f in findings} == {id(c) for c in verdict.clusters}
    sums = [f.summed_evidence for f in findings]
    assert sums == sorted(sums, reverse=True)
    for finding in findings:
        cluster = finding.cluster
        assert cluster.first_frame <= finding.frame <= cluster.last_frame
        key_row = sweep_map.state_by_evidence(0.5)[finding.frame, extent(cluster)[1]]
        assert (key_row == BlockState.SUSPICIOUS).any(), "the key frame shows the finding"
        assert np.isclose(finding.probabilities.sum(), 1, atol=1e-5)


def test_size_and_suspicion_both_count() -> None:
    suspicion = np.zeros((FRAMES, BLOCKS), np.float32)
    suspicion[0, :3] = 0.6
    suspicion[4, 6:] = (0.99, 0.98)
    suspicion[5, 6:] = (0.9, 0.4)
    _, findings = ranked(filled(suspicion))
    assert [(f.cluster.blocks, f.frame) for f in findings] == [(3, 4), (3, 0)]


def test_a_face_without_a_finding_has_none() -> None:
    assert ranked(filled(np.zeros((2, 2), np.float32)))[1] == ()
