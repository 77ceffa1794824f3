"""A case as a record tells it: a right lumpectomy with a suspicious face, written out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from octmargin.case.record.model import (
    Addendum,
    CasePhase,
    CaseSnapshot,
    Decision,
    DiagnosisCode,
    FaceFinding,
    Interpretation,
    Interpreter,
    KeyView,
    Mark,
    Order,
    PathologyResult,
    PatientIdentity,
    PersonName,
    ReExcision,
    Signature,
    SpecimenPhase,
    SpecimenRecord,
    StateCounts,
    SweepRecord,
    Versions,
)

START = datetime(2026, 11, 12, 9, 30, tzinfo=UTC)
FACES = ("superior", "inferior", "medial", "lateral", "anterior", "posterior")
SURGEON = Interpreter(name="Dr. Amina Okafor", role="operating surgeon", taxonomy="208600000X")
RADIOLOGIST = Interpreter(name="Dr. Jørgen Ström", role="radiologist", taxonomy="2085R0202X")
VERSIONS = Versions(
    software="0.1.0",
    model="margin-1",
    model_version="1",
    model_hash="sha256:9b1f4c7de0aa5521",
    calibration="factory-2026-10.npz",
    calibration_hash="sha256:04d1c2aa9377be10",
    configuration_hash="sha256:77aa01ee3c5d9b42",
    console_maker="octmargin",
    console_model="Simulated console",
    console_serial="SIM-0042",
    console_firmware="2.1.0",
    console_source="lumpectomy",
)


def minutes(n: float) -> datetime:
    return START + timedelta(minutes=n)


def key_view(number: int, **values: Any) -> KeyView:
    given: dict[str, Any] = {
        "first_frame": 3,
        "last_frame": 9,
        "first_block": 4,
        "last_block": 7,
        "frame": 6,
        "block": 5,
        "evidence": 0.97,
        "distance_mm": 0.18,
        "blocks": 19,
    }
    return KeyView(number=number, **(given | values))


def grid(
    frames: int = 24, blocks: int = 16, *, suspicious: bool = False, lost_from: int | None = None
) -> tuple[str, ...]:
    rows = [["N"] * blocks for _ in range(frames)]
    if suspicious:
        for frame in range(3, 10):
            rows[frame][4:8] = "SSSS" if frame != 3 else "NSSN"
    rows[1][2] = "P"
    if lost_from is not None:
        for frame in range(lost_from, frames):
            rows[frame] = ["."] * blocks
        rows[lost_from - 1] = ["L"] * blocks
    return tuple("".join(row) for row in rows)


def counts_of(rows: tuple[str, ...]) -> StateCounts:
    text = "".join(rows)
    return StateCounts(
        not_scanned=text.count("."),
        lost=text.count("L"),
        poor=text.count("P"),
        nothing_suspicious=text.count("N"),
        suspicious=text.count("S"),
    )


def sweep(number: int, face: str, **values: Any) -> SweepRecord:
    rows = values.pop("grid", grid())
    counts = counts_of(rows)
    total = sum(map(len, rows)) or 1
    given: dict[str, Any] = {
        "session": "5f0a",
        "started_at": minutes(2 + number),
        "ended_at": minutes(2.6 + number),
        "verdict": "nothing_suspicious",
        "provisional": False,
        "coverage": (counts.nothing_suspicious + counts.suspicious) / total,
        "visualised_depth_mm": 0.84,
        "counts": counts,
        "frames": len(rows),
        "reasons": ("DCIS margin of 2 mm cannot be certified: visualised depth 0.8 mm",),
        "grid": rows,
        "width_mm": 12.0,
        "height_mm": 9.0,
        "recording": "recordings/c1-s1",
        "synthetic": False,
        "versions": VERSIONS,
    }
    return SweepRecord(sweep=number, face=face, **(given | values))


SUSPICIOUS = sweep(
    2,
    "inferior",
    verdict="suspicious",
    distance_mm=0.18,
    clusters=2,
    grid=grid(suspicious=True),
    key_views=(key_view(1), key_view(2, frame=8, block=7, evidence=0.81, distance_mm=None, blocks=4)),
    reasons=(
        "26 suspicious blocks in 1 cluster, nearest 0.18 mm below the surface: beyond the invasive margin of 0 mm",
    ),
)
CUT_SHORT = sweep(
    4,
    "lateral",
    verdict="indeterminate",
    provisional=True,
    grid=grid(lost_from=12),
    lost_frames=1,
    lost_by_cause={"never arrived": 1},
    reasons=("the sweep is not complete", "coverage 45% is below 95% (192 not scanned, 16 lost)"),
)
SWEEPS = (
    sweep(1, "superior"),
    SUSPICIOUS,
    sweep(3, "medial"),
    CUT_SHORT,
    sweep(5, "anterior"),
    sweep(6, "posterior"),
)
WHOLE = tuple(one if one is not CUT_SHORT else sweep(7, "lateral") for one in SWEEPS)


def interpretation(**values: Any) -> Interpretation:
    given: dict[str, Any] = {
        "by": SURGEON,
        "at": minutes(14),
        "mode": "real-time",
        "state": "final",
        "faces": (
            FaceFinding(face="superior", finding="nothing_suspicious"),
            FaceFinding(face="inferior", finding="suspicious", action="shave of the inferior margin taken"),
            FaceFinding(face="medial", finding="nothing_suspicious"),
            FaceFinding(face="lateral", finding="indeterminate", action="left for pathology"),
            FaceFinding(face="anterior", finding="suspicious", action="none: crush artefact is likely"),
            FaceFinding(face="posterior", finding="nothing_suspicious"),
        ),
        "text": "Suspicious area of 3 mm at the inferior margin. The lateral face was imaged only in part.",
    }
    return Interpretation(**(given | values))


def signature(**values: Any) -> Signature:
    return Signature(**({"by": SURGEON, "at": minutes(16), "log_seq": 41, "log_head": "ab" * 32} | values))


def specimen(**values: Any) -> SpecimenRecord:
    given: dict[str, Any] = {
        "specimen_id": "s-7h2k",
        "phase": "scanned",
        "kind": "lumpectomy",
        "laterality": "right",
        "orientation": "short suture superior, long suture lateral",
        "label": "A",
        "container": "A-1",
        "registered_at": minutes(0),
        "excised_at": minutes(1),
        "formalin_at": minutes(31),
        "faces": FACES,
        "diagnoses": (DiagnosisCode(code="C50.911", side="right"),),
        "sweeps": SWEEPS,
        "decisions": (
            Decision(id="d1", by="okafor", role="reader", at=minutes(9), session="5f0a", sweep=2, face="inferior",
                     subject="face", word="agree"),
            Decision(id="d2", by="okafor", role="reader", at=minutes(10), session="5f0a", sweep=5, face="anterior",
                     subject="face", word="disagree", note="bright rim at block 5"),
        ),
        "marks": (
            Mark(id="m1", by="okafor", role="reader", at=minutes(10), session="5f0a", sweep=5, face="anterior",
                 first_frame=4, last_frame=6, first_block=5, last_block=6, note="bright rim"),
        ),
        "re_excisions": (
            ReExcision(face="inferior", at=minutes(15), why="suspicious area at the margin", by="Dr. Amina Okafor",
                       specimen_id="s-9m1q"),
        ),
    }  # fmt: skip
    whole = given | values
    return SpecimenRecord(**(whole | {"phase": SpecimenPhase(whole["phase"])}))


def signed_specimen(**values: Any) -> SpecimenRecord:
    given: dict[str, Any] = {
        "phase": "signed", "interpretation": interpretation(), "signature": signature(),
    }  # fmt: skip
    return specimen(**(given | values))


def amended_specimen(**values: Any) -> SpecimenRecord:
    addendum = Addendum(number=1, by=RADIOLOGIST, at=minutes(3000), corrects=True,
                        text="The inferior area measures 4 mm, not 3 mm.")  # fmt: skip
    result = PathologyResult(face="inferior", finding="positive", entity="invasive carcinoma", distance_mm=0.0,
                             accession="SP-26-1811", reported_at=minutes(5000), by="Dr. Lee")  # fmt: skip
    return signed_specimen(**({"phase": "amended", "addenda": (addendum,), "pathology": (result,)} | values))


def case(*specimens: SpecimenRecord, **values: Any) -> CaseSnapshot:
    given: dict[str, Any] = {
        "case_id": "c-20261112-01",
        "phase": "open",
        "opened_at": START,
        "patient": PatientIdentity(
            name=PersonName(family="Müller-Łęcka", given="Zoë"),
            patient_id="MRN-0099123",
            issuer="St. Elsewhere",
            birth_date=date(1968, 3, 4),
            sex="F",
        ),
        "order": Order(
            accession="ACC-77120",
            requested_procedure_id="RP-1",
            scheduled_step_id="SPS-1",
            laterality="right",
            procedure="Right partial mastectomy with margin assessment",
            diagnoses=(DiagnosisCode(code="C50.911", side="right"),),
        ),
        "indication": "Breast-conserving surgery for invasive ductal carcinoma, margins assessed during the operation.",
        "log_seq": 41,
        "log_head": "cd" * 32,
    }
    whole = given | values
    phase = CasePhase(whole.pop("phase"))
    return CaseSnapshot(specimens=specimens or (signed_specimen(),), phase=phase, **whole)


def synthetic(one: SpecimenRecord) -> SpecimenRecord:
    sweeps = tuple(msgspec.structs.replace(sweep, synthetic=True) for sweep in one.sweeps)
    return msgspec.structs.replace(one, sweeps=sweeps)
