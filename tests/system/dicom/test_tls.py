"""DICOM and STOW-RS over TLS against a real archive: both sides show who they are, and nobody else is let in."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from tests.certificates import HOST, new_authority, write_identity
from tests.example_case import case, specimen
from tests.ports import free_port

from octmargin.dicom.courier import Courier
from octmargin.dicom.finishing import encoded
from octmargin.dicom.objects import objects_of
from octmargin.dicom.outgoing import Action, Destination, Outgoing
from octmargin.dicom.settings import Commitment, DicomSection, Peer, TlsFiles, WebArchive
from octmargin.dicom.storing import Fate
from octmargin.dicom.tls import server_context
from octmargin.site.certificates import Authority

from .conftest import DICOMWEB, Orthanc, tls_in_front_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"
)
ARCHIVE, WEB = Destination.ARCHIVE, Destination.WEB


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Orthanc]:
    """An archive whose DICOM and web services take TLS and certificates of the hospital's authority alone."""
    folder = tmp_path_factory.mktemp("archive")
    files = write_identity(folder / "tls", authority)
    orthanc = Orthanc(
        folder / "orthanc",
        (DICOMWEB,),
        DicomTlsEnabled=True,
        DicomTlsCertificate=files.cert_file,
        DicomTlsPrivateKey=files.key_file,
        DicomTlsTrustedCertificates=files.ca_file,
        DicomModalities={"us": {"AET": "OCTMARGIN", "Host": HOST, "Port": free_port(), "UseDicomTls": True}},
    )
    orthanc.start()
    with tls_in_front_of(orthanc.http_port, server_context(files)) as orthanc.https_port:
        yield orthanc
    orthanc.stop(signal.SIGKILL)


@pytest.fixture
def archive(running: Orthanc) -> Orthanc:
    """The archive, with nothing in it."""
    running.empty()
    return running


@pytest.fixture(scope="module")
def one() -> Dataset:
    return next(objects_of(case(specimen()), "lump-1", DicomSection()))


@pytest.fixture
def queue(tmp_path: Path, one: Dataset) -> Iterator[Outgoing]:
    outgoing = Outgoing(tmp_path / "queue")
    for destination in (ARCHIVE, WEB):
        outgoing.put(destination, Action.STORE, one.SOPClassUID, one.SOPInstanceUID, encoded(one))
    yield outgoing
    outgoing.close()


def settings_for(
    archive: Orthanc, tls: TlsFiles | None, commitment: Commitment | None = None
) -> DicomSection:
    return DicomSection(
        archive=Peer(host=HOST, port=archive.dicom_port, ae_title="ORTHANC", tls=tls),
        web=WebArchive(url=f"https://{HOST}:{archive.https_port}/dicom-web", tls=tls),
        commitment=commitment,
        timeout_s=5.0,
    )


def test_both_services_store_over_tls(
    archive: Orthanc, queue: Outgoing, authority: Authority, tmp_path: Path, one: Dataset
) -> None:
    ours = write_identity(tmp_path / "ours", authority)
    done = Courier(settings_for(archive, ours), queue).deliver()
    assert (done.fates, done.troubles) == ({Fate.DELIVERED: 2}, {})
    assert len(archive.find(one.SOPInstanceUID)) == 1


def test_the_archive_answers_for_commitment_over_tls(
    archive: Orthanc, queue: Outgoing, authority: Authority, tmp_path: Path
) -> None:
    ours = write_identity(tmp_path / "ours", authority)
    port = archive.configuration["DicomModalities"]["us"]["Port"]
    commitment = Commitment(port=port, host=HOST, wait_s=20)
    done = Courier(settings_for(archive, ours, commitment), queue).deliver([ARCHIVE])
    assert (done.committed, done.troubles) == (1, {})


def test_an_archive_that_somebody_else_vouches_for_is_sent_nothing(
    archive: Orthanc, queue: Outgoing, tmp_path: Path, one: Dataset
) -> None:
    stranger = new_authority("somebody")
    ours = write_identity(tmp_path / "ours", stranger)
    done = Courier(settings_for(archive, ours), queue).deliver()
    for destination in (ARCHIVE, WEB):
        assert "an authority that is not trusted signed its certificate" in done.troubles[destination]
    assert archive.find(one.SOPInstanceUID) == []


def test_who_shows_no_certificate_is_not_let_in(
    archive: Orthanc, queue: Outgoing, authority: Authority, tmp_path: Path
) -> None:
    ours = write_identity(tmp_path / "ours", authority)
    done = Courier(settings_for(archive, TlsFiles(ca_file=ours.ca_file)), queue).deliver()
    for destination in (ARCHIVE, WEB):
        assert "give cert_file" in done.troubles[destination]


def test_without_tls_nothing_is_sent(archive: Orthanc, queue: Outgoing) -> None:
    done = Courier(settings_for(archive, None), queue).deliver([ARCHIVE])
    assert "check that port and tls are those of DICOM there" in done.troubles[ARCHIVE]


def test_a_tls_file_that_is_not_there_is_named(archive: Orthanc, queue: Outgoing) -> None:
    done = Courier(settings_for(archive, TlsFiles(ca_file="/nowhere/ca.pem")), queue).deliver()
    assert "/nowhere/ca.pem" in done.troubles[ARCHIVE]
    assert "/nowhere/ca.pem" in done.troubles[WEB]
