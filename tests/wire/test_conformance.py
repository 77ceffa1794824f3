"""What a console must do, whoever made it: docs/conformance.md in code.

Against the simulator on every wire, or against hardware: `pytest tests/wire --console usb:VID:PID[:SERIAL]`, or
`--console serial:PORT?baud=N` with any port or URL that pyserial opens. Nothing here knows what the console looks at.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.wire.conformance import Device, requirement

from octmargin import Calibration
from octmargin.device import Driver, LinkTrouble, SweepAccount, SweepEnded, SweepStarted
from octmargin.errors import CommandRefusedError, DeviceError
from octmargin.frames import Frame, FrameFlags, FrameHeader, LossCause, LostFrames, PixelFormat, ScanPlan
from octmargin.link import registers as reg
from octmargin.link.registers import Faults, ScanState
from octmargin.ring import FrameRing
from octmargin_drivers import console_control
from octmargin_drivers.console_control import ConsoleControl

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
FRAMES = 20
SHORT_HEARTBEAT_MS = 500
STOPPED_SWEEP_S = 15.0
"""What a sweep would take that is stopped long before."""


@contextlib.asynccontextmanager
async def opened(device: Device) -> AsyncIterator[Driver]:
    """A driver for it; let go of also where a requirement is broken, for the next one."""
    driver = device.driver()
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


@contextlib.contextmanager
def registers(device: Device) -> Iterator[ConsoleControl]:
    """The registers alone, without a heartbeat; let go of as `opened` does."""
    wire = device.driver()._connect()
    control = ConsoleControl(wire, device.address, print)
    try:
        yield control
    finally:
        control.close()
        wire.close()


@pytest.fixture
async def driver(device: Device) -> AsyncIterator[Driver]:
    async with opened(device) as driver:
        yield driver


@pytest.fixture
def control(device: Device) -> Iterator[ConsoleControl]:
    """The registers of a console that is idle."""
    with registers(device) as control:
        control.check_protocol()
        control.ensure_idle()
        yield control
        with contextlib.suppress(DeviceError):
            control.ensure_idle()


@dataclasses.dataclass
class Swept:
    """A sweep as the host got it."""

    plan: ScanPlan
    started: SweepStarted
    account: SweepAccount
    headers: list[FrameHeader]
    spectra: list[Any]
    lost: list[LostFrames]
    troubles: list[str]


async def plan_for(device: Device, driver: Driver, **changes: Any) -> ScanPlan:
    """A small sweep that every console and its wire can carry."""
    offered = (await driver.identify()).capabilities
    alines, frames = min(offered["max_alines"], 64), min(offered["max_frames"], FRAMES)
    known = [name for name in offered["pixel_formats"] if name in PixelFormat.__members__]
    pixel_format = PixelFormat[known[0]]
    carried_hz = device.bytes_per_s / (offered["samples"] * pixel_format.dtype.itemsize) / 3
    plan = ScanPlan(
        face=offered["faces"][0],
        samples=offered["samples"],
        alines=alines,
        frames=frames,
        width_mm=offered["width_mm"],
        height_mm=offered["height_mm"],
        # To a second or so.
        line_rate_hz=min(offered["max_line_rate_hz"] or 25_000.0, carried_hz, alines * frames / 0.5),
        pixel_format=pixel_format,
    )
    return dataclasses.replace(plan, **changes)


async def sweep(driver: Driver, plan: ScanPlan) -> Swept:
    """Scan to the end."""
    ring = FrameRing(plan.frames + 4, plan.frame_bytes)
    cursor = ring.cursor("conformance")
    await driver.configure(plan)
    started = await driver.start(ring)
    troubles = []
    async with asyncio.timeout(10 + 3 * plan.frames * plan.alines / plan.line_rate_hz):
        async for event in driver.events():
            if isinstance(event, LinkTrouble):
                troubles.append(event.text)
            if isinstance(event, SweepEnded):
                break
    account = await driver.stop()
    swept = Swept(plan, started, account, [], [], [], troubles)
    while (entry := cursor.take(0)) is not None:
        if isinstance(entry, Frame):
            swept.headers.append(entry.header)
            swept.spectra.append(entry.spectra.copy())
            cursor.release(entry)
        else:
            swept.lost.append(entry)
    return swept


# -- who it is ----------------------------------------------------------------------------------------------


@requirement(
    "C01", "It names its maker, model, serial number and firmware, and is the same after it was opened again."
)
async def test_identity(device: Device, driver: Driver) -> None:
    first = await driver.identify()
    assert all((first.maker, first.model, first.serial, first.firmware))
    await driver.close()
    await driver.open()
    again = await driver.identify()
    assert (again.maker, again.model, again.serial) == (first.maker, first.model, first.serial)


@requirement("C02", "It speaks this protocol's major version.")
def test_protocol_version(control: ConsoleControl) -> None:
    assert control._read_number(reg.OCT_PROTOCOL) >> 16 == reg.PROTOCOL_VERSION >> 16
    assert control._read_number(reg.GENCP_VERSION) > 0


@requirement(
    "C03",
    "Its self-description tells samples, grid, faces and formats, and says whether spectra are computed.",
)
async def test_self_description(driver: Driver) -> None:
    offered = (await driver.identify()).capabilities
    assert offered["samples"] >= 64
    assert offered["max_alines"] >= 16, "flags are given for blocks of 16 A-lines"
    assert offered["max_frames"] >= 1
    assert offered["faces"]
    assert len(set(offered["faces"])) == len(offered["faces"])
    assert set(offered["pixel_formats"]) & set(PixelFormat.__members__)
    assert offered["width_mm"] > 0
    assert offered["height_mm"] > 0
    assert isinstance(offered["synthetic"], bool)
    assert isinstance(offered["simulated"], bool)


@requirement(
    "C04",
    "A calibration that it brings can be used: k-map within the spectrum and rising, a depth pixel in tissue.",
)
async def test_factory_calibration(driver: Driver) -> None:
    offered = (await driver.identify()).capabilities
    brought = offered.get("calibration")
    if brought is None:
        pytest.skip("it brings none: one is made with `octmargin calibrate`")
    calibration = Calibration.from_polynomial(
        brought["k_map"], brought["dispersion_rad"], samples=offered["samples"], axial_um=brought["axial_um"]
    )
    calibration.check_fits(offered["samples"])
    assert (np.diff(calibration.k_map) > 0).all() or (np.diff(calibration.k_map) < 0).all()
    assert 0.5 < brought["axial_um"] < 50


# -- registers ----------------------------------------------------------------------------------------------


@requirement("C05", "It refuses to read where nothing is, and answers the next request.")
def test_unknown_address(control: ConsoleControl) -> None:
    with pytest.raises(CommandRefusedError, match="invalid address"):
        control._read(0xFFFF_0000, 4)
    control.status()


@requirement("C06", "It refuses to have a read-only register written, and keeps its value.")
def test_read_only(control: ConsoleControl) -> None:
    before = control._read_text(reg.SERIAL_NUMBER)
    with pytest.raises(CommandRefusedError):
        control._write(reg.SERIAL_NUMBER, "ANOTHER")
    assert control._read_text(reg.SERIAL_NUMBER) == before


@requirement("C07", "It answers within the longest response time that it declares.")
def test_response_time(device: Device, control: ConsoleControl) -> None:
    longest_ms = control._read_number(reg.MAX_RESPONSE_MS)
    taken_ms = []
    for _ in range(50):
        began_s = time.perf_counter()
        control.status()
        taken_ms.append(1000 * (time.perf_counter() - began_s))
    # The median: the host's own scheduling is in each of them, the console's promise in all.
    assert float(np.median(taken_ms)) <= longest_ms + device.round_trip_ms


@requirement("C08", "It refuses a plan beyond what it offers, register by register.")
@pytest.mark.parametrize("field", ["samples", "alines", "frames", "line_rate_hz", "face"])
async def test_impossible_plan(device: Device, driver: Driver, field: str) -> None:
    offered = (await driver.identify()).capabilities
    beyond = {
        "samples": offered["samples"] + 1,
        "alines": offered["max_alines"] + 1,
        "frames": offered["max_frames"] + 1,
        "line_rate_hz": 10 * (offered["max_line_rate_hz"] or 1e7),
        "face": "no such face",
    }
    with pytest.raises(CommandRefusedError, match=f"refuses {field}"):
        await driver.configure(await plan_for(device, driver, **{field: beyond[field]}))


@requirement("C09", "While it scans it refuses another plan, and the sweep goes on.")
async def test_plan_within_a_sweep(device: Device, driver: Driver) -> None:
    control: ConsoleControl = driver._control  # type: ignore[attr-defined]
    plan = await plan_for(device, driver)
    plan = dataclasses.replace(
        plan, line_rate_hz=min(plan.line_rate_hz, plan.alines * plan.frames / STOPPED_SWEEP_S)
    )
    ring = FrameRing(plan.frames + 4, plan.frame_bytes)
    cursor = ring.cursor("conformance")
    await driver.configure(plan)
    await driver.start(ring)
    asked = await asyncio.to_thread(control.status)
    assert asked.state is ScanState.SCANNING
    with pytest.raises(CommandRefusedError):
        await asyncio.to_thread(control._write, reg.ALINES, plan.alines - 1)
    async with asyncio.timeout(60):
        while (now := await asyncio.to_thread(control.status)).frames_numbered <= asked.frames_numbered:
            assert now.state is ScanState.SCANNING, "the sweep did not go on"
    await driver.stop()
    while (entry := cursor.take(0)) is not None:
        if isinstance(entry, Frame):
            assert entry.header.alines == plan.alines
            cursor.release(entry)
    assert await asyncio.to_thread(control._read_number, reg.ALINES) == plan.alines


@requirement("C10", "Its clock runs: latched twice, it differs by the time between, within 2 %.")
def test_clock(control: ConsoleControl) -> None:
    def latched() -> tuple[float, float, float]:
        before_s = time.monotonic()
        control._write(reg.TIMESTAMP_LATCH, 1)
        after_s = time.monotonic()
        return control._read_number(reg.TIMESTAMP_NS) / 1e9, before_s, after_s

    first, first_before_s, first_after_s = latched()
    while time.monotonic() < first_after_s + 0.5:
        control.status()
    second, second_before_s, second_after_s = latched()
    # Between the requests at least, from before the first to after the second at most.
    assert 0.98 * (second_before_s - first_after_s) <= second - first
    assert second - first <= 1.02 * (second_after_s - first_before_s)


# -- sweeps -------------------------------------------------------------------------------------------------


@requirement(
    "C11", "Every frame of a sweep arrives once, in order, in its place, undamaged, or is counted as dropped."
)
async def test_whole_sweep(device: Device, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    # How soon it answers is no question here.
    monkeypatch.setattr(console_control, "ANSWER_TIMEOUT_S", 20.0)
    swept = await sweep(driver, await plan_for(device, driver))
    assert swept.troubles == []
    assert {lost.cause for lost in swept.lost} <= {LossCause.CONSOLE_FIFO}
    lost = sum(entry.count for entry in swept.lost)
    assert swept.account.numbered == len(swept.headers) + lost == swept.plan.frames
    for header in swept.headers:
        assert header.index == header.sequence - swept.started.first_sequence
        assert header.sweep == swept.started.sweep
    assert [header.sequence for header in swept.headers] == sorted(
        header.sequence for header in swept.headers
    )


@requirement("C12", "The last frame of a sweep says so, and no other.")
async def test_last_frame(device: Device, driver: Driver) -> None:
    swept = await sweep(driver, await plan_for(device, driver))
    flagged = [header.index for header in swept.headers if header.flags & FrameFlags.LAST_OF_SWEEP]
    came = {header.index for header in swept.headers}
    assert flagged == [index for index in (swept.plan.frames - 1,) if index in came]


@requirement("C13", "Spectra are those of the plan: its shape, counts within its bits, and not all the same.")
async def test_spectra(device: Device, driver: Driver) -> None:
    swept = await sweep(driver, await plan_for(device, driver))
    assert swept.spectra
    for spectra in swept.spectra:
        assert spectra.shape == (swept.plan.alines, swept.plan.samples)
        assert int(spectra.max()) <= swept.plan.pixel_format.full_scale
        assert spectra.std() > 0


@requirement("C14", "Frames come at the pace of the line rate, by the console's own clock, within 5 %.")
async def test_pace(device: Device, driver: Driver) -> None:
    swept = await sweep(driver, await plan_for(device, driver))
    stamps_s = np.array([header.device_timestamp_ns / 1e9 for header in swept.headers])
    places = np.array([header.index for header in swept.headers])
    assert (np.diff(stamps_s) > 0).all()
    frame_s = swept.plan.alines / swept.plan.line_rate_hz
    # Theil and Sen's slope: a host that stands still for a moment moves a few of the frames.
    slope_s = stats.theilslopes(stamps_s, places).slope
    assert slope_s == pytest.approx(frame_s, rel=0.05)


@requirement("C15", "Frames are numbered on over sweeps, and each sweep has a number of its own.")
async def test_numbers_go_on(device: Device, driver: Driver) -> None:
    plan = await plan_for(device, driver, frames=3)
    sweeps = [await sweep(driver, plan) for _ in range(3)]
    for before, after in pairwise(sweeps):
        assert after.started.first_sequence == before.account.next_sequence
        assert after.started.sweep != before.started.sweep


@requirement("C16", "A sweep that is stopped ends at once; no frame is numbered after that.")
async def test_stop(device: Device, driver: Driver) -> None:
    plan = await plan_for(device, driver)
    # Of short frames, and long enough to be still scanning when a busy host gets to stop it.
    offered = (await driver.identify()).capabilities
    frames = min(offered["max_frames"], 10 * plan.frames)
    plan = dataclasses.replace(
        plan, frames=frames, line_rate_hz=min(plan.line_rate_hz, plan.alines * frames / STOPPED_SWEEP_S)
    )
    ring = FrameRing(plan.frames + 4, plan.frame_bytes)
    cursor = ring.cursor("conformance")
    await driver.configure(plan)
    await driver.start(ring)
    first = await asyncio.to_thread(cursor.take, 10)
    assert isinstance(first, Frame)
    cursor.release(first)
    account = await driver.stop()
    assert account.numbered < plan.frames
    control: ConsoleControl = driver._control  # type: ignore[attr-defined]
    # A console that goes on in secret numbers one in each of these frames' times.
    frame_s = plan.alines / plan.line_rate_hz
    deadline_s = time.monotonic() + 5 * frame_s
    is_over = False
    while not is_over:
        # Asked before the look: the last one is from behind the end of the wait.
        is_over = time.monotonic() > deadline_s
        status = await asyncio.to_thread(control.status)
        assert (status.state, status.frames_numbered) == (ScanState.IDLE, account.next_sequence)
        await asyncio.sleep(frame_s / 4)  # a console does not tell by itself what it is doing


@requirement(
    "C17",
    "It goes on within a sweep where the host says, and the next sweep begins at its beginning (from 1.1 on).",
)
async def test_resume(device: Device, driver: Driver) -> None:
    control: ConsoleControl = driver._control  # type: ignore[attr-defined]
    if not control._can_resume:
        pytest.skip("it speaks protocol 1.0: interrupted faces are scanned anew")
    plan = await plan_for(device, driver)
    if plan.frames < 2:
        pytest.skip("its sweeps have one frame")
    first = plan.frames // 2
    swept = await sweep(driver, dataclasses.replace(plan, first_frame=first))
    places = [header.index for header in swept.headers]
    assert places == sorted(set(places))
    assert min(places) >= first
    assert swept.account.numbered == plan.frames - first
    again = await sweep(driver, dataclasses.replace(plan, frames=2))
    assert {header.index for header in again.headers} <= {0, 1}


# -- when things go wrong -----------------------------------------------------------------------------------


@requirement("C18", "It stops scanning when the host is silent for longer than the heartbeat, and says so.")
async def test_heartbeat(device: Device) -> None:
    async with opened(device) as driver:
        plan = await plan_for(device, driver)
        # Long enough to be still scanning when the silence is over.
        plan = dataclasses.replace(
            plan, line_rate_hz=min(plan.line_rate_hz, plan.alines * plan.frames / STOPPED_SWEEP_S)
        )
        await driver.configure(plan)
    with registers(device) as control:
        usual_ms = control._read_number(reg.HEARTBEAT_TIMEOUT_MS)
        control._write(reg.HEARTBEAT_TIMEOUT_MS, SHORT_HEARTBEAT_MS)
        try:
            control.begin_sweep(control.status())
            await asyncio.sleep(3 * SHORT_HEARTBEAT_MS / 1000)  # the silence itself
            status = control.status()
        finally:
            # Whatever it did or refuses: nobody wants a console that stops in the next operation.
            try:
                control.ensure_idle()
            finally:
                control._write(reg.HEARTBEAT_TIMEOUT_MS, usual_ms)
    assert status.state is ScanState.IDLE
    assert status.faults & Faults.HEARTBEAT_LOST
    assert status.frames_numbered - status.first_sequence < plan.frames


@requirement("C19", "A console that a host left scanning can be taken over by the next one.")
async def test_taken_over(device: Device) -> None:
    async with opened(device) as first:
        plan = await plan_for(device, first)
        await first.configure(plan)
    with registers(device) as control:
        control.begin_sweep(control.status())
    async with opened(device) as second:
        swept = await sweep(second, plan)
    came = [header for header in swept.headers if header.sweep == swept.started.sweep]
    dropped = sum(lost.count for lost in swept.lost if lost.first_sequence >= swept.started.first_sequence)
    assert len(came) + dropped == plan.frames


# -- the document -------------------------------------------------------------------------------------------


def test_the_document_lists_the_requirements_as_they_are_tested() -> None:
    written = dict(
        re.findall(r"^\| (C\d\d) \| (.+?) \|", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert written == requirement.known
