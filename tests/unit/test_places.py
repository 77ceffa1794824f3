"""No path of the configuration is said on the bus: a folder may be named after a patient."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from octmargin.config import Config, DeviceSection, PicturesSection, RecordingSection
from octmargin.places import Places


def config(folder: str = "/data/jane-doe", **changes: object) -> Config:
    base = Config(
        site="t",
        console="c",
        device=DeviceSection(driver="usb", address="usb:1209:0c7a"),
        recording=RecordingSection(folder=folder),
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("/data/jane-doe/case-7-1: No space left", "[recording.folder]/case-7-1: No space left"),
        ("cannot write /data/jane-doe; make room", "cannot write [recording.folder]; make room"),
        ("cannot write '/data/jane-doe'.", "cannot write '[recording.folder]'."),
        ("/data/jane-doe-2 is another one", "/data/jane-doe-2 is another one"),
        ("/mnt/data/jane-doe is another one", "/mnt/data/jane-doe is another one"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_a_path_is_replaced_by_its_key_and_nothing_else(text: str, without: str) -> None:
    assert Places(config()).without(text) == without


def test_a_path_is_found_also_as_the_system_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "jane").symlink_to("real")
    places = Places(config("jane"))
    for said in (tmp_path / "jane" / "x", tmp_path / "real" / "x", "jane/x"):
        assert places.without(str(said)) == "[recording.folder]/x"
    assert places.without("a recorder of janet") == "a recorder of janet"


def test_of_two_places_the_inner_one_is_named() -> None:
    both = config("/data/doe", pictures=PicturesSection(folder="/data/doe/pictures"))
    assert Places(both).without("/data/doe/pictures/1.png and /data/doe/2") == (
        "[pictures.folder]/1.png and [recording.folder]/2"
    )


@pytest.mark.parametrize("folder", [".", "/", "./", ".."])
def test_a_folder_without_a_name_changes_no_text(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    text = "1.5 mm / 2 .. a ./b /"
    assert Places(config(folder)).without(text) == text


def test_a_file_of_spectra_is_a_place_and_a_port_is_none(tmp_path: Path) -> None:
    file = tmp_path / "doe.npy"
    file.touch()
    replay = config(device=DeviceSection(driver="replay", address=f"{file}?synthetic=no"))
    assert Places(replay).without(f"{file}?synthetic=no") == "[device.address]?synthetic=no"
    serial = config(device=DeviceSection(driver="serial", address="/dev/null?baud=115200"))
    assert Places(serial).without("/dev/null: gone") == "/dev/null: gone"
