"""What holds for all tests of the whole system."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def patient_recorder() -> Iterator[None]:
    """A machine that stands still is no disk that does."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BEGIN_S", "SETTLE_S", "STANDSTILL_S"):
            patch.setattr(f"octmargin.recorder.{name}", 60.0)
        yield
