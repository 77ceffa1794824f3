"""Consoles for the wire suite: the same tests run against every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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
    console = Console(source, Personality(serial="TEST-7"))
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
