"""Volumes as OME-Zarr: right by the standard's own models, and the same B-scans as the engine makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05 import Image
from typer.testing import CliRunner

from octmargin import Calibration, Reconstructor, Recording
from octmargin.archive import RecordingWriter
from octmargin.archive.metadata import FaceEntry, Metadata, StoredCalibration
from octmargin.cli import app
from octmargin.errors import InputError
from octmargin.frames import PixelFormat, ScanPlan
from octmargin.volumes import Progress, Volume, write_volumes

FACES = ("superior", "medial")
PLAN = ScanPlan("superior", 256, 48, 4, 1.2, 2.0, 1e4, PixelFormat.MONO16)
DEPTH = 101


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Two faces of noise; frame 2 of superior was lost."""
    path = tmp_path_factory.mktemp("recordings") / "case"
    entries = tuple(FaceEntry(name=face, width_mm=1.2, height_mm=2.0) for face in FACES)
    metadata = Metadata(
        complete=True, software_version="1", source="noise", synthetic=True, pixel_format="MONO16",
        axial_um=4.0, calibration=StoredCalibration(), faces=entries,
    )  # fmt: skip
    plans = [ScanPlan(face, *PLAN_REST) for face in FACES]
    rng = np.random.default_rng(3)
    with RecordingWriter(path, metadata, plans, Calibration(k_map=np.arange(256.0), axial_um=4.0)) as writer:
        for face in FACES:
            for index in range(4):
                if (face, index) != ("superior", 2):
                    writer.put(face, index, rng.integers(0, 60_000, (48, 256), np.uint16))
    return Recording.open(path)


PLAN_REST = (
    PLAN.samples,
    PLAN.alines,
    PLAN.frames,
    PLAN.width_mm,
    PLAN.height_mm,
    PLAN.line_rate_hz,
    PLAN.pixel_format,
)


