"""`octmargin simulate --record` and `octmargin assess`, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from octmargin.archive import Recording, write_recording
from octmargin.signal import Calibration
from octmargin_simulator.phantom import LayeredPhantom
from octmargin_simulator.tissue import TissueScan

OCTMARGIN = [sys.executable, "-m", "octmargin"]
ALINES, FRAMES, BLOCKS, SAMPLES = 64, 6, 4, 1024


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*OCTMARGIN, *arguments], capture_output=True, text=True, timeout=300, check=False, cwd=cwd
    )
    assert "Traceback" not in done.stderr
    return done


def output_of(*arguments: str) -> str:
    done = run(*arguments)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def complaint_of(*arguments: str, cwd: Path | None = None) -> str:
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 2, (done.stdout, done.stderr)
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("compiling")]
    assert line.startswith("octmargin: ")
    return line


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    """One face with a tumour that reaches its surface, one without."""
    return LayeredPhantom(
        2,
        samples=SAMPLES,
        alines=ALINES,
        frames=FRAMES,
        height_mm=1.5,
        faces=("superior", "posterior"),
        tumour_faces=("posterior",),
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, phantom: LayeredPhantom) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "phantom"
    write_recording(path, phantom)
    return path


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, recording: Path) -> tuple[Path, str]:
    """The folder that was written, and what was said in the terminal."""
    folder = tmp_path_factory.mktemp("results") / "out"
    return folder, output_of("assess", str(recording), "-o", str(folder), "--model", "rule-1")


def document(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "assessment.json").read_text())
    return loaded


def face_of(folder: Path, name: str) -> dict[str, Any]:
    (face,) = [face for face in document(folder)["faces"] if face["face"] == name]
    return dict(face)


def test_a_simulated_specimen_is_recorded_and_assessed(tmp_path: Path) -> None:
    sizes = ["--alines", str(ALINES), "--frames", str(FRAMES), "--samples", str(SAMPLES)]
    path = tmp_path / "rec"
    said = output_of("simulate", "--source", "shave", "--seed", "4", *sizes, "--record", str(path))
    assert f"{path}: recording of synthetic shave, seed 4 (synthetic spectra)" in said
    scan = TissueScan(4, sort="shave", alines=ALINES, frames=FRAMES, samples=SAMPLES, threads=1)  # type: ignore[arg-type]
    recorded = Recording.open(path)
    spectra = recorded.frame("shave", 3)
    assert spectra is not None
    np.testing.assert_array_equal(spectra, scan.frame("shave", 3))
    assert "shave" in output_of("assess", str(path), "-o", str(tmp_path / "out"))
    assert face_of(tmp_path / "out", "shave")["truth"] == scan.truth["shave"]


def test_the_terminal_says_one_line_per_face_and_where_the_files_are(result: tuple[Path, str]) -> None:
    folder, said = result
    lines = said.splitlines()
    assert re.match(
        r"superior +nothing suspicious +coverage 100%, visualised depth \d\.\d\d mm, in truth clear", lines[0]
    )
    assert re.match(
        r"posterior +suspicious +coverage 100%, .*nearest 0\.\d\d mm, in truth suspicious", lines[1]
    )
    assert lines[2:4] == [f"sheet: {folder}/index.html", f"document: {folder}/assessment.json"]
    assert "research use only, SYNTHETIC spectra" in lines[4]


def test_the_document_says_what_judged_and_what_it_saw(result: tuple[Path, str]) -> None:
    whole = document(result[0])
    assert whole["schema"] == 1
    assert whole["synthetic"] is True
    assert "Research use only" in whole["notice"]
    assert whole["source"].startswith("synthetic layered phantom")
    assert whole["model"]["name"] == "rule-1"
    assert len(whole["calibration_hash"]) == 16
    assert whole["policy"]["min_coverage"] == 0.95
    assert [face["face"] for face in whole["faces"]] == ["superior", "posterior"]
    for face in whole["faces"]:
        assert len(face["grid"]) == FRAMES
        assert all(len(row) == BLOCKS for row in face["grid"])
        for name in ("suspicion_map", "distance_map_mm", "visualised_depth_map_mm"):
            assert np.asarray(face[name], float).shape == (FRAMES, BLOCKS)
        assert sum(face["counts"].values()) == FRAMES * BLOCKS
        assert face["counts"]["suspicious"] == sum(row.count("S") for row in face["grid"])
        assert face["lost_frames"] == {}
        assert face["visualised_depth_mm"] > 0.3
    clear, suspicious = whole["faces"]
    assert (clear["verdict"], clear["truth"], clear["clusters"]) == ("nothing_suspicious", "clear", [])
    assert (suspicious["verdict"], suspicious["truth"]) == ("suspicious", "suspicious")
    (cluster, *_) = suspicious["clusters"]
    assert list(cluster["probabilities"]) == whole["model"]["classes"]
    assert cluster["first_frame"] <= cluster["key_frame"] <= cluster["last_frame"]
    assert "S" in suspicious["grid"][cluster["key_frame"]]


def test_the_sheet_is_whole_and_needs_nothing_from_elsewhere(result: tuple[Path, str]) -> None:
    folder, _ = result
    page = (folder / "index.html").read_text()
    assert "SYNTHETIC spectra" in page
    assert "Research use only. Not a medical device." in page
    assert "frames at most 250 µm apart" in page
    assert "in truth: suspicious" in page
    assert "://" not in page
    assert "<script" not in page
    pictures = [unquote(name) for name in re.findall(r'<img src="([^"]+)"', page)]
    assert any("posterior-finding1" in name for name in pictures)
    assert not any(re.search(r"superior-finding\d", name) for name in pictures)
    for name in pictures:
        with Image.open(folder / name) as picture:
            picture.verify()
    for face in ("superior", "posterior"):
        with Image.open(folder / f"face-{face}.png") as sheet:
            assert sheet.size[0] > 1000


def test_the_suspicious_face_comes_first_where_one_looks_closer(result: tuple[Path, str]) -> None:
    page = (result[0] / "index.html").read_text()
    headings = re.findall(r"<h3>(\w+)</h3>", page)
    assert headings == ["posterior", "superior"]


def test_lost_frames_are_holes_and_never_nothing_suspicious(tmp_path: Path, recording: Path) -> None:
    holed = tmp_path / "holed"
    shutil.copytree(recording, holed)
    chunks = holed / "faces/superior/spectra/c"
    shutil.rmtree(chunks / "2")
    (chunks / "4/0/0").write_bytes(b"not what was written")
    said = output_of("assess", str(holed), "-o", str(tmp_path / "out"), "--model", "rule-1")
    assert "superior   indeterminate      coverage 66.6%" in said
    assert "2 of 6 frames lost" in said
    assert "\n           coverage 66.6% is below 95%" in said
    face = face_of(tmp_path / "out", "superior")
    assert face["grid"][2] == face["grid"][4] == "L" * BLOCKS
    assert face["suspicion_map"][2] == [None] * BLOCKS
    assert face["counts"]["lost"] == 2 * BLOCKS
    assert face["lost_frames"] == {"missing from the recording": 1, "recorded, but damaged since": 1}
    assert face["verdict"] == "indeterminate"
    assert any("coverage 66.6% is below 95%" in reason for reason in face["reasons"])


def test_one_face_and_a_policy_of_the_site(tmp_path: Path, recording: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        'site = "t"\nconsole = "c"\n[device]\ndriver = "usb"\naddress = "x"\n'
        "[policy]\nmin_visualised_depth_mm = 1.9\n"
    )
    said = output_of(
        "assess", str(recording), "-o", str(tmp_path / "out"), "--face", "superior", "-c", str(config),
        "--threads", "2", "--model", "rule-1",
    )  # fmt: skip
    assert "posterior" not in said
    assert document(tmp_path / "out")["policy"]["min_visualised_depth_mm"] == 1.9
    assert face_of(tmp_path / "out", "superior")["verdict"] == "indeterminate"


def test_a_file_of_spectra_is_judged_as_the_recording_of_it(
    tmp_path: Path, phantom: LayeredPhantom, result: tuple[Path, str]
) -> None:
    np.save(tmp_path / "s.npy", np.stack([phantom.frame("posterior", i) for i in range(FRAMES)]))
    factory = phantom.factory_calibration
    Calibration.from_polynomial(
        factory["k_map"], factory["dispersion_rad"], samples=SAMPLES, axial_um=factory["axial_um"]
    ).save(tmp_path / "cal.npz")
    output_of(
        "assess", str(tmp_path / "s.npy"), "-o", str(tmp_path / "out"), "--calibration", str(tmp_path / "cal.npz"),
        "--model", "rule-1",
        "--width-mm", str(phantom.width_mm), "--height-mm", str(phantom.height_mm), "--synthetic", "--bits", "12",
        "--face", "posterior",
    )  # fmt: skip
    of_file, of_recording = face_of(tmp_path / "out", "posterior"), face_of(result[0], "posterior")
    assert of_file | {"truth": None} == of_recording | {"truth": None}
    assert document(tmp_path / "out")["calibration_hash"] == document(result[0])["calibration_hash"]


# -- what is refused -----------------------------------------------------------------------------------


def test_what_is_no_recording_is_one_line(tmp_path: Path, recording: Path) -> None:
    assert "none: no such recording or file of spectra" in complaint_of("assess", str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "empty: not an octmargin recording" in complaint_of("assess", str(tmp_path / "empty"))
    shutil.copytree(recording, tmp_path / "newer")
    root = tmp_path / "newer/zarr.json"
    root.write_text(root.read_text().replace('"version": 1', '"version": 9'))
    assert "recording of version 9 where version 1 is read" in complaint_of("assess", str(tmp_path / "newer"))
    assert not Path("assessment").exists()


def test_what_a_recording_tells_itself_cannot_be_given(recording: Path) -> None:
    said = complaint_of("assess", str(recording), "--width-mm", "3", "--measured")
    assert "is a recording and tells this itself; leave out --width-mm, --measured" in said


def test_a_face_that_was_not_recorded(recording: Path) -> None:
    said = complaint_of("assess", str(recording), "--face", "medial")
    assert "--face medial" in said
    assert "it has superior, posterior" in said


def test_a_model_that_does_not_exist(tmp_path: Path, recording: Path) -> None:
    said = complaint_of("assess", str(recording), "--model", "oracle", "-o", str(tmp_path / "out"))
    assert "model 'oracle' does not exist" in said
    assert not (tmp_path / "out").exists()


def test_a_file_needs_what_it_does_not_tell(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((2, 16, 512), np.uint16))
    said = complaint_of("assess", str(tmp_path / "s.npy"), "--width-mm", "3")
    assert "give --height-mm, --synthetic or --measured" in said
    told = ["--width-mm", "3", "--height-mm", "3", "--measured"]
    assert "mirror1.npy, mirror2.npy missing" in complaint_of("assess", str(tmp_path / "s.npy"), *told)
    Calibration(window="hann").save(tmp_path / "cal.npz")
    said = complaint_of("assess", str(tmp_path / "s.npy"), *told, "--calibration", str(tmp_path / "cal.npz"))
    assert "give --axial-um" in said


def test_results_are_not_mixed_and_nothing_is_overwritten(tmp_path: Path, recording: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/index.html").write_text("of yesterday")
    assert "old: is not empty" in complaint_of("assess", str(recording), "-o", str(tmp_path / "old"))
    assert (tmp_path / "old/index.html").read_text() == "of yesterday"
    (tmp_path / "file").touch()
    assert "file: is a file; name a folder" in complaint_of(
        "assess", str(recording), "-o", str(tmp_path / "file")
    )
    said = complaint_of("simulate", "--source", "shave", "--record", str(tmp_path / "old"))
    assert "old: exists already" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written(tmp_path: Path, recording: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    said = complaint_of("assess", str(recording), "-o", str(tmp_path / "locked/out"))
    assert "cannot be written" in said


def test_a_place_below_a_file_cannot_be_written(tmp_path: Path, recording: Path) -> None:
    (tmp_path / "file").touch()
    said = complaint_of("assess", str(recording), "-o", str(tmp_path / "file/out"))
    assert "cannot be written" in said
