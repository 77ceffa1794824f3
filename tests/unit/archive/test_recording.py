"""A recording gives back exactly the spectra that went in, or says in one line why it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from octmargin.archive import Recording, RecordingWriter, write_recording
from octmargin.archive.metadata import parse
from octmargin.errors import CalibrationError, InputError
from octmargin.frames import PixelFormat
from octmargin.signal import Calibration
from octmargin_simulator.tissue import TissueScan

SAMPLES, ALINES, FRAMES = 64, 16, 3


@dataclass(frozen=True)
class Source:
    """Spectra that tell from which face and frame they are; frame 1 is all zeros, as a dark one would be."""

    faces: tuple[str, ...] = ("superior", "shave 2")
    alines: int = ALINES
    frames: int = FRAMES
    pixel_format: PixelFormat = PixelFormat.MONO12
    factory_calibration: Mapping[str, Any] = field(default_factory=dict)
    truth: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = True
    name: str = "a test"
    samples: int = SAMPLES
    width_mm: float = 4.0
    height_mm: float = 2.0
    fails_at: int | None = None

    def frame(self, face: str, index: int) -> NDArray[Any]:
        if index == self.fails_at:
            raise InputError("the source is gone")
        if index == 1:
            return np.zeros((self.alines, self.samples), self.pixel_format.dtype)
        rng = np.random.default_rng([self.faces.index(face), index])
        full = self.pixel_format.full_scale
        return rng.integers(0, full + 1, (self.alines, self.samples)).astype(self.pixel_format.dtype)


def recorded(folder: Path, source: Source | None = None, **options: Any) -> Path:
    path = folder / "rec"
    write_recording(path, source or Source(), **options)
    return path


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    pixel_format=st.sampled_from(PixelFormat),
    alines=st.integers(1, 40),
    frames=st.integers(2, 4),
    faces=st.lists(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,30}", fullmatch=True),
        min_size=1,
        max_size=2,
        unique=True,
    ),
)
def test_every_count_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    pixel_format: PixelFormat,
    alines: int,
    frames: int,
    faces: list[str],
) -> None:
    source = Source(faces=tuple(faces), alines=alines, frames=frames, pixel_format=pixel_format)
    recording = Recording.open(recorded(tmp_path_factory.mktemp("r"), source))
    assert recording.faces == source.faces
    for face in faces:
        plan = recording.plan(face)
        assert (plan.frames, plan.alines, plan.samples) == (frames, alines, SAMPLES)
        assert plan.pixel_format is pixel_format
        assert recording.present(face).all()
        for index in range(frames):
            spectra = recording.frame(face, index)
            assert spectra is not None
            assert spectra.dtype == pixel_format.dtype
            np.testing.assert_array_equal(spectra, source.frame(face, index))


def test_what_is_known_of_the_specimen_comes_back(tmp_path: Path) -> None:
    source = Source(truth={"superior": "suspicious"}, synthetic=False)
    recording = Recording.open(recorded(tmp_path, source, line_rate_hz=40_000.0))
    assert recording.name == "a test"
    assert not recording.synthetic
    assert dict(recording.truth) == {"superior": "suspicious"}
    plan = recording.plan("shave 2")
    assert (plan.width_mm, plan.height_mm, plan.line_rate_hz) == (4.0, 2.0, 40_000.0)
    assert recording.calibration is None
    assert recording.axial_um is None


def test_a_simulated_specimen_brings_its_calibration_and_its_truth(tmp_path: Path) -> None:
    scan = TissueScan(3, samples=512, alines=32, frames=2, faces=("superior",), threads=1)
    write_recording(tmp_path / "rec", scan)
    recording = Recording.open(tmp_path / "rec")
    assert recording.synthetic
    assert recording.axial_um == scan.optics.axial_um
    assert dict(recording.truth) == dict(scan.truth)
    assert recording.calibration is not None
    assert recording.calibration.k_map is not None
    np.testing.assert_allclose(recording.calibration.k_map[-1], scan.optics.k_map_coefficients.sum())


def test_a_measured_calibration_is_kept_whole(tmp_path: Path) -> None:
    k_map = np.linspace(0, SAMPLES - 1, SAMPLES) ** 1.001
    calibration = Calibration(k_map=k_map, window="hamming", axial_um=3.5)
    recording = Recording.open(recorded(tmp_path, calibration=calibration))
    assert recording.calibration is not None
    np.testing.assert_array_equal(recording.calibration.k_map, k_map)
    assert recording.calibration.window == "hamming"
    assert recording.axial_um == 3.5


# -- lost frames ---------------------------------------------------------------------------------------


def test_a_frame_of_zeros_that_came_is_not_lost(tmp_path: Path) -> None:
    spectra = Recording.open(recorded(tmp_path)).frame("superior", 1)
    assert spectra is not None
    assert not spectra.any()


def test_a_frame_whose_chunk_is_not_there_is_lost_and_never_zeros(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    (path / "faces/superior/spectra/c/2/0/0").unlink()
    recording = Recording.open(path)
    assert recording.frame("superior", 2) is None
    assert recording.frame("superior", 0) is not None
    assert recording.frame("shave 2", 2) is not None


def test_a_frame_that_was_never_written_is_lost(tmp_path: Path) -> None:
    whole = Recording.open(recorded(tmp_path))
    plan = whole.plan("superior")
    text = json.loads((whole.path / "zarr.json").read_text())["attributes"]["octmargin"]
    text["faces"] = text["faces"][:1]
    with RecordingWriter(tmp_path / "gap", parse(whole.path, {"octmargin": text}), [plan]) as writer:
        for index in (0, 2):
            writer.put("superior", index, Source().frame("superior", index))
    gap = Recording.open(tmp_path / "gap")
    assert gap.present("superior").tolist() == [True, False, True]
    assert gap.frame("superior", 1) is None


@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b[:0], lambda b: b[:30] + b"\x7f" + b[31:]])
def test_a_damaged_frame_is_said_and_not_read(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = recorded(tmp_path)
    chunk = path / "faces/superior/spectra/c/0/0/0"
    chunk.write_bytes(damage(chunk.read_bytes()))
    recording = Recording.open(path)
    with pytest.raises(InputError, match="frame 0 of superior is damaged"):
        recording.frame("superior", 0)
    assert recording.frame("superior", 2) is not None


# -- writing -------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    with pytest.raises(InputError, match="exists already"):
        write_recording(path, Source(faces=("node",)))
    assert Recording.open(path).faces == ("superior", "shave 2")


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the source is gone"):
        recorded(tmp_path, Source(fails_at=2))
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
import numpy as np
from octmargin.archive import RecordingWriter
from octmargin.archive.metadata import FaceEntry, Metadata
from octmargin.frames import PixelFormat, ScanPlan

plan = ScanPlan("superior", 512, 64, 4000, 4.0, 4.0, 1e4, PixelFormat.MONO16)
entry = FaceEntry(name="superior", width_mm=4.0, height_mm=4.0)
metadata = Metadata(
    complete=True, software_version="1", source="test", synthetic=True, pixel_format="MONO16", faces=(entry,)
)
rng = np.random.default_rng(0)
with RecordingWriter(__import__("pathlib").Path(sys.argv[1]), metadata, [plan], live=True) as writer:
    for index in range(plan.frames):
        writer.put("superior", index, np.full((64, 512), index, np.uint16) ^ rng.integers(0, 8, (64, 512), np.uint16))
        print(index, flush=True)
"""


