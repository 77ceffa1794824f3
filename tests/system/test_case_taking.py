"""What a daemon records on a case becomes part of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from tests.system.test_daemon import FACES, FRAMES
from tests.system.test_replay import recorded

from octmargin.archive import Recording
from octmargin.bus import EmbeddedBroker
from octmargin.case.record.events import Opened, Registered
from octmargin.case.record.store import CaseStore
from octmargin.case.recorded import read_recorded
from octmargin.case.taking import take
from octmargin.config import EngineSection
from octmargin_simulator.phantom import LayeredPhantom


def test_a_daemons_sweeps_are_in_the_case_with_map_verdict_losses_and_versions(tmp_path: Path) -> None:
    phantom = LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=("medial",))
    with EmbeddedBroker() as broker:
        path = asyncio.run(
            recorded(phantom, broker, tmp_path / "recordings", engine=EngineSection(depth=320))
        )
    CaseStore.create(tmp_path / "record.db")
    with CaseStore.open(tmp_path / "record.db", writable=True) as store:
        registered = Registered(specimen_id="s-1", specimen_kind="lumpectomy", laterality="left", faces=FACES)
        store.append("case-7", Opened(), registered, actor="anna")
        found = read_recorded(Recording.open(path))
        assert (found.case_id, found.specimen_id) == ("case-7", "s-1")
        take(store, found, case_id="case-7", specimen_id="s-1", actor="anna")
        sweeps = store.case("case-7").specimens[0].sweeps
    assert [sweep.face for sweep in sweeps] == list(FACES)
    assert sum(sweep.lost_frames for sweep in sweeps) == 1
    for sweep in sweeps:
        assert (sweep.synthetic, sweep.provisional, sweep.trouble) == (True, False, "")
        assert len(sweep.grid) == FRAMES
        letters = "".join(sweep.grid)
        counts = sweep.counts
        assert [letters.count(letter) for letter in ".LPNS"] == [
            counts.not_scanned,
            counts.lost,
            counts.poor,
            counts.nothing_suspicious,
            counts.suspicious,
        ]
        assert sweep.versions.console_serial == "ROOM-1"
        assert sweep.started_at < (sweep.ended_at or sweep.started_at) < datetime.now(UTC)
