"""What goes wrong on a wire is counted, told, and costs no more than the frames that it hit."""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.wire.conftest import LENIENT, Bench, NumberedSource, ring_for, take_all

from octmargin.device import (
    ConsoleFault,
    DeviceEvent,
    Disconnected,
    Driver,
    LinkTrouble,
    SweepAccount,
    SweepEnded,
)
from octmargin.errors import (
    DeviceDisconnectedError,
    DeviceError,
    DeviceTimeoutError,
)
from octmargin.frames import LossCause, LostFrames, ScanPlan
from octmargin.link import gencp
from octmargin.link import registers as reg
from octmargin.link.commands import Command, PendingAck, ReadMem, ReadMemAck, WriteMem, WriteMemAck
from octmargin.link.registers import Faults, ScanState
from octmargin.ring import FrameRing
from octmargin_drivers import console_control, link_driver
from octmargin_drivers.serial import SerialDriver
from octmargin_drivers.usb import UsbDriver
from octmargin_drivers.usb_wire import CONTROL_OUT
from octmargin_simulator.console import Console, FrameSink
from octmargin_simulator.serial_port import SerialConsole
from octmargin_simulator.usb_device import UsbConsole

GARBAGE = bytes(random.Random(1).randbytes(3000)) + b"\x01\x00\x01U3VCU3VLU3VT"  # noqa: S311


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_control, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(link_driver, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(link_driver, "SETTLE_S", 0.5)


# -- tools --------------------------------------------------------------------------------------------

Parts = tuple[bytes, memoryview, bytes]


class FaultySink:
    """The console's FIFO with a fault: what `faults` has for a frame's place in the sweep happens to its parts."""

    def __init__(self, sink: FrameSink, faults: dict[int, Callable[[Parts], Parts | None]]) -> None:
        self._sink = sink
        self._faults = faults
        self._index = 0

    def offer(self, leader: bytes, payload: memoryview, trailer: bytes) -> bool:
        parts = self._faults.get(self._index, lambda whole: whole)((leader, payload, trailer))
        self._index += 1
        return parts is not None and self._sink.offer(*parts)

    def discard_waiting(self) -> int:
        return self._sink.discard_waiting()


def break_frames(bench: Bench, *indices: int, how: Callable[[Parts], Parts | None]) -> None:
    sink = bench.served._pipe if isinstance(bench.served, UsbConsole) else bench.served
    bench.console.attach(FaultySink(sink, dict.fromkeys(indices, how)))


def flipped(data: bytes | memoryview, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


def say(bench: Bench, data: bytes) -> None:
    """Put raw bytes on the wire from the console's side: between packets, or as a transfer of the stream."""
    if isinstance(bench.served, UsbConsole):
        bench.served._pipe.offer(b"", memoryview(data), b"")
        return
    with bench.served._wake:
        bench.served._answers.append(data)
        bench.served._wake.notify_all()


@dataclass
class Outcome:
    """One sweep as the host saw it."""

    account: SweepAccount
    frames: list[tuple[int, int, NDArray[np.uint16]]]
    lost: list[LostFrames]
    events: list[DeviceEvent] = field(default_factory=list)

    @property
    def indices(self) -> list[int]:
        return [index for _, index, _ in self.frames]

    @property
    def troubles(self) -> list[LinkTrouble]:
        return [event for event in self.events if isinstance(event, LinkTrouble)]


async def collect(driver: Driver, until: type[DeviceEvent]) -> list[DeviceEvent]:
    events: list[DeviceEvent] = []
    async with asyncio.timeout(60):
        async for event in driver.events():
            events.append(event)
            if isinstance(event, until):
                return events
    raise AssertionError(f"the events ended: {events}")


async def sweep(
    bench: Bench, driver: Driver, plan: ScanPlan, until: type[DeviceEvent] = SweepEnded
) -> Outcome:
    """One sweep to its end; the books must balance and what arrived must be what the console saw."""
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    await driver.start(ring)
    events = await collect(driver, until)
    account = await driver.stop()
    outcome = Outcome(account, *take_all(cursor), events)
    assert_balanced(bench, outcome)
    return outcome


def assert_balanced(bench: Bench, outcome: Outcome) -> None:
    numbered = outcome.account.numbered
    first = outcome.account.next_sequence - numbered
    accounted = [sequence for sequence, _, _ in outcome.frames]
    accounted += [entry.first_sequence + i for entry in outcome.lost for i in range(entry.count)]
    assert sorted(accounted) == list(range(first, first + numbered))
    for _, index, spectra in outcome.frames:
        np.testing.assert_array_equal(spectra, bench.source.frame("superior", index))


def all_but(plan: ScanPlan, *missing: int) -> list[int]:
    return [index for index in range(plan.frames) if index not in missing]


# -- noise and damage on the wire -----------------------------------------------------------------------


async def test_garbage_from_the_console_is_counted_and_the_frames_arrive(
    bench: Bench, driver: Driver
) -> None:
    def with_garbage(parts: Parts) -> Parts:
        say(bench, GARBAGE)
        return parts

    break_frames(bench, 3, 4, 20, how=with_garbage)
    plan = bench.plan()
    outcome = await sweep(bench, driver, plan)
    assert outcome.troubles
    # On the serial line, garbage that looks like a preamble can swallow what follows, up to one frame each.
    assert set(outcome.indices) >= set(all_but(plan, 2, 3, 4, 5, 19, 20, 21))
    assert (await driver.identify()).serial == "TEST-7"


async def test_the_link_is_clean_again_after_garbage(bench: Bench, driver: Driver) -> None:
    say(bench, GARBAGE)
    for _ in range(2):
        outcome = await sweep(bench, driver, bench.plan(frames=20))
        assert outcome.indices == list(range(20))


async def test_garbage_from_the_host_does_not_trouble_the_console(bench: Bench, driver: Driver) -> None:
    for garbage in (GARBAGE, b"U3VC", ReadMem(9, 0, 4).to_bytes()[:-1], WriteMemAck(1, 4).to_bytes()):
        if isinstance(bench.served, UsbConsole):
            driver._wire._device.write(CONTROL_OUT, garbage, 1000)  # type: ignore[attr-defined]
        else:
            driver._wire._port.send(garbage)  # type: ignore[attr-defined]
        assert (await driver.identify()).serial == "TEST-7"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        pytest.param(
            lambda p: (p[0], memoryview(flipped(p[1], 5000)), p[2]),
            "CRC-32",
            id="a flipped bit in the spectra",
        ),
        pytest.param(lambda p: (p[0], p[1], flipped(p[2], 33)), "trailer", id="a flipped bit in the trailer"),
        pytest.param(lambda p: (flipped(p[0], 60), p[1], p[2]), "", id="a flipped bit in the leader"),
        pytest.param(lambda p: (p[0], p[1][:-100], p[2]), "", id="spectra cut short"),
        pytest.param(lambda p: (b"", p[1], p[2]), "", id="no leader"),
        pytest.param(lambda p: (p[0], memoryview(b""), p[2]), "", id="no spectra"),
        pytest.param(lambda p: (p[0], p[1], b""), "", id="no trailer"),
    ],
)
async def test_a_damaged_frame_costs_itself_alone(
    bench: Bench, driver: Driver, how: Callable[[Parts], Parts], reason: str
) -> None:
    break_frames(bench, 5, 6, 17, how=how)
    plan = bench.plan()
    outcome = await sweep(bench, driver, plan)
    assert outcome.indices == all_but(plan, 5, 6, 17)
    assert [(entry.first_sequence, entry.count) for entry in outcome.lost] == [(5, 2), (17, 1)]
    assert all(reason in entry.detail for entry in outcome.lost)
    assert outcome.troubles


