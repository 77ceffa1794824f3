"""A fault script does to the console what it says, on every wire, and the host's books balance all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.wire.conftest import LENIENT, Bench, NumberedSource, ring_for, take_all
from tests.wire.test_faults import Outcome, all_but, assert_balanced, collect, sweep

from octmargin.device import Disconnected, Driver, LinkTrouble, SweepEnded
from octmargin.errors import ConfigError, DeviceError
from octmargin.frames import Frame, FrameFlags, FrameHeader, LossCause
from octmargin_drivers import console_control, link_driver
from octmargin_drivers.serial import SerialDriver
from octmargin_drivers.usb import UsbDriver
from octmargin_simulator.faults import FaultScript, FaultyConsole, read_script
from octmargin_simulator.faults.schedule import Schedule
from octmargin_simulator.serial_port import SerialConsole
from octmargin_simulator.usb_device import UsbConsole

MakeBench = Callable[..., Bench]


class HoledSource(NumberedSource):
    """As from a recording that lacks frames."""

    def __init__(self, *holes: int) -> None:
        super().__init__()
        self.holes = holes

    def frame(self, face: str, index: int) -> Any:
        return None if index in self.holes else super().frame(face, index)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_control, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(link_driver, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(link_driver, "SETTLE_S", 0.5)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], FaultScript]:
    def read(text: str) -> FaultScript:
        path = tmp_path / "faults.toml"
        path.write_text(text)
        return read_script(path)

    return read


@pytest.fixture(params=["usb", "serial"])
def faulty(request: pytest.FixtureRequest, script: Callable[[str], FaultScript]) -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make(text: str, source: NumberedSource | None = None) -> Bench:
        source = source or NumberedSource()
        console = FaultyConsole(source, script(text), LENIENT)
        served: UsbConsole | SerialConsole
        if request.param == "usb":
            served, driver_class = UsbConsole(console), UsbDriver
        else:
            served, driver_class = SerialConsole(console, baud=100_000_000), SerialDriver
        console.plug_into(served)
        made.append(Bench(source, console, served, driver_class))
        return made[-1]

    yield make
    for bench in made:
        bench.served.close()
        bench.console.close()


async def one_sweep(bench: Bench, **plan: float) -> Outcome:
    driver = bench.driver_class(bench.address)
    await driver.open()
    try:
        return await sweep(bench, driver, bench.plan(**plan))  # type: ignore[arg-type]
    finally:
        await driver.close()


def happened(bench: Bench) -> dict[str, int]:
    assert isinstance(bench.console, FaultyConsole)
    return bench.console.happened


# -- frames on their way ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ('kind = "drop"', LossCause.CONSOLE_FIFO),
        ('kind = "vanish"', LossCause.WIRE),
        ('kind = "corrupt"', LossCause.DAMAGED),
        ('kind = "corrupt"\npart = "trailer"', LossCause.DAMAGED),
        ('kind = "wrong_crc"', LossCause.DAMAGED),
        ('kind = "truncate"', LossCause.DAMAGED),
        ('kind = "truncate"\npart = "trailer"', LossCause.DAMAGED),
    ],
)
async def test_a_spoiled_frame_is_lost_for_its_cause_and_no_other_with_it(
    faulty: MakeBench, fault: str, cause: LossCause
) -> None:
    bench = faulty(f"[[fault]]\n{fault}\nframes = [5, 17]")
    outcome = await one_sweep(bench)
    assert outcome.indices == all_but(bench.plan(), 5, 17)
    assert [(entry.first_sequence, entry.cause) for entry in outcome.lost] == [(5, cause), (17, cause)]
    assert sum(happened(bench).values()) == 2


@pytest.mark.parametrize("part", ["leader", "spectra", "trailer"])
async def test_a_frame_with_any_part_damaged_never_arrives(faulty: MakeBench, part: str) -> None:
    bench = faulty(f'[[fault]]\nkind = "corrupt"\npart = "{part}"\nframes = [8]')
    outcome = await one_sweep(bench)
    assert outcome.indices == all_but(bench.plan(), 8)


async def test_a_duplicate_is_taken_once(faulty: MakeBench) -> None:
    outcome = await one_sweep(faulty('[[fault]]\nkind = "duplicate"\nframes = [0, 9, 39]'))
    assert outcome.indices == list(range(40))
    assert outcome.lost == []


async def test_of_two_frames_in_wrong_order_the_late_one_is_lost_and_told(faulty: MakeBench) -> None:
    outcome = await one_sweep(faulty('[[fault]]\nkind = "reorder"\nframes = [9, 39]'))
    assert outcome.indices == all_but(faulty("").plan(), 9), "the last frame has none behind it"
    assert any("frame 9 came when it was already" in trouble.text for trouble in outcome.troubles)


# -- frames that the source does not have ------------------------------------------------------------------


async def test_a_hole_of_the_source_is_lost_and_what_goes_wrong_with_frames_cannot_happen_to_it(
    faulty: MakeBench,
) -> None:
    kinds = ("saturated", "trigger_too_fast", "duplicate", "drop")
    script = "\n".join(f'[[fault]]\nkind = "{kind}"\nframes = [9, 30]' for kind in kinds)
    bench = faulty(script, HoledSource(9, 10, 39))
    outcome = await one_sweep(bench)
    assert outcome.indices == all_but(bench.plan(), 9, 10, 30, 39)
    assert happened(bench) == dict.fromkeys(kinds, 1), "at frame 30 alone"


async def test_the_wire_fails_at_a_hole_as_anywhere(faulty: MakeBench) -> None:
    bench = faulty('[[fault]]\nkind = "delay"\nseconds = 0.05\nframes = [9]', HoledSource(9))
    outcome = await one_sweep(bench)
    assert outcome.indices == all_but(bench.plan(), 9)
    assert happened(bench) == {"delay": 1}


async def test_a_frame_that_waits_for_one_behind_it_does_not_wait_for_a_hole(faulty: MakeBench) -> None:
    bench = faulty('[[fault]]\nkind = "reorder"\nframes = [9, 37]', HoledSource(10, 38, 39))
    outcome = await one_sweep(bench)
    # Frame 9 comes behind frame 11; behind frame 37 nothing comes.
    assert outcome.indices == all_but(bench.plan(), 9, 10, 38, 39)


async def test_noise_between_frames_is_counted_as_trouble(faulty: MakeBench) -> None:
    outcome = await one_sweep(faulty('[[fault]]\nkind = "noise"\nframes = [4, 20]'))
    assert outcome.troubles
    # On a serial line, noise that looks like a preamble may swallow the beginning of what follows.
    assert set(outcome.indices) >= set(range(40)) - {3, 4, 5, 19, 20, 21}


async def test_a_delayed_frame_arrives(faulty: MakeBench) -> None:
    outcome = await one_sweep(faulty('[[fault]]\nkind = "delay"\nseconds = 0.08\nframes = [4]'))
    assert outcome.indices == list(range(40))


# -- what the console sees ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        ("saturated", FrameFlags.SATURATED),
        ("laser_off", FrameFlags.LASER_OFF),
        ("shutter_closed", FrameFlags.SHUTTER_CLOSED),
        ("trigger_too_fast", FrameFlags.TRIGGER_TOO_FAST),
    ],
)
async def test_conditions_come_with_the_frame_that_they_spoil(
    faulty: MakeBench, kind: str, flag: FrameFlags
) -> None:
    bench = faulty(f'[[fault]]\nkind = "{kind}"\nframes = [3]')
    seen = await frames_of_a_sweep(bench, 8)
    assert {header.index for header, _ in seen if header.flags & flag} == {3}
    spectra = {header.index: values for header, values in seen}
    full_scale = bench.source.pixel_format.full_scale
    if kind == "saturated":
        assert (spectra[3] == full_scale).all()
    elif kind != "trigger_too_fast":
        assert spectra[3].std() < spectra[2].std() / 10, "without light there is noise alone"


async def frames_of_a_sweep(bench: Bench, frames: int) -> list[tuple[FrameHeader, np.ndarray]]:
    """Headers and copied spectra, also of frames that do not show what the console looks at."""
    plan = bench.plan(frames=frames)
    ring, cursor = ring_for(plan)
    driver = bench.driver_class(bench.address)
    await driver.open()
    await driver.configure(plan)
    await driver.start(ring)
    await collect(driver, SweepEnded)
    await driver.stop()
    await driver.close()
    seen = []
    while isinstance(frame := cursor.take(0), Frame):
        seen.append((frame.header, frame.spectra.copy()))
        cursor.release(frame)
    return seen


async def timestamps_s(bench: Bench, frames: int) -> list[float]:
    return [header.device_timestamp_ns / 1e9 for header, _ in await frames_of_a_sweep(bench, frames)]


async def test_a_clock_that_jumps_is_seen_in_the_timestamps(faulty: MakeBench) -> None:
    seen = await timestamps_s(faulty('[[fault]]\nkind = "clock_jump"\nseconds = 50\nframes = [4]'), 10)
    steps = np.diff(seen)
    assert int(np.argmax(steps)) == 4
    assert steps[4] == pytest.approx(50, abs=1)
    assert np.delete(steps, 4).max() < 1


async def test_a_clock_that_drifts_runs_away_from_the_hosts(faulty: MakeBench) -> None:
    seen = await timestamps_s(faulty('[[fault]]\nkind = "clock_drift"\nppm = 100000\nframes = [0]'), 40)
    # Frames of 32 A-lines at 4 kHz, and 38 of them from the second trigger to the last.
    assert (seen[-1] - seen[1]) / 1.1 == pytest.approx(38 * 32 / 4000, rel=0.01)


# -- the console, its answers and its wire -----------------------------------------------------------------


async def test_a_console_that_hangs_for_a_while_loses_nothing(faulty: MakeBench) -> None:
    outcome = await one_sweep(faulty('[[fault]]\nkind = "hang"\nseconds = 0.4\nframes = [10]'))
    assert outcome.indices == list(range(40))


async def test_late_and_wrong_answers_within_a_sweep_cost_no_frame(faulty: MakeBench) -> None:
    bench = faulty(
        '[[fault]]\nkind = "late"\nseconds = 0.3\nframes = [2]\n[[fault]]\nkind = "wrong_answer"\nframes = [30]'
    )
    outcome = await one_sweep(bench, line_rate_hz=1_000)
    assert outcome.indices == list(range(40))
    assert happened(bench) == {"late": 1, "wrong_answer": 1}


async def test_a_console_that_answers_nothing_for_long_counts_as_gone(faulty: MakeBench) -> None:
    bench = faulty('[[fault]]\nkind = "silent"\nseconds = 60\nframes = [4]')
    driver, (ring, cursor) = bench.driver_class(bench.address), ring_for(bench.plan())
    await driver.open()
    plan = bench.plan(line_rate_hz=1_000)
    await driver.configure(plan)
    await driver.start(ring)
    events = await collect(driver, Disconnected)
    assert any(isinstance(event, LinkTrouble) for event in events)
    account = await driver.stop()
    await driver.close()
    assert_balanced(bench, Outcome(account, *take_all(cursor)))


async def test_a_console_that_resets_within_a_sweep_is_noticed_and_scans_on(faulty: MakeBench) -> None:
    bench = faulty('[[fault]]\nkind = "reset"\nsweeps = [1]\nframes = [6]')
    driver, (ring, cursor) = bench.driver_class(bench.address), ring_for(bench.plan())
    await driver.open()
    await driver.configure(bench.plan())
    await driver.start(ring)
    events = await collect(driver, Disconnected)
    assert "restarted within a sweep" in events[-1].text  # type: ignore[union-attr]
    account = await driver.stop()
    await driver.close()
    frames, lost = take_all(cursor)
    assert len(frames) + sum(entry.count for entry in lost) == account.numbered
    outcome = await one_sweep(bench)
    assert outcome.indices == list(range(40)), "the script's first sweep is over"
    assert bench.console.frames_ever_numbered == 7 + 40
    assert isinstance(bench.console, FaultyConsole)
    # Frame 6 was numbered and never exposed; what came before it was known, or waited in the FIFO.
    assert bench.console.never_known == 7 - account.numbered >= 1


async def test_a_stalled_endpoint_is_set_going_again(faulty: MakeBench) -> None:
    outcome = await one_sweep(faulty('[[fault]]\nkind = "stall"\nframes = [5]'))
    assert set(outcome.indices) >= set(range(40)) - {4, 5, 6, 7}


async def test_an_unplugged_console_is_gone_and_comes_back(faulty: MakeBench) -> None:
    bench = faulty('[[fault]]\nkind = "unplug"\nseconds = 3600\nsweeps = [1]\nframes = [6]')
    driver, (ring, cursor) = bench.driver_class(bench.address), ring_for(bench.plan())
    await driver.open()
    await driver.configure(bench.plan())
    await driver.start(ring)
    await collect(driver, Disconnected)
    account = await driver.stop()
    await driver.close()
    frames, lost = take_all(cursor)
    assert len(frames) + sum(entry.count for entry in lost) == account.numbered
    with pytest.raises(DeviceError):
        await bench.driver_class(bench.address).open()
    bench.served.plug_in()
    again = await until_back(bench)
    assert (await again.identify()).serial == "TEST-7"
    outcome = await sweep(bench, again, bench.plan())
    assert outcome.indices == list(range(40))
    await again.close()


async def until_back(bench: Bench) -> Driver:
    async with asyncio.timeout(60):
        while True:
            driver = bench.driver_class(bench.address)
            try:
                await driver.open()
            except DeviceError:
                await asyncio.sleep(0.05)
            else:
                return driver


async def test_another_console_may_be_plugged_in_instead(faulty: MakeBench) -> None:
    bench = faulty(
        '[[fault]]\nkind = "unplug"\nseconds = 0.1\nserial = "OTHER-1"\nsweeps = [1]\nframes = [6]'
    )
    driver, (ring, _) = bench.driver_class(bench.address), ring_for(bench.plan())
    await driver.open()
    await driver.configure(bench.plan())
    await driver.start(ring)
    await collect(driver, Disconnected)
    await driver.close()
    again = await until_back(bench)
    assert (await again.identify()).serial == "OTHER-1"
    await again.close()


# -- scripts --------------------------------------------------------------------------------------------------


def test_chances_fall_where_the_seed_says(script: Callable[[str], FaultScript]) -> None:
    def places(seed: int) -> list[tuple[int, int]]:
        schedule = Schedule(script(f'seed = {seed}\n[[fault]]\nkind = "drop"\nchance = 0.1'))
        return [(sweep, index) for sweep in (1, 2) for index in range(500) if schedule.due(sweep, index)]

    assert places(3) == places(3) != places(4)
    assert 60 <= len(places(3)) <= 140


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[fault]]\nkind = 'drop'", "never happens; say at which frames"),
        ("[[fault]]\nkind = 'drop'\nframes = [1]\nchance = 0.5", "both frames and a chance"),
        ("[[fault]]\nkind = 'explode'\nframes = [1]", "Invalid value 'explode'"),
        ("[[fault]]\nframes = [1]", "missing required field `kind`"),
        ("[[fault]]\nkind = 'delay'\nseconds = -1\nframes = [1]", "> 0.0"),
        ("[[fault]]\nkind = 'drop'\nframes = [1]\nfrequency = 2", "unknown field `frequency`"),
        ("[[fault]\n", "docs/faults.md"),
    ],
)
def test_a_script_with_a_mistake_is_refused_by_name(
    script: Callable[[str], FaultScript], text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=r"fault script .*faults\.toml: ") as caught:
        script(text)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
