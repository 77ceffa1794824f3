"""What a specimen becomes in DICOM: images, maps, findings and the report, valid and about the right patient."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from highdicom.seg import segread
from highdicom.sr import Comprehensive3DSR, srread
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes
from tests.conftest import needs_program
from tests.example_case import (
    ADDENDUM,
    ALINES,
    DEPTH,
    FRAMES,
    LOST_FRAME,
    SAMPLES,
    START,
    case,
    specimen,
    sweep,
)

from octmargin import Reconstructor, Recording
from octmargin.case.record.model import Conflict, Interpreter, KeyView, PersonName, ReExcision
from octmargin.dicom.codes import FACES, SIDES, SITES, SPECIMEN_TYPES
from octmargin.dicom.finishing import encoded, finish
from octmargin.dicom.objects import objects_of
from octmargin.dicom.settings import DicomSection
from octmargin.dicom.uids import UidMaker
from octmargin.errors import InputError
from octmargin.fhir.elements import _FACES, _SITES, BREAST
from octmargin.fhir.people import _SPECIMEN_TYPES

SETTINGS = DicomSection(institution="North General")
PDF = b"%PDF-1.7\nthe report\n%%EOF"
Make = Callable[..., list[Dataset]]


def of(objects: list[Dataset], modality: str) -> list[Dataset]:
    return [one for one in objects if one.Modality == modality]


def read_back(dataset: Dataset) -> Dataset:
    return dcmread(BytesIO(encoded(dataset)))


def structured(objects: list[Dataset]) -> Comprehensive3DSR:
    report = srread(BytesIO(encoded(of(objects, "SR")[0])))
    assert isinstance(report, Comprehensive3DSR)
    return report


def errors_of(dataset: Dataset, folder: Path) -> list[str]:
    """What `dciodvfy` calls an error."""
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    path.write_bytes(encoded(dataset))
    checked = subprocess.run(
        [needs_program("dciodvfy"), "-new", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")]


def test_a_specimen_has_a_volume_and_a_map_for_each_face_its_findings_and_its_report(
    objects: list[Dataset],
) -> None:
    assert [one.Modality for one in objects] == ["OCT", "SEG", "OCT", "SEG", "SR", "DOC"]
    assert (
        len({one.SOPInstanceUID for one in objects}) == len({one.SeriesInstanceUID for one in objects}) == 6
    )


def test_every_object_passes_dciodvfy(objects: list[Dataset], tmp_path: Path) -> None:
    assert [error for one in objects for error in errors_of(one, tmp_path)] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "node", "faces": ("node",), "sweeps": (), "signature": None, "interpretation": None},
        {"kind": "shave", "laterality": "unknown", "phase": "preliminary", "signature": None},
        {"addenda": (ADDENDUM,), "phase": "amended", "orientation": ""},
    ],
)
def test_other_specimens_pass_dciodvfy_too(make: Make, changes: dict[str, object], tmp_path: Path) -> None:
    assert [error for one in make(**changes) for error in errors_of(one, tmp_path)] == []


def test_every_object_is_of_the_patient_and_the_order(objects: list[Dataset]) -> None:
    for one in objects:
        assert str(one.PatientName) == "Quillfeather^Zenobia"
        assert (one.PatientID, one.IssuerOfPatientID) == ("MRN-77310452", "NORTHGEN")
        assert (one.PatientBirthDate, one.PatientSex) == ("19610228", "F")
        assert one.AccessionNumber == "ACC-5512093"
        assert one.StudyInstanceUID == "1.2.826.0.1.3680043.9.7133.551.2093"
        assert one.InstitutionName == "North General"


def test_every_object_of_synthetic_spectra_says_so_where_people_look(objects: list[Dataset]) -> None:
    assert all(one.SeriesDescription.startswith("SYNTHETIC") for one in objects)
    assert [one.ConversionType for one in of(objects, "OCT")] == ["SYN", "SYN"]
    assert of(objects, "DOC")[0].DocumentTitle == "SYNTHETIC OCT margin report, final"


def test_measured_spectra_are_not_called_synthetic(recording: Path) -> None:
    measured = specimen(None, sweeps=(sweep("superior", 1, None, synthetic=False),))
    (report,) = objects_of(case(measured), "lump-1", SETTINGS)
    assert "SYNTHETIC" not in str(report)


def test_a_volume_has_the_levels_that_the_engine_makes_and_unknown_where_a_frame_was_lost(
    objects: list[Dataset], recording: Path
) -> None:
    image = read_back(of(objects, "OCT")[0])
    spectra = Recording.open(recording)
    assert spectra.calibration is not None
    # As the recording's log says that the engine did.
    reconstructor = Reconstructor(spectra.calibration, samples=SAMPLES, depth=DEPTH, interpolation="linear")
    expected_db = reconstructor.process(spectra.frame("superior", 1))
    levels_db = image.pixel_array[1].T * float(image.RescaleSlope) + float(image.RescaleIntercept)
    assert image.pixel_array.shape == (FRAMES, DEPTH, ALINES)
    np.testing.assert_allclose(levels_db, expected_db, atol=0.0051)
    assert not image.pixel_array[LOST_FRAME].any()
    assert image.PixelPaddingValue == 0
    assert "Frames lost and unknown: 3." in image.ImageComments
    assert image.pixel_array[[0, 1, 3]].min() > 0


def test_a_volume_says_how_large_its_pixels_are_and_where_its_frames_lie(objects: list[Dataset]) -> None:
    image = of(objects, "OCT")[0]
    measures = image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == [0.004, 1.2 / ALINES]
    assert float(measures.SpacingBetweenSlices) == 2.0 / FRAMES
    places = [group.PlanePositionSequence[0] for group in image.PerFrameFunctionalGroupsSequence]
    assert [[float(x) for x in place.ImagePositionPatient] for place in places] == [
        [0, 0, 0], [0, 0.5, 0], [0, 1.0, 0], [0, 1.5, 0],
    ]  # fmt: skip


def test_a_volume_says_which_specimen_and_face_it_shows_and_how_the_specimen_lay(
    objects: list[Dataset],
) -> None:
    image = of(objects, "OCT")[0]
    (described,) = image.SpecimenDescriptionSequence
    assert (image.Modality, image.BodyPartExamined, image.ImageLaterality) == ("OCT", "BREAST", "L")
    assert (image.ContainerIdentifier, described.SpecimenIdentifier) == ("POT-31", "lump-1")
    assert image.SeriesDescription == "SYNTHETIC OCT superior face, left lumpectomy A"
    assert "short suture superior, long suture lateral" in described.SpecimenDetailedDescription
    assert "Superior face of the left lumpectomy A." in image.ImageComments
    assert "Research use only" in image.ImageComments


def test_a_map_has_a_segment_for_each_state_with_the_blocks_of_the_record(objects: list[Dataset]) -> None:
    segmentation = segread(BytesIO(encoded(of(objects, "SEG")[0])))
    labels = [item.SegmentLabel for item in segmentation.SegmentSequence]
    frames = segmentation.pixel_array
    assert labels[0] == "suspicious"
    assert labels[1] == "nothing suspicious down to the visualised depth"
    grid = np.array([list(row) for row in ("NSN", "NNS", "LLL", "NNN")])
    for letter, frame in zip("SNPL.", frames, strict=True):
        np.testing.assert_array_equal(frame.astype(bool), grid == letter)


def test_a_map_lies_in_the_space_of_its_volume(objects: list[Dataset]) -> None:
    image, segmentation = of(objects, "OCT")[0], of(objects, "SEG")[0]
    assert segmentation.FrameOfReferenceUID == image.FrameOfReferenceUID
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == pytest.approx([0.5, 16 * 0.03])
    referenced = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert referenced.ReferencedSOPInstanceUID == image.SOPInstanceUID


def test_the_findings_read_back_with_a_group_for_each_planned_face(objects: list[Dataset]) -> None:
    groups = structured(objects).content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["superior", "medial", "lateral"]
    sites = [group.finding_sites[0] for group in groups]
    assert [site.topographical_modifier for site in sites] == [
        codes.SCT.Superior, codes.SCT.Medial, codes.SCT.Lateral,
    ]  # fmt: skip
    assert all(site.laterality == codes.SCT.Left for site in sites)
    numbers = {one.name.value: (one.value, one.unit.value) for one in groups[0].get_measurements()}
    assert numbers == {
        "coverage": (75.0, "%"),
        "visualised-depth": (0.82, "mm"),
        "distance": (0.105, "mm"),
        "clusters": (1.0, "1"),
        "lost-frames": (1.0, "1"),
    }


def evaluations(objects: list[Dataset], face: str) -> list[tuple[str, str]]:
    groups = structured(objects).content.get_image_measurement_groups()
    group = next(one for one in groups if one.tracking_identifier == face)
    return [(one.name.value, one.value.value) for one in group.get_qualitative_evaluations()]


def test_algorithm_readers_and_interpreter_are_entries_of_their_own(objects: list[Dataset]) -> None:
    said = evaluations(objects, "superior")
    assert said[:2] == [("verdict", "suspicious"), ("data-origin", "synthetic")]
    assert ("opinion", "agree") in said
    assert ("opinion", "unsure") not in said, "the newest decision of a reader counts"
    assert ("reading", "suspicious") in said
    assert ("action", "re-excision") in said


def test_a_face_that_was_not_scanned_is_not_assessed_and_never_left_out(objects: list[Dataset]) -> None:
    assert evaluations(objects, "lateral") == [("verdict", "not-assessed"), ("reading", "not-assessed")]


def test_a_key_view_is_a_region_in_the_space_of_its_volume(objects: list[Dataset]) -> None:
    (group,) = structured(objects).content.get_planar_roi_measurement_groups()
    region = group.roi
    assert group.tracking_identifier == "superior 1"
    assert region.frame_of_reference_uid == of(objects, "OCT")[0].FrameOfReferenceUID
    # Blocks 1 and 2 of three, of 40 A-lines of 0.03 mm; frames 0 and 1, of 0.5 mm.
    assert region.value.min(axis=0) == pytest.approx([15.5 * 0.03, -0.25, 0])
    assert region.value.max(axis=0) == pytest.approx([39.5 * 0.03, 0.75, 0])


def test_findings_and_report_are_verified_when_they_are_signed(make: Make) -> None:
    signed, unsigned = make(), make(signature=None, phase="final")
    assert of(signed, "SR")[0].VerifyingObserverSequence[0].VerifyingObserverName == "Amara Okafor^"
    assert of(signed, "SR")[0].VerifyingObserverSequence[0].VerificationDateTime.startswith("20310506121500")
    assert [one.VerificationFlag for one in (of(signed, "SR")[0], of(signed, "DOC")[0])] == ["VERIFIED"] * 2
    assert [one.VerificationFlag for one in (of(unsigned, "SR")[0], of(unsigned, "DOC")[0])] == [
        "UNVERIFIED"
    ] * 2
    assert (of(signed, "SR")[0].PreliminaryFlag, of(unsigned, "SR")[0].PreliminaryFlag) == (
        "FINAL",
        "PRELIMINARY",
    )


SECOND = msgspec.structs.replace(
    ADDENDUM, number=2, by=Interpreter(name="Ines Vidal", role="radiologist"), corrects=True
)


def predecessor(document: Dataset) -> str:
    """The SOP Instance UID that a document takes the place of, in its own study."""
    (study,) = document.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == document.StudyInstanceUID
    return str(instance.ReferencedSOPInstanceUID)


def test_an_amended_report_is_given_with_what_was_signed_each_naming_the_one_before(make: Make) -> None:
    (signed,) = of(make(), "SR")
    first, second, third = of(make(addenda=(ADDENDUM, SECOND), phase="amended"), "SR")
    assert first == signed
    assert "PredecessorDocumentsSequence" not in first
    assert [predecessor(second), predecessor(third)] == [first.SOPInstanceUID, second.SOPInstanceUID]
    assert len({one.SeriesInstanceUID for one in (first, second, third)}) == 1
    assert [one.CompletionFlagDescription for one in (first, second, third)] == [
        "final",
        "amended",
        "amended",
    ]
    assert {(one.CompletionFlag, one.VerificationFlag, one.PreliminaryFlag) for one in (second, third)} == {
        ("COMPLETE", "VERIFIED", "FINAL")
    }
    texts = [item.TextValue for item in third.ContentSequence if "TextValue" in item]
    assert "Addendum 1 by Amara Okafor: Shave margin clear on frozen section." in texts
    assert [str(one.VerifyingObserverName) for one in third.VerifyingObserverSequence] == [
        "Amara Okafor^", "Amara Okafor^", "Ines Vidal^",
    ]  # fmt: skip


def test_what_was_sent_before_is_the_predecessor_and_is_not_given_again(recording: Path) -> None:
    amended = case(specimen(recording, addenda=(ADDENDUM,), phase="amended"))
    made = list(
        objects_of(amended, "lump-1", SETTINGS, pdf=PDF, preceding=lambda series, _: f"2.25.{series[-9:]}")
    )
    (findings,), (document,) = of(made, "SR"), of(made, "DOC")
    for one in (findings, document):
        assert predecessor(one) == f"2.25.{one.SeriesInstanceUID[-9:]}"
    assert document.DocumentTitle == "SYNTHETIC OCT margin report, amended"
    assert document.InstanceNumber == 2


def test_an_amended_report_of_which_nothing_was_sent_follows_the_signed_findings(make: Make) -> None:
    made = make(addenda=(ADDENDUM,), phase="amended")
    assert predecessor(of(made, "DOC")[0]) == of(made, "SR")[0].SOPInstanceUID


def test_another_operation_changes_nothing_of_what_was_signed(make: Make, objects: list[Dataset]) -> None:
    later = ReExcision(face="medial", at=START, why="pathology", by="Amara Okafor", immediate=False)
    (taken,) = specimen().re_excisions
    assert of(make(re_excisions=(taken, later)), "SR") == of(objects, "SR")


def test_every_snomed_code_is_one_of_dicoms_own_but_the_radiologist() -> None:
    used = {*SIDES.values(), *SITES.values(), *SPECIMEN_TYPES.values(), *FACES.values()}
    values = {one.value for one in used} | {code for code, _ in (*BREAST.values(), *_SITES.values())}
    values |= {code for code, _ in (*_FACES.values(), *_SPECIMEN_TYPES.values())}
    known = {code for named in concepts["SCT"].values() for code in named}
    assert len(values) == 14
    assert values <= known
    assert {
        side: (code, f"{side.capitalize()} breast structure")
        for side, code in (("left", codes.SCT.LeftBreast.value), ("right", codes.SCT.RightBreast.value))
    } == BREAST
    assert {side: code.meaning.lower() for side, code in SIDES.items()} == {"left": "left", "right": "right"}
    assert {face: code.meaning.lower() for face, code in FACES.items()} == {face: face for face in FACES}
    assert {face: code for face, (code, _) in _FACES.items()} == {
        face: one.value for face, one in FACES.items()
    }


def test_an_update_of_the_software_makes_no_other_object_of_it(objects: list[Dataset]) -> None:
    for one in objects:
        again = read_back(one)
        again.SoftwareVersions = "octmargin 99.0"
        assert finish(again, UidMaker()).SOPInstanceUID == one.SOPInstanceUID


def test_made_again_an_object_is_the_same_to_the_byte(make: Make, objects: list[Dataset]) -> None:
    assert [encoded(one) for one in make()] == [encoded(one) for one in objects]


def test_the_report_is_the_pdf_that_was_given(objects: list[Dataset]) -> None:
    document = of(objects, "DOC")[0]
    assert (
        document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == b"%PDF-1.7\nthe report\n%%EOF"
    )
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_uids_are_derived_from_uuids_or_lie_under_the_sites_root(make: Make) -> None:
    assert all(one.SOPInstanceUID.startswith("2.25.") for one in make())
    own = make(DicomSection(uid_root="1.2.840.99999.7"))
    assert all(one.SOPInstanceUID.startswith("1.2.840.99999.7.") for one in own)
    assert max(len(one.SOPInstanceUID) for one in own) <= 64


def test_without_a_recording_the_findings_are_there_all_the_same() -> None:
    objects = list(objects_of(case(specimen(None)), "lump-1", SETTINGS))
    assert [one.Modality for one in objects] == ["SR"]
    assert "CurrentRequestedProcedureEvidenceSequence" not in objects[0]
    assert len(structured(objects).content.get_image_measurement_groups()) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"patient": None}, "has no patient"),
        (
            {"conflicts": (Conflict(specimen_id="lump-1", what="laterality", text="the order says right"),)},
            "is to be confirmed first: the order says right",
        ),
    ],
)
def test_nothing_is_made_of_a_case_without_an_identity_or_with_a_contradiction(
    changes: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        next(objects_of(case(**changes), "lump-1", SETTINGS))


def test_nothing_is_made_of_a_specimen_that_was_withdrawn_or_is_not_there() -> None:
    withdrawn = case(specimen(None, phase="withdrawn", withdrawn_why="registered twice"))
    with pytest.raises(InputError, match="registered twice"):
        next(objects_of(withdrawn, "lump-1", SETTINGS))
    with pytest.raises(InputError, match="no specimen lump-9; it has lump-1"):
        next(objects_of(case(), "lump-9", SETTINGS))


OTHER_RECORDING = {
    "is not as it was when it was entered": {"recording_log_sha256": "00" * 32},
    "was made in another session": {"session": "another"},
    "holds another sweep over this face": {"sweep": 7},
    "is synthetic, and the record says that the sweep was measured": {"synthetic": False},
    "its 4 frames of 3 blocks are not those of the record": {"grid": ("NN",) * 4},
    "has no frame for key view 1": {"key_views": (KeyView(number=1, first_frame=9, last_frame=9, first_block=0,
                                                          last_block=0, frame=9, block=0, evidence=0.5),)},
    "the spectra were not recorded": {"recording": ""},
    "no such folder": {"recording": "/nowhere/recording"},
}  # fmt: skip


@pytest.mark.parametrize("told", OTHER_RECORDING)
def test_spectra_that_are_not_what_was_judged_make_no_volume_and_everybody_is_told(
    recording: Path, told: str
) -> None:
    changed = msgspec.structs.replace(sweep("superior", 1, recording), **OTHER_RECORDING[told])
    other = specimen(None, sweeps=(changed, sweep("medial", 2, recording)), decisions=())
    left_out: list[str] = []
    objects = list(objects_of(case(other), "lump-1", SETTINGS, on_left_out=left_out.append))
    assert [one.Modality for one in objects] == ["OCT", "SEG", "SR"]
    assert len(left_out) == 1
    assert told in left_out[0]
    said = [item.TextValue for item in objects[-1].ContentSequence if "TextValue" in item]
    assert any(text.startswith("superior: there is no volume") for text in said)


@pytest.mark.parametrize("patient_id", ["two  spaces", "back\\slash"])
def test_an_identifier_that_dicom_cannot_say_is_refused_and_never_changed(patient_id: str) -> None:
    patient = msgspec.structs.replace(case().patient, patient_id=patient_id)  # type: ignore[type-var]
    with pytest.raises(InputError, match="patient id"):
        next(objects_of(case(patient=patient), "lump-1", SETTINGS))


def test_a_name_in_any_script_is_the_name() -> None:
    patient = msgspec.structs.replace(case().patient, name=PersonName(family="Łężna", given="Żaneta"))  # type: ignore[type-var]
    (report,) = objects_of(case(patient=patient), "lump-1", SETTINGS)
    assert str(read_back(report).PatientName) == "Łężna^Żaneta"
