"""Fixtures that more than one kind of test needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real spectra: OCTMARGIN_REAL_DATA, else `../shared/data` beside the checkout."""
    beside_checkout = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("OCTMARGIN_REAL_DATA", beside_checkout))
    if not folder.is_dir():
        pytest.skip(f"no real spectra at {folder}; name their folder in OCTMARGIN_REAL_DATA")
    return folder
