"""The assessment of one specimen: every face, its pictures, the document and the sheet, in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from octmargin import __version__
from octmargin.assessment.face import FaceAssessor
from octmargin.assessment.face_pictures import FacePictures, draw_face
from octmargin.assessment.record import Assessment, FaceRecord, ModelRecord, face_record
from octmargin.assessment.sheet import render_sheet
from octmargin.assessment.subject import Subject
from octmargin.bus import utc_from_ns
from octmargin.config import JudgingSection
from octmargin.errors import InputError
from octmargin.frame_judge import EngineSettings
from octmargin.margin import Assessor
from octmargin.signal import Calibration
from octmargin.startup import calibration_fingerprint, check_depth, kept_depth
from octmargin.startup import make_assessor as make_assessor_of

DOCUMENT, SHEET = "assessment.json", "index.html"

Progress = Callable[[str, int, int], None]
"""Face, frames done, frames of the face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentSettings:
    """How to judge; `depth` is the depth pixels kept, as `engine.depth` says."""

    judging: JudgingSection
    depth: int | None = None
    threads: int = 1


def assess_specimen(
    subject: Subject,
    calibration: Calibration,
    axial_um: float,
    output: Path,
    settings: AssessmentSettings,
    *,
    faces: Sequence[str] | None = None,
    on_progress: Progress | None = None,
    on_face: Callable[[FaceRecord], None] | None = None,
) -> Assessment:
    """Assess a subject's faces, and write document, sheet and pictures into the new folder `output`.

    `faces` are all of them unless given; `axial_um` is the depth pixel in tissue. The sheet is written last: where
    it is, everything is.

    InputError where `output` cannot be written or holds something already; ConfigError or CalibrationError where
    settings or calibration do not fit.
    """
    faces = subject.faces if faces is None else faces
    plan = subject.plan(faces[0])
    samples = plan.samples
    check_depth(settings.depth, samples)

    def make_assessor() -> Assessor:
        return make_assessor_of(settings.judging, calibration.rolloff_db_per_mm(axial_um))

    assessor = FaceAssessor(
        subject,
        EngineSettings(
            calibration=calibration,
            axial_um=axial_um,
            samples=samples,
            depth=kept_depth(settings.depth, samples),
            make_assessor=make_assessor,
        ),
        settings.judging.policy,
        threads=settings.threads,
    )
    judging = make_assessor()
    prepare(output)
    records: list[FaceRecord] = []
    pictures: list[FacePictures] = []
    try:
        for face in faces:
            assessed = assessor.assess(face, _of_face(face, on_progress))
            records.append(face_record(assessed, tuple(judging.classes), subject.truth.get(face)))
            pictures.append(
                draw_face(assessed, assessor, output, axial_um=axial_um, synthetic=subject.synthetic)
            )
            if on_face is not None:
                on_face(records[-1])
        assessment = Assessment(
            software_version=__version__,
            assessed_at=utc_from_ns(time.time_ns()),
            source=subject.name,
            synthetic=subject.synthetic,
            model=ModelRecord(
                name=judging.model.identity.name,
                version=judging.model.identity.version,
                hash=judging.model.identity.fingerprint,
                classes=list(judging.classes),
                suspicious_at=judging.suspicious_at,
                operating_point=asdict(
                    settings.judging.policy.operating_point(judging.model.operating_point)
                ),
            ),
            calibration_hash=calibration_fingerprint(calibration),
            axial_um=axial_um,
            policy=msgspec.to_builtins(settings.judging.policy),
            faces=records,
        )
        (output / DOCUMENT).write_bytes(assessment.to_json())
        (output / SHEET).write_text(render_sheet(assessment, pictures), encoding="utf-8")
    except OSError as error:
        raise _unwritable(output, error) from error
    return assessment


def prepare(output: Path) -> None:
    """Make the folder; InputError where it cannot be written or is not empty: two results must not mix."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise InputError(f"--output {output}: is not empty; name a new folder")
        (output / DOCUMENT).touch()
        (output / DOCUMENT).unlink()
    except FileExistsError as error:
        raise InputError(f"--output {output}: is a file; name a folder") from error
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> InputError:
    return InputError(
        f"--output {output}: cannot be written ({error.strerror or error}); name another folder"
    )


def _of_face(face: str, on_progress: Progress | None) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(face, done, total)
