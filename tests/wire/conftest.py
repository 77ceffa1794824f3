"""Consoles for the wire suite: the same tests run against every transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import needs_program
from tests.wire.conformance import SIMULATED, Device, Report, check_there, device_of, needs_vhci, simulated

from octmargin.device import Driver
from octmargin.frames import Frame, LostFrames, PixelFormat, ScanPlan
from octmargin.ring import Cursor, FrameRing
from octmargin_drivers.serial import SerialDriver
from octmargin_drivers.usb import UsbDriver
from octmargin_simulator.console import Console
from octmargin_simulator.personality import Personality
from octmargin_simulator.serial_port import SerialConsole
from octmargin_simulator.usb_device import UsbConsole


class NumberedSource:
    """Spectra that are different in every frame, so that a mixed-up frame shows."""

    name = "numbered frames"
    synthetic = True
    faces = ("superior", "inferior")
    samples = 256
    alines = 32
    frames = 40
    width_mm = 4.0
    height_mm = 5.0
    pixel_format = PixelFormat.MONO12

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._data = rng.integers(0, 4096, (2, self.frames, self.alines, self.samples), dtype=np.uint16)
        self._data.flags.writeable = False

    @property
    def factory_calibration(self) -> Mapping[str, Any]:
        return {"axial_um": 4.0, "k_map": (0.0, 255.0), "dispersion_rad": (0.0,)}

    @property
    def truth(self) -> Mapping[str, str]:
        return {}

    def frame(self, face: str, index: int) -> NDArray[np.uint16]:
        return self._data[self.faces.index(face), index]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        named = metafunc.config.getoption("--console")
        metafunc.parametrize("device", [named] if named else SIMULATED, indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Against hardware only what needs no simulator; and what is marked, tells its requirement to the report."""
    if named := config.getoption("--console"):
        if not config.option.collectonly:
            asyncio.run(check_there(named))
        kept = [item for item in items if "device" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
    for item in items:
        marker = item.get_closest_marker("requirement")
        if marker is not None and isinstance(item, pytest.Function):
            item.user_properties.append(("requirement", marker.args))
            item.user_properties.append(("console", item.callspec.params["device"]))


_REPORT = Report()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _REPORT.take(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _REPORT.findings:
        return
    if config.getoption("--console"):
        terminalreporter.section("conformance")
        for line in _REPORT.lines():
            terminalreporter.line(line)
    file = config.getoption("--conformance-report")
    if file:
        Path(file).write_text(_REPORT.to_json(), encoding="utf-8")


@pytest.fixture(scope="module")
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A console to be tried: the one that --console names, else the simulator on each wire."""
    if request.config.getoption("--console"):
        yield device_of(request.param)
        return
    if request.param in ("socket", "rfc2217"):
        needs_program("ser2net")
    if request.param == "vhci":
        needs_vhci()
    with simulated(request.param, tmp_path_factory.mktemp("wire")) as console:
        yield console


LENIENT = Personality(serial="TEST-7", fifo_frames=64, heartbeat_timeout_ms=60_000)
"""Its FIFO holds a whole sweep, and it waits for its host: a machine that stands still for seconds costs no frame."""


@dataclass
class Bench:
    """A console, the transport it is served over, and what a driver needs to reach it."""

    source: NumberedSource
    console: Console
    served: UsbConsole | SerialConsole
    driver_class: type[Driver]

    @property
    def address(self) -> str:
        return self.served.address

    def plan(self, *, face: str = "superior", frames: int = 40, line_rate_hz: float = 4_000) -> ScanPlan:
        return ScanPlan(face, self.source.samples, self.source.alines, frames, 4.0, 5.0, line_rate_hz)


@pytest.fixture(params=["usb", "serial"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    source = NumberedSource()
    console = Console(source, LENIENT)
    served: UsbConsole | SerialConsole
    if request.param == "usb":
        served, driver_class = UsbConsole(console), UsbDriver
    else:
        served, driver_class = SerialConsole(console, baud=100_000_000), SerialDriver
    yield Bench(source, console, served, driver_class)
    served.close()
    console.close()


@pytest.fixture
async def driver(bench: Bench) -> AsyncIterator[Driver]:
    driver = bench.driver_class(bench.address)
    await driver.open()
    yield driver
    await driver.close()


def take_all(cursor: Cursor) -> tuple[list[tuple[int, int, NDArray[np.uint16]]], list[LostFrames]]:
    """Everything that waits in the ring: (sequence, index, copied spectra), and losses."""
    frames: list[tuple[int, int, NDArray[np.uint16]]] = []
    lost: list[LostFrames] = []
    while (entry := cursor.take(0)) is not None:
        if isinstance(entry, Frame):
            frames.append((entry.header.sequence, entry.header.index, entry.spectra.copy()))
            cursor.release(entry)
        else:
            lost.append(entry)
    return frames, lost


def ring_for(plan: ScanPlan, slots: int = 64) -> tuple[FrameRing, Cursor]:
    ring = FrameRing(slots, plan.frame_bytes)
    return ring, ring.cursor("test")
