"""The worklist of a real server, and a performed procedure step told to one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]
from tests.example_case import ORDER, START, case, record_spectra, specimen
from tests.ports import free_port

from octmargin.case.record.model import PatientIdentity, PersonName
from octmargin.dicom.courier import Courier
from octmargin.dicom.finishing import encoded
from octmargin.dicom.objects import objects_of
from octmargin.dicom.outgoing import Action, Destination, Outgoing, State
from octmargin.dicom.performed_step import SOP_CLASS, Ending, beginning, ending, step_uid
from octmargin.dicom.settings import DicomSection, Peer
from octmargin.dicom.storing import Fate
from octmargin.dicom.subject import Subject
from octmargin.dicom.values import code_item, pn
from octmargin.dicom.worklist import Filters, chosen, query, read_entry
from octmargin.errors import ConfigError, InputError, PeerUnreachableError

from .conftest import Orthanc

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
STEP = Destination.PERFORMED_STEP


def entry(**changes: str) -> Dataset:
    """A worklist entry as a hospital has it."""
    values = {
        "PatientName": "Quillfeather^Zenobia",
        "PatientID": "MRN-77310452",
        "IssuerOfPatientID": "NORTHGEN",
        "PatientBirthDate": "19610228",
        "PatientSex": "F",
        "AccessionNumber": "ACC-5512093",
        "StudyInstanceUID": "1.2.826.0.1.3680043.9.7133.551.2093",
        "RequestedProcedureID": "RP-40417",
        "RequestedProcedureDescription": "Left breast lumpectomy with margin assessment",
    } | {key: value for key, value in changes.items() if not key.startswith("Scheduled")}
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    step = Dataset()
    step.Modality = "OCT"
    step.ScheduledStationAETitle = changes.get("ScheduledStationAETitle", "OCTMARGIN")
    step.ScheduledProcedureStepStartDate = changes.get("ScheduledProcedureStepStartDate", "20310506")
    step.ScheduledProcedureStepStartTime = "121500"
    step.ScheduledProcedureStepID = "SPS-90221"
    step.ScheduledProcedureStepDescription = "Margins"
    dataset.ScheduledProcedureStepSequence = [step]
    dataset.AdmittingDiagnosesCodeSequence = [code_item(Code("C50.912", "I10", "as the hospital has it"))]
    return dataset


def serve(orthanc: Orthanc, *entries: Dataset) -> DicomSection:
    """Put entries into the server's worklist; gives the settings that ask it."""
    for index, dataset in enumerate(entries):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
        meta.MediaStorageSOPInstanceUID = f"2.25.{index + 1}"
        dataset.file_meta = meta
        dataset.save_as(orthanc.worklists / f"{index}.wl", enforce_file_format=True)
    peer = Peer(host="127.0.0.1", port=orthanc.dicom_port, ae_title=orthanc.ae_title)
    return DicomSection(worklist=peer, timeout_s=10.0)


OTHER = {"AccessionNumber": "ACC-2", "PatientID": "MRN-2", "PatientName": "Other^Person"}


def test_the_worklist_of_a_real_server_is_read_as_patients_and_orders(orthanc: Orthanc) -> None:
    settings = serve(orthanc, entry(), entry(**OTHER))
    found = query(settings)
    assert [one.order.accession for one in found] == ["ACC-2", "ACC-5512093"]
    ours = found[1]
    assert ours.patient == PatientIdentity(
        name=PersonName(family="Quillfeather", given="Zenobia"),
        patient_id="MRN-77310452",
        issuer="NORTHGEN",
        birth_date=date(1961, 2, 28),
        sex="F",
    )
    assert ours.order == ORDER
    assert ours.diagnosis_codes == ("C50.912",)
    assert ours.at == datetime(2031, 5, 6, 12, 15)
    assert ours.problems == ()


