"""The reports of a case as files: from the record or an export of it, with pictures out of the recording."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import json
import re
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pypdfium2
import pytest
from click.testing import Result
from tests.system.test_daemon import FACES, FRAMES
from tests.system.test_replay import recorded
from tests.unit.report.cases import RADIOLOGIST, SURGEON, case, interpretation, key_view
from typer.testing import CliRunner

from octmargin.archive import Recording
from octmargin.bus import EmbeddedBroker
from octmargin.case.record import events
from octmargin.case.record.diagnosis import as_ordered
from octmargin.case.record.model import FaceFinding, PathologyResult, ReExcision
from octmargin.case.record.store import CaseStore
from octmargin.case.recorded import Recorded, read_recorded
from octmargin.case.taking import take
from octmargin.cli import app
from octmargin.config import EngineSection, ModelSection
from octmargin.errors import OctMarginError
from octmargin.report.exported import export_of
from octmargin.report.pictures import draw_pictures
from octmargin_simulator.phantom import LayeredPhantom

CASE, SPECIMEN = "case-7", "s-1"
JUDGED: dict[str, Any] = {"engine": EngineSection(depth=320), "model": ModelSection(name="rule-1")}
"""By what was set on the phantom's layers."""
EXCISED = datetime.now(UTC) - timedelta(minutes=20)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two faces, of which one is suspicious; one frame was lost."""
    phantom = LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=("medial",))
    with EmbeddedBroker() as broker:
        return asyncio.run(recorded(phantom, broker, tmp_path_factory.mktemp("recordings"), **JUDGED))


def with_key_view(found: Recorded) -> Recorded:
    """The sweep over the suspicious face with a place to look at."""
    view = key_view(1, first_frame=1, last_frame=6, first_block=0, last_block=1, frame=4, block=1)
    sweeps = tuple(
        msgspec.structs.replace(one, key_views=(view,)) if one.face == "medial" else one
        for one in found.sweeps
    )
    return dataclasses.replace(found, sweeps=sweeps)


@pytest.fixture
def record(tmp_path: Path, recording: Path) -> Path:
    """A case whose specimen was scanned and interpreted, and is not signed."""
    path = tmp_path / "record.db"
    CaseStore.create(path)
    told = case()
    assert told.patient is not None
    assert told.order is not None
    findings = (
        FaceFinding(face="superior", finding="nothing_suspicious"),
        FaceFinding(face="medial", finding="nothing_suspicious", action="none: layer of fat"),
    )
    with CaseStore.open(path, writable=True) as store:
        store.append(
            CASE,
            events.Opened(),
            events.Identified(patient=told.patient),
            events.Ordered(order=told.order),
            events.Indicated(indication="Invasive carcinoma of the right breast."),
            events.Registered(
                specimen_id=SPECIMEN,
                specimen_kind="lumpectomy",
                laterality="right",
                faces=FACES,
                excised_at=EXCISED,
            ),
            events.Diagnosed(specimen_id=SPECIMEN, diagnoses=as_ordered(["C50.911"])),
            actor="anna",
        )
        found = with_key_view(read_recorded(Recording.open(recording)))
        take(store, found, case_id=CASE, specimen_id=SPECIMEN, actor="anna")
        said = interpretation(faces=findings, at=datetime.now(UTC), text="Looked at with care.")
        store.append(CASE, events.Interpreted(specimen_id=SPECIMEN, interpretation=said), actor="anna")
    return path


def sign(record: Path) -> None:
    with CaseStore.open(record, writable=True) as store:
        store.append(CASE, events.Signed(specimen_id=SPECIMEN, by=SURGEON), actor="anna")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def written(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, OctMarginError), result.output
    return str(result.exception)


def text_of(pdf: Path) -> Iterator[str]:
    document = pypdfium2.PdfDocument(pdf)
    for index in range(len(document)):
        page = document[index]
        content = page.get_textpage()
        yield " ".join(content.get_text_range().split())
        content.close()
        page.close()
    document.close()


def pictures_in(pdf: Path) -> int:
    document = pypdfium2.PdfDocument(pdf)
    found = 0
    for index in range(len(document)):
        page = document[index]
        pictures = page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE], max_depth=6)
        # A swatch of the legend is 44 pixels wide.
        found += sum(picture.get_px_size()[0] > 100 for picture in pictures)
        page.close()
    document.close()
    return found


def test_before_signing_a_report_is_preliminary_and_after_it_final(record: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(CASE, "--record", record, "-o", out)
    preliminary = list(text_of(out / "report-s-1-preliminary.pdf"))
    assert all("PRELIMINARY" in page and "SYNTHETIC spectra" in page for page in preliminary)
    sign(record)
    told = written(CASE, "--record", record, "-o", out)
    assert "report-s-1-final.pdf: final, SYNTHETIC" in told
    final = " ".join(text_of(out / "report-s-1-final.pdf"))
    assert "Signed by Dr. Amina Okafor on" in final
    assert "PRELIMINARY" not in final
    with CaseStore.open(record) as store:
        signature = store.case(CASE).specimens[0].signature
    assert signature is not None
    assert signature.log_head in final.replace(" ", "")


def test_what_was_signed_is_shown_as_it_was_and_what_came_later_apart_from_it(
    record: Path, tmp_path: Path
) -> None:
    sign(record)
    arguments = (CASE, "--record", record, "--no-pictures", "-f", "text")
    written(*arguments, "-o", tmp_path / "then")
    at = datetime.now(UTC)
    again = ReExcision(face="medial", at=at, why="tumour at ink", by="Dr. Lee", immediate=False)
    result = PathologyResult(face="medial", finding="positive", entity="invasive carcinoma")
    with CaseStore.open(record, writable=True) as store:
        store.append(
            CASE,
            events.Fixed(specimen_id=SPECIMEN, formalin_at=at),
            events.ReExcised(specimen_id=SPECIMEN, re_excision=again),
            events.Correlated(specimen_id=SPECIMEN, results=(result,)),
            events.Addended(specimen_id=SPECIMEN, by=SURGEON, text="Seen again.", corrects=False),
            actor="anna",
        )
    written(*arguments, "-o", tmp_path / "now")
    then = (tmp_path / "then" / "report-s-1-final.txt").read_text(encoding="utf-8").splitlines()
    now = (tmp_path / "now" / "report-s-1-amended.txt").read_text(encoding="utf-8")
    gone = [line for line in then if line not in now.splitlines()]
    # The state, the text that stood where pathology is now, and where the record stands: nothing that was signed.
    assert all(
        re.search(
            "- FINAL$|^Signed by|No result of pathology|when there is one|Head:|^    [0-9a-f]+:?[0-9a-f]+$|Made 20",
            line,
        )
        for line in gone
    ), gone
    later = now.split("RECORDED AFTER SIGNING")[1].split("WHERE READER")[0]
    assert "In formalin" in later
    assert "Re-excision, medial" in later
    assert "in another operation, by Dr. Lee: tumour at ink" in " ".join(later.split())


def test_a_report_has_the_pictures_of_the_recording(record: Path, tmp_path: Path) -> None:
    written(CASE, "--record", record, "-o", tmp_path, "-f", "pdf", "-f", "html")
    # Of each face a map and an en-face picture, and of the suspicious one its key view.
    assert pictures_in(tmp_path / "report-s-1-preliminary.pdf") == 5
    html = (tmp_path / "report-s-1-preliminary.html").read_text(encoding="utf-8")
    assert len(re.findall(r"data:image/jpeg", html)) == 3
    assert "B-scan through key view 1 of the medial face, frame 4: suspicious at A-lines 0 to 31" in html


def test_where_reader_and_algorithm_disagree_the_report_and_its_reader_are_told(
    record: Path, tmp_path: Path
) -> None:
    written(CASE, "--record", record, "-o", tmp_path, "-f", "text", "--no-pictures")
    text = " ".join((tmp_path / "report-s-1-preliminary.txt").read_text(encoding="utf-8").split())
    assert "medial: reader nothing suspicious, algorithm SUSPICIOUS, WHICH DIFFER" in text
    assert (
        "1 of 10 frames were lost (never arrived)" in text
        or "1 of 10 frames were lost (1 never arrived)" in text
    )


def test_that_somebody_looked_is_noted_in_the_record(record: Path, tmp_path: Path) -> None:
    written(CASE, "--record", record, "-o", tmp_path, "--no-pictures", "--specimen", SPECIMEN)
    with CaseStore.open(record) as store:
        (access,) = store.accesses()
    assert (access.case_id, access.what) == (CASE, "report of s-1")


def test_a_report_is_for_its_owner_alone_and_is_not_replaced_unasked(record: Path, tmp_path: Path) -> None:
    arguments = (CASE, "--record", record, "-o", tmp_path, "--no-pictures", "-f", "text")
    written(*arguments)
    path = tmp_path / "report-s-1-preliminary.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine", encoding="utf-8")
    assert "is there already" in refused(*arguments)
    assert path.read_text(encoding="utf-8") == "mine"
    written(*arguments, "--overwrite")
    assert "INDICATION" in path.read_text(encoding="utf-8")
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".report")) == []


def test_the_coding_sheet_comes_as_json_and_csv(record: Path, tmp_path: Path) -> None:
    sign(record)
    written(CASE, "--record", record, "-o", tmp_path, "-f", "coding-json", "-f", "coding-csv")
    sheet = json.loads((tmp_path / "report-s-1-final-coding.json").read_bytes())
    assert [(one["code"], one["state"]) for one in sheet["suggestions"]] == [
        ("0351T", "example"),
        ("0352T", "example"),
    ]
    assert sheet["synthetic"] is True
    with (tmp_path / "report-s-1-final-coding.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["code"]: line["state"] for line in lines if line["kind"] == "diagnosis"} == {
        "C50.911": "accepted"
    }


# ---- pictures that would be of something else


def missing(record: Path, recordings: Path) -> dict[str, str]:
    with CaseStore.open(record) as store:
        specimen = store.case(CASE).specimens[0]
    drawn = draw_pictures(specimen, key_views=3, recordings=recordings)
    assert all(one.map is not None for one in drawn.values())
    return {face: one.missing for face, one in drawn.items()}


def copy_of(recording: Path, folder: Path) -> Path:
    return Path(shutil.copytree(recording, folder / recording.name))


def test_a_recording_that_was_moved_is_found_where_it_is_now(
    record: Path, recording: Path, tmp_path: Path
) -> None:
    copy_of(recording, tmp_path / "moved")
    assert missing(record, tmp_path / "moved") == {"superior": "", "medial": ""}


def test_without_the_recording_the_maps_are_there_and_the_rest_is_said(record: Path, tmp_path: Path) -> None:
    told = run(CASE, "--record", record, "-o", tmp_path, "--recordings", tmp_path / "nowhere")
    assert told.exit_code == 0
    assert told.stderr.count("No picture of the tissue") == 2
    text = " ".join(text_of(tmp_path / "report-s-1-preliminary.pdf"))
    assert text.count("No picture of the tissue") == 2
    assert pictures_in(tmp_path / "report-s-1-preliminary.pdf") == 2


def test_a_recording_whose_log_was_changed_gives_no_picture(
    record: Path, recording: Path, tmp_path: Path
) -> None:
    log = copy_of(recording, tmp_path / "changed") / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"suspicious"', b'"suspiciouS"', 1))
    assert all("the log was changed" in why for why in missing(record, tmp_path / "changed").values())


def test_another_recording_under_the_same_name_gives_no_picture(
    record: Path, recording: Path, tmp_path: Path
) -> None:
    phantom = LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=())
    with EmbeddedBroker() as broker:
        other = asyncio.run(recorded(phantom, broker, tmp_path / "o", **JUDGED))
    other.rename(other.with_name(recording.name))
    reasons = missing(record, tmp_path / "o").values()
    assert all("not as it was when it was entered" in why for why in reasons)


def test_a_frame_that_is_damaged_since_is_a_hole_and_its_key_view_is_missed(
    record: Path, recording: Path, tmp_path: Path
) -> None:
    chunk = next(
        path for path in (copy_of(recording, tmp_path / "damaged") / "faces/medial/spectra").rglob("*")
        if path.is_file() and path.relative_to(tmp_path).as_posix().endswith("c/4/0/0")
    )  # fmt: skip
    chunk.write_bytes(chunk.read_bytes()[:-40] + b"\0" * 40)
    with CaseStore.open(record) as store:
        specimen = store.case(CASE).specimens[0]
    drawn = draw_pictures(specimen, key_views=3, recordings=tmp_path / "damaged")
    assert drawn["superior"].missing == ""
    dark, key_view_1 = drawn["medial"].missing.split("; ", 1)
    assert dark.startswith("1 of 10 frames that were judged live is not in the recording, and dark")
    assert key_view_1.startswith("key view 1: frame 4 of medial")
    assert drawn["medial"].enface is not None
    assert drawn["medial"].key_views == {}


def test_a_key_view_outside_of_what_was_scanned_gives_no_picture(record: Path, recording: Path) -> None:
    with CaseStore.open(record) as store:
        specimen = store.case(CASE).specimens[0]
    beyond = tuple(
        msgspec.structs.replace(one, key_views=(key_view(1, frame=FRAMES, last_frame=FRAMES),))
        for one in specimen.sweeps
    )
    drawn = draw_pictures(msgspec.structs.replace(specimen, sweeps=beyond), key_views=3)
    assert all("has no frame for key view 1" in one.missing for one in drawn.values())


# ---- from an export


@pytest.fixture
def export(record: Path, tmp_path: Path) -> Path:
    """As `octmargin case export` writes it."""
    sign(record)
    with CaseStore.open(record) as store:
        content = export_of(store, CASE)
    path = tmp_path / "export.json"
    path.write_bytes(content)
    return path


def test_an_export_gives_the_same_report_and_says_that_it_is_one(
    export: Path, record: Path, tmp_path: Path
) -> None:
    written(export, "-o", tmp_path / "a", "--no-pictures", "-f", "text")
    written(CASE, "--record", record, "-o", tmp_path / "b", "--no-pictures", "-f", "text")
    of_export, of_record = (
        (tmp_path / folder / "report-s-1-final.txt").read_text(encoding="utf-8").splitlines()
        for folder in "ab"
    )
    only = [line for line in of_export if line not in of_record and "Made 20" not in line]
    assert any("export.json, an export of the record" in line for line in only)
    assert len(only) <= 2


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'"finding": "nothing_suspicious",\s+"face": "medial"', '"finding": "suspicious", "face": "medial"'),
        ("Looked at with care.", "Looked at."),
        ('"laterality": "right"', '"laterality": "left"'),
        ("Dr. Amina Okafor", "Dr. Somebody Else"),
    ],
)
def test_an_export_that_was_changed_is_refused(
    export: Path, tmp_path: Path, pattern: str, replacement: str
) -> None:
    text = export.read_text(encoding="utf-8")
    changed, count = re.subn(pattern, replacement, text)
    if not count:  # keys of a finding may stand the other way round
        pattern = r'"face": "medial",\s+"finding": "nothing_suspicious"'
        changed, count = re.subn(pattern, '"face": "medial", "finding": "suspicious"', text)
    assert count
    export.write_text(changed, encoding="utf-8")
    assert "was changed" in refused(export, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_case_that_does_not_follow_from_its_events_is_refused(export: Path, tmp_path: Path) -> None:
    content = json.loads(export.read_bytes())
    content["case"]["specimens"][0]["laterality"] = "left"
    export.write_text(json.dumps(content), encoding="utf-8")
    assert "its events do not make its case" in refused(export, "-o", tmp_path / "out")


# ---- what is asked wrongly


def test_what_is_asked_wrongly_is_answered_in_one_line(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OCTMARGIN_RECORD", raising=False)
    out = ("-o", tmp_path / "out")
    assert "OCTMARGIN_RECORD" in refused("nobody", *out)
    assert "there is none" in refused("nobody", "--record", record, *out)
    assert "has no specimen s-9; registered are: s-1" in refused(
        CASE, "--record", record, "--specimen", "s-9", *out
    )
    assert "give one such as Europe/Berlin" in refused(
        CASE, "--record", record, "--time-zone", "Mars/Base", *out
    )
    assert "give one such as Europe/Berlin" in refused(
        CASE, "--record", record, "--time-zone", "../etc/passwd", *out
    )
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    assert "is no export of a case" in refused(other, *out)
    (tmp_path / "file").touch()
    assert "name a folder" in refused(CASE, "--record", record, "-o", tmp_path / "file")
    assert "--coding-site" in run("--help").output
    assert "No such file" in refused(CASE, "--record", record, "--coding-site", tmp_path / "none.toml", *out)


def test_a_referred_reading_later_is_called_so(record: Path, tmp_path: Path) -> None:
    said = interpretation(by=RADIOLOGIST, mode="referred", at=datetime.now(UTC), faces=(
        FaceFinding(face="superior", finding="nothing_suspicious"), FaceFinding(face="medial", finding="suspicious"),
    ))  # fmt: skip
    with CaseStore.open(record, writable=True) as store:
        store.append(
            CASE,
            events.Interpreted(specimen_id=SPECIMEN, interpretation=said),
            events.Signed(specimen_id=SPECIMEN, by=RADIOLOGIST),
            actor="anna",
        )
    written(CASE, "--record", record, "-o", tmp_path, "--no-pictures", "-f", "text")
    text = " ".join((tmp_path / "report-s-1-final.txt").read_text(encoding="utf-8").split())
    assert "Interpreted by: Dr. Jørgen Ström, radiologist" in text
    assert "later, on the recording (referred)" in text
