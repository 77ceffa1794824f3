from __future__ import annotations

from collections.abc import Callable

import pytest

from octmargin_simulator.study import FaceRecord

PLAIN: dict[str, object] = {
    "seed": 1,
    "sort": "lumpectomy",
    "face": "superior",
    "part": "reference",
    "condition": "",
    "drawn_lesion": "none",
    "lesion_width_mm": None,
    "lesion_top_mm": None,
    "lesion_seen_mm": None,
    "benign": "none",
    "artefacts": (),
    "outcome": "nothing_suspicious",
    "reasons": (),
    "coverage": 1.0,
    "visualised_depth_mm": 1.2,
    "score": 0.1,
    "snr_db": 45.0,
    "blocks": 4,
}


@pytest.fixture
def face() -> Callable[..., FaceRecord]:
    """Make a record of a clear face, but for what is given; a lesion is given as (width, top) in mm."""

    def make(lesion: tuple[float, float] | None = None, **changes: object) -> FaceRecord:
        fields = dict(PLAIN)
        if lesion is not None:
            fields |= {
                "drawn_lesion": "invasive",
                "lesion_width_mm": lesion[0],
                "lesion_top_mm": lesion[1],
                "lesion_seen_mm": lesion[0],
            }
        return FaceRecord(**(fields | changes))  # type: ignore[arg-type]

    return make
