"""`octmargin case`: a case from its first specimen to its closed report, and what the commands refuse."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from tests.unit.case.test_taking import crafted, face, verdict
from typer.testing import CliRunner

from octmargin.case.record.store import CaseStore
from octmargin.cli import app
from octmargin.commands.case import case
from octmargin.errors import CaseRefusedError, InputError, RecordError

SURGEON = "--by 'Dr. Reyes' --role surgeon"


class Desk:
    """The commands on one record."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "record.db"

    def __call__(self, line: str, *, expect: type[Exception] | None = None) -> str:
        result: Result = CliRunner().invoke(
            app, ["case", *shlex.split(line)], env={"OCTMARGIN_RECORD": str(self.path)}
        )
        if expect is not None:
            assert isinstance(result.exception, expect), (line, result.output, result.exception)
            text = str(result.exception)
            assert "\n" not in text
            return text
        assert result.exit_code == 0, (line, result.output, result.exception)
        return result.output


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made("init")
    return made


def scanned(desk: Desk, tmp_path: Path) -> None:
    """A case whose specimen was scanned, from a recording that has its own names for both."""
    desk("new case-7 --indication 'breast-conserving surgery'")
    desk("identify case-7 --family Test --given Patient --patient-id 0001 --birth-date 1970-01-31 --sex F")
    desk("order case-7 --laterality left --accession A-17 --diagnosis C50.912")
    desk(
        "register case-7 s-1 --kind lumpectomy --laterality left --orientation x --face medial --face lateral "
        "--excised now"
    )
    told = desk(f"take {crafted(tmp_path)} --case case-7 --specimen s-1")
    assert "2 sweeps and 3 other events are new" in told


def signed(desk: Desk, tmp_path: Path) -> str:
    scanned(desk, tmp_path)
    findings = "--finding medial=suspicious --finding lateral=indeterminate --action medial=re-excised"
    desk(
        f"interpret case-7 s-1 {SURGEON} {findings} --final --taxonomy 2086X0206X --text 'More at the medial face.'"
    )
    stale = head_of(desk)
    desk("re-excise case-7 s-1 medial --by 'Dr. Reyes' --why 'suspicious in OCT'")
    assert "something was added" in desk(f"sign case-7 s-1 {SURGEON} --head {stale}", expect=CaseRefusedError)
    assert "--head" in desk(f"sign case-7 s-1 {SURGEON}", expect=InputError), "nobody can be asked here"
    return desk(f"sign case-7 s-1 {SURGEON} --head {head_of(desk)}")


def head_of(desk: Desk) -> str:
    """As somebody sees it who looks at the case."""
    [head] = [line for line in desk("show case-7").splitlines() if line.startswith("head: ")]
    return head.removeprefix("head: ")


def test_a_case_from_registration_to_the_closed_report(desk: Desk, tmp_path: Path) -> None:
    head = re.search(r"head of the record: (\S+);", signed(desk, tmp_path))
    assert head is not None
    desk("formalin case-7 s-1")
    desk("formalin case-7 s-1", expect=CaseRefusedError)  # what is signed and known is not changed
    desk(f"addend case-7 s-1 {SURGEON} --text 'Formalin at once.'")
    desk("pathology case-7 s-1 medial positive --distance-mm 0 --entity DCIS --by 'Dr. Path'")
    desk("close case-7")
    shown = desk("show case-7")
    for text in (
        "case case-7: closed",
        "patient: Test, Patient (0001), born 1970-01-31, F",
        "order: A-17, left, C50.912 (by hand)",
        "SYNTHETIC: its spectra were computed, not measured",
        "medial: suspicious, coverage 62.5%, 1.02 mm deep, 1 frames lost (sweep 1)",
        "interpreter: suspicious, re-excised",
        "anna (reader): disagree, a vessel (sweep 1)",
        "by Dr. Reyes: suspicious in OCT",
        "by Dr. Reyes, operating surgeon",
        "addendum 1",
        "pathology: positive, DCIS, 0 mm",
    ):
        assert text in shown
    assert "as they were written, with 1 head written down elsewhere" in desk(f"verify --head {head[1]}")
    assert desk("list").startswith("case-7  closed")
    assert "Patient" not in desk("list")
    assert "case-7  shown" in desk("accesses")


