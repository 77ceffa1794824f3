"""`octmargin dicom`, as a user runs it: from the worklist to the archive and to a de-identified export."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from tests.example_case import SURGEON, record_spectra, specimen, sweep
from typer.testing import CliRunner

from octmargin.case.record import events
from octmargin.case.record.store import CaseStore
from octmargin.cli import app
from octmargin.errors import OctMarginError

from .conftest import Orthanc
from .test_worklist import StepManager, entry, serve

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
OCTMARGIN = [sys.executable, "-m", "octmargin"]


class Site:
    """A folder with a configuration and a record, and the archive that the configuration names."""

    def __init__(self, folder: Path, archive: Orthanc) -> None:
        self.archive = archive
        self.folder = folder
        self.config = folder / "or.toml"
        self.record = folder / "record.db"
        self.config.write_text(
            'site = "north"\nconsole = "or-1"\n[device]\ndriver = "usb"\naddress = "usb:1:2"\n'
            f'[dicom]\nqueue_folder = "{folder / "queue"}"\ntimeout_s = 10.0\n'
            f'[dicom.worklist]\nhost = "127.0.0.1"\nport = {archive.dicom_port}\nae_title = "ORTHANC"\n'
            f'[dicom.archive]\nhost = "127.0.0.1"\nport = {archive.dicom_port}\nae_title = "ORTHANC"\n'
        )
        CaseStore.create(self.record)
        serve(archive, entry())

    def run(self, *arguments: str, code: int = 0) -> str:
        """What the command says; it has to end with `code`, or with an error of ours where that is 2."""
        done = CliRunner().invoke(app, arguments, env={"OCTMARGIN_RECORD": str(self.record)})
        if isinstance(done.exception, OctMarginError):
            assert code == 2, done.exception
            return str(done.exception)
        assert done.exit_code == code, done.output
        return done.output

    def dicom(self, *arguments: str, code: int = 0) -> str:
        return self.run("dicom", arguments[0], "-c", str(self.config), *arguments[1:], code=code)

    def scan(self) -> None:
        """What a lumpectomy went through, up to its signature."""
        recording = record_spectra(self.folder)
        example = specimen(recording)
        assert example.interpretation is not None
        with CaseStore.open(self.record, writable=True) as store:
            store.append(
                "case-31",
                events.Indicated(indication="Invasive ductal carcinoma"),
                events.Registered(
                    specimen_id="lump-1",
                    specimen_kind="lumpectomy",
                    laterality="left",
                    orientation=example.orientation,
                    faces=example.faces,
                ),
                *(
                    events.Swept(specimen_id="lump-1", sweep=sweep(face, number, recording))
                    for number, face in enumerate(("superior", "medial"), start=1)
                ),
                events.Interpreted(specimen_id="lump-1", interpretation=example.interpretation),
                events.Signed(specimen_id="lump-1", by=SURGEON),
                actor="test",
            )


@pytest.fixture
def site(tmp_path: Path, orthanc: Orthanc) -> Site:
    return Site(tmp_path, orthanc)


def test_from_the_worklist_to_the_archive_and_to_an_export(site: Site) -> None:
    listed = site.dicom("worklist", "--day", "2031-05-06")
    assert "ACC-5512093  Quillfeather, Zenobia (MRN-77310452)  left" in listed
    taken = site.dicom("worklist", "--accession", "ACC-5512093", "--into", "case-31")
    assert "case case-31: open" in taken
    site.scan()

    report = site.folder / "report.pdf"
    report.write_bytes(b"%PDF-1.7 of the test")
    sent = site.dicom("send", "case-31", "lump-1", "--report", str(report))
    assert "lump-1: 6 objects, 6 of them new" in sent
    assert "delivered: 6 objects" in sent
    assert site.archive.get("/statistics")["CountInstances"] == 6
    (patient,) = site.archive.get("/patients?expand")
    assert patient["MainDicomTags"]["PatientID"] == "MRN-77310452"
    assert "6 objects, 0 of them new" in site.dicom("send", "case-31", "lump-1", "--report", str(report))
    assert "6 delivered" in site.dicom("queue")
    amend_and_send(site, report)

    exported = site.run(
        "dicom", "export", "case-31", "-o", str(site.folder / "out"), "--pseudonym", "TRIAL-007"
    )
    assert "out: 6 objects of 1 specimen" in exported
    for file in (site.folder / "out").iterdir():
        assert dcmread(file).PatientID == "TRIAL-007"
        assert b"Quillfeather" not in file.read_bytes()
    assert "exists already" in site.run("dicom", "export", "case-31", "-o", str(site.folder / "out"), code=2)
    assert "7 objects" in site.run(
        "dicom",
        "export",
        "case-31",
        "-o",
        str(site.folder / "whole"),
        "--specimen",
        "lump-1",
        "--report",
        str(report),
    )
    accesses = site.run("case", "accesses")
    for what in ("sent as DICOM", "exported as DICOM, de-identified", "exported as DICOM"):
        assert what in accesses
    assert "Quillfeather" not in accesses


def amend_and_send(site: Site, report: Path) -> None:
    """What is amended names, in the archive, what was signed there, and nothing else is sent again."""
    signed = {one["MainDicomTags"]["SOPInstanceUID"] for one in site.archive.get("/instances?expand")}
    with CaseStore.open(site.record, writable=True) as store:
        store.append(
            "case-31", events.Addended(specimen_id="lump-1", by=SURGEON, text="Clear."), actor="test"
        )
    report.write_bytes(b"%PDF-1.7 amended")
    sent = site.dicom("send", "case-31", "lump-1", "--report", str(report))
    assert "lump-1: 6 objects, 2 of them new" in sent
    for one in site.archive.get("/instances?expand"):
        if one["MainDicomTags"]["SOPInstanceUID"] in signed:
            continue
        amended = dcmread(BytesIO(site.archive.bytes(f"/instances/{one['ID']}/file")))
        series = amended.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
        assert series.SeriesInstanceUID == amended.SeriesInstanceUID
        assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID in signed
    assert "6 objects, 0 of them new" in site.dicom("send", "case-31", "lump-1", "--report", str(report))


def test_while_the_archive_is_away_it_waits_and_is_told_and_arrives_when_it_is_back(site: Site) -> None:
    site.dicom("worklist", "--accession", "ACC-5512093", "--into", "case-31")
    site.scan()
    site.archive.stop()
    sent = site.dicom("send", "case-31", "lump-1", code=1)
    assert "does not answer" in sent
    assert "5 waiting" in sent
    waiting = json.loads(site.dicom("queue", "--json", code=1))
    assert waiting["counts"]["waiting"] == 5
    assert {one["destination"] for one in waiting["open"]} == {"archive"}
    site.archive.start()
    assert "delivered: 5 objects" in site.dicom("queue", "--deliver")
    assert site.archive.get("/statistics")["CountInstances"] == 5


def test_it_delivers_for_ever_what_others_put_and_ends_when_it_is_told_to(site: Site) -> None:
    site.dicom("worklist", "--accession", "ACC-5512093", "--into", "case-31")
    site.scan()
    command = [*OCTMARGIN, "dicom", "queue", "-c", str(site.config), "--forever"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=site.folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "delivering\n"
        site.dicom("send", "case-31", "lump-1", "--later")
        # What is put while it delivers is of its next round.
        delivered = 0
        while delivered < 5:
            line = process.stdout.readline()
            assert re.fullmatch(r"delivered: \d objects?\n", line)
            delivered += int(line.split()[1])
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readlines()[-1].startswith("0 waiting")
        assert process.wait(30) == 0
    assert site.archive.get("/statistics")["CountInstances"] == 5


def test_a_step_is_told_from_its_beginning_to_its_end_and_not_twice(site: Site) -> None:
    manager = StepManager()
    manager.start()
    try:
        with site.config.open("a") as config:
            config.write(
                f'[dicom.performed_step]\nhost = "127.0.0.1"\nport = {manager.port}\nae_title = "RIS"\n'
            )
        site.dicom("worklist", "--accession", "ACC-5512093", "--into", "case-31")
        with CaseStore.open(site.record, writable=True) as store:
            registered = events.Registered(
                specimen_id="lump-1",
                specimen_kind="lumpectomy",
                laterality="left",
                faces=("superior", "medial"),
            )
            store.append("case-31", registered, actor="test")
        site.dicom("step", "case-31", "lump-1", "started")
        site.dicom("step", "case-31", "lump-1", "started")
        assert manager.told == ["IN PROGRESS"]
        assert "give --why" in site.dicom("step", "case-31", "lump-1", "discontinued", code=2)
        recording = record_spectra(site.folder)
        with CaseStore.open(site.record, writable=True) as store:
            swept = events.Swept(specimen_id="lump-1", sweep=sweep("superior", 1, recording))
            store.append("case-31", swept, actor="test")
        site.dicom("step", "case-31", "lump-1", "completed")
        assert manager.told == ["IN PROGRESS", "COMPLETED"]
        again = site.dicom("step", "case-31", "lump-1", "discontinued", "--why", "late", code=2)
        assert "was told before" in again
    finally:
        manager.stop()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("worklist", "--accession", "ACC-9", "--into", "case-31"), "no entries of accession 'ACC-9'"),
        (("worklist", "--day", "soon"), '--day "soon": give today, any, or a date'),
        (("worklist", "--into", "case-31"), "give --accession"),
        (("send", "case-31", "lump-1"), "case case-31: there is none"),
        (("step", "case-31", "lump-1", "started"), "no [dicom.performed_step]"),
    ],
)
def test_what_cannot_be_is_one_line(site: Site, arguments: tuple[str, ...], told: str) -> None:
    said = site.dicom(*arguments, code=2)
    assert told in said
    assert "\n" not in said


def test_an_export_that_fails_leaves_nothing(site: Site) -> None:
    site.dicom("worklist", "--accession", "ACC-5512093", "--into", "case-31")
    said = site.run(
        "dicom", "export", "case-31", "-o", str(site.folder / "out"), "--specimen", "lump-9", code=2
    )
    assert "no specimen lump-9" in said
    assert not list(site.folder.glob("*out*"))


def test_a_queue_folder_has_to_be_named(site: Site) -> None:
    site.config.write_text(
        "\n".join(line for line in site.config.read_text().splitlines() if "queue" not in line)
    )
    assert "dicom.queue_folder is missing" in site.dicom("queue", code=2)


def test_a_configuration_without_dicom_is_told(site: Site) -> None:
    site.config.write_text(site.config.read_text().partition("[dicom]")[0])
    assert "has no table [dicom]" in site.dicom("queue", code=2)
