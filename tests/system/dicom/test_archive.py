"""A real archive: objects are stored, found, pulled back and equal; an archive that is away gets them later, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)
from tests.example_case import case, record_spectra, specimen
from tests.ports import free_port

from octmargin.dicom.courier import Courier, DeliveryThread, Round
from octmargin.dicom.finishing import encoded
from octmargin.dicom.objects import objects_of
from octmargin.dicom.outgoing import Action, Destination, Outgoing, State
from octmargin.dicom.settings import Commitment, DicomSection, Peer, WebArchive
from octmargin.dicom.storing import Fate

from .conftest import Orthanc

# pynetdicom lets go of a socket that was refused without closing it.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
ARCHIVE, WEB = Destination.ARCHIVE, Destination.WEB


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    recording = record_spectra(tmp_path_factory.mktemp("spectra"))
    return list(objects_of(case(specimen(recording)), "lump-1", DicomSection(), pdf=b"%PDF-1.7\nreport"))


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Outgoing]:
    outgoing = Outgoing(tmp_path / "queue")
    yield outgoing
    outgoing.close()


def settings_for(orthanc: Orthanc, **changes: object) -> DicomSection:
    values: dict[str, object] = {
        "archive": Peer(host="127.0.0.1", port=orthanc.dicom_port, ae_title=orthanc.ae_title),
        "web": WebArchive(url=f"{orthanc.url}/dicom-web"),
        "timeout_s": 10.0,
        "retry_min_s": 0.1,
        "retry_max_s": 0.2,
    }
    return DicomSection(**(values | changes))  # type: ignore[arg-type]


def put(queue: Outgoing, objects: list[Dataset], destination: Destination = ARCHIVE) -> None:
    for one in objects:
        queue.put(destination, Action.STORE, one.SOPClassUID, one.SOPInstanceUID, encoded(one))


def stored(orthanc: Orthanc, one: Dataset) -> Dataset:
    """What the archive has of an object, which it has once."""
    (identifier,) = orthanc.find(one.SOPInstanceUID)
    return dcmread(BytesIO(orthanc.bytes(f"/instances/{identifier}/file")))


@pytest.mark.parametrize("destination", [ARCHIVE, WEB])
def test_objects_are_stored_found_again_pulled_back_and_equal(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset], destination: Destination
) -> None:
    put(queue, objects, destination)
    done = Courier(settings_for(orthanc), queue).deliver([destination])
    assert (done.fates, done.troubles) == ({Fate.DELIVERED: len(objects)}, {})
    for one in objects:
        assert stored(orthanc, one) == dcmread(BytesIO(encoded(one)))
    assert orthanc.get("/statistics")["CountInstances"] == len(objects)
    assert orthanc.get("/statistics")["CountPatients"] == 1


def test_a_study_is_found_and_pulled_back_as_any_workstation_does(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset]
) -> None:
    put(queue, objects)
    Courier(settings_for(orthanc), queue).deliver([ARCHIVE])
    found, pulled = find_and_get(orthanc, objects)
    assert found == {one.SOPInstanceUID for one in objects}
    for one in objects:
        expected = dcmread(BytesIO(encoded(one)))
        assert pulled[one.SOPInstanceUID].to_json_dict() == expected.to_json_dict()


def find_and_get(orthanc: Orthanc, objects: list[Dataset]) -> tuple[set[str], dict[str, Dataset]]:
    """UIDs of the instances of their study by C-FIND, and the instances by C-GET."""
    pulled: dict[str, Dataset] = {}

    def take(event: evt.Event) -> int:
        pulled[event.dataset.SOPInstanceUID] = event.dataset
        return 0x0000

    classes = sorted({str(one.SOPClassUID) for one in objects})
    entity = AE(ae_title="WORKSTATION")
    for sop_class in (
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
        *classes,
    ):
        entity.add_requested_context(sop_class)
    roles = [build_role(sop_class, scp_role=True) for sop_class in classes]
    association = entity.associate(
        "127.0.0.1",
        orthanc.dicom_port,
        ae_title=orthanc.ae_title,
        ext_neg=roles,
        evt_handlers=[(evt.EVT_C_STORE, take)],
    )
    study = Dataset()
    study.StudyInstanceUID = objects[0].StudyInstanceUID
    study.QueryRetrieveLevel = "STUDY"
    for _ in association.send_c_get(study, StudyRootQueryRetrieveInformationModelGet):
        pass
    study.QueryRetrieveLevel = "IMAGE"
    study.SOPInstanceUID = ""
    answers = association.send_c_find(study, StudyRootQueryRetrieveInformationModelFind)
    found = {entry.SOPInstanceUID for _, entry in answers if entry is not None}
    association.release()
    return found, pulled


@pytest.mark.parametrize("destination", [ARCHIVE, WEB])
def test_what_was_put_and_sent_again_is_in_the_archive_once(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset], tmp_path: Path, destination: Destination
) -> None:
    settings = settings_for(orthanc)
    put(queue, objects, destination)
    Courier(settings, queue).deliver()
    put(queue, objects, destination)
    assert Courier(settings, queue).deliver().fates == {}
    # Another machine, or a journal that was lost: the archive knows them by their UIDs.
    again = Outgoing(tmp_path / "another")
    put(again, objects, destination)
    assert Courier(settings, again).deliver().fates == {Fate.DELIVERED: len(objects)}
    again.close()
    assert orthanc.get("/statistics")["CountInstances"] == len(objects)


@pytest.mark.parametrize("destination", [ARCHIVE, WEB])
def test_an_archive_that_dies_before_it_acknowledges_has_the_object_once_in_the_end(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset], destination: Destination
) -> None:
    put(queue, objects, destination)
    # It is held, and does not answer.
    taken = threading.Event()
    # It is held as soon as it has an object, so that whatever it was about to say is never said.
    watcher = threading.Thread(target=hold_when_it_has_one, args=(orthanc, taken))
    watcher.start()
    first = Courier(settings_for(orthanc, timeout_s=3.0), queue).deliver([destination])
    watcher.join(20)
    assert taken.is_set()
    orthanc.stop(signal.SIGKILL)
    orthanc.start()
    delivered = first.fates[Fate.DELIVERED]
    second = Courier(settings_for(orthanc), queue).deliver([destination])
    assert delivered + second.fates[Fate.DELIVERED] == len(objects)
    assert [len(orthanc.find(one.SOPInstanceUID)) for one in objects] == [1] * len(objects)


def hold_when_it_has_one(orthanc: Orthanc, taken: threading.Event) -> None:
    """Freeze the archive."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        if orthanc.get("/statistics")["CountInstances"]:
            orthanc.send(signal.SIGSTOP)
            taken.set()
            return


