"""The fault matrix of docs/safety.md: one fault in one sweep, and what the daemon makes of it.

After each the console's count is processed + lost + never known, exactly, and the daemon goes on without a restart.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system.room import FRAMES, LENIENT, HeldFaultyConsole, Room, balanced

from octmargin.bus import EmbeddedBroker
from octmargin.daemon import Daemon
from octmargin.frames import LossCause
from octmargin_simulator.faults import FaultScript
from octmargin_simulator.faults import script as kinds
from octmargin_simulator.faults.script import AnyFault
from octmargin_simulator.phantom import LayeredPhantom

FACES = ("superior", "medial")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
AT = {"sweeps": (1,), "frames": (4,)}


@dataclass(frozen=True)
class Row:
    """What one fault costs: causes of the losses, at most so many frames; and whether the console counts as gone."""

    fault: AnyFault
    causes: frozenset[LossCause] = frozenset()
    most: int = 1
    is_gone: bool = False


def row(fault: AnyFault, *causes: LossCause, most: int = 1, is_gone: bool = False) -> Row:
    return Row(fault, frozenset(causes), most, is_gone)


ROWS = [
    row(kinds.Drop(**AT), LossCause.CONSOLE_FIFO),
    row(kinds.Vanish(**AT), LossCause.WIRE),
    row(kinds.Corrupt(**AT), LossCause.DAMAGED),
    row(kinds.Corrupt(part="leader", **AT), LossCause.DAMAGED, LossCause.WIRE),
    row(kinds.Corrupt(part="trailer", **AT), LossCause.DAMAGED),
    row(kinds.WrongCrc(**AT), LossCause.DAMAGED),
    row(kinds.Truncate(**AT), LossCause.DAMAGED),
    row(kinds.Truncate(part="leader", **AT), LossCause.DAMAGED, LossCause.WIRE),
    row(kinds.Truncate(part="trailer", **AT), LossCause.DAMAGED),
    row(kinds.Duplicate(**AT), most=0),
    row(kinds.Reorder(**AT), LossCause.WIRE),
    row(kinds.Noise(**AT), most=0),
    row(kinds.Delay(**AT), most=0),
    row(kinds.Saturate(**AT), most=0),
    row(kinds.LaserOff(**AT), LossCause.UNUSABLE),
    row(kinds.ShutterClosed(**AT), LossCause.UNUSABLE),
    row(kinds.TriggerTooFast(**AT), LossCause.UNUSABLE),
    row(kinds.ClockJump(**AT), most=0),
    row(kinds.ClockDrift(**AT), most=0),
    row(kinds.Hang(seconds=0.5, **AT), most=0),
    row(kinds.Late(**AT), most=0),
    row(kinds.WrongAnswer(**AT), most=0),
    row(kinds.Stall(**AT), LossCause.DAMAGED, LossCause.WIRE, most=2),
    row(kinds.Silent(seconds=3600.0, **AT), LossCause.WIRE, LossCause.UNREAD, most=FRAMES, is_gone=True),
    row(kinds.Reset(**AT), LossCause.WIRE, most=0, is_gone=True),
    row(kinds.Unplug(seconds=0.2, **AT), LossCause.WIRE, LossCause.UNREAD, most=3, is_gone=True),
]


def name(of: Row) -> str:
    part = getattr(of.fault, "part", "spectra")
    return of.fault.kind if part == "spectra" else f"{of.fault.kind}-{part}"


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=())


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octmargin_drivers.console_control.ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr("octmargin_drivers.link_driver.HEARTBEAT_S", 0.1)
    monkeypatch.setattr("octmargin.acquisition.RETRY_S", 0.1)


@pytest.mark.parametrize("of", ROWS, ids=name)
async def test_a_fault_costs_what_the_matrix_says(
    phantom: LayeredPhantom, broker: EmbeddedBroker, of: Row
) -> None:
    console = HeldFaultyConsole(phantom, FaultScript(fault=(of.fault,)), LENIENT)
    console.hold(FACES[0], 4)
    room = Room(phantom, broker, console)
    console.plug_into(room.served)
    async with room.listening():
        running = asyncio.create_task(Daemon(room.config(line_rate_hz=1280.0)).run())
        await room.until(lambda tally: tally.flags.messages >= 3)
        console.let_go()
        if isinstance(of.fault, kinds.Silent):
            await room.until(lambda _: "console" in room.alarms_heard)
            console.speak_again()
        await room.until(lambda tally: tally.state == "disconnected")
        await running
    await asyncio.to_thread(room.close)
    tally = room.tally
    assert console.happened == {of.fault.kind: 1}
    assert tally.health is not None
    frames = tally.health.frames
    assert balanced(tally)
    assert console.frames_ever_numbered == frames.processed + frames.lost + console.never_known
    assert frames.lost <= of.most
    assert set(frames.lost_by_reason) <= {cause.value for cause in of.causes}
    if of.causes and of.most and not of.is_gone:
        assert frames.lost >= 1
    assert ("console" in room.alarms_heard) == of.is_gone
    for face in FACES:
        verdict = tally.faces[face].verdict
        assert verdict is not None
        assert not verdict.provisional
        assert verdict.counts.not_scanned == 0, "also a face that was interrupted is seen to its end"
    # What is lost, or does not show the tissue, is a hole: never "nothing suspicious".
    hit = tally.faces[FACES[0]].verdict
    assert hit is not None
    is_spoiled = frames.lost > 0 or isinstance(of.fault, kinds.Saturate)
    if is_spoiled and not of.is_gone:
        assert hit.counts.lost + hit.counts.poor >= phantom.alines // 16
        assert hit.verdict != "nothing_suspicious"
    spared = tally.faces[FACES[1]].verdict
    assert spared is not None
    if not of.is_gone:
        assert spared.verdict == "nothing_suspicious", "without a fault the face is clear"


def test_the_document_has_every_fault_of_the_matrix_and_tests_that_exist() -> None:
    tested = set(re.findall(r"^\|.*\| `([^`]+::[^`]+)` \|$", DOCUMENT, flags=re.MULTILINE))
    assert len(tested) >= 25
    assert {f"test_fault_matrix.py::{name(of)}" for of in ROWS} <= tested
    folder = Path(__file__).parents[1]
    for test in tested - {f"test_fault_matrix.py::{name(of)}" for of in ROWS}:
        file, _, function = test.partition("::")
        # Files of one name are about the same thing in different rooms.
        sources = [path.read_text(encoding="utf-8") for path in folder.rglob(file)]
        assert any(f"def {function}(" in source for source in sources), test
