"""What a console and its driver must do together, on every wire."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import numpy as np
import pytest
from tests.wire.conftest import Bench, ring_for, take_all

from octmargin.device import Driver, PedalPressed, SweepEnded
from octmargin.errors import CommandRefusedError, DeviceBusyError, LocalProtocolError
from octmargin.frames import LossCause
from octmargin.link import registers as reg
from octmargin.link.commands import WriteMem
from octmargin.link.registers import Faults, ScanState
from octmargin_drivers import link_driver


async def until_ended(driver: Driver) -> None:
    async with asyncio.timeout(60):
        async for event in driver.events():
            if isinstance(event, SweepEnded):
                return


async def test_the_console_says_who_it_is(bench: Bench, driver: Driver) -> None:
    info = await driver.identify()
    assert (info.maker, info.model, info.serial) == ("octmargin", "Simulated OCT console", "TEST-7")
    assert info.firmware == "1.0.0"
    assert info.capabilities["samples"] == bench.source.samples
    assert info.capabilities["synthetic"] is True
    assert info.capabilities["calibration"]["axial_um"] == 4.0


async def test_a_sweep_arrives_whole_in_order_and_bit_for_bit(bench: Bench, driver: Driver) -> None:
    plan = bench.plan(face="inferior")
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    started = await driver.start(ring)
    await until_ended(driver)
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert lost == []
    assert account.numbered == len(frames) == plan.frames
    assert [sequence - started.first_sequence for sequence, _, _ in frames] == list(range(plan.frames))
    for _, index, spectra in frames:
        np.testing.assert_array_equal(spectra, bench.source.frame("inferior", index))


async def test_sequence_numbers_go_on_over_sweeps(bench: Bench, driver: Driver) -> None:
    plan = bench.plan(frames=3)
    ring, cursor = ring_for(plan)
    for _ in range(3):
        await driver.configure(plan)
        await driver.start(ring)
        await until_ended(driver)
        await driver.stop()
    frames, lost = take_all(cursor)
    assert [sequence for sequence, _, _ in frames] == list(range(9))
    assert [index for _, index, _ in frames] == [0, 1, 2] * 3
    assert lost == []


async def test_a_sweep_goes_on_behind_what_has_been_seen(bench: Bench, driver: Driver) -> None:
    plan = dataclasses.replace(bench.plan(), first_frame=25)
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    await driver.start(ring)
    await until_ended(driver)
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert [index for _, index, _ in frames] == list(range(25, 40))
    assert (lost, account.numbered) == ([], 15)
    # The next sweep begins at its beginning again.
    await driver.configure(bench.plan(frames=3))
    await driver.start(ring)
    await until_ended(driver)
    await driver.stop()
    assert [index for _, index, _ in take_all(cursor)[0]] == [0, 1, 2]


async def test_a_stopped_sweep_accounts_for_every_numbered_frame(bench: Bench, driver: Driver) -> None:
    plan = bench.plan(line_rate_hz=100)
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    await driver.start(ring)
    first = await asyncio.to_thread(cursor.take, 60)
    assert first is not None
    cursor.release(first)  # type: ignore[arg-type]
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert 1 <= account.numbered < plan.frames
    assert 1 + len(frames) + sum(entry.count for entry in lost) == account.numbered


async def test_a_slow_consumer_sees_every_frame_or_its_loss(bench: Bench, driver: Driver) -> None:
    plan = bench.plan()
    ring, cursor = ring_for(plan, slots=4)
    await driver.configure(plan)
    await driver.start(ring)
    await until_ended(driver)
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert len(frames) + sum(entry.count for entry in lost) == account.numbered == plan.frames
    # What the console itself had to drop on a busy machine is told apart from what this consumer missed.
    missed = sum(entry.count for entry in lost if entry.cause is LossCause.CONSUMER_SLOW)
    assert cursor.dropped == missed > 0
    assert len(frames) == 4, "the newest frames are kept, as many as there are slots"
    assert [index for _, index, _ in frames] == sorted(index for _, index, _ in frames)


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 999), ("alines", 33), ("frames", 41), ("line_rate_hz", 1e6), ("face", "nowhere")],
)
async def test_a_plan_that_the_console_cannot_scan_is_refused_by_name(
    bench: Bench, driver: Driver, field: str, value: object
) -> None:
    plan = dataclasses.replace(bench.plan(), **{field: value})
    with pytest.raises(
        CommandRefusedError, match=f"refuses {field} = .*invalid parameter.*octmargin devices"
    ):
        await driver.configure(plan)


async def test_a_second_program_is_told_that_the_console_is_busy(bench: Bench, driver: Driver) -> None:
    second = bench.driver_class(bench.address)
    with pytest.raises(DeviceBusyError, match="in use by another program"):
        await second.open()
    info = await driver.identify()
    assert info.serial == "TEST-7", "the first program must not notice"


async def test_a_sweep_cannot_be_started_twice_nor_stopped_before(bench: Bench, driver: Driver) -> None:
    plan = bench.plan(frames=2)
    ring, _ = ring_for(plan)
    with pytest.raises(LocalProtocolError, match="no sweep"):
        await driver.stop()
    await driver.configure(plan)
    await driver.start(ring)
    with pytest.raises(LocalProtocolError, match="stop it first"):
        await driver.start(ring)
    await driver.stop()


async def test_a_silent_host_stops_the_sweep(bench: Bench) -> None:
    """Without the driver's heartbeat the console stops by itself: its laser must not scan for nobody."""

    def write(register: reg.Register, value: int) -> None:
        bench.console.answer(WriteMem(1, register.address, register.pack(value)))

    write(reg.HEARTBEAT_TIMEOUT_MS, 100)
    write(reg.LINE_RATE_MILLIHZ, 32 * 100 * 1000)
    write(reg.SCAN_CONTROL, 1)
    async with asyncio.timeout(60):
        while bench.console.status.state is ScanState.SCANNING:  # noqa: ASYNC110 - the console tells nobody
            await asyncio.sleep(0.01)
    assert bench.console.status.faults == Faults.HEARTBEAT_LOST
    assert bench.console.status.frames_numbered < bench.source.frames


THREE_HEARTBEATS_S = 3 * link_driver.HEARTBEAT_S


async def tells_of_the_pedal(driver: Driver, within_s: float = 60.0) -> bool:
    """Whether a driver says that the pedal was pressed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            async for event in driver.events():
                if isinstance(event, PedalPressed):
                    return True
    return False


async def test_a_press_of_the_pedal_is_told_once_and_a_bounce_is_no_second_one(
    bench: Bench, driver: Driver
) -> None:
    with bench.console._lock:  # within one heartbeat
        for _ in range(3):
            bench.console.press_pedal()
    assert await tells_of_the_pedal(driver)
    bench.console.press_pedal()
    assert await tells_of_the_pedal(driver)
    assert not await tells_of_the_pedal(driver, THREE_HEARTBEATS_S)


async def test_a_press_from_before_the_host_came_counts_for_nothing(bench: Bench) -> None:
    bench.console.press_pedal()
    driver = bench.driver_class(bench.address)
    await driver.open()
    assert not await tells_of_the_pedal(driver, THREE_HEARTBEATS_S)
    await driver.close()


async def test_a_console_of_before_has_no_pedal_and_is_used_all_the_same(bench: Bench) -> None:
    bench.console._memory.store(reg.OCT_PROTOCOL, 0x0001_0001)
    driver = bench.driver_class(bench.address)
    await driver.open()
    bench.console.press_pedal()
    assert not await tells_of_the_pedal(driver, THREE_HEARTBEATS_S)
    await driver.close()