def test_an_archive_that_is_stopped_mid_way_gets_the_rest_later_once(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset]
) -> None:
    settings = settings_for(orthanc)
    put(queue, objects[:2])
    rounds: list[Round] = []
    delivered, in_trouble = threading.Event(), threading.Event()

    def see(done: Round) -> None:
        rounds.append(done)
        if done.troubles:
            in_trouble.set()
        elif sum(one.fates[Fate.DELIVERED] for one in rounds) in (2, len(objects)):
            delivered.set()

    thread = DeliveryThread(settings, queue, see)
    thread.start()
    try:
        assert delivered.wait(20)
        delivered.clear()
        orthanc.stop()
        put(queue, objects[2:])
        thread.wake()
        assert in_trouble.wait(20)
        assert queue.counts()[State.WAITING] == len(objects) - 2
        orthanc.start()
        assert delivered.wait(30)
    finally:
        assert thread.stop(20)
    assert [len(orthanc.find(one.SOPInstanceUID)) for one in objects] == [1] * len(objects)
    assert sum(one.fates[Fate.DELIVERED] for one in rounds) == len(objects), "each was sent once"
    assert f"127.0.0.1:{orthanc.dicom_port}: does not answer" in rounds[1].troubles[ARCHIVE]


@pytest.mark.parametrize("destination", [ARCHIVE, WEB])
def test_killed_while_it_delivers_it_delivers_the_rest_afterwards(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset], destination: Destination
) -> None:
    settings = settings_for(orthanc)
    put(queue, objects, destination)
    program = (
        "import sys; from pathlib import Path\n"
        "from octmargin.dicom import courier\n"
        "from octmargin.dicom.outgoing import Outgoing\n"
        "from octmargin.dicom.settings import DicomSection, Peer, WebArchive\n"
        "original = courier.Courier._note\n"
        "def note(self, parcel, delivery):\n"
        "    print(parcel.uid, flush=True); sys.stdin.readline(); original(self, parcel, delivery)\n"
        "courier.Courier._note = note\n"
        "peer = Peer(host='127.0.0.1', port=int(sys.argv[2]), ae_title='ORTHANC')\n"
        "web = WebArchive(url=sys.argv[3])\n"
        "courier.Courier(DicomSection(archive=peer, web=web), Outgoing(Path(sys.argv[1]))).deliver()\n"
    )
    command = [
        sys.executable,
        "-c",
        program,
        str(queue.folder),
        str(orthanc.dicom_port),
        f"{orthanc.url}/dicom-web",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        # The second one is in the archive, and not noted.
        second = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    assert second in {parcel.uid for parcel in queue.waiting(destination)}
    done = Courier(settings, queue).deliver()
    assert done.fates == {Fate.DELIVERED: len(objects) - 1}
    assert orthanc.get("/statistics")["CountInstances"] == len(objects)


def test_the_archive_commits_itself_to_what_it_was_sent(
    queue: Outgoing, objects: list[Dataset], committing: Orthanc
) -> None:
    (_, _, port), *_ = committing.configuration["DicomModalities"].values()
    settings = settings_for(committing, commitment=Commitment(port=port, host="127.0.0.1", wait_s=20))
    put(queue, objects)
    done = Courier(settings, queue).deliver([ARCHIVE])
    assert (done.committed, done.troubles) == (len(objects), {})
    assert queue.counts()[State.COMMITTED] == len(objects)
    assert list((queue.folder / "objects").iterdir()) == []


@pytest.fixture
def committing(tmp_path: Path) -> Iterator[Orthanc]:
    modalities = {"us": ["OCTMARGIN", "127.0.0.1", free_port()]}
    archive = Orthanc(tmp_path / "orthanc", DicomModalities=modalities)
    archive.start()
    yield archive
    archive.stop(signal.SIGKILL)


def test_what_the_archive_does_not_have_any_more_is_sent_again(
    queue: Outgoing, objects: list[Dataset], committing: Orthanc
) -> None:
    (_, _, port), *_ = committing.configuration["DicomModalities"].values()
    put(queue, objects[:2])
    without = settings_for(committing, commitment=Commitment(port=free_port(), host="127.0.0.1", wait_s=0.2))
    assert "did not answer" in Courier(without, queue).deliver([ARCHIVE]).troubles[ARCHIVE]
    assert queue.counts()[State.SENT] == 2
    (lost,) = committing.find(objects[0].SOPInstanceUID)
    httpx.delete(f"{committing.url}/instances/{lost}")
    settings = settings_for(committing, commitment=Commitment(port=port, host="127.0.0.1", wait_s=20))
    assert Courier(settings, queue).deliver([ARCHIVE]).committed == 1
    assert [parcel.uid for parcel in queue.waiting(ARCHIVE)] == [objects[0].SOPInstanceUID]
    assert Courier(settings, queue).deliver([ARCHIVE]).committed == 1
    assert len(committing.find(objects[0].SOPInstanceUID)) == 1


def test_an_object_whose_class_the_archive_does_not_take_is_refused_and_the_others_arrive(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset]
) -> None:
    unknown = dcmread(BytesIO(encoded(objects[-1])))
    unknown.SOPClassUID = unknown.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.999999"
    unknown.SOPInstanceUID = unknown.file_meta.MediaStorageSOPInstanceUID = "2.25.999"
    put(queue, [unknown, objects[0]])
    done = Courier(settings_for(orthanc), queue).deliver([ARCHIVE])
    assert done.fates == {Fate.REFUSED: 1, Fate.DELIVERED: 1}
    (refused,) = [parcel for parcel in queue.all() if parcel.state is State.REFUSED]
    assert refused.uid == "2.25.999"
    assert refused.path.exists()


