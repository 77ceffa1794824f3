"""The endpoints again, for parts of the faces: by lesion, benign finding, artefact and quality of the signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from octmargin.margin import Outcome
from octmargin_simulator.study.records import FaceRecord
from octmargin_simulator.study.rows import Group, Row, Table, faces_of, rates
from octmargin_simulator.study.statistics import Estimate
from octmargin_simulator.tissue.covers import ARTEFACTS

SIZES_MM = ((0.5, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, np.inf))
TOPS_MM = ((0.0, 0.0), (0.0, 0.25), (0.25, 0.5), (0.5, 1.0))
_AT_SURFACE_MM = 0.02
"""A top less deep than this lies at the surface: the pixels of the truth are 4 µm, their relief a little more."""
BY_SIZE, BY_DEPTH = "By width of the lesion", "By depth of the lesion's top"
BY_SEEN = "By what of the lesion was seen"
SENSITIVITY, NOT_MISSED = "sensitivity", "not missed"
SPECIFICITY, NOT_CALLED = "specificity", "not called suspicious"
INDETERMINATE = "indeterminate"

Faces = Sequence[FaceRecord]
Named = list[tuple[str, list[FaceRecord]]]


def subgroups(faces: Faces) -> list[Table]:
    """All tables of the reference world's subgroups."""
    positive, clear = faces_of(faces, Group.POSITIVE), faces_of(faces, Group.CLEAR)
    primary = [*positive, *clear]
    return [
        _found("By kind of lesion", "", _by(positive, lambda face: face.drawn_lesion)),
        _found(
            BY_SIZE,
            "Largest extent along the face of the malignant tissue that the frames cut.",
            [(_size_name(low, high), _wide(positive, low, high)) for low, high in SIZES_MM],
        ),
        _found(
            BY_DEPTH,
            "Nearest malignant tissue below the surface.",
            [(_top_name(low, high), _deep(positive, low, high)) for low, high in TOPS_MM],
        ),
        _found(
            BY_SEEN,
            "Its extent where its nearest point lies above the visualised depth of a judged block: what a verdict "
            "within its visualised depth speaks of. Under a clot, or deep in dense tissue, no light comes back.",
            [
                ("0.5 mm and more of it", [face for face in positive if _seen_mm(face) >= SIZES_MM[0][0]]),
                ("less of it", [face for face in positive if _seen_mm(face) < SIZES_MM[0][0]]),
            ],
        ),
        _apart(faces),
        _both("By sort of specimen", "", _by(primary, lambda face: face.sort)),
        _both("By benign finding", "", _by(primary, lambda face: face.benign)),
        _both(
            "By artefact on the face",
            "A face may carry several, and counts in each row.",
            [
                ("none", [face for face in primary if not face.artefacts]),
                *(
                    (name.replace("_", " "), [face for face in primary if name in face.artefacts])
                    for name in ARTEFACTS
                ),
            ],
        ),
        _both(
            "By signal-to-noise ratio of the specimen",
            "Thirds; nominal stroma at the surface.",
            _thirds(primary, lambda face: face.snr_db, "dB"),
        ),
        _both(
            "By visualised depth of the face",
            "Thirds; what nine in ten usable blocks reach.",
            _thirds(primary, lambda face: face.visualised_depth_mm, "mm"),
        ),
    ]


def both_rates(faces: Faces) -> dict[str, Estimate]:
    """Endpoints of the primary ones among `faces`."""
    positive, clear = faces_of(faces, Group.POSITIVE), faces_of(faces, Group.CLEAR)
    undecided = Outcome.INDETERMINATE
    return {
        SENSITIVITY: rates(positive, {Outcome.SUSPICIOUS}),
        NOT_MISSED: rates(positive, {Outcome.SUSPICIOUS, undecided}),
        SPECIFICITY: rates(clear, {Outcome.NOTHING_SUSPICIOUS}),
        NOT_CALLED: rates(clear, {Outcome.NOTHING_SUSPICIOUS, undecided}),
        INDETERMINATE: rates([*positive, *clear], {undecided}),
    }


def _found(title: str, note: str, named: Named) -> Table:
    wanted = (SENSITIVITY, NOT_MISSED)
    return Table(
        title,
        note,
        [Row(name, len(of), {key: both_rates(of)[key] for key in wanted}) for name, of in named if of],
    )


def _both(title: str, note: str, named: Named) -> Table:
    return Table(title, note, [Row(name, len(of), both_rates(of)) for name, of in named if of])


def _apart(faces: Faces) -> Table:
    named = [
        ("within 1 mm, less than 0.5 mm wide", faces_of(faces, Group.SMALL)),
        ("deeper than 1 mm", faces_of(faces, Group.DEEP)),
    ]
    outcomes = {"suspicious": Outcome.SUSPICIOUS, INDETERMINATE: Outcome.INDETERMINATE}
    rows = [
        Row(name, len(of), {column: rates(of, {outcome}) for column, outcome in outcomes.items()})
        for name, of in named
        if of
    ]
    return Table("Lesions outside the primary endpoints", "Counted in no other table of verdicts.", rows)


def _by(faces: Faces, key: Callable[[FaceRecord], str]) -> Named:
    return [(name, [face for face in faces if key(face) == name]) for name in sorted({key(f) for f in faces})]


def _thirds(faces: Faces, key: Callable[[FaceRecord], float | None], unit: str) -> Named:
    known = [(value, face) for face in faces if (value := key(face)) is not None]
    if not known:
        return []
    low, high = np.quantile([value for value, _ in known], [1 / 3, 2 / 3]).tolist()
    return [
        (f"below {low:.2f} {unit}", [face for value, face in known if value < low]),
        (f"{low:.2f} to {high:.2f} {unit}", [face for value, face in known if low <= value < high]),
        (f"{high:.2f} {unit} and above", [face for value, face in known if value >= high]),
        ("nothing visualised", [face for face in faces if key(face) is None]),
    ]


def _seen_mm(face: FaceRecord) -> float:
    return face.lesion_seen_mm or 0.0


def _wide(faces: Faces, low_mm: float, high_mm: float) -> list[FaceRecord]:
    return [face for face in faces if low_mm <= (face.lesion_width_mm or 0.0) < high_mm]


def _deep(faces: Faces, low_mm: float, high_mm: float) -> list[FaceRecord]:
    def top_mm(face: FaceRecord) -> float:
        top = face.lesion_top_mm or 0.0
        return 0.0 if top < _AT_SURFACE_MM else top

    if high_mm == 0:
        return [face for face in faces if top_mm(face) == 0]
    return [face for face in faces if low_mm < top_mm(face) <= high_mm]


def _size_name(low_mm: float, high_mm: float) -> str:
    return f"{low_mm:g} to {high_mm:g} mm" if np.isfinite(high_mm) else f"{low_mm:g} mm and more"


def _top_name(low_mm: float, high_mm: float) -> str:
    return "at the surface" if high_mm == 0 else f"{low_mm:g} to {high_mm:g} mm"
