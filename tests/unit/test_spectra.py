from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.errors import InputError
from octmargin.spectra import CountScale, SpectraFile


def ramp(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_frames_come_as_they_were_saved(tmp_path: Path, dtype: str, order: str) -> None:
    spectra = ramp((3, 5, 16), dtype)
    np.save(tmp_path / "sweep.npy", np.asarray(spectra, order=order))  # type: ignore[call-overload]
    with SpectraFile.open(tmp_path / "sweep.npy") as file:
        assert (file.frames, file.alines, file.samples) == (3, 5, 16)
        assert file.dtype == np.dtype(dtype).newbyteorder("=")
        for index in range(3):
            frame = file.frame(index)
            np.testing.assert_array_equal(frame, spectra[index])
            assert frame.flags.c_contiguous
            assert frame.dtype == file.dtype


def test_a_two_dimensional_npy_is_one_frame(tmp_path: Path) -> None:
    spectra = ramp((5, 16), "uint16")
    np.save(tmp_path / "frame.npy", spectra)
    file = SpectraFile.open(str(tmp_path / "frame.npy"))
    assert (file.frames, file.alines, file.samples) == (1, 5, 16)
    np.testing.assert_array_equal(file.frame(0), spectra)


def test_frames_are_mapped_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "sweep.npy", ramp((3, 5, 16), "uint16"))
    frame = SpectraFile.open(tmp_path / "sweep.npy").frame(1)
    assert not frame.flags.owndata
    assert not frame.flags.writeable
    assert SpectraFile.open(tmp_path / "sweep.npy").mapped
    np.save(tmp_path / "sweep.npy", ramp((3, 5, 16), ">u2"))
    assert not SpectraFile.open(tmp_path / "sweep.npy").mapped


@pytest.mark.parametrize("suffix", ["bin", "raw", "RAW"])
@pytest.mark.parametrize("dtype", [None, "uint8", "float32"])
def test_flat_files_are_little_endian_frames(tmp_path: Path, suffix: str, dtype: str | None) -> None:
    spectra = ramp((4, 5, 16), dtype or "<u2")
    path = tmp_path / f"sweep.{suffix}"
    path.write_bytes(spectra.astype(spectra.dtype.newbyteorder("<")).tobytes())
    file = SpectraFile.open(path, samples=16, alines=5, dtype=dtype)
    assert file.frames == 4
    assert file.dtype == np.dtype(dtype or "uint16")
    np.testing.assert_array_equal(np.stack(list(file)), spectra)


@given(extra=st.integers(1, 159))
def test_a_flat_file_that_is_not_whole_frames_says_how_many_bytes_are_left_over(
    tmp_path_factory: pytest.TempPathFactory, extra: int
) -> None:
    path = tmp_path_factory.mktemp("flat") / "sweep.bin"
    path.write_bytes(bytes(3 * 160 + extra))
    with pytest.raises(InputError, match=rf"3 whole frames .* and {extra} bytes left over; check samples"):
        SpectraFile.open(path, samples=16, alines=5)


def test_a_flat_file_needs_its_shape(tmp_path: Path) -> None:
    (tmp_path / "sweep.bin").write_bytes(bytes(160))
    with pytest.raises(InputError, match="give samples and alines"):
        SpectraFile.open(tmp_path / "sweep.bin", samples=16)


def test_an_empty_flat_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweep.bin").touch()
    with pytest.raises(InputError, match="0 bytes are 0 whole frames"):
        SpectraFile.open(tmp_path / "sweep.bin", samples=16, alines=5)


def hdf5(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name.replace("__", "/")] = data
    return path


def test_hdf5_takes_the_largest_sweep(tmp_path: Path) -> None:
    sweep = ramp((3, 5, 16), "uint16")
    path = hdf5(tmp_path / "s.h5", scan__raw=sweep, small=sweep[:1], dark=np.zeros(16), label=np.bytes_(b"x"))
    with SpectraFile.open(path) as file:
        np.testing.assert_array_equal(np.stack(list(file)), sweep)


def test_hdf5_takes_the_dataset_named(tmp_path: Path) -> None:
    sweep = ramp((3, 5, 16), "float32")
    path = hdf5(tmp_path / "s.hdf5", scan__raw=sweep, scan__dark=sweep[0] + 1)
    with SpectraFile.open(path, dataset="/scan/dark") as file:
        np.testing.assert_array_equal(file.frame(0), sweep[0] + 1)


def test_hdf5_that_leaves_a_choice_asks_for_a_name(tmp_path: Path) -> None:
    sweep = ramp((3, 5, 16), "uint16")
    with pytest.raises(InputError, match=r"name one of: left, right"):
        SpectraFile.open(hdf5(tmp_path / "s.h5", left=sweep, right=sweep))
    with pytest.raises(InputError, match=r"no dataset 'raw'; it holds left, right"):
        SpectraFile.open(tmp_path / "s.h5", dataset="raw")
    with pytest.raises(InputError, match=r"name one of: none"):
        SpectraFile.open(hdf5(tmp_path / "e.h5"))