async def test_the_end_is_noticed_also_when_the_last_frame_is_lost(bench: Bench, driver: Driver) -> None:
    break_frames(bench, 39, how=lambda parts: (b"", parts[1], parts[2]))
    outcome = await sweep(bench, driver, bench.plan())
    assert [(entry.first_sequence, entry.count) for entry in outcome.lost] == [(39, 1)]


async def test_a_frame_that_comes_twice_is_taken_once(bench: Bench, driver: Driver) -> None:
    def twice(parts: Parts) -> Parts:
        sink = bench.served._pipe if isinstance(bench.served, UsbConsole) else bench.served
        assert sink.offer(*parts)
        return parts

    break_frames(bench, 7, how=twice)
    plan = bench.plan()
    outcome = await sweep(bench, driver, plan)
    assert outcome.indices == list(range(plan.frames))
    assert any(
        "frame 7 came when it was already accounted for" in trouble.text for trouble in outcome.troubles
    )


async def test_a_fifo_takes_no_more_frames_than_it_holds(bench: Bench) -> None:
    """No host fetches them: on USB all wait, on a serial line the first one is stuck on its way."""
    sink = bench.served._pipe if isinstance(bench.served, UsbConsole) else bench.served
    leader, trailer = bytes(72), bytes(48)
    spectra = memoryview(bench.source.frame("superior", 0)).cast("B")
    taken = [sink.offer(leader, spectra, trailer) for _ in range(LENIENT.fifo_frames + 2)]
    assert taken == [True] * LENIENT.fifo_frames + [False, False]


