"""The shape of the report's tables, and into which of them a face belongs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum

import msgspec

from octmargin_simulator.study.records import FaceRecord
from octmargin_simulator.study.statistics import Estimate, share

LEAST_WIDTH_MM = 0.5
"""Narrower lesions are a group apart, outside the primary endpoints."""


class Row(msgspec.Struct, frozen=True):
    """One line of a table: how many faces (or blocks) it is about, and what was found, by column."""

    label: str
    number: int
    values: dict[str, Estimate]


class Table(msgspec.Struct, frozen=True):
    """Rows with the same columns."""

    title: str
    note: str
    rows: list[Row]

    @property
    def columns(self) -> list[str]:
        """Names of the values, in their order."""
        return list(self.rows[0].values) if self.rows else []


class Group(StrEnum):
    """What a face counts as."""

    POSITIVE = "positive"
    CLEAR = "clear"
    SMALL = "small"
    DEEP = "deep"
    BETWEEN = "between"


def group_of(face: FaceRecord) -> Group:
    """Tell by what the frames cut, not by what was asked for: a lesion may lie between two frames."""
    if face.lesion_top_mm is None or face.lesion_width_mm is None:
        return Group.CLEAR if face.drawn_lesion == "none" else Group.BETWEEN
    if not face.is_positive:
        return Group.DEEP
    return Group.POSITIVE if face.lesion_width_mm >= LEAST_WIDTH_MM else Group.SMALL


def faces_of(faces: Sequence[FaceRecord], *groups: Group) -> list[FaceRecord]:
    """Those that count as one of `groups`."""
    return [face for face in faces if group_of(face) in groups]


def specimens_of(faces: Sequence[FaceRecord]) -> list[int]:
    """Seed of each."""
    return [face.seed for face in faces]


def rates(faces: Sequence[FaceRecord], outcomes: Collection[str]) -> Estimate:
    """Share of faces whose verdict is one of `outcomes`."""
    return share([face.outcome in outcomes for face in faces], specimens_of(faces))