@pytest.mark.parametrize(
    ("filters", "accessions"),
    [
        (Filters(accession="ACC-2"), ["ACC-2"]),
        (Filters(patient_id="MRN-77310452"), ["ACC-5512093"]),
        (Filters(name="Quill*"), ["ACC-5512093"]),
        (Filters(day=date(2031, 5, 7)), ["ACC-2"]),
        (Filters(for_us_alone=True), ["ACC-5512093"]),
        (Filters(modality="CT"), []),
    ],
)
def test_it_is_asked_for_what_is_looked_for(
    orthanc: Orthanc, filters: Filters, accessions: list[str]
) -> None:
    other = OTHER | {"ScheduledProcedureStepStartDate": "20310507", "ScheduledStationAETitle": "CT1"}
    settings = serve(orthanc, entry(), entry(**other))
    assert [one.order.accession for one in query(settings, filters)] == accessions


def test_a_worklist_that_does_not_answer_or_is_not_configured_is_told() -> None:
    port = free_port()
    away = DicomSection(worklist=Peer(host="127.0.0.1", port=port, ae_title="RIS"), timeout_s=2.0)
    with pytest.raises(PeerUnreachableError, match=f"RIS at 127.0.0.1:{port}: does not answer"):
        query(away)
    with pytest.raises(ConfigError, match="enter the case by hand"):
        query(DicomSection())


def test_a_server_that_calls_itself_otherwise_is_told(orthanc: Orthanc) -> None:
    orthanc.stop()
    orthanc.configuration["DicomCheckCalledAet"] = True
    orthanc.start()
    wrong = Peer(host="127.0.0.1", port=orthanc.dicom_port, ae_title="WRONG")
    with pytest.raises(PeerUnreachableError, match=r"Called AE title not recognised.*is called WRONG"):
        query(DicomSection(worklist=wrong, timeout_s=10.0))


@pytest.mark.parametrize(
    ("words", "laterality"),
    [
        ("Lumpectomy RIGHT breast", "right"),
        ("Excision, left-sided", "left"),
        ("Bilateral lumpectomy", "bilateral"),
        ("Lumpectomy", "unknown"),
        ("Left lumpectomy, right axilla", "unknown"),
        ("Upright lumpectomy", "unknown"),
    ],
)
def test_the_side_is_what_the_order_says_and_never_guessed(words: str, laterality: str) -> None:
    assert read_entry(entry(RequestedProcedureDescription=words)).order.laterality == laterality


def test_a_code_for_the_side_counts_and_one_that_contradicts_the_words_makes_it_unknown() -> None:
    coded = entry(RequestedProcedureDescription="Lumpectomy")
    coded.RequestedProcedureCodeSequence = [code_item(Code("24028007", "SCT", "Right"))]
    assert read_entry(coded).order.laterality == "right"
    coded.RequestedProcedureDescription = "Lumpectomy, left breast"
    read = read_entry(coded)
    assert (read.order.laterality, read.order.sides) == ("unknown", ("left", "right"))
    assert read.problems == ("it says left and right; find out which is right",)


def test_an_entry_without_a_patient_id_has_no_patient_and_a_date_that_is_none_is_told() -> None:
    read = read_entry(entry(PatientID=""))
    assert (read.patient, read.problems) == (None, ("it has no patient id",))
    wrong = entry()
    wrong.add_new("PatientBirthDate", "LO", "last spring")
    assert read_entry(wrong).problems == ("its birth date 'last spring' is no date",)
    odd = entry()
    odd.add_new("StudyInstanceUID", "LO", "1.2.03")
    without = read_entry(odd)
    assert (without.order.study_uid, without.problems) == (
        "",
        ("its study UID '1.2.03' is none, and is left out",),
    )


@pytest.mark.parametrize("name", ["Doe^Jane^Mary^Dr^", "Doe^Jane^^^PhD", "Doe^"])
def test_a_name_keeps_all_its_components(name: str) -> None:
    patient = read_entry(entry(PatientName=name)).patient
    assert patient is not None
    assert pn(patient.name) == (name if name == "Doe^" else name.rstrip("^"))


