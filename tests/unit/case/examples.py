"""Cases to test with: a body for each action, and the shortest way to each phase of a specimen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from octmargin.case.record import events
from octmargin.case.record.model import (
    Decision,
    DiagnosisCode,
    Discontinuation,
    FaceFinding,
    Interpretation,
    Interpreter,
    Mark,
    Order,
    PathologyResult,
    PatientIdentity,
    PersonName,
    ReExcision,
    Staging,
    StateCounts,
    Statement,
    SweepRecord,
    Versions,
)
from octmargin.case.record.store import CaseStore

NOW = datetime(2031, 5, 6, 12, 0, tzinfo=UTC)
CASE, SPECIMEN = "case-7", "specimen-1"
FACES = ("medial", "lateral")
SURGEON = Interpreter(name="Dr. Ada Reyes", role="operating surgeon", taxonomy="2086X0206X")
RADIOLOGIST = Interpreter(name="Dr. Ben Okafor", role="radiologist", taxonomy="2085R0202X")
PATIENT = PatientIdentity(name=PersonName(family="Test", given="Patient"), patient_id="0001", sex="F")
LEFT_CODE = DiagnosisCode(code="C50.912", side="left", title="of left female breast")
RIGHT_CODE = DiagnosisCode(code="C50.911", side="right", title="of right female breast")


def sweep(face: str = "medial", number: int = 1, **changes: Any) -> SweepRecord:
    fields: dict[str, Any] = {
        "session": "5f0c8a1be2d94c37",
        "sweep": number,
        "face": face,
        "started_at": NOW,
        "ended_at": NOW + timedelta(seconds=20),
        "verdict": "suspicious",
        "provisional": False,
        "coverage": 0.98,
        "visualised_depth_mm": 1.08,
        "distance_mm": 0.1,
        "clusters": 1,
        "counts": StateCounts(nothing_suspicious=90, suspicious=8, poor=2),
        "synthetic": True,
        "versions": Versions(software="0.1.0", model="margin-1"),
    }
    return SweepRecord(**(fields | changes))


def interpretation(state: str = "final", by: Interpreter = SURGEON, **findings: str) -> Interpretation:
    said = {"medial": "suspicious", "lateral": "not_assessed"} | findings
    return Interpretation(
        by=by,
        at=NOW,
        mode="real-time",
        state=state,  # type: ignore[arg-type]
        faces=tuple(FaceFinding(face=face, finding=word) for face, word in said.items()),  # type: ignore[arg-type]
        text="Suspicious at the medial face.",
    )


def registered(specimen_id: str = SPECIMEN, **changes: Any) -> events.Registered:
    fields: dict[str, Any] = {
        "specimen_id": specimen_id,
        "specimen_kind": "lumpectomy",
        "laterality": "left",
        "faces": FACES,
        "excised_at": NOW - timedelta(minutes=30),
    }
    return events.Registered(**(fields | changes))


def re_excised(*, immediate: bool, specimen_id: str = SPECIMEN) -> events.ReExcised:
    return events.ReExcised(
        specimen_id=specimen_id,
        re_excision=ReExcision(face="medial", at=NOW, why="suspicious", by="Dr. Reyes", immediate=immediate),
    )


def stated(laterality: str = "left", orientation: str = "", specimen_id: str = SPECIMEN) -> events.Stated:
    return events.Stated(
        specimen_id=specimen_id,
        statement=Statement(
            source="stage",
            at=NOW,
            by="operator/or",
            laterality=laterality,  # type: ignore[arg-type]
            orientation=orientation,
        ),
    )


def confirmed(
    laterality: str = "left", orientation: str = "", specimen_id: str = SPECIMEN
) -> events.Confirmed:
    return events.Confirmed(
        specimen_id=specimen_id,
        by="Dr. Reyes",
        laterality=laterality,  # type: ignore[arg-type]
        orientation=orientation,
        why="looked at the patient and at the sutures",
    )


def bodies(specimen_id: str = SPECIMEN) -> dict[str, events.CaseBody]:
    """One body for each action, by the action's name; each is sound where its phase allows it."""
    place: dict[str, Any] = {
        "id": "d-1", "by": "anna", "role": "reader", "at": NOW, "session": "5f0c8a1be2d94c37", "sweep": 1,
        "face": "medial",
    }  # fmt: skip
    result = PathologyResult(face="medial", finding="positive", distance_mm=0.0, entity="DCIS")
    return {
        "open": events.Opened(),
        "identify": events.Identified(patient=PATIENT),
        "order": events.Ordered(order=Order(laterality="left", diagnoses=(LEFT_CODE,))),
        "indicate": events.Indicated(indication="breast-conserving surgery"),
        "register": registered(specimen_id),
        "close": events.Closed(),
        "erase": events.Erased(rule="10 years after closing"),
        "describe": events.Described(specimen_id=specimen_id, container="A"),
        "fix": events.Fixed(specimen_id=specimen_id, formalin_at=NOW),
        "state": stated(specimen_id=specimen_id),
        "confirm": confirmed(specimen_id=specimen_id),
        "diagnose": events.Diagnosed(specimen_id=specimen_id, diagnoses=(LEFT_CODE,)),
        "stage": events.Staged(
            specimen_id=specimen_id, staging=Staging(console="north.or-3", at=NOW, is_open=True)
        ),
        "sweep": events.Swept(specimen_id=specimen_id, sweep=sweep(number=99)),
        "decide": events.Decided(
            specimen_id=specimen_id, decision=Decision(**place, subject="face", word="disagree")
        ),
        "mark": events.Marked(
            specimen_id=specimen_id,
            mark=Mark(**place, first_frame=0, last_frame=3, first_block=1, last_block=2),
        ),
        "re-excise": re_excised(immediate=True, specimen_id=specimen_id),
        "re-operate": re_excised(immediate=False, specimen_id=specimen_id),
        "discontinue": events.Discontinued(
            specimen_id=specimen_id,
            discontinuation=Discontinuation(at=NOW, by="Dr. Reyes", why="bleeding"),
        ),
        "withdraw": events.Withdrawn(specimen_id=specimen_id, why="another patient's"),
        "interpret": events.Interpreted(
            specimen_id=specimen_id, interpretation=interpretation("preliminary")
        ),
        "finalise": events.Interpreted(specimen_id=specimen_id, interpretation=interpretation("final")),
        "sign": events.Signed(specimen_id=specimen_id, by=SURGEON),
        "addend": events.Addended(specimen_id=specimen_id, by=SURGEON, text="Further clinical data."),
        "correlate": events.Correlated(specimen_id=specimen_id, results=(result,)),
    }


ACTIONS = tuple(bodies())
WAYS: dict[str, tuple[str, ...]] = {
    "registered": (),
    "scanned": ("sweep",),
    "discontinued": ("sweep", "discontinue"),
    "preliminary": ("sweep", "interpret"),
    "final": ("sweep", "finalise"),
    "signed": ("sweep", "finalise", "sign"),
    "amended": ("sweep", "finalise", "sign", "addend"),
    "withdrawn": ("withdraw",),
}
"""From a registered specimen to each phase."""


def new_store(folder: Path) -> CaseStore:
    path = folder / "record.db"
    CaseStore.create(path)
    return CaseStore.open(path, writable=True)


def opened(store: CaseStore, case_id: str = CASE) -> None:
    store.append(case_id, events.Opened(), actor="anna", at=NOW)


def ready(store: CaseStore, phase: str = "registered", case_id: str = CASE) -> None:
    """A case with all that a report needs, and one specimen in this phase."""
    opened(store, case_id)
    said = bodies()
    steps = ("identify", "indicate", "register", *WAYS[phase])
    for step in steps:
        body = said[step]
        if step == "sweep":
            body = events.Swept(specimen_id=SPECIMEN, sweep=sweep())
        store.append(case_id, body, actor="anna", at=NOW)
