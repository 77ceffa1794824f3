"""Frames that are not those that were recorded are not read for a picture, a review or a volume."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr
from tests.example_case import LOST_FRAME, record_spectra, sweep

from octmargin.archive.metadata import spectra_path
from octmargin.case.sweep_source import check_source, open_source
from octmargin.errors import InputError


def test_a_frame_that_was_written_over_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    path = record_spectra(tmp_path)
    array = zarr.open_group(path, mode="r+", zarr_format=3)[spectra_path("superior")]
    assert isinstance(array, zarr.Array)
    array[1] = 7
    told = sweep("superior", 1, path)
    source = open_source(told)
    check_source(told, source)
    with pytest.raises(InputError, match="frame 1 of superior is not the one that was recorded"):
        source.recording.frame("superior", 1)
    assert source.recording.frame("superior", 0) is not None
    assert source.recording.frame("superior", LOST_FRAME) is None