@pytest.fixture(scope="module")
def volumes(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("volumes")
    arguments = ["recordings", "volume", str(recording.path), "--output", str(output), "--depth", str(DEPTH)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "SYNTHETIC" in result.output
    assert "superior.ome.zarr; lost and unknown (NaN): frames 2\n" in result.output
    return output


def test_the_models_of_the_standard_accept_it_with_axes_and_spacing(volumes: Path) -> None:
    image = Image.from_zarr(zarr.open_group(volumes / "superior.ome.zarr", mode="r"))
    (multiscale,) = image.ome_attributes.multiscales
    assert [(axis.name, axis.type, axis.unit) for axis in multiscale.axes] == [
        (name, "space", "micrometer") for name in "yzx"
    ]
    scales = [list(dataset.coordinateTransformations[0].scale) for dataset in multiscale.datasets]
    assert scales == [[500.0, 4.0, 25.0], [500.0, 8.0, 50.0], [500.0, 16.0, 100.0]]


def test_its_planes_are_the_reconstructed_frames(recording: Recording, volumes: Path) -> None:
    assert recording.calibration is not None
    reconstructor = Reconstructor(recording.calibration, samples=256, depth=DEPTH)
    for face in FACES:
        volume = np.asarray(zarr.open_group(volumes / f"{face}.ome.zarr", mode="r")["0"])
        assert volume.shape == (4, DEPTH, 48)
        for index in range(4):
            spectra = recording.frame(face, index)
            if spectra is not None:
                np.testing.assert_array_equal(volume[index], reconstructor.process(spectra).T)


def test_a_lost_frame_is_unknown_and_not_dark(volumes: Path) -> None:
    group = zarr.open_group(volumes / "superior.ome.zarr", mode="r")
    for level in ("0", "1", "2"):
        volume = np.asarray(group[level])
        assert np.isnan(volume[2]).all()
        assert np.isfinite(volume[[0, 1, 3]]).all()


def test_coarser_levels_are_means_of_intensity(volumes: Path) -> None:
    group = zarr.open_group(volumes / "medial.ome.zarr", mode="r")
    fine, coarse = (10 ** (np.asarray(group[level], np.float64) / 10) for level in ("0", "1"))
    assert coarse.shape == (4, 51, 24)
    blocks = fine[:, :100].reshape(4, 50, 2, 24, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse[:, :50], blocks, rtol=1e-4)


def test_an_existing_volume_is_not_overwritten(recording: Recording, volumes: Path) -> None:
    result = CliRunner().invoke(app, ["recordings", "volume", str(recording.path), "-o", str(volumes)])
    assert "exists already" in str(result.exception)


@pytest.fixture
def damaged(recording: Recording, tmp_path: Path) -> Path:
    """Beside the frame that was lost of superior: one that cannot be read, and one that is gone."""
    path = Path(shutil.copytree(recording.path, tmp_path / "damaged"))
    chunks = path / "faces/superior/spectra/c"
    content = bytearray((chunks / "1/0/0").read_bytes())
    content[len(content) // 2] ^= 1
    (chunks / "1/0/0").write_bytes(content)
    (chunks / "3/0/0").unlink()
    return path


def test_a_damaged_frame_is_unknown_and_told_and_the_other_faces_are_written(
    damaged: Path, volumes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "volumes"
    arguments = ["recordings", "volume", str(damaged), "-o", str(output), "--depth", str(DEPTH)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert (
        "superior.ome.zarr; lost and unknown (NaN): frames 2; damaged and unknown (NaN): frames 1, 3"
        in result.stdout
    )
    superior = zarr.open_group(output / "superior.ome.zarr", mode="r")
    whole = zarr.open_group(volumes / "superior.ome.zarr", mode="r")
    np.testing.assert_array_equal(np.asarray(superior["0"])[0], np.asarray(whole["0"])[0])
    assert np.isnan(np.asarray(superior["0"])[1:]).all()
    said = superior.attrs["octmargin"]
    assert isinstance(said, dict)
    assert (said["frames_lost"], said["frames_damaged"]) == ([2], [1, 3])
    medial, before = (
        np.asarray(zarr.open_group(folder / "medial.ome.zarr", mode="r")["0"]) for folder in (output, volumes)
    )
    np.testing.assert_array_equal(medial, before)
    assert {path.name for path in output.iterdir()} == {"superior.ome.zarr", "medial.ome.zarr"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_of_a_volume_that_fails_nothing_is_left_and_it_can_be_tried_again(
    recording: Recording, tmp_path: Path, error: BaseException
) -> None:
    assert recording.calibration is not None

    def fail_at_the_third(face: str, done: int, total: int) -> None:
        if (face, done) == ("medial", 3):
            raise error

    def write(on_progress: Progress | None) -> list[Volume]:
        assert recording.calibration is not None
        return list(
            write_volumes(
                recording, tmp_path, recording.calibration, axial_um=4.0, depth=8, on_progress=on_progress,
                faces=("medial",),
            )
        )  # fmt: skip

    with pytest.raises((InputError, KeyboardInterrupt)):
        write(fail_at_the_third)
    assert list(tmp_path.iterdir()) == []
    assert [volume.path for volume in write(None)] == [tmp_path / "medial.ome.zarr"]


def test_what_is_wrong_is_named(recording: Recording, tmp_path: Path) -> None:
    def error(*options: str) -> str:
        arguments = ["recordings", "volume", str(recording.path), "-o", str(tmp_path / "v"), *options]
        return str(CliRunner().invoke(app, arguments).exception)

    assert "it has superior, medial" in error("--face", "anterior")
    assert "depths from 1 to 128" in error("--depth", "500")


def test_no_depth_at_all_is_not_every_depth(recording: Recording, tmp_path: Path) -> None:
    arguments = ["recordings", "volume", str(recording.path), "-o", str(tmp_path / "out"), "--depth", "0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "--depth" in result.output
    assert not (tmp_path / "out").exists()
