"""Old, slow and fast consoles: the same driver drives them all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.wire.conftest import LENIENT, Bench, NumberedSource
from tests.wire.test_faults import all_but, sweep

from octmargin.errors import CommandRefusedError, ConfigError
from octmargin.frames import LossCause
from octmargin_drivers import console_control
from octmargin_drivers.serial import SerialDriver
from octmargin_drivers.usb import UsbDriver
from octmargin_simulator.faults import FaultyConsole
from octmargin_simulator.faults.script import Drop, FaultScript
from octmargin_simulator.personality import Personality, names, read_personality
from octmargin_simulator.serial_port import SerialConsole
from octmargin_simulator.usb_device import UsbConsole

MakeBench = Callable[[Personality], Bench]


@pytest.fixture(params=["usb", "serial"])
def console_of(request: pytest.FixtureRequest) -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make(personality: Personality) -> Bench:
        source = NumberedSource()
        # Of the kind in everything but this: no test here is about a host that stands still.
        personality = msgspec.structs.replace(
            personality, fifo_frames=LENIENT.fifo_frames, heartbeat_timeout_ms=LENIENT.heartbeat_timeout_ms
        )
        console = FaultyConsole(source, FaultScript(fault=(Drop(frames=(7,)),)), personality)
        served: UsbConsole | SerialConsole
        if request.param == "usb":
            served, driver_class = UsbConsole(console), UsbDriver
        else:
            served, driver_class = SerialConsole(console, baud=100_000_000), SerialDriver
        made.append(Bench(source, console, served, driver_class))
        return made[-1]

    yield make
    for bench in made:
        bench.served.close()
        bench.console.close()


@pytest.mark.parametrize("name", names())
async def test_every_kind_of_console_is_identified_and_scans(console_of: MakeBench, name: str) -> None:
    personality = read_personality(name)
    bench = console_of(personality)
    driver = bench.driver_class(bench.address)
    await driver.open()
    info = await driver.identify()
    assert (info.model, info.firmware) == (personality.model, personality.firmware)
    assert info.capabilities["max_line_rate_hz"] == personality.max_line_rate_hz
    plan = bench.plan(line_rate_hz=1_000)
    outcome = await sweep(bench, driver, plan)
    await driver.close()
    assert outcome.indices == all_but(plan, 7)
    [lost] = outcome.lost
    # An old console leaves a gap where a newer one says that it dropped the frame.
    assert lost.cause is (LossCause.CONSOLE_FIFO if personality.counts_drops else LossCause.WIRE)


async def test_a_console_that_needs_longer_than_the_host_waits_says_so_and_is_waited_for(
    console_of: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_control, "ANSWER_TIMEOUT_S", 0.1)
    bench = console_of(read_personality("slow"))
    driver = bench.driver_class(bench.address)
    await driver.open()
    assert (await driver.identify()).firmware == read_personality("slow").firmware
    await driver.close()


async def test_a_rate_beyond_the_consoles_own_is_refused(console_of: MakeBench) -> None:
    bench = console_of(read_personality("old"))
    driver = bench.driver_class(bench.address)
    await driver.open()
    with pytest.raises(CommandRefusedError, match="refuses line_rate_hz"):
        await driver.configure(bench.plan(line_rate_hz=40_000))
    await driver.close()


async def test_a_console_of_the_first_protocol_cannot_begin_within_a_sweep(console_of: MakeBench) -> None:
    bench = console_of(read_personality("old"))
    driver = bench.driver_class(bench.address)
    await driver.open()
    with pytest.raises(CommandRefusedError, match=r"cannot begin at frame 5: that takes protocol 1\.1"):
        await driver.configure(dataclasses.replace(bench.plan(), first_frame=5))
    await driver.configure(bench.plan(line_rate_hz=1_000))
    await driver.close()


def test_a_personality_of_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text('maker = "Acme"\nserial = "A-1"\nfifo_frames = 2\n')
    personality = read_personality(str(path))
    assert (personality.maker, personality.serial, personality.fifo_frames) == ("Acme", "A-1", 2)
    assert personality.firmware == Personality().firmware


@pytest.mark.parametrize(
    ("which", "complaint"),
    [
        ("new", "there is none; use fast, old, slow, or a .toml file"),
        ("missing.toml", "No such file"),
        ("wrong.toml", "unknown field `fifo`"),
    ],
)
def test_a_personality_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.toml").write_text("fifo = 3\n")
    with pytest.raises(ConfigError, match=r"^personality ") as caught:
        read_personality(which)
    assert complaint in str(caught.value)