def test_what_is_not_there_or_not_spectra_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npy: no such file"):
        SpectraFile.open(tmp_path / "none.npy")
    (tmp_path / "scan.tiff").touch()
    with pytest.raises(InputError, match=r"scan\.tiff: unknown kind '\.tiff'"):
        SpectraFile.open(tmp_path / "scan.tiff")
    (tmp_path / "text.npy").write_text("not spectra")
    with pytest.raises(InputError, match=r"text\.npy: not a \.npy file"):
        SpectraFile.open(tmp_path / "text.npy")
    (tmp_path / "text.h5").write_text("not spectra")
    with pytest.raises(InputError, match=r"text\.h5: not readable as HDF5"):
        SpectraFile.open(tmp_path / "text.h5")


@pytest.mark.parametrize("cut", [1, 100, 470, 500, 600])
def test_a_truncated_npy_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "sweep.npy"
    np.save(path, ramp((3, 5, 16), "uint16"))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="truncated"):
        SpectraFile.open(path)


@pytest.mark.parametrize("shape", [(16,), (2, 3, 4, 5), (0, 5, 16), ()])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "s.npy", np.zeros(shape, np.uint16))
    with pytest.raises(InputError, match=r"shape .* is not \(alines, samples\)"):
        SpectraFile.open(tmp_path / "s.npy")


@pytest.mark.parametrize("dtype", ["int16", "complex64", "float16", "<U3", "object"])
def test_other_dtypes_are_refused(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "s.npy", np.zeros((2, 16), dtype), allow_pickle=True)
    with pytest.raises(InputError, match=r"dtype .* is not a spectrum's"):
        SpectraFile.open(tmp_path / "s.npy")
    with pytest.raises(InputError, match="is no dtype"):
        SpectraFile.open(tmp_path / "s.npy", dtype="count")


@pytest.mark.parametrize("wrong", [{"samples": 5}, {"alines": 16}, {"dtype": "float32"}])
def test_a_file_that_contradicts_what_was_asked_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    np.save(tmp_path / "s.npy", ramp((3, 5, 16), "uint16"))
    SpectraFile.open(tmp_path / "s.npy", samples=16, alines=5, dtype="uint16").close()
    with pytest.raises(InputError, match=r"in the file, but .* was asked for"):
        SpectraFile.open(tmp_path / "s.npy", **wrong)  # type: ignore[arg-type]


def test_frames_outside_the_file_or_after_closing_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", ramp((3, 5, 16), "uint16"))
    file = SpectraFile.open(tmp_path / "s.npy")
    for index in (-1, 3):
        with pytest.raises(InputError, match="it holds frames 0 to 2"):
            file.frame(index)
    file.close()
    with pytest.raises(InputError, match="already closed"):
        file.frame(0)


def test_values_that_are_not_finite_are_located_when_asked(tmp_path: Path) -> None:
    spectra = ramp((3, 5, 16), "float32")
    spectra[1, 4, 2], spectra[2, 0, 0] = np.nan, np.inf
    np.save(tmp_path / "s.npy", spectra)
    file = SpectraFile.open(tmp_path / "s.npy")
    with pytest.raises(InputError, match=r"2 values are not finite, first at frame 1, A-line 4, sample 2"):
        file.check_finite()
    with pytest.raises(InputError, match="not finite"):
        file.to_counts(4095)


def test_integer_and_finite_spectra_pass_the_check(tmp_path: Path) -> None:
    for dtype in ("uint8", "float64"):
        np.save(tmp_path / "s.npy", ramp((3, 5, 16), dtype))
        SpectraFile.open(tmp_path / "s.npy").check_finite()


def test_the_file_s_own_range_fills_the_converter_without_saturating_it(tmp_path: Path) -> None:
    spectra = np.linspace(-0.5, 1.5, 240, dtype=np.float32).reshape(3, 5, 16)
    np.save(tmp_path / "s.npy", spectra)
    file = SpectraFile.open(tmp_path / "s.npy")
    scale = file.to_counts(4095)
    assert scale.offset_units == -0.5
    assert scale.counts_per_unit == pytest.approx(4094 / 2.0)
    counts = np.stack([scale.apply(frame) for frame in file])
    assert counts.dtype == np.uint16
    assert (counts.min(), counts.max()) == (0, 4094)
    np.testing.assert_allclose(
        counts / scale.counts_per_unit + scale.offset_units, spectra, atol=0.51 * 2 / 4094
    )


def test_a_given_range_clips_what_lies_outside(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", ramp((3, 5, 16), "float32"))
    scale = SpectraFile.open(tmp_path / "s.npy").to_counts(65535, low=0.0, high=1.0)
    np.testing.assert_array_equal(
        scale.apply(np.array([-1.0, 0.0, 1.0, 2.0], np.float32)), [0, 0, 65534, 65535]
    )


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    values=st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_counts_keep_the_order_of_values(low: float, width: float, values: list[float]) -> None:
    ordered = low + width * np.sort(values)
    assert (np.diff(CountScale.between(low, low + width, 4095).apply(ordered).astype(int)) >= 0).all()


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_impossible_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match="low < high"):
        CountScale.between(low, high, 4095)


def test_values_without_a_count_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite"):
        CountScale(1.0, 0.0, 4095).apply(np.array([np.nan]))
    np.save(tmp_path / "flat.npy", np.ones((2, 16)))
    with pytest.raises(InputError, match="every value is 1"):
        SpectraFile.open(tmp_path / "flat.npy").to_counts(4095)
