import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from octmargin.errors import InputError
from octmargin.frames import PixelFormat
from octmargin.spectra import CountScale
from octmargin_simulator.recorded import RecordedSource
from octmargin_simulator.source import FrameSource


def saved(path: Path, dtype: str, top: float = 4000.0) -> tuple[Path, np.ndarray]:
    spectra = (np.random.default_rng(1).random((3, 5, 32)) * top).astype(dtype)
    np.save(path / "sweep.npy", spectra)
    return path / "sweep.npy", spectra


def test_it_is_a_frame_source_that_was_measured(tmp_path: Path) -> None:
    source: FrameSource = RecordedSource(saved(tmp_path, "uint16")[0], "medial", width_mm=4.0, height_mm=3.0)
    assert not source.synthetic
    assert source.name == "sweep.npy"
    assert source.faces == ("medial",)
    assert (source.frames, source.alines, source.samples) == (3, 5, 32)
    assert (source.width_mm, source.height_mm) == (4.0, 3.0)


def test_nothing_is_claimed_of_calibration_and_truth(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "uint16")
    assert RecordedSource(path).factory_calibration == {}
    assert RecordedSource(path).truth == {}
    assert RecordedSource(path, factory_calibration={"axial_um": 5.0}).factory_calibration == {
        "axial_um": 5.0
    }


@pytest.mark.parametrize(
    ("dtype", "asked", "carried"),
    [
        ("uint16", None, PixelFormat.MONO16),
        ("uint16", PixelFormat.MONO12, PixelFormat.MONO12),
        ("uint8", None, PixelFormat.MONO8),
    ],
)
def test_integers_pass_unchanged(
    tmp_path: Path, dtype: str, asked: PixelFormat | None, carried: PixelFormat
) -> None:
    path, spectra = saved(tmp_path, dtype, top=250.0)
    source = RecordedSource(path, pixel_format=asked)
    assert source.pixel_format is carried
    assert source.count_scale is None
    for index in range(3):
        frame = source.frame("superior", index)
        np.testing.assert_array_equal(frame, spectra[index])
        assert frame.dtype == carried.dtype
        assert frame.flags.c_contiguous
        assert not frame.flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel_format", [None, PixelFormat.MONO12])
def test_floats_become_counts_by_the_stated_scale(
    tmp_path: Path, dtype: str, pixel_format: PixelFormat | None
) -> None:
    path, spectra = saved(tmp_path, dtype, top=0.5)
    source = RecordedSource(path, pixel_format=pixel_format)
    assert source.pixel_format is (pixel_format or PixelFormat.MONO16)
    scale = source.count_scale
    assert scale is not None
    for index in range(3):
        counts = source.frame("superior", index)
        assert counts.dtype == np.uint16
        assert not counts.flags.writeable
        assert counts.max() < source.pixel_format.full_scale
        restored = counts / scale.counts_per_unit + scale.offset_units
        np.testing.assert_allclose(restored, spectra[index], atol=0.51 / scale.counts_per_unit)


def test_a_given_scale_is_used(tmp_path: Path) -> None:
    path, spectra = saved(tmp_path, "float32", top=10.0)
    source = RecordedSource(path, pixel_format=PixelFormat.MONO12, count_scale=CountScale(100.0, 0.0, 4095))
    np.testing.assert_array_equal(source.frame("superior", 2), np.rint(spectra[2].astype(float) * 100.0))


def test_spectra_that_do_not_fit_the_format_are_refused(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "uint16", top=9000.0)
    with pytest.raises(InputError, match="exceeds 12 bits"):
        RecordedSource(path, pixel_format=PixelFormat.MONO12)
    with pytest.raises(InputError, match="do not pass unchanged as MONO8"):
        RecordedSource(path, pixel_format=PixelFormat.MONO8)
    path, spectra = saved(tmp_path, "float32")
    with pytest.raises(InputError, match="8 bits are too few"):
        RecordedSource(path, pixel_format=PixelFormat.MONO8)
    with pytest.raises(InputError, match="same format"):
        RecordedSource(path, count_scale=CountScale(1.0, 0.0, 4095))
    spectra[1, 2, 3] = np.nan
    np.save(path, spectra)
    with pytest.raises(InputError, match=r"not finite, first at frame 1, A-line 2, sample 3"):
        RecordedSource(path, count_scale=CountScale(1.0, 0.0, 65535))


def test_integers_that_cannot_be_mapped_are_ready_before_they_are_asked_for(tmp_path: Path) -> None:
    _, spectra = saved(tmp_path, "uint16")
    with h5py.File(tmp_path / "sweep.h5", "w") as file:
        file["raw"] = spectra
    source = RecordedSource(tmp_path / "sweep.h5")
    first = source.frame("superior", 1)
    assert np.shares_memory(first, source.frame("superior", 1))
    np.testing.assert_array_equal(first, spectra[1])


def test_unknown_faces_and_frames_are_refused(tmp_path: Path) -> None:
    for dtype in ("uint16", "float32"):
        source = RecordedSource(saved(tmp_path, dtype)[0])
        with pytest.raises(InputError, match="no face 'medial'"):
            source.frame("medial", 0)
        with pytest.raises(InputError, match="no frame 3"):
            source.frame("superior", 3)


@pytest.mark.real_data
def test_the_real_c_scan_crosses_as_counts() -> None:
    beside_checkout = Path(__file__).resolve().parents[4] / "shared" / "data"
    path = Path(os.environ.get("OCTMARGIN_REAL_DATA", beside_checkout)) / "py-oct-calibration" / "cscan.npy"
    if not path.is_file():
        pytest.skip("no real spectra: set OCTMARGIN_REAL_DATA to the folder that holds py-oct-calibration")
    source = RecordedSource(path, width_mm=5.0, height_mm=5.0)
    assert (source.frames, source.alines, source.samples) == (100, 100, 1024)
    spectra = np.load(path, mmap_mode="r")
    scale = source.count_scale
    assert scale is not None
    for index in (0, 57, 99):
        restored = source.frame("superior", index) / scale.counts_per_unit + scale.offset_units
        np.testing.assert_allclose(restored, spectra[index], atol=0.51 / scale.counts_per_unit)
