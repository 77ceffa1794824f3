"""The `[dicom]` table: what it takes, and what it says of what it does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from octmargin.config import load_config
from octmargin.dicom.settings import DicomSection
from octmargin.dicom.uids import UidMaker
from octmargin.errors import ConfigError

BASE = """
site = "north"
console = "or-1"
[device]
driver = "usb"
address = "usb:1:2"
"""
WHOLE = """
[dicom]
ae_title = "OCT1"
institution = "North General"
uid_root = "1.2.840.99999.7"
queue_folder = "/var/lib/octmargin/dicom"
[dicom.worklist]
host = "ris.example"
port = 104
ae_title = "RIS"
[dicom.archive]
host = "pacs.example"
port = 2762
ae_title = "PACS"
tls = { ca_file = "ca.pem", cert_file = "cert.pem", key_file = "key.pem" }
[dicom.commitment]
port = 11112
[dicom.web]
url = "https://pacs.example/dicom-web"
token_file = "token"
"""


def load(folder: Path, text: str) -> DicomSection | None:
    file = folder / "or.toml"
    file.write_text(BASE + text)
    return load_config(file).dicom


def test_the_whole_table(tmp_path: Path) -> None:
    dicom = load(tmp_path, WHOLE)
    assert dicom is not None
    assert str(dicom.worklist) == "RIS at ris.example:104"
    assert dicom.archive is not None
    assert dicom.archive.tls is not None
    assert dicom.archive.tls.ca_file == "ca.pem"
    assert dicom.commitment is not None
    assert dicom.performed_step is None


def test_without_it_nothing_is_configured(tmp_path: Path) -> None:
    assert load(tmp_path, "") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[dicom]\nae_titel = 'X'", 'unknown key "dicom.ae_titel"; did you mean "ae_title"?'),
        ("[dicom.archive]\nhost = 'h'\nport = 104", 'key "dicom.archive.ae_title" is missing'),
        ("[dicom]\nae_title = 'SEVENTEEN_LETTERS'", 'key "dicom.ae_title"'),
        ("[dicom]\nuid_root = '1.02.3'", 'key "dicom.uid_root"'),
        ("[dicom]\nuid_root = '1.2.840.99999.7.123456789'", 'key "dicom.uid_root"'),
        ("[dicom.web]\nurl = 'pacs.example'", 'key "dicom.web.url"'),
        ("[dicom.web]\nurl = 'https://h/d'\nusername = 'u'", "needs username and password_file"),
        ("[dicom.commitment]\nport = 11112", "dicom.archive, which is not there"),
        ("[dicom]\nretry_min_s = 5.0\nretry_max_s = 1.0", "dicom.retry_max_s is below"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pauses_grow_up_to_the_longest() -> None:
    settings = DicomSection(retry_min_s=1.0, retry_max_s=5.0)
    assert [settings.backoff_s(attempt) for attempt in (0, 1, 2, 3, 1000)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_uids_are_valid_and_follow_from_the_names() -> None:
    plain, own = UidMaker(), UidMaker("1.2.840.99999.7.12345")
    assert plain.uid("a", 1) == plain.uid("a", 1)
    assert len({plain.uid("ab", "c"), plain.uid("a", "bc"), plain.uid("abc"), own.uid("abc")}) == 4
    for uid in (plain.uid("a"), own.uid("a")):
        assert len(uid) <= 64
        assert all(part.isdigit() and (part == "0" or part[0] != "0") for part in uid.split("."))
