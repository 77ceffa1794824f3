"""A configuration is checked whole before anything starts; an error names file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from octmargin.config import load_config
from octmargin.errors import ConfigError

MINIMAL = """
site = "north"
console = "or-3"
[device]
driver = "usb"
address = "usb:1209:0c7a"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "or.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_minimal_file_is_enough(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, MINIMAL))
    assert (config.site, config.console, config.device.driver) == ("north", "or-3", "usb")
    assert config.broker.port == 1883
    assert config.policy.dcis_margin_mm == 2.0


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[scan]\nfacess = ['superior']", r'unknown key "scan.facess"; did you mean "faces"\?'),
        ("[brokr]\nport = 1", r'unknown key "brokr"; did you mean "broker"\?'),
        ("[policy]\nmin_covrage = 0.5", r'unknown key "policy.min_covrage"; did you mean "min_coverage"\?'),
        ("[rule]\nsuspicious_att = 1.0", r'unknown key "rule.suspicious_att"'),
        (
            "[pictures]\nfolder = 'x'\nfolders = 'y'",
            r'unknown key "pictures.folders"; did you mean "folder"\?',
        ),
        ("[broker]\nport = 'high'", r'key "broker.port" is "high"; give a whole number from 1 to 65535$'),
        ("[broker]\nport = 70000", r'key "broker.port" is 70000; give a whole number from 1 to 65535$'),
        ("[scan]\nline_rate_hz = 0", r'key "scan.line_rate_hz" is 0; give a number above 0$'),
        ("[engine]\nthreads = 0", r'key "engine.threads" is 0; give a whole number of at least 1$'),
        (
            "[engine]\ninterpolation = 'spline'",
            r'key "engine.interpolation" is "spline"; give one of cubic, lanczos, linear',
        ),
        (
            "[engine]\nrunning_mean_frames = 0",
            r'key "engine.running_mean_frames" is 0; give a whole number of at least 1$',
        ),
        ("[policy]\nmin_coverage = 2.0", r"min_coverage is 2.0; give a share"),
        (
            "[case]\ncase_id = 'Jane Doe'",
            r'key "case.case_id" takes small letters without accents, digits and -',
        ),
        ("[case]\ncase_id = 'jane-doe'", r'case.case_id "jane-doe" may be a patient\'s: it has no digit'),
        (
            "[case]\nspecimen_id = 's-0412345'",
            r"case.specimen_id .* part of it reads as a number of a patient",
        ),
        ("[case]\ncase_id = 'c-12-05-1954'", r"case.case_id .* part of it reads as a date; give an opaque"),
        (
            "[case]\nid_pattern = 'n-[0-9]{8}'",
            r'case.case_id "case-0" is not of the site\'s scheme, case.id_pattern',
        ),
        (
            "[case]\nlabel = 'Doe, 12.5.1954'",
            r"case.label goes on the bus: part of it reads as a date; leave",
        ),
        ("[case]\nid_pattern = '('", r"case.id_pattern '\(' is no regular expression: .*; correct it"),
        ("[broker]\nhost = 'mqtt://or'", r'broker.host is "mqtt://or"; give a name or an address alone'),
        ("[broker]\nhost = 'or:1883'", r'broker.host is "or:1883"; .* the port as broker.port'),
        ("[scan]\nfaces = ['meier 0412345']", r"a face of scan.faces goes on the bus: part of it reads as"),
        ("[scan]\nfaces = []", r'key "scan.faces" is an empty list; give a list of at least 1 entry$'),
        (
            "[scan]\nfaces = ['superior', 'node 1', 'superior']",
            r'scan.faces names "superior" 2 times; name each',
        ),
        ("[scan]\nfaces = ['shave/1']", r'key "scan.faces.*" takes up to 31 letters'),
        ("[pictures]\nevery = 3", r'key "pictures.folder" is missing; add it'),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, addition: str, message: str) -> None:
    path = written(tmp_path, MINIMAL + addition)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_sites_own_scheme_of_identifiers_is_taken(tmp_path: Path) -> None:
    scheme = "[case]\nid_pattern = '[a-z]-[0-9]{8}'\ncase_id = 'n-20410507'\nspecimen_id = 's-00000001'"
    assert load_config(written(tmp_path, MINIMAL + scheme)).case.case_id == "n-20410507"


def test_what_a_name_takes_is_said_in_words(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL.replace('"north"', '"North Wing"'))
    with pytest.raises(
        ConfigError, match=r'key "site" takes small letters .*beginning with a letter or a digit; correct'
    ) as caught:
        load_config(path)
    assert not set("^[]*$`") & set(str(caught.value))


@pytest.mark.parametrize("host", ["localhost", "or-7.hospital.example", "10.0.0.7", "::1", "fe80::1%eth0"])
def test_names_and_addresses_of_brokers_are_taken(tmp_path: Path, host: str) -> None:
    assert load_config(written(tmp_path, MINIMAL + f"[broker]\nhost = '{host}'")).broker.host == host


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'key "device.address" is missing; add it'):
        load_config(written(tmp_path, 'site = "a"\nconsole = "b"\n[device]\ndriver = "usb"'))


def test_a_missing_file_is_named_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml: no such file; configs/or.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_what_is_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"or.toml: not TOML"):
        load_config(written(tmp_path, "site = = 1"))


def test_the_fingerprint_changes_with_any_value(tmp_path: Path) -> None:
    first = load_config(written(tmp_path, MINIMAL)).fingerprint()
    same = load_config(written(tmp_path, MINIMAL + "# a comment")).fingerprint()
    other = load_config(written(tmp_path, MINIMAL + "[policy]\nmin_coverage = 0.9")).fingerprint()
    assert first == same != other


@pytest.mark.parametrize(
    "example", sorted(Path(__file__).parents[2].glob("configs/*.toml")), ids=lambda p: p.name
)
def test_every_example_configuration_is_valid(example: Path) -> None:
    assert load_config(example).site
