"""Fixtures that more than one kind of test needs."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more of the machine than of what is tested.
settings.register_profile(
    "octmargin", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("octmargin")


def needs_program(name: str) -> str:
    """Path of a system program; skips where it is missing, except in CI where it must be there."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI must test with it: apt-get install {name}")
    pytest.skip(f"{name} is not installed (apt-get install {name})")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("octmargin")
    group.addoption(
        "--console",
        metavar="CONSOLE",
        help="run the conformance suite (tests/wire) against this console instead of the simulator: "
        "usb:VID:PID[:SERIAL], usbip://HOST:PORT, or serial:PORT?baud=N with any port or URL that pyserial opens",
    )
    group.addoption(
        "--conformance-report", metavar="FILE", help="also write the conformance report there, as JSON"
    )


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: the garbage collector need not look at them, again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """What a library leaves open is found in the test that allows for it, not in a later one that does not."""
    if any("Exception ignored" in text for mark in item.iter_markers("filterwarnings") for text in mark.args):
        gc.collect()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real spectra: OCTMARGIN_REAL_DATA, else `../shared/data` beside the checkout."""
    beside_checkout = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("OCTMARGIN_REAL_DATA", beside_checkout))
    if not folder.is_dir():
        pytest.skip(f"no real spectra at {folder}; name their folder in OCTMARGIN_REAL_DATA")
    return folder
