"""`[record]`: what it takes, and what is found out about it before a scan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from octmargin.case.record import events
from octmargin.case.record.store import CaseStore
from octmargin.config import load_config
from octmargin.errors import ConfigError
from octmargin.record_check import check_record, record_findings
from octmargin.record_settings import RecordSection, Signer

FILE = """
site = "north"
console = "or-3"
[device]
driver = "usb"
address = "usb:1209:0c7a"
[record]
file = "record.db"
"""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('fle = "x"', 'did you mean "file"?'),
        ('time_zone = "Europe/Nowhere"', "is not known here; give one such as Europe/Berlin"),
        ("keep_days = 0", "record.keep_days"),
        ('paper = "a5"', "a4, letter"),
        ('[[record.signers]]\nname = "Dr. Reyes"\nrole = "nurse"', "radiologist, surgeon"),
        (
            2 * '[[record.signers]]\nname = "A"\nrole = "surgeon"\nuser = "rita"\n',
            'user "rita" is 2 people',
        ),
        (
            '[[record.signers]]\nname = "A"\nrole = "surgeon"\nuser = "local"\n[display]\n',
            '"A" would sign without a password',
        ),
    ],
)
def test_a_mistake_is_told_in_a_line_with_its_remedy(tmp_path: Path, more: str, says: str) -> None:
    path = tmp_path / "or.toml"
    path.write_text(FILE + more + "\n")
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_record_that_is_not_there_is_never_made_by_a_scan(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"record\.file: .*no such record; `octmargin case init` makes one"):
        check_record(RecordSection(file=str(tmp_path / "none.db")))
    assert not list(tmp_path.iterdir())


def test_coding_data_that_cannot_be_read_are_told_of(tmp_path: Path) -> None:
    CaseStore.create(tmp_path / "record.db")
    section = RecordSection(file=str(tmp_path / "record.db"), coding_site=str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match=r"record\.coding_site"):
        check_record(section)


def test_the_doctor_tells_of_a_wrong_taxonomy_and_of_cases_that_are_over_their_time(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    CaseStore.create(path)
    with CaseStore.open(path, writable=True) as store:
        at = datetime.now(UTC) - timedelta(days=40)
        store.append("case-7", events.Opened(), events.Closed(), actor="anna", at=at)
    signer = Signer(name="Dr. Reyes", role="surgeon", taxonomy="207Q00000X")
    found = list(record_findings(RecordSection(file=str(path), signers=(signer,), keep_days=30)))
    assert [(one.subject, one.level) for one in found] == [
        ("record", "ok"),
        ("record.signers, Dr. Reyes", "note"),
        ("record", "note"),
    ]
    assert "208600000X" in found[1].text
    assert found[2].text == "1 closed case older than record.keep_days = 30"
    assert list(record_findings(RecordSection(file=str(path), keep_days=50)))[1:] == []