async def test_frames_that_the_console_drops_are_told_as_such(bench: Bench, driver: Driver) -> None:
    break_frames(bench, 5, 6, 30, how=lambda _: None)
    plan = bench.plan()
    outcome = await sweep(bench, driver, plan)
    assert outcome.indices == all_but(plan, 5, 6, 30)
    assert {entry.cause for entry in outcome.lost} == {LossCause.CONSOLE_FIFO}
    assert outcome.account.dropped_by_console == 3
    # Told with the first heartbeat after it happened, at the latest when the sweep is stopped.
    events = outcome.events
    if not any(isinstance(event, ConsoleFault) for event in events):
        events = await collect(driver, ConsoleFault)
    assert [event.name for event in events if isinstance(event, ConsoleFault)] == ["fifo_overflow"]


async def test_a_frame_that_no_slot_can_take_is_lost_with_its_reason(bench: Bench, driver: Driver) -> None:
    plan = bench.plan(frames=5)
    ring = FrameRing(8, plan.frame_bytes - 1)
    cursor = ring.cursor("test")
    await driver.configure(plan)
    await driver.start(ring)
    await collect(driver, SweepEnded)
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert frames == []
    assert sum(entry.count for entry in lost) == account.numbered == 5
    assert f"{plan.frame_bytes} bytes, a slot {plan.frame_bytes - 1}" in lost[0].detail


async def test_a_damaged_packet_on_the_serial_line_costs_its_frame_alone() -> None:
    source = NumberedSource()
    console = Console(source, LENIENT)
    served = SerialConsole(console, baud=100_000_000)
    bench = Bench(source, console, served, SerialDriver)
    driver = SerialDriver(served.address)
    await driver.open()
    plan = bench.plan()
    write = served._write

    def write_with_damage(packet: bytes) -> None:
        # Frame 7's second piece, once.
        if packet[20:32] == (7).to_bytes(8, "little") + (72).to_bytes(4, "little"):
            packet = flipped(packet, 500)
        write(packet)

    served._write = write_with_damage  # type: ignore[method-assign]
    outcome = await sweep(bench, driver, plan)
    assert outcome.indices == all_but(plan, 7)
    assert "a piece is missing" in outcome.lost[0].detail
    assert any("checksum" in trouble.text for trouble in outcome.troubles)
    await driver.close()
    served.close()
    console.close()


async def test_a_stalled_stream_endpoint_is_set_going_again() -> None:
    source = NumberedSource()
    console = Console(source, LENIENT)
    served = UsbConsole(console)
    bench = Bench(source, console, served, UsbDriver)
    driver = UsbDriver(served.address)
    await driver.open()

    def stall(parts: Parts) -> Parts:
        served._pipe.halted = True
        return parts

    break_frames(bench, 5, how=stall)
    plan = bench.plan()
    outcome = await sweep(bench, driver, plan)
    assert set(outcome.indices) >= set(all_but(plan, 4, 5, 6, 7))
    assert not served._pipe.halted
    await driver.close()
    served.close()
    console.close()


# -- answers that come late, or not at all ---------------------------------------------------------------