def test_an_object_whose_file_was_changed_is_refused_and_the_others_arrive(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset]
) -> None:
    put(queue, objects[:2])
    first, second = queue.waiting(ARCHIVE)
    first.path.write_bytes(b"not what was put")
    done = Courier(settings_for(orthanc), queue).deliver([ARCHIVE])
    assert done.fates == {Fate.REFUSED: 1, Fate.DELIVERED: 1}
    assert [len(orthanc.find(one.uid)) for one in (first, second)] == [0, 1]


def test_a_destination_that_is_not_configured_is_told(queue: Outgoing, objects: list[Dataset]) -> None:
    put(queue, objects[:1])
    done = Courier(DicomSection(), queue).deliver()
    assert "dicom.archive, which is not configured" in done.troubles[ARCHIVE]
    assert queue.counts()[State.WAITING] == 1


def test_the_thread_goes_on_whatever_becomes_of_who_is_told(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset]
) -> None:
    told = threading.Event()

    def fail(_: Round) -> None:
        told.set()
        raise OSError("nobody reads any more")

    thread = DeliveryThread(settings_for(orthanc), queue, fail)
    thread.start()
    try:
        for one in objects[:2]:
            told.clear()
            put(queue, [one])
            thread.wake()
            assert told.wait(20)
    finally:
        assert thread.stop(20)
    assert queue.counts()[State.DELIVERED] == 2


