"""De-identified export: the profile of PS3.15, and nobody left anywhere in the files."""

from __future__ import annotations

import re
import subprocess
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from highdicom.sr import srread
from pydicom import dcmread
from pydicom.dataset import Dataset
from tests.conftest import needs_program
from tests.example_case import ADDENDUM, PATIENT, SESSION, START, case, specimen

from octmargin.case.record.model import (
    DiagnosisCode,
    Discontinuation,
    Interpreter,
    Mark,
    PathologyResult,
    PersonName,
    SpecimenRecord,
    Statement,
)
from octmargin.dicom.deidentify import deidentified_objects, deidentify
from octmargin.dicom.finishing import encoded
from octmargin.dicom.objects import objects_of
from octmargin.dicom.settings import DicomSection
from octmargin.dicom.vocabulary import VOCABULARY
from octmargin.errors import InputError
from octmargin.terminology import UID

IDENTITIES = (
    "Quillfeather", "Zenobia", "MRN-77310452", "77310452", "NORTHGEN", "19610228", "1961",
    "ACC-5512093", "5512093", "RP-40417", "SPS-90221", "1.2.826.0.1.3680043.9.7133", "case-31",
    "Amara", "Okafor", "lump-1", "POT-31", "SN-660187", "short suture", "or-1", "20310506", "2031",
    "frozen section", "shave taken", "re-excised", "P-4471", "Vukovic", "tumour board", "4e5f",
)  # fmt: skip
"""Whatever of the example tells who somebody is, when and where it was, or was typed by somebody."""


def named(recording: Path) -> SpecimenRecord:
    """The specimen with a text of somebody in every place that takes one."""
    pathology = PathologyResult(
        face="superior",
        finding="positive",
        accession="P-4471",
        by="Dr. Vukovic",
        text="tumour board",
        reported_at=START,
    )
    return specimen(recording, addenda=(ADDENDUM,), phase="amended", pathology=(pathology,))


@pytest.fixture(scope="module")
def exported(recording: Path) -> list[Dataset]:
    return list(deidentified_objects(case(named(recording)), "lump-1", "TRIAL-007"))


def test_no_identity_is_left_anywhere_in_the_files(exported: list[Dataset]) -> None:
    for one in exported:
        if "PixelData" in one:
            # Levels are numbers of the scan; by chance they may look like letters.
            del one.PixelData
        # New UIDs are drawn at random: any four digits may be in them.
        content = re.sub(rb"2\.25\.\d+", b"", encoded(one))
        for identity in IDENTITIES:
            for text in (identity, identity.upper(), identity.lower()):
                assert text.encode() not in content, f"{identity} in {one.Modality}"


def test_the_same_search_finds_them_in_the_objects_themselves(recording: Path) -> None:
    content = b"".join(encoded(one) for one in objects_of(case(named(recording)), "lump-1", DicomSection()))
    for identity in (
        "Quillfeather",
        "MRN-77310452",
        "19610228",
        "ACC-5512093",
        "Okafor",
        "lump-1",
        "20310506",
    ):
        assert identity.encode() in content


STRUCTURE = frozenset((
    "kind", "laterality", "verdict", "finding", "phase", "role", "mode", "state", "word", "subject", "grid", "entered",
    "sex", "session", "recording", "recording_log_sha256", "face", "faces", "side", "what",
))  # fmt: skip
"""Fields that are words of our own, or name the recording."""
KEPT = frozenset((
    "reasons", "software", "model", "model_version", "model_hash", "console_maker", "console_model",
    "console_firmware",
))  # fmt: skip
"""Fields that no person writes."""


