"""The terminal's view, rendered to text at a fixed time."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import msgspec
import pytest
from rich.console import Console
from tests.ports import free_port

from octmargin.bus.connection import BrokerSettings
from octmargin.bus.events import (
    AlarmReceived,
    ConnectionLost,
    Described,
    FlagReceived,
    HealthReceived,
    StateChanged,
    VerdictReceived,
)
from octmargin.bus.messages import FrameCounts, StateCounts
from octmargin.bus.publisher import Publisher
from octmargin.bus.tally import Tally
from octmargin.bus.topics import Topics
from octmargin.errors import BrokerError
from octmargin.watch import draw_map, render, watch

from .examples import alarm, description, face_map, flag, health, verdict
from .test_tally import at, heard, listening, noon

TOPICS = Topics("st-elsewhere", "or-3")
GOOD = verdict(word="nothing_suspicious")


def text_of(tally: Tally, seconds: float = 1.0) -> str:
    console = Console(width=140, height=60, file=io.StringIO(), record=True)
    console.print(render(tally, noon(seconds), TOPICS))
    return console.export_text()


def row_of(text: str, face: str) -> str:
    [row] = [line for line in text.splitlines() if line.startswith(f"│ {face} ")]
    return row


def test_who_speaks_and_for_what_purpose_is_always_shown() -> None:
    text = text_of(listening())
    assert "st-elsewhere/or-3: ready" in text
    assert "Research use only. Not a medical device." in text
    assert "Octmargin SIM-1 0007 via usb usbip:0" in text
    assert "model texture-forest 1, calibration factory-2031-05" in text
    assert (
        "case C-7, specimen S-1 (lumpectomy, left, main, short superior, long lateral): scanning superior"
        in text
    )
    assert "Research use only. Not a medical device." in text_of(Tally())


def test_a_verdict_is_shown_with_coverage_depth_and_counts() -> None:
    row = row_of(text_of(listening()), "superior")
    for part in ("nothing suspicious", "50%", "1.08 mm", " 4 ", " 5 "):
        assert part in row
    provisional = listening(heard(VerdictReceived, verdict(provisional=True, distance_mm=0.42)))
    assert re.search(r"suspicious +│ running", row_of(text_of(provisional), "superior"))
    assert "0.42 mm" in row_of(text_of(provisional), "superior")


def test_it_says_why_a_face_is_indeterminate() -> None:
    reasons = ["coverage 12.5% is below 95% (230 unfamiliar to the model)", "no block is usable"]
    unseen = verdict(word="indeterminate", reasons=reasons)
    why = f"superior is indeterminate: {reasons[0]}; {reasons[1]}"
    assert why in text_of(listening(heard(VerdictReceived, unseen)))
    running = verdict(word="indeterminate", reasons=reasons, provisional=True)
    assert why not in text_of(listening(heard(VerdictReceived, running))), "it is not all there yet"
    assert why not in text_of(listening(heard(VerdictReceived, unseen)), seconds=30), "stale"
    assert "is indeterminate" not in text_of(listening(heard(VerdictReceived, GOOD)))


@pytest.mark.parametrize(
    ("tally", "reason"),
    [
        (listening(heard(StateChanged, state="lost")), "state is lost"),
        (listening(heard(ConnectionLost, reason="no MQTT broker")), "no MQTT broker"),
        (listening(heard(VerdictReceived, GOOD, stamps={"valid_until": noon(0)})), "expired 1 s ago"),
    ],
)
def test_a_stale_result_is_never_shown_as_good(tally: Tally, reason: str) -> None:
    text = text_of(tally)
    row = row_of(text, "superior")
    assert f"STALE ({reason})" in row
    assert "nothing suspicious" not in row
    assert "%" not in row
    assert "#ooo" not in text
    assert f"map of superior is STALE: {reason}" in text


def test_a_silent_daemon_greys_everything_out() -> None:
    text = text_of(listening(), seconds=30)
    assert "STALE: silent for 30 s; nothing below is current" in text
    assert "STALE (silent for 30 s)" in row_of(text, "superior")


def test_a_stale_warning_stays_a_warning() -> None:
    tally = listening(heard(VerdictReceived, verdict()), heard(StateChanged, state="lost"))
    assert "STALE (state is lost); was suspicious" in row_of(text_of(tally), "superior")


def test_synthetic_results_are_called_synthetic() -> None:
    assert "SYNTHETIC" in text_of(listening())
    real = Tally()
    for event in (
        heard(VerdictReceived, verdict(synthetic=False)),
        heard(HealthReceived, health(synthetic=False)),
    ):
        real.add(event)
    assert "SYNTHETIC" not in text_of(real)


def test_planned_faces_without_result_have_a_row() -> None:
    assert "no result" not in row_of(text_of(listening()), "inferior")
    assert "-" in row_of(text_of(listening()), "inferior")


def test_the_map_of_the_face_being_scanned_is_drawn() -> None:
    text = text_of(listening(heard(FlagReceived, flag(received_at_ns=at(-0.004)))))
    assert "map of superior" in text
    for line in ("#ooo", "o?xo", "····"):
        assert line in text


def test_every_state_has_a_character_and_a_colour_of_its_own() -> None:
    drawn = draw_map(
        face_map(
            frames=1,
            blocks=5,
            grid=[".LPNS"],
            counts=StateCounts(not_scanned=1, lost=1, poor=1, nothing_suspicious=1, suspicious=1),
        )
    )
    assert len(set(drawn.plain)) == 5
    assert len({str(span.style) for span in drawn.spans}) == 5


def test_a_large_map_is_shrunk_without_hiding_anything_suspicious_or_lost() -> None:
    rows = ["N" * 200 for _ in range(512)]
    rows[300] = "N" * 100 + "S" + "N" * 99
    rows[10] = "L" + "N" * 199
    counts = StateCounts(lost=1, nothing_suspicious=512 * 200 - 2, suspicious=1)
    drawn = draw_map(face_map(frames=512, blocks=200, grid=rows, counts=counts)).plain
    assert drawn.count("#") == 1
    assert drawn.count("x") == 1
    assert len(drawn.splitlines()) <= 24
    assert max(len(line) for line in drawn.splitlines()) <= 96


def test_alarms_and_figures_are_shown() -> None:
    flags = (
        heard(FlagReceived, flag(i, blocks=32, received_at_ns=at(-0.004)), stamps={"sequence": i})
        for i in range(10)
    )
    text = " ".join(text_of(listening(heard(AlarmReceived, alarm()), *flags)).split())
    assert "MEDIUM the console does not answer: check its cable" in text
    assert "heard: 10 frames, 320 flags, 160 flags/s, 0 repeated, 0 missing, 0 malformed" in text
    assert "last byte to here p50 4.0 ms, p99 4.0 ms" in text
    assert "127 processed, 3 lost (3 damaged on the wire); 65,024 A-lines/s" in text


async def test_it_shows_a_live_console(broker: BrokerSettings, topics: Topics) -> None:
    console = Console(width=140, height=60, file=io.StringIO(), record=True, force_terminal=True)
    async with Publisher(broker, topics) as publisher:
        publisher.describe(description(publisher.session))
        publisher.publish_verdict(verdict(acquired_at=datetime.now(UTC)))
        publisher.set_state("ready")
        assert await publisher.drain(10)
        publisher.publish_health(
            FrameCounts(),
            rate_alines_per_s=0,
            latency_ms=None,
            over_budget=None,
            recording=None,
            uptime_s=0,
            lifecycle="ready",
            reasons=[],
            synthetic=True,
        )
        for seconds in (0.6, 20.0):
            tally = await watch(broker, topics, seconds=seconds, console=console)
            if tally.state is not None:
                break  # else it was not connected in time
    assert tally.state == "ready"
    assert tally.faces["superior"].verdict is not None
    assert f"{topics.site}/{topics.console}: ready" in console.export_text()


async def test_without_a_broker_it_says_so_and_draws_nothing() -> None:
    console = Console(file=io.StringIO())
    with pytest.raises(BrokerError, match="no MQTT broker"):
        await watch(BrokerSettings(port=free_port()), TOPICS, seconds=1, console=console)
    assert console.file.getvalue() == ""


def test_a_narrow_terminal_never_cuts_a_verdict_short() -> None:
    console = Console(width=80, height=24, file=io.StringIO(), record=True)
    console.print(render(listening(heard(VerdictReceived, verdict(provisional=True))), noon(1.0), TOPICS))
    text = console.export_text()
    assert re.search(r"suspicious +│ running", row_of(text, "superior"))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.index("heard:") < text.index("map of"), "what is cut off at the bottom is the map"


def test_a_simulated_console_is_never_taken_for_a_live_one() -> None:
    described = description("s-1")
    console = msgspec.structs.replace(described.console, simulated=True, source="cscan.npy")
    replayed = msgspec.structs.replace(described, console=console)
    assert "NOT LIVE: a simulated console shows cscan.npy" in text_of(listening(heard(Described, replayed)))
    assert "NOT LIVE" not in text_of(listening(heard(Described, described)))
