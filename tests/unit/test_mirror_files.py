"""Mirror measurements in a folder: what is read, and what is said about files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from octmargin.errors import CalibrationError
from octmargin.mirrors import load_mirrors, load_series

X = np.linspace(0.0, 1.0, 64)


def test_a_folder_without_a_series_has_none(tmp_path: Path) -> None:
    np.save(tmp_path / "mirror1.npy", X)
    assert load_series(tmp_path) is None


def test_a_series_is_read_in_the_order_of_its_names_one_or_many_to_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "mirror-1.npy", np.stack([X, 2 * X]))
    np.save(tmp_path / "mirror-2.npy", 3 * X)
    series = load_series(tmp_path)
    np.testing.assert_allclose(series, np.outer([1, 2, 3], X - X.mean()))


def test_the_reference_arm_is_taken_away_from_a_series(tmp_path: Path) -> None:
    reference = 100 + 50 * np.sin(np.pi * X)
    np.save(tmp_path / "dark_ref.npy", reference)
    np.save(tmp_path / "mirror-1.npy", reference + X)
    np.testing.assert_allclose(load_series(tmp_path), X[None], atol=1e-12)


def test_a_series_of_another_length_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "mirror-1.npy", X)
    np.save(tmp_path / "mirror-2.npy", X[:32])
    with pytest.raises(CalibrationError, match=r"mirror-2\.npy: spectra of 32 samples where 64 are wanted"):
        load_series(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\); spectra"),
        (np.array(["fringe"]), "are wanted"),
        (np.float64(1.0), r"shape \(\); spectra"),
    ],
    ids=["three dimensions", "text", "one number"],
)
def test_a_series_that_holds_no_spectra_is_named(tmp_path: Path, content: object, message: str) -> None:
    np.save(tmp_path / "mirror-1.npy", content)  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match=rf"mirror-1\.npy: .*{message}"):
        load_series(tmp_path)


def test_a_file_of_several_spectra_is_no_single_mirror(tmp_path: Path) -> None:
    np.save(tmp_path / "mirror1.npy", np.stack([X, X]))
    np.save(tmp_path / "mirror2.npy", X)
    with pytest.raises(
        CalibrationError, match=r"mirror1\.npy: 2 spectra; one spectrum \(samples,\) is wanted"
    ):
        load_mirrors(tmp_path)