def test_a_diagnosis_that_is_not_of_icd_10_is_left_out_and_told() -> None:
    mixed = entry()
    mixed.AdmittingDiagnosesCodeSequence = [
        code_item(Code(value, scheme, "-"))
        for value, scheme in (
            ("C50.912", "ICD-10-CM"),
            ("N63", "I10"),
            ("93796005", "SCT"),
            ("C50", "99SITE"),
            ("breast", "I10"),
        )
    ]
    read = read_entry(mixed)
    assert read.diagnosis_codes == ("C50.912", "N63")
    assert read.problems == (
        "its diagnosis '93796005' is of SCT, not of ICD-10, and is left out",
        "its diagnosis 'C50' is of 99SITE, not of ICD-10, and is left out",
        "its diagnosis 'breast' is no code of ICD-10, and is left out",
    )


def test_the_time_is_in_utc_where_the_worklist_names_its_zone() -> None:
    assert read_entry(entry(TimezoneOffsetFromUTC="+0200")).at == datetime(2031, 5, 6, 10, 15, tzinfo=UTC)


def test_one_entry_is_chosen_by_its_accession_or_none() -> None:
    found = [read_entry(entry()), read_entry(entry(**OTHER)), read_entry(entry(**OTHER))]
    assert chosen(found, "ACC-5512093") is found[0]
    with pytest.raises(InputError, match="no entries of accession 'ACC-9'; it has ACC-2, ACC-5512093"):
        chosen(found, "ACC-9")
    with pytest.raises(InputError, match="2 entries of accession 'ACC-2'"):
        chosen(found, "ACC-2")


class StepManager:
    """Takes performed procedure steps as PS3.4 F.7 says, and keeps what it was told."""

    def __init__(self) -> None:
        self.port = free_port()
        self.steps: dict[str, Dataset] = {}
        self.told: list[str] = []
        self.is_deaf = False
        self._entity = AE(ae_title="RIS")
        self._entity.add_supported_context(ModalityPerformedProcedureStep)

    def start(self) -> None:
        handlers = [(evt.EVT_N_CREATE, self._create), (evt.EVT_N_SET, self._set)]
        self._entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        self._entity.shutdown()

    def _create(self, event: evt.Event) -> tuple[int, Dataset | None]:
        uid = event.request.AffectedSOPInstanceUID
        if uid in self.steps:
            return 0x0111, None
        self.steps[uid] = event.attribute_list
        self.told.append("IN PROGRESS")
        return 0x0000, event.attribute_list

    def _set(self, event: evt.Event) -> tuple[int | Dataset, Dataset | None]:
        step = self.steps.get(event.request.RequestedSOPInstanceUID)
        if step is None:
            return 0x0112, None
        if step.PerformedProcedureStepStatus != "IN PROGRESS":
            status = Dataset()
            status.Status, status.ErrorID = 0x0110, 0xA710
            return status, None
        step.update(event.modification_list)
        self.told.append(step.PerformedProcedureStepStatus)
        if self.is_deaf:
            event.assoc.abort()
        return 0x0000, step


@pytest.fixture
def manager() -> Iterator[StepManager]:
    manager = StepManager()
    manager.start()
    yield manager
    manager.stop()


def step_settings(manager: StepManager) -> DicomSection:
    return DicomSection(
        performed_step=Peer(host="127.0.0.1", port=manager.port, ae_title="RIS"), timeout_s=5.0
    )


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Outgoing]:
    outgoing = Outgoing(tmp_path / "queue")
    yield outgoing
    outgoing.close()


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    recording = record_spectra(tmp_path_factory.mktemp("spectra"))
    return list(objects_of(case(specimen(recording)), "lump-1", DicomSection()))


SUBJECT = Subject.of(case(), "lump-1", DicomSection())


def begin(queue: Outgoing) -> None:
    step = beginning(SUBJECT, "OCTMARGIN", START)
    queue.put(STEP, Action.CREATE, SOP_CLASS, step.SOPInstanceUID, encoded(step))