def test_nothing_that_is_signed_is_changed_by_any_command(desk: Desk, tmp_path: Path) -> None:
    signed(desk, tmp_path)
    with CaseStore.open(desk.path) as store:
        then = store.case("case-7")
    csv = tmp_path / "pathology.csv"
    csv.write_text("case_id,specimen_id,face,finding\ncase-7,s-1,lateral,negative\n", encoding="utf-8")
    (tmp_path / "again").mkdir()
    again = crafted(tmp_path / "again", (face("medial"), verdict("medial", 9)))
    refused = (
        "new case-7",
        "identify case-7 --family Other --patient-id 2",
        "order case-7 --laterality left",
        "indicate case-7 'another'",
        "register case-7 s-1 --kind node --laterality left",
        "describe case-7 s-1 --label another",
        "confirm case-7 s-1 --laterality right --by x --why y",
        "diagnose case-7 s-1 C50.912",
        "discontinue case-7 s-1 --by x --why y",
        "withdraw case-7 s-1 --why y",
        f"interpret case-7 s-1 {SURGEON} --finding medial=nothing_suspicious",
        f"interpret case-7 s-1 {SURGEON} --finding medial=suspicious --finding lateral=suspicious --final",
        "re-excise case-7 s-1 lateral --by x --why y",
        f"sign case-7 s-1 {SURGEON} --head {head_of(desk)}",
    )
    for line in refused:
        desk(line, expect=CaseRefusedError)
    kept_beside = (
        "formalin case-7 s-1",
        f"addend case-7 s-1 {SURGEON} --text 'More.' --corrects",
        "pathology case-7 s-1 medial positive",
        f"import-pathology {csv}",
        "re-excise case-7 s-1 medial --by x --why y --later",
        "close case-7",
        "show case-7",
        "list",
        "verify",
        "head",
        "accesses",
        f"export case-7 --output {tmp_path / 'case.json'}",
        "prune --older-than-days 1",
        "prune --older-than-days 1 --erase",
        "migrate",
    )
    for line in kept_beside:
        desk(line)
    desk(f"take {again} --case case-7 --specimen s-1", expect=CaseRefusedError)
    desk("init", expect=RecordError)
    # What its page may do to a signed report: tests/unit/display/test_report_routes.py.
    desk("review case-7 none", expect=CaseRefusedError)
    told = {line.split()[0] for line in (*refused, *kept_beside)} | {"take", "init", "review"}
    assert told == {command.name or command.callback.__name__ for command in case.registered_commands}
    with CaseStore.open(desk.path) as store:
        assert store.case_at("case-7", then.log_seq) == then
        now = store.case("case-7").specimens[0]
    before = then.specimens[0]
    for name in before.__struct_fields__:
        if name not in ("phase", "addenda", "pathology", "re_excisions", "formalin_at"):
            assert getattr(now, name) == getattr(before, name)
    assert now.re_excisions[:1] == before.re_excisions


def test_a_wrong_side_stops_the_case_until_somebody_confirms(desk: Desk) -> None:
    desk("new case-7")
    desk("register case-7 s-1 --kind node --laterality right")
    told = desk("order case-7 --laterality left --diagnosis C50.912")
    assert "case case-7: confirm" in told
    assert "! to be confirmed: the order says left, specimen s-1 is registered as right" in told
    desk("close case-7", expect=CaseRefusedError)
    assert desk("confirm case-7 s-1 --laterality unknown --by x --why y", expect=SystemExit) == "2"
    told = desk("confirm case-7 s-1 --laterality left --by 'Dr. Reyes' --why 'looked at the sutures'")
    assert "case case-7: open" in told