class Answers:
    """Stands between the console and its commands; `fault` may take an answer away or be slow."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.seen: list[Command] = []
        self.fault: Callable[[Command], bool] = lambda _: True
        """Whether the answer goes out."""
        self._answer = bench.console.answer
        monkeypatch.setattr(bench.console, "answer", self._serve)

    def _serve(self, command: Command) -> ReadMemAck | WriteMemAck | None:
        self.seen.append(command)
        acknowledge = self._answer(command)
        return acknowledge if self.fault(command) else None

    def say(self, command: Command) -> None:
        if isinstance(self.bench.served, UsbConsole):
            self.bench.served._control_in.write(command.to_bytes())
        else:
            say(self.bench, gencp.encode(command))


@pytest.fixture
def answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(bench, monkeypatch)


def is_at(command: Command, register: reg.Register) -> bool:
    return isinstance(command, ReadMem | WriteMem) and command.address == register.address


async def test_a_console_that_asks_for_time_gets_it(answers: Answers, driver: Driver) -> None:
    def slow(command: Command) -> bool:
        if is_at(command, reg.MODEL):
            answers.say(PendingAck(command.request_id, 60_000))
            time.sleep(3 * console_control.ANSWER_TIMEOUT_S)
        return True

    answers.fault = slow
    assert (await driver.identify()).model == "Simulated OCT console"
    assert sum(is_at(command, reg.MODEL) for command in answers.seen) == 1


async def test_an_answer_that_is_lost_is_asked_for_again(answers: Answers, driver: Driver) -> None:
    def lost_twice(command: Command) -> bool:
        return not is_at(command, reg.MODEL) or sum(is_at(c, reg.MODEL) for c in answers.seen) > 2

    answers.fault = lost_twice
    info = await driver.identify()
    assert info.model == "Simulated OCT console"
    assert sum(is_at(command, reg.MODEL) for command in answers.seen) == 3
    events = await collect(driver, LinkTrouble)
    assert "no answer" in events[-1].text  # type: ignore[union-attr]


async def test_a_late_answer_is_not_taken_for_the_next_one(answers: Answers, driver: Driver) -> None:
    def late(command: Command) -> bool:
        if is_at(command, reg.MAKER) and sum(is_at(c, reg.MAKER) for c in answers.seen) == 1:
            time.sleep(1.5 * console_control.ANSWER_TIMEOUT_S)
        return True

    answers.fault = late
    info = await driver.identify()
    assert (info.maker, info.model) == ("octmargin", "Simulated OCT console")


async def test_a_sweep_whose_start_was_not_acknowledged_runs_once(answers: Answers, driver: Driver) -> None:
    answers.fault = lambda command: not (is_at(command, reg.SCAN_CONTROL) and isinstance(command, WriteMem))
    plan = answers.bench.plan(frames=10)
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    started = await driver.start(ring)
    assert (started.sweep, started.first_sequence) == (1, 0)
    answers.fault = lambda _: True
    await collect(driver, SweepEnded)
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert (len(frames), lost, account.numbered) == (10, [], 10)
    assert answers.bench.console.status.sweep == 1


async def test_a_console_that_falls_silent_is_reported_and_the_books_close(
    answers: Answers, driver: Driver
) -> None:
    plan = answers.bench.plan(line_rate_hz=2_000)
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    await driver.start(ring)
    answers.fault = lambda _: False
    events = await collect(driver, Disconnected)
    assert "no answer to 3 heartbeats" in events[-1].text  # type: ignore[union-attr]
    account = await driver.stop()
    assert_balanced(answers.bench, Outcome(account, *take_all(cursor)))


async def test_what_is_no_oct_console_never_answers_and_is_told_in_one_line(answers: Answers) -> None:
    answers.fault = lambda _: False
    driver = answers.bench.driver_class(answers.bench.address)
    with pytest.raises(DeviceTimeoutError, match="no answer to 3 requests; is this an OCT console") as caught:
        await driver.open()
    assert "\n" not in str(caught.value)
    answers.fault = lambda _: True
    await driver.open()  # and nothing of the failed attempt is in the way
    assert (await driver.identify()).serial == "TEST-7"
    plan = answers.bench.plan(frames=3)
    assert (await sweep(answers.bench, driver, plan)).indices == [0, 1, 2]
    await driver.close()


@pytest.mark.parametrize(("version", "fits"), [(0x0001_0007, True), (0x0002_0003, False), (0, False)])
async def test_another_major_version_is_refused_a_minor_one_is_not(
    bench: Bench, version: int, fits: bool
) -> None:
    bench.console._memory.store(reg.OCT_PROTOCOL, version)
    driver = bench.driver_class(bench.address)
    if fits:
        await driver.open()
        await driver.close()
        return
    with pytest.raises(
        DeviceError, match=rf"speaks protocol {version >> 16}\.{version & 0xFFFF}, this driver 1\.x"
    ):
        await driver.open()


# -- consoles that go away -----------------------------------------------------------------------------


def pull_the_cable(bench: Bench) -> None:
    if isinstance(bench.served, UsbConsole):
        bench.served.unplug()
    else:
        bench.served.close()


async def test_a_pulled_cable_is_reported_and_the_books_close(bench: Bench, driver: Driver) -> None:
    plan = bench.plan(line_rate_hz=2_000)
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    await driver.start(ring)
    first = await asyncio.to_thread(cursor.take, 60)
    assert first is not None
    cursor.release(first)  # type: ignore[arg-type]
    pull_the_cable(bench)
    events = await collect(driver, Disconnected)
    assert "\n" not in events[-1].text  # type: ignore[union-attr]
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert 1 + len(frames) + sum(entry.count for entry in lost) == account.numbered
    with pytest.raises(DeviceDisconnectedError, match="check cable and power"):
        await driver.identify()


@pytest.mark.parametrize("error", [TypeError("closed under a read"), struct.error("half an answer")])
async def test_a_reader_thread_that_fails_in_an_odd_way_is_a_console_that_is_gone(
    bench: Bench, driver: Driver, error: Exception
) -> None:
    """Whatever pyserial, pyusb or the system throw: a thread that ends without a word would look like a silent line."""

    def fail(*_: object) -> None:
        raise error

    plan = bench.plan(line_rate_hz=100)
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    await driver.start(ring)
    first = await asyncio.to_thread(cursor.take, 60)
    assert first is not None
    cursor.release(first)  # type: ignore[arg-type]
    if isinstance(bench.served, UsbConsole):
        driver._wire._read_part = fail  # type: ignore[attr-defined]
    else:
        driver._wire._port.receive = fail  # type: ignore[attr-defined]
    events = await collect(driver, Disconnected)
    assert f"{type(error).__name__}: {error}" in events[-1].text  # type: ignore[union-attr]
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert 1 + len(frames) + sum(entry.count for entry in lost) == account.numbered
    with pytest.raises(DeviceDisconnectedError, match="check cable and power"):
        await driver.identify()


async def test_a_console_that_was_plugged_in_again_is_used_again() -> None:
    source = NumberedSource()
    console = Console(source, LENIENT)
    served = UsbConsole(console)
    bench = Bench(source, console, served, UsbDriver)
    driver = UsbDriver(served.address)
    for _ in range(3):
        await driver.open()
        outcome = await sweep(bench, driver, bench.plan(frames=5))
        assert outcome.indices == list(range(5))
        served.unplug()
        await collect(driver, Disconnected)
        await driver.close()
    served.close()
    console.close()


async def test_a_console_that_restarts_within_a_sweep_is_noticed(bench: Bench, driver: Driver) -> None:
    plan = bench.plan(line_rate_hz=2_000)
    warm_up = await sweep(bench, driver, bench.plan(frames=3))
    assert warm_up.account.numbered == 3
    ring, cursor = ring_for(plan)
    await driver.configure(plan)
    await driver.start(ring)
    first = await asyncio.to_thread(cursor.take, 60)
    assert first is not None
    cursor.release(first)  # type: ignore[arg-type]
    with bench.console._lock:
        bench.console._stop()
        bench.console._sweep = bench.console._first_sequence = bench.console._numbered = 0
    events = await collect(driver, Disconnected)
    assert "restarted within a sweep" in events[-1].text  # type: ignore[union-attr]
    account = await driver.stop()
    frames, lost = take_all(cursor)
    assert account.numbered == 1 + len(frames) + sum(entry.count for entry in lost) >= 1


async def test_stopping_while_frames_come_loses_count_of_nothing(
    bench: Bench, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_driver, "SETTLE_S", 30.0)
    rng = random.Random(5)  # noqa: S311
    for _ in range(8):
        plan = bench.plan(line_rate_hz=15_000)
        ring, cursor = ring_for(plan)
        await driver.configure(plan)
        started = await driver.start(ring)
        await asyncio.sleep(rng.uniform(0, 0.03))
        account = await driver.stop()
        outcome = Outcome(account, *take_all(cursor))
        assert_balanced(bench, outcome)
        # A slow line cannot keep up with this rate: what it has not carried yet waits in the FIFO, and comes.
        assert outcome.lost == []
        assert [sequence - started.first_sequence for sequence, _, _ in outcome.frames] == outcome.indices


async def test_closing_while_frames_come_stops_the_console_and_gives_the_slot_back(bench: Bench) -> None:
    driver = bench.driver_class(bench.address)
    await driver.open()
    plan = bench.plan(line_rate_hz=20_000)
    ring, cursor = ring_for(plan, slots=3)
    await driver.configure(plan)
    await driver.start(ring)
    await asyncio.to_thread(cursor.take, 60)
    await driver.close()
    await driver.close()
    assert bench.console.status.state is ScanState.IDLE
    assert not any([isinstance(event, Disconnected) async for event in driver.events()])
    for slot in [ring.reserve(), ring.reserve()]:  # the third is held by the cursor
        ring.abandon(slot)


async def test_faults_of_the_console_are_told_once_by_name(bench: Bench, driver: Driver) -> None:
    with bench.console._lock:
        bench.console._faults = Faults.INTERLOCK | Faults(1 << 20)
    names: list[str] = []
    async with asyncio.timeout(60):
        async for event in driver.events():
            assert isinstance(event, ConsoleFault)
            names.append(event.name)
            if len(names) == 2:
                break
    assert sorted(names) == ["fault_20", "interlock"]
