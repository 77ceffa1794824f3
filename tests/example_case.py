"""A case as the record tells it, with a small recording: a left lumpectomy of two faces, one with a cluster."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from tests.unit.bus.examples import description

from octmargin import Calibration
from octmargin.archive import RecordingWriter
from octmargin.archive.metadata import FaceEntry, Metadata, StoredCalibration
from octmargin.case.record.model import (
    Addendum,
    CaseSnapshot,
    Decision,
    FaceFinding,
    Interpretation,
    Interpreter,
    KeyView,
    Order,
    PatientIdentity,
    PersonName,
    ReExcision,
    Signature,
    SpecimenRecord,
    StateCounts,
    SweepRecord,
    Versions,
)
from octmargin.config import EngineSection, ModelSection
from octmargin.frames import PixelFormat, ScanPlan
from octmargin.margin import Policy, QualityParameters, RuleParameters

START = datetime(2031, 5, 6, 12, 0, 0, tzinfo=UTC)
SESSION = "5f0c8a1be2d94c37"
FRAMES, ALINES, SAMPLES, DEPTH = 4, 40, 64, 24
BLOCKS = 3
LOST_FRAME = 2

SURGEON = Interpreter(name="Amara Okafor", role="operating surgeon", taxonomy="208600000X")
PATIENT = PatientIdentity(
    name=PersonName(family="Quillfeather", given="Zenobia"),
    patient_id="MRN-77310452",
    issuer="NORTHGEN",
    birth_date=date(1961, 2, 28),
    sex="F",
)
ORDER = Order(
    accession="ACC-5512093",
    requested_procedure_id="RP-40417",
    scheduled_step_id="SPS-90221",
    study_uid="1.2.826.0.1.3680043.9.7133.551.2093",
    laterality="left",
    procedure="Left breast lumpectomy with margin assessment",
    entered="worklist",
)
VERSIONS = Versions(
    software="0.1.0",
    model="margin-1",
    model_version="1",
    model_hash="sha256:0a1b",
    calibration="factory",
    calibration_hash="sha256:2c3d",
    configuration_hash="sha256:4e5f",
    console_maker="Octmargin",
    console_model="SIM-1",
    console_serial="SN-660187",
    console_firmware="1.0",
    console_source="noise",
)


def record_spectra(folder: Path, *, session: str = SESSION, synthetic: bool = True) -> Path:
    """A recording of noise in a new folder, with the log of a daemon; frame `LOST_FRAME` of superior was lost."""
    path = folder / "recording"
    faces = ("superior", "medial")
    metadata = Metadata(
        complete=True,
        software_version="1",
        source="noise",
        synthetic=synthetic,
        pixel_format="MONO16",
        axial_um=4.0,
        calibration=StoredCalibration(),
        faces=tuple(FaceEntry(name=face, width_mm=1.2, height_mm=2.0) for face in faces),
    )
    plans = [ScanPlan(face, SAMPLES, ALINES, FRAMES, 1.2, 2.0, 1e4, PixelFormat.MONO16) for face in faces]
    calibration = Calibration(k_map=np.arange(float(SAMPLES)), axial_um=4.0)
    began = {
        "description": msgspec.to_builtins(description(session)),
        "configuration": msgspec.to_builtins(
            {
                "policy": Policy(),
                "model": ModelSection(),
                "quality": QualityParameters(),
                "rule": RuleParameters(),
                "engine": EngineSection(interpolation="linear", depth=DEPTH),
            }
        ),
    }
    rng = np.random.default_rng(7)
    writer = RecordingWriter(path, metadata, plans, calibration, live=True, began=began)
    for number, face in enumerate(faces, start=1):
        for index in range(FRAMES):
            if (face, index) != ("superior", LOST_FRAME):
                spectra = rng.integers(0, 60_000, (ALINES, SAMPLES), np.uint16)
                writer.put(face, index, spectra, {"sweep": number, "sequence": index})
    writer.finish()
    return path


def sweep(face: str, number: int, recording: Path | None, **changes: object) -> SweepRecord:
    """A sweep over a face; superior is suspicious, the others show nothing."""
    is_suspicious = face == "superior"
    values: dict[str, object] = {
        "session": SESSION,
        "sweep": number,
        "face": face,
        "started_at": START + timedelta(minutes=number),
        "ended_at": START + timedelta(minutes=number, seconds=20),
        "verdict": "suspicious" if is_suspicious else "nothing_suspicious",
        "provisional": False,
        "coverage": 0.75 if is_suspicious else 1.0,
        "visualised_depth_mm": 0.82,
        "distance_mm": 0.105 if is_suspicious else None,
        "clusters": int(is_suspicious),
        "counts": StateCounts(lost=3, nothing_suspicious=7, suspicious=2)
        if is_suspicious
        else StateCounts(nothing_suspicious=12),
        "frames": FRAMES,
        "lost_frames": int(is_suspicious),
        "reasons": ("1 cluster of suspicious blocks",) if is_suspicious else (),
        "key_views": (
            KeyView(
                number=1, first_frame=0, last_frame=1, first_block=1, last_block=2, frame=1, block=2,
                evidence=0.91, distance_mm=0.105, blocks=2,
            ),
        )
        if is_suspicious
        else (),
        "grid": ("NSN", "NNS", "LLL", "NNN") if is_suspicious else ("NNN",) * 4,
        "width_mm": 1.2,
        "height_mm": 2.0,
        "recording": "" if recording is None else str(recording),
        "synthetic": True,
        "versions": VERSIONS,
    }  # fmt: skip
    return SweepRecord(**(values | changes))  # type: ignore[arg-type]


def specimen(recording: Path | None = None, **changes: object) -> SpecimenRecord:
    """The lumpectomy, signed unless changed."""
    at = START + timedelta(minutes=10)
    values: dict[str, object] = {
        "specimen_id": "lump-1",
        "phase": "signed",
        "kind": "lumpectomy",
        "laterality": "left",
        "orientation": "short suture superior, long suture lateral",
        "label": "A",
        "container": "POT-31",
        "registered_at": START,
        "excised_at": START + timedelta(seconds=5),
        "formalin_at": START + timedelta(minutes=30),
        "faces": ("superior", "medial", "lateral"),
        "sweeps": (sweep("superior", 1, recording), sweep("medial", 2, recording)),
        "decisions": (
            Decision(
                id="d1", by="or-1", role="reader", at=at, session=SESSION, sweep=1, face="superior",
                subject="face", word="unsure",
            ),
            Decision(
                id="d2", by="or-1", role="reader", at=at, session=SESSION, sweep=1, face="superior",
                subject="face", word="agree",
            ),
        ),
        "re_excisions": (ReExcision(face="superior", at=at, why="suspicious at 0.1 mm", by="Amara Okafor"),),
        "interpretation": Interpretation(
            by=SURGEON,
            at=at,
            mode="real-time",
            state="final",
            faces=(
                FaceFinding(face="superior", finding="suspicious", action="shave taken"),
                FaceFinding(face="medial", finding="nothing_suspicious"),
                FaceFinding(face="lateral", finding="not_assessed"),
            ),
            text="Superior margin suspicious, re-excised.",
        ),
        "signature": Signature(by=SURGEON, at=at + timedelta(minutes=5), log_seq=41, log_head="ab" * 32),
    }  # fmt: skip
    return SpecimenRecord(**(values | changes))  # type: ignore[arg-type]


def case(*specimens: SpecimenRecord, **changes: object) -> CaseSnapshot:
    """The case; with the signed lumpectomy where no specimens are given."""
    values: dict[str, object] = {
        "case_id": "case-31",
        "phase": "open",
        "opened_at": START,
        "patient": PATIENT,
        "order": ORDER,
        "indication": "Invasive ductal carcinoma, left breast",
        "specimens": specimens or (specimen(),),
        "log_seq": 42,
        "log_head": "cd" * 32,
    }
    return CaseSnapshot(**(values | changes))  # type: ignore[arg-type]


ADDENDUM = Addendum(
    number=1,
    by=SURGEON,
    at=START + timedelta(hours=2),
    text="Shave margin clear on frozen section.",
    corrects=False,
)