def test_codes_of_the_other_side_and_codes_that_nobody_bills_are_refused_with_what_to_give(
    desk: Desk,
) -> None:
    desk("new case-7")
    desk("register case-7 s-1 --kind lumpectomy --laterality right")
    text = desk("diagnose case-7 s-1 C50.912", expect=CaseRefusedError)
    assert "C50.912 is the left side" in text
    assert "the specimen is right" in text
    assert text.endswith("give C50.911")
    text = desk("diagnose case-7 s-1 N63", expect=CaseRefusedError)
    assert "is not billable" in text
    quadrants = "N63.0, N63.10, N63.11, N63.12, N63.13, N63.14, N63.15"
    assert text.endswith(f"give {quadrants}, N63.31, N63.41")
    text = desk("diagnose case-7 s-1 N63.9", expect=CaseRefusedError)
    assert "is not in ICD-10-CM" in text
    assert desk("diagnose case-7 s-1 C50.9111", expect=CaseRefusedError).endswith("; give C50.911")
    desk("diagnose case-7 s-1 C50.911 C77.3")


def test_the_hour_to_formalin_is_watched(desk: Desk) -> None:
    desk("new case-7")
    told = desk("register case-7 s-1 --kind node --laterality left --excised 2026-01-05T10:00")
    assert re.search(
        r"! specimen s-1: out of the body for \d+ min, more than 60 min; put it into formalin", told
    )
    told = desk("formalin case-7 s-1 --at 2026-01-05T10:20")
    assert "!" not in told
    assert "nobody said when it was excised" in desk("register case-7 s-2 --kind shave --laterality left")


def test_pathology_comes_from_a_file_once(desk: Desk, tmp_path: Path) -> None:
    scanned(desk, tmp_path)
    file = tmp_path / "pathology.csv"
    lines = (
        "case_id,specimen_id,face,finding,distance_mm,entity,reported_at",
        "case-7,s-1,medial,positive,0,invasive carcinoma,2031-05-09T08:00:00Z",
        "case-7,s-1,lateral,close,1.5,DCIS,",
    )
    file.write_text("\n".join(lines), encoding="utf-8-sig")
    assert "2 results new, 0 known already" in desk(f"import-pathology {file}")
    assert "0 results new, 2 known already" in desk(f"import-pathology {file}")
    assert "pathology: close, DCIS, 1.5 mm" in desk("show case-7")