class Taciturn:
    """An archive that stores everything, and says of a commitment that it is done, and nothing of any object."""

    def __init__(self) -> None:
        self.port, self.answers_to = free_port(), free_port()
        self._entity = AE(ae_title="ORTHANC")
        self._entity.supported_contexts = StoragePresentationContexts
        self._entity.add_supported_context(StorageCommitmentPushModel)

    def __enter__(self) -> Taciturn:
        handlers = [(evt.EVT_C_STORE, lambda _: 0x0000), (evt.EVT_N_ACTION, self._commit)]
        self._entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._entity.shutdown()

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        threading.Thread(target=self._answer, args=(event.action_information.TransactionUID,)).start()
        return 0x0000, None

    def _answer(self, transaction: str) -> None:
        report = Dataset()
        report.TransactionUID = transaction
        report.ReferencedSOPSequence = []
        entity = AE(ae_title="ORTHANC")
        entity.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        association = entity.associate("127.0.0.1", self.answers_to, ext_neg=[role])
        association.send_n_event_report(report, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
        association.release()


def test_an_archive_that_says_nothing_of_an_object_is_in_trouble_and_asked_again(
    queue: Outgoing, objects: list[Dataset]
) -> None:
    put(queue, objects[:1])
    with Taciturn() as archive:
        settings = DicomSection(
            archive=Peer(host="127.0.0.1", port=archive.port, ae_title="ORTHANC"),
            commitment=Commitment(port=archive.answers_to, host="127.0.0.1"),
            timeout_s=10.0,
        )
        assert "says nothing of it" in Courier(settings, queue).deliver([ARCHIVE]).troubles[ARCHIVE]
    assert queue.counts()[State.SENT] == 1


def test_a_web_archive_that_is_away_gets_them_later(
    orthanc: Orthanc, queue: Outgoing, objects: list[Dataset]
) -> None:
    settings = settings_for(orthanc)
    put(queue, objects[:1], WEB)
    orthanc.stop()
    assert "does not answer" in Courier(settings, queue).deliver([WEB]).troubles[WEB]
    orthanc.start()
    assert Courier(settings, queue).deliver([WEB]).fates == {Fate.DELIVERED: 1}
    assert len(orthanc.find(objects[0].SOPInstanceUID)) == 1
