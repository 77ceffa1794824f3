"""The example case's objects, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from tests.example_case import case, record_spectra, specimen

from octmargin.dicom.objects import objects_of
from octmargin.dicom.settings import DicomSection

SETTINGS = DicomSection(institution="North General")
PDF = b"%PDF-1.7\nthe report\n%%EOF"


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_spectra(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="session")
def make(recording: Path) -> Callable[..., list[Dataset]]:
    """The objects of the example case, with changes of its specimen."""

    def objects(settings: DicomSection = SETTINGS, **changes: object) -> list[Dataset]:
        return list(objects_of(case(specimen(recording, **changes)), "lump-1", settings, pdf=PDF))

    return objects


@pytest.fixture(scope="session")
def objects(make: Callable[..., list[Dataset]]) -> list[Dataset]:
    return make()