def test_pathology_comes_from_fhir_for_a_case_that_is_named(desk: Desk, tmp_path: Path) -> None:
    scanned(desk, tmp_path)
    file = tmp_path / "pathology.json"
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "margin"},
        "subject": {"identifier": {"value": "0001"}},
        "specimen": {"identifier": {"value": "s-1"}},
        "bodySite": {"text": "medial"},
        "valueCodeableConcept": {"text": "negative"},
    }
    file.write_text(json.dumps(observation), encoding="utf-8")
    assert "give it as --case" in desk(f"import-pathology {file}", expect=InputError)
    assert "1 result new" in desk(f"import-pathology {file} --case case-7")
    assert "1 known already" in desk(f"import-pathology {file} --case case-7")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("face,finding\n", "lacks case_id, specimen_id; its first line names case_id"),
        ("case_id,specimen_id,face,finding,name\n", "has name; its first line names"),
        ("case_id,specimen_id,face,finding\nc,s,medial\n", "line 2: has not as many fields"),
        ("case_id,specimen_id,face,finding\nc,s,medial,bad\n", "line 2: Invalid enum value 'bad'"),
        ("case_id,specimen_id,face,finding\nc,s,,negative\n", "line 2: face is empty"),
        ("case_id,specimen_id,face,finding,distance_mm\nc,s,medial,close,x\n", "line 2: Expected `float"),
        ("\x00", "line contains NUL|lacks case_id"),
    ],
)
def test_a_file_of_pathology_that_cannot_be_used_is_refused_whole(
    desk: Desk, tmp_path: Path, content: str, text: str
) -> None:
    file = tmp_path / "pathology.csv"
    file.write_text(content, encoding="utf-8")
    assert re.search(text, desk(f"import-pathology {file}", expect=InputError))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "register case-7 s-1 --kind node --laterality left --excised yesterday",
            "--excised .*: no time; give now",
        ),
        ("register case-7 s-1 --kind node --laterality left --excised 24:61", "--excised .*: no time"),
        ("describe case-7 s-1", "give --excised, --label or --container"),
        ("identify case-7 --family T --patient-id 1 --birth-date 31.1.1970", "--birth-date .*: no date"),
        (f"interpret case-7 s-1 {SURGEON} --finding medial", "--finding .*: give FACE=WORD"),
        (
            f"interpret case-7 s-1 {SURGEON} --finding medial=good",
            "give one of suspicious, nothing_suspicious",
        ),
        (
            f"interpret case-7 s-1 {SURGEON} --finding medial=suspicious --finding medial=suspicious",
            "medial is named twice",
        ),
        (
            f"interpret case-7 s-1 {SURGEON} --finding medial=suspicious --action lateral=x",
            "--action lateral: has no --finding",
        ),
        ("addend case-7 s-1 --by ' ' --role surgeon --text x", "--by: give the name"),
        ("verify --head 12", "no head of a record"),
    ],
)
def test_what_is_mistyped_is_told_in_a_line(desk: Desk, line: str, text: str) -> None:
    desk("new case-7")
    assert re.search(text, desk(line, expect=InputError))


def test_what_came_from_elsewhere_does_not_move_the_cursor(desk: Desk) -> None:
    desk("new case-7 --indication 'Te\x1b[2Jst'")
    desk("identify case-7 --family Test --patient-id 1")
    shown = desk("show case-7")
    assert "\x1b" not in shown
    assert "indication: Te\N{REPLACEMENT CHARACTER}[2Jst" in shown
    assert "patient: Test (1)\n" in shown  # nothing of a sex that nobody said


def test_an_exported_case_is_the_owners_alone_and_holds_every_event(desk: Desk, tmp_path: Path) -> None:
    scanned(desk, tmp_path)
    output = tmp_path / "case.json"
    desk(f"export case-7 --output {output}")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    content = json.loads(output.read_text(encoding="utf-8"))
    assert content["case"]["patient"]["patient_id"] == "0001"
    assert [event["kind"] for event in content["events"]][:3] == ["opened", "indicated", "identified"]
    assert content["events"][2]["payload"]["patient"]["name"]["family"] == "Test"
    assert content["head"] == desk("head").strip()
    desk(f"export case-7 --output {output}", expect=InputError)
    assert "exported to" in desk("accesses --case case-7")


def test_closed_cases_that_are_over_their_time_are_erased_only_on_demand(desk: Desk, tmp_path: Path) -> None:
    signed(desk, tmp_path)
    desk("close case-7")
    with CaseStore.open(desk.path) as store:
        newest = store.case("case-7")
    assert "0 cases would be erased" in desk("prune --older-than-days 1")
    assert newest.phase == "closed"


def run(*arguments: str, record: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OCTMARGIN_RECORD": str(record)}
    return subprocess.run(
        [sys.executable, "-m", "octmargin", "case", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )


def test_exit_codes_tell_refused_from_wrong_and_changed(desk: Desk, tmp_path: Path) -> None:
    refused = run("close", "nowhere", record=desk.path)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert (
        refused.stderr
        == "octmargin: case nowhere: there is none; `octmargin case list` names those that are\n"
    )
    assert run("list", record=tmp_path / "none.db").returncode == 2
    desk("new case-7")
    assert run("verify", "--head", f"9:{'0' * 64}", record=desk.path).returncode == 1
    assert run("verify", record=desk.path).returncode == 0