def end(queue: Outgoing, how: Ending, objects: list[Dataset], why: str = "") -> None:
    step = ending(SUBJECT, how, START + timedelta(minutes=9), objects, why)
    queue.put(STEP, Action.SET, SOP_CLASS, step.SOPInstanceUID, encoded(step))


def test_a_step_is_in_progress_and_then_completed_with_what_was_stored(
    manager: StepManager, queue: Outgoing, objects: list[Dataset]
) -> None:
    begin(queue)
    end(queue, "completed", objects)
    done = Courier(step_settings(manager), queue).deliver([STEP])
    assert (done.fates, done.troubles) == ({Fate.DELIVERED: 2}, {})
    assert manager.told == ["IN PROGRESS", "COMPLETED"]
    step = manager.steps[step_uid(SUBJECT)]
    (scheduled,) = step.ScheduledStepAttributesSequence
    assert (scheduled.AccessionNumber, scheduled.ScheduledProcedureStepID) == ("ACC-5512093", "SPS-90221")
    assert scheduled.StudyInstanceUID == ORDER.study_uid
    assert (step.PatientID, step.Modality, step.PerformedStationAETitle) == (
        "MRN-77310452",
        "OCT",
        "OCTMARGIN",
    )
    assert [series.SeriesInstanceUID for series in step.PerformedSeriesSequence] == [
        one.SeriesInstanceUID for one in objects
    ]


def test_a_step_is_discontinued_with_the_reason(manager: StepManager, queue: Outgoing) -> None:
    begin(queue)
    end(queue, "discontinued", [], "the specimen was needed at once")
    Courier(step_settings(manager), queue).deliver([STEP])
    step = manager.steps[step_uid(SUBJECT)]
    assert step.PerformedProcedureStepStatus == "DISCONTINUED"
    assert step.CommentsOnThePerformedProcedureStep == "the specimen was needed at once"
    assert step.PerformedProcedureStepDiscontinuationReasonCodeSequence[0].CodingSchemeDesignator == "DCM"


def test_a_completed_step_without_any_object_is_refused() -> None:
    with pytest.raises(InputError, match="discontinue it"):
        ending(SUBJECT, "completed", START, [])


def test_a_step_that_could_not_be_told_is_told_later_in_order(
    manager: StepManager, queue: Outgoing, objects: list[Dataset]
) -> None:
    manager.stop()
    begin(queue)
    end(queue, "completed", objects)
    courier = Courier(step_settings(manager), queue)
    assert "does not answer" in courier.deliver([STEP]).troubles[STEP]
    manager.start()
    assert courier.deliver([STEP]).fates == {Fate.DELIVERED: 2}
    assert manager.told == ["IN PROGRESS", "COMPLETED"]


def test_an_end_whose_answer_was_lost_is_known_to_have_been_told(
    manager: StepManager, queue: Outgoing, objects: list[Dataset]
) -> None:
    courier = Courier(step_settings(manager), queue)
    begin(queue)
    courier.deliver([STEP])
    end(queue, "completed", objects)
    manager.is_deaf = True
    assert courier.deliver([STEP]).fates == {Fate.FAILED: 1}
    manager.is_deaf = False
    assert courier.deliver([STEP]).fates == {Fate.DELIVERED: 1}
    assert queue.counts()[State.DELIVERED] == 2
    assert manager.told == ["IN PROGRESS", "COMPLETED"]


def test_a_case_without_an_order_has_a_step_too(manager: StepManager, queue: Outgoing) -> None:
    by_hand = Subject.of(case(order=None), "lump-1", DicomSection())
    step = beginning(by_hand, "OCTMARGIN", START)
    queue.put(STEP, Action.CREATE, SOP_CLASS, step.SOPInstanceUID, encoded(step))
    assert Courier(step_settings(manager), queue).deliver([STEP]).fates == {Fate.DELIVERED: 1}
