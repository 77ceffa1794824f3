"""The daemon killed at random moments while it scans, records and publishes: nothing that it had noted is lost.

`OCTMARGIN_KILLS=50` kills it so often; three times without.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import tomli_w

from octmargin.archive import Recording
from octmargin.archive.keeping import verify
from octmargin.bus import BrokerSettings, EmbeddedBroker, Subscriber, Topics
from octmargin.bus.events import FlagReceived, VerdictReceived
from octmargin.demo_processes import DaemonProcess, Simulator

KILLS = int(os.environ.get("OCTMARGIN_KILLS", "3"))
LATEST_S = 0.1
"""What was noted so shortly before a kill may have been on its way to the outbox."""


class Heard:
    """Flags and final verdicts by who said them: how often each came."""

    def __init__(self) -> None:
        self.flags: Counter[tuple[str, int]] = Counter()
        self.finals: Counter[tuple[str, int]] = Counter()
        self.frames: set[tuple[str, int]] = set()
        self.more = asyncio.Event()

    async def listen(self, events: Subscriber) -> None:
        async for event in events:
            if isinstance(event, FlagReceived):
                self.flags[event.message.session, event.message.sequence] += 1
                self.frames.add((event.message.session, event.message.frame_sequence))
            elif isinstance(event, VerdictReceived) and not event.message.provisional and not event.retained:
                self.finals[event.message.session, event.message.sequence] += 1
            self.more.set()

    async def until(self, session_count: int, frames: int) -> None:
        """Wait until so many frames of yet another session have come."""
        # The first one compiles its kernels.
        async with asyncio.timeout(300):
            while True:
                by_session = Counter(session for session, _ in self.flags)
                if len(by_session) >= session_count and by_session[list(by_session)[-1]] >= frames:
                    return
                self.more.clear()
                await self.more.wait()


async def test_whatever_moment_it_is_killed_recordings_open_and_messages_arrive_once(tmp_path: Path) -> None:
    rng = random.Random(11)  # noqa: S311 - no secret
    recordings, heard = tmp_path / "recordings", Heard()
    with EmbeddedBroker() as broker:
        settings = BrokerSettings(host=broker.host, port=broker.port)
        options = ["--console", "usb", "--port", "0", "--alines", "64", "--samples", "1024", "--frames", "40"]
        async with Simulator.started(options) as simulator:
            config = tmp_path / "daemon.toml"
            config.write_text(tomli_w.dumps(_config(simulator, settings, recordings, tmp_path / "outbox")))
            async with Subscriber(settings, Topics("k", "c")) as events:
                listening = asyncio.create_task(heard.listen(events))
                for kill in range(KILLS):
                    async with DaemonProcess.started(config, tmp_path / f"{kill}.log") as daemon:
                        await heard.until(kill + 1, rng.randint(1, 60))
                        os.kill(daemon.pid, signal.SIGKILL)
                        await daemon.exited()
                async with DaemonProcess.started(config, tmp_path / "last.log") as daemon:
                    await heard.until(KILLS + 1, 5)
                    await daemon.stop()
                events.stop()
                await listening
    assert_recordings_are_sound(recordings, heard)
    # A repetition has the session and sequence of what it repeats: whoever counts, counts once.
    repeated = sum(count - 1 for count in (heard.flags + heard.finals).values())
    assert repeated <= 16 * KILLS, "no more than was under way"
    for session in {session for session, _ in heard.flags}:
        sequences = sorted(number for of, number in heard.flags if of == session)
        assert sequences == list(range(len(sequences))), "without a gap"


def assert_recordings_are_sound(recordings: Path, heard: Heard) -> None:
    folders = sorted(recordings.iterdir())
    assert len(folders) > KILLS
    for folder in folders:
        recording = Recording.open(folder)
        found = verify(recording)
        assert found.is_sound, f"{folder}: {found}"
        assert not found.unhashed or not recording.complete
        entries = list(recording.log())
        noted = [entry for entry in entries if entry["kind"] == "flags"]
        session = entries[0]["description"]["instance_id"]
        last = datetime.fromisoformat(entries[-1]["at"]) - timedelta(seconds=LATEST_S)
        lost = [
            entry
            for entry in noted
            if datetime.fromisoformat(entry["at"]) < last
            and (session, entry["frame_sequence"]) not in heard.frames
        ]
        assert not lost


def _config(simulator: Simulator, settings: BrokerSettings, recordings: Path, outbox: Path) -> dict[str, Any]:
    return {
        "site": "k",
        "console": "c",
        "device": {"driver": "usb", "address": simulator.ready["address"]},
        "broker": {"host": settings.host, "port": settings.port, "outbox_file": str(outbox)},
        "scan": {"faces": list(simulator.ready["faces"]), "passes": 0, "line_rate_hz": 6400.0},
        "engine": {"depth": 320},
        "model": {"name": "rule-1"},
        "recording": {"folder": str(recordings)},
    }
