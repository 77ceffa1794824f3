"""What of a verdict goes on the bus."""

from __future__ import annotations

from math import nan
from typing import Any

from octmargin.margin import Cluster
from octmargin.results import key_views


def cluster(**changes: Any) -> Cluster:
    fields: dict[str, Any] = {
        "blocks": 4,
        "first_frame": 10,
        "last_frame": 12,
        "first_block": 3,
        "last_block": 5,
        "nearest_distance_mm": 0.25,
        "evidence": 0.8,
        "peak_frame": 11,
        "peak_block": 4,
    }
    return Cluster(**(fields | changes))


def test_the_most_suspicious_cluster_is_looked_at_first_and_the_larger_of_two_alike() -> None:
    small, large, sure = cluster(blocks=2), cluster(blocks=40), cluster(blocks=3, evidence=0.97)
    assert [(view.number, view.evidence, view.blocks) for view in key_views([small, large, sure])] == [
        (1, 0.97, 3),
        (2, 0.8, 40),
        (3, 0.8, 2),
    ]


def test_a_key_view_says_where_the_cluster_lies_and_where_in_it_to_look() -> None:
    [view] = key_views([cluster()])
    assert (view.first_frame, view.last_frame, view.first_block, view.last_block) == (10, 12, 3, 5)
    assert (view.frame, view.block, view.distance_mm) == (11, 4, 0.25)
    assert key_views([cluster(nearest_distance_mm=nan)])[0].distance_mm is None


def test_of_many_clusters_the_sixteen_most_suspicious_are_key_views() -> None:
    many = [cluster(evidence=number / 100) for number in range(50, 90)]
    assert [view.evidence for view in key_views(many)] == [number / 100 for number in range(89, 73, -1)]