def marked(value: Any, name: str, marks: dict[str, str]) -> Any:
    """`value` with a text of its own, which `marks` has the field of, in every field that holds a text."""
    if name in STRUCTURE:
        return value
    if isinstance(value, str) and not isinstance(value, StrEnum):
        mark = f"Mark{len(marks)}q"
        marks[mark.lower()] = name
        return mark
    if isinstance(value, tuple):
        return tuple(marked(one, name, marks) for one in value)
    if isinstance(value, msgspec.Struct):
        fields = {field: marked(getattr(value, field), field, marks) for field in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    return value


def test_no_text_of_the_record_is_left_but_what_no_person_writes(recording: Path) -> None:
    by_hand = msgspec.structs.replace(
        named(recording),
        statements=(Statement(source="registration", at=START, by="-", laterality="left", why="-"),),
        marks=(
            Mark(
                id="-", by="-", role="reader", at=START, session=SESSION, sweep=1, face="superior",
                first_frame=0, last_frame=1, first_block=0, last_block=1, note="-",
            ),
        ),
        diagnoses=(DiagnosisCode(code="C50.912", side="left", title="-"),),
        discontinued=Discontinuation(at=START, by="-", why="-"),
    )  # fmt: skip
    marks: dict[str, str] = {}
    one = marked(case(by_hand), "case", marks)
    objects = list(deidentified_objects(one, one.specimens[0].specimen_id, "TRIAL-007"))
    assert len(objects) == 6
    content = b"".join(encoded(made) for made in objects).lower()
    assert len(marks) > 60
    assert {name for mark, name in marks.items() if mark.encode() in content} <= KEPT


def test_who_is_called_like_a_word_of_every_export_is_exported(recording: Path) -> None:
    one = specimen(recording)
    assert one.interpretation is not None
    called = Interpreter(name="Dr. Synthetic Left (simulated surgeon)", role="operating surgeon")
    said = msgspec.structs.replace(one.interpretation, by=called)
    patient = msgspec.structs.replace(PATIENT, name=PersonName(family="SYNTHETIC", given="Demonstration"))
    demo = case(msgspec.structs.replace(one, interpretation=said), patient=patient)
    assert len(list(deidentified_objects(demo, "lump-1", "TRIAL-007"))) > 3
    with pytest.raises(InputError, match="the pseudonym 'Left-1' has left in it"):
        next(deidentified_objects(demo, "lump-1", "Left-1"))


def test_every_word_of_an_export_but_what_the_record_names_is_of_its_vocabulary(
    exported: list[Dataset],
) -> None:
    texts = [
        str(element.value)
        for one in exported
        for element in one.iterall()
        if element.VR in ("CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
    ]
    words = {word for text in texts for word in re.findall(r"[^\W\d_]{3,}", text.lower())}
    # Pseudonym, model of the console, and how its model was hashed.
    assert words - VOCABULARY <= {"trial", "sim", "sha"}
    assert not VOCABULARY & {text.lower() for text in IDENTITIES}


def test_private_attributes_are_removed(recording: Path) -> None:
    made = next(objects_of(case(named(recording)), "lump-1", DicomSection()))
    for dataset in (made, made.SpecimenDescriptionSequence[0]):
        dataset.private_block(0x0099, "SOMEBODY", create=True).add_new(1, "LO", "Quillfeather")
    changed = deidentify(made, "TRIAL-007")
    assert not [element for element in changed.iterall() if element.tag.is_private]


@pytest.mark.parametrize("pseudonym", ["MRN-77310452", "Zenobia-2", "", "^", "a\\b", "x" * 65])
def test_a_pseudonym_that_says_who_it_is_or_cannot_be_said_is_refused(
    recording: Path, pseudonym: str
) -> None:
    with pytest.raises(InputError, match="pseudonym"):
        next(deidentified_objects(case(specimen(recording)), "lump-1", pseudonym))


def test_no_uid_of_the_original_is_left(recording: Path, exported: list[Dataset]) -> None:
    original = b"".join(encoded(one) for one in objects_of(case(named(recording)), "lump-1", DicomSection()))
    uids = {uid.decode() for uid in re.findall(rb"2\.25\.\d{20,}", original)}

    left = {uid for one in exported for uid in uids if uid.encode() in encoded(one)}
    assert left == {UID}, "the code system's own UID says nothing of anybody"


def test_the_patient_is_the_pseudonym_and_the_method_is_told(exported: list[Dataset]) -> None:
    for one in exported:
        assert (str(one.PatientName), one.PatientID) == ("TRIAL-007^", "TRIAL-007")
        assert one.PatientIdentityRemoved == "YES"
        methods = [item.CodeValue for item in one.DeidentificationMethodCodeSequence]
        assert methods == ["113100", "113104", "113105"]
        assert one.LongitudinalTemporalInformationModified == "REMOVED"


def test_the_report_is_left_out_and_everything_else_is_there(exported: list[Dataset]) -> None:
    assert [one.Modality for one in exported] == ["OCT", "SEG", "OCT", "SEG", "SR", "SR"]


def test_what_was_found_is_still_there_and_synthetic_is_still_said(exported: list[Dataset]) -> None:
    report = srread(BytesIO(encoded(exported[-1])))
    groups = report.content.get_image_measurement_groups()
    said = [(one.name.value, one.value.value) for one in groups[0].get_qualitative_evaluations()]
    assert ("verdict", "suspicious") in said
    assert ("opinion", "agree") in said
    assert ("reading", "suspicious") in said
    assert [one.value for one in groups[0].get_measurements()][:3] == [75.0, 0.82, 0.105]
    assert exported[0].SeriesDescription.startswith("SYNTHETIC OCT superior face, left lumpectomy")


def test_objects_still_refer_to_each_other(exported: list[Dataset]) -> None:
    image, segmentation, report = exported[0], exported[1], exported[-1]
    referenced = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert referenced.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert segmentation.FrameOfReferenceUID == image.FrameOfReferenceUID
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == image.StudyInstanceUID == report.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
    signed, amended = exported[-2:]
    (study,) = amended.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == image.StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == signed.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == signed.SOPInstanceUID


def test_every_de_identified_object_passes_dciodvfy(recording: Path, tmp_path: Path) -> None:
    for one in deidentified_objects(case(named(recording)), "lump-1", "TRIAL-007"):
        path = tmp_path / f"{one.SOPInstanceUID}.dcm"
        path.write_bytes(encoded(one))
        command = [needs_program("dciodvfy"), "-new", str(path)]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert [line for line in checked.stderr.splitlines() if line.startswith("Error")] == []
        assert dcmread(path).PatientID == "TRIAL-007"


def test_a_name_that_is_found_all_the_same_is_not_given_out(recording: Path) -> None:
    # A patient whose name is a word of the console's model.
    patient = msgspec.structs.replace(PATIENT, name=PersonName(family="Sim"))
    with pytest.raises(InputError, match="would hold sim"):
        list(deidentified_objects(case(specimen(recording), patient=patient), "lump-1", "TRIAL-007"))


def test_what_may_not_be_told_may_not_be_told_de_identified_either() -> None:
    with pytest.raises(InputError, match="no specimen lump-9"):
        list(deidentified_objects(case(), "lump-9", "TRIAL-007"))
    with pytest.raises(InputError, match="has no patient"):
        list(deidentified_objects(case(patient=None), "lump-1", "TRIAL-007"))