@pytest.mark.parametrize("frames", [1, 3, 40])
def test_what_a_killed_live_writer_had_written_is_read_to_the_last_frame(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "live"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    written = [int(next(writer.stdout)) for _ in range(frames)][-1]
    writer.kill()
    writer.wait()
    writer.stdout.close()
    recording = Recording.open(path)
    assert not recording.complete
    present = recording.present("superior")
    assert present[: written + 1].all(), "what was said to be written is there"
    last = int(np.flatnonzero(present)[-1])
    assert present[: last + 1].all()
    assert not present[last + 1 :].any()
    rng = np.random.default_rng(0)
    for index in range(last + 1):
        spectra = np.full((64, 512), index, np.uint16) ^ rng.integers(0, 8, (64, 512), np.uint16)
        np.testing.assert_array_equal(recording.frame("superior", index), spectra)
    assert recording.frame("superior", last + 1) is None


def test_a_recording_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    whole = Recording.open(recorded(tmp_path))
    text = json.loads((whole.path / "zarr.json").read_text())["attributes"]["octmargin"]
    plan, metadata = whole.plan("superior"), parse(whole.path, {"octmargin": text})
    metadata = msgspec.structs.replace(metadata, faces=metadata.faces[:1])
    with RecordingWriter(tmp_path / "live", metadata, [plan], live=True) as writer:
        writer.put("superior", 1, whole.frame("superior", 1))  # type: ignore[arg-type]
        under_way = Recording.open(tmp_path / "live")
        assert (under_way.complete, under_way.present("superior").tolist()) == (False, [False, True, False])
    done = Recording.open(tmp_path / "live")
    assert (done.complete, done.present("superior").tolist()) == (True, [False, True, False])


def test_files_are_written_by_the_thread_that_asks_for_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread of somebody else that hangs with the disk would be waited for at the end of the process."""
    replace, by = Path.replace, set[str]()

    def noted(path: Path, target: Path) -> Path:
        by.add(threading.current_thread().name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    recorded(tmp_path)
    assert by == {threading.current_thread().name}


def test_a_face_that_cannot_name_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be recorded"):
        recorded(tmp_path, Source(faces=("../elsewhere",)))
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_for_other_spectra_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="128 samples"):
        recorded(tmp_path, calibration=Calibration(k_map=np.arange(128.0)))


def test_a_place_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        write_recording(tmp_path / "none" / "rec", Source())


# -- opening -------------------------------------------------------------------------------------------


def test_no_folder_and_no_recording(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Recording.open(tmp_path / "none")
    with pytest.raises(InputError, match="not an octmargin recording"):
        Recording.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; a recording is a folder"):
        Recording.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda ours: ours.update(version=2), "version 2 where version 1 is read"),
        (lambda ours: ours.update(format="other"), "not an octmargin recording"),
        (lambda ours: ours.pop("synthetic"), "missing required field `synthetic`"),
        (lambda ours: ours.update(pixel_format="MONO10"), "MONO10"),
        (lambda ours: ours.update(faces=[]), "faces"),
        (lambda ours: ours["faces"].append(ours["faces"][0]), "names a face twice"),
        (lambda ours: ours["faces"][0].update(width_mm=-1), "width_mm"),
        (lambda ours: ours["faces"][0].update(name="medial"), "faces/medial/spectra is missing"),
        (lambda ours: ours.update(pixel_format="MONO8"), "uint16"),
        (lambda ours: ours.update(calibration={"kind": "file"}), "calibration.npz"),
    ],
)
def test_a_description_that_does_not_fit_is_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], says: str
) -> None:
    path = recorded(tmp_path)
    document = json.loads((path / "zarr.json").read_text())
    change(document["attributes"]["octmargin"])
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=says) as refusal:
        Recording.open(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["zarr.json", "faces/superior/spectra/zarr.json", "faces/superior/present/c/0"]
)
def test_a_file_that_is_cut_short_is_an_input_error(tmp_path: Path, name: str) -> None:
    path = recorded(tmp_path)
    (path / name).write_bytes((path / name).read_bytes()[:-5])
    with pytest.raises(InputError, match="restore it from a copy"):
        Recording.open(path)


def test_what_was_not_planned_cannot_be_asked_for(tmp_path: Path) -> None:
    recording = Recording.open(recorded(tmp_path))
    with pytest.raises(InputError, match="no face 'medial'; it has superior, shave 2"):
        recording.frame("medial", 0)
    with pytest.raises(InputError, match="no frame 3 of superior; it has frames 0 to 2"):
        recording.frame("superior", 3)
