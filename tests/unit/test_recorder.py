"""The recorder beside a disk that stands still: what belongs to one recording never lands in the next."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from octmargin import Calibration, Recording
from octmargin.archive import RecordingWriter
from octmargin.frames import FrameHeader, PixelFormat, ScanPlan
from octmargin.recorder import Recorder, new_writer
from octmargin.ring import FrameRing

PLAN = ScanPlan("medial", 64, 16, 6, 2.0, 2.0, 1e4, PixelFormat.MONO16)


def put(ring: FrameRing, sequence: int, index: int) -> None:
    slot = ring.reserve()
    slot.memory[:] = sequence
    ring.commit(slot, FrameHeader(sequence, 1, index, 0, PLAN.alines, PLAN.samples, PLAN.pixel_format))


def writer_in(folder: Path) -> RecordingWriter:
    calibration = Calibration(k_map=np.arange(64.0), axial_um=4.0)
    return new_writer(
        folder, name="c", source="test", synthetic=True, plans=[PLAN], calibration=calibration, axial_um=4.0
    )


def test_frames_that_waited_for_a_stalled_disk_are_missed_and_not_in_the_next_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octmargin.recorder.STANDSTILL_S", 0.1)
    ring, faults, moves_on = FrameRing(8, PLAN.frame_bytes), list[str](), threading.Event()
    recorder = Recorder(ring.cursor("recorder"), on_fault=faults.append)
    stalled = writer_in(tmp_path / "first")
    monkeypatch.setattr(stalled, "put", lambda *_: moves_on.wait(20))
    recorder.start()
    recorder.begin(stalled)
    recorder.expect("medial")
    for index in range(3):
        put(ring, index, index)
    assert not recorder.end()
    assert ["stands still" in fault for fault in faults] == [True]
    recorder.begin(writer_in(tmp_path / "second"))
    recorder.expect("medial")
    put(ring, 9, 5)
    moves_on.set()
    monkeypatch.setattr("octmargin.recorder.STANDSTILL_S", 20.0)
    assert recorder.end()
    ring.close()
    recorder.join()
    recording = Recording.open(next((tmp_path / "second").iterdir()))
    assert recording.present("medial").tolist() == [False] * 5 + [True]
    assert recorder.missed == 2
    assert len(faults) == 1
