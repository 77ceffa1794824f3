"""A recording judged again gives the same flags, bit for bit; where it does not, it is said."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zarr
from tests.system.test_daemon import FACES, FRAMES, Room
from typer.testing import CliRunner

from octmargin.archive import Recording
from octmargin.archive.keeping import verify
from octmargin.bus import EmbeddedBroker
from octmargin.cli import app
from octmargin.config import CalibrationSection, EngineSection, ModelSection, RecordingSection
from octmargin.daemon import Daemon
from octmargin.errors import InputError
from octmargin.replaying import read_then, replay
from octmargin_simulator.archived import ArchivedSource
from octmargin_simulator.cli import simulate
from octmargin_simulator.console import Console
from octmargin_simulator.faults import FaultScript, FaultyConsole
from octmargin_simulator.faults.script import Saturate, Vanish
from octmargin_simulator.personality import Personality
from octmargin_simulator.phantom import LayeredPhantom


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=("medial",))


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


async def recorded(phantom: LayeredPhantom, broker: EmbeddedBroker, folder: Path, **changes: Any) -> Path:
    """What a daemon records whose console loses one frame and saturates in another."""
    script = FaultScript(fault=(Vanish(sweeps=(1,), frames=(2,)), Saturate(sweeps=(2,), frames=(7,))))
    console = FaultyConsole(phantom, script, Personality(serial="ROOM-1"))
    room = Room(phantom, broker, console)
    console.plug_into(room.served)
    config = msgspec.structs.replace(
        room.config(), recording=RecordingSection(folder=str(folder)), **({"model": ModelSection()} | changes)
    )
    await Daemon(config).run()
    await asyncio.to_thread(room.close)
    (path,) = await asyncio.to_thread(lambda: list(folder.iterdir()))
    return path


@pytest.fixture(scope="module")
def recording(
    phantom: LayeredPhantom, broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    engine = EngineSection(depth=320, threads=2)
    return asyncio.run(recorded(phantom, broker, tmp_path_factory.mktemp("rec"), engine=engine))


def test_the_log_has_everything_that_was_said(recording: Path) -> None:
    entries = list(Recording.open(recording).log())
    kinds = [entry["kind"] for entry in entries]
    assert kinds[:2] == ["began", "face"]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "began": 1,
        "face": 2,
        "frame": 2 * FRAMES - 1,
        "flags": 2 * FRAMES - 1,
        "lost": 1,
        "verdict": 2,
    }
    began = entries[0]
    assert began["description"]["console"]["serial"] == "ROOM-1"
    assert began["description"]["model"]["name"] == "margin-1"
    assert began["configuration"]["engine"]["depth"] == 320
    assert "broker" not in json.dumps(began["configuration"])
    assert verify(Recording.open(recording)).is_sound


def test_the_same_recording_gives_the_same_flags_bit_for_bit(recording: Path) -> None:
    opened = Recording.open(recording)
    faces = list(replay(opened, read_then(opened), threads=2))
    assert [(face.face, face.frames, face.exact) for face in faces] == [
        ("superior", FRAMES - 1, FRAMES - 1),
        ("medial", FRAMES, FRAMES),
    ]
    assert all(face.is_same for face in faces)
    assert all(face.verdict_then is not None for face in faces)


def test_the_command_says_so(recording: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(recording)])
    assert result.exit_code == 0, result.output
    assert "superior   9 of 9 frames the same, 9 to the last bit" in result.output
    assert "the same flags and verdicts; 19 of 19 frames to the last bit" in result.output
    assert "SYNTHETIC" in result.output
    document = json.loads(CliRunner().invoke(app, ["replay", "--json", str(recording)]).stdout)
    assert document["same"]
    assert document["faces"][1]["exact"] == FRAMES


def test_a_frame_that_was_changed_is_found_by_verify_and_by_replay(recording: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(recording, changed)
    array = zarr.open_group(changed, mode="r+")["faces/medial/spectra"]
    assert isinstance(array, zarr.Array)
    array[4] = np.roll(np.asarray(array[4]), 16, axis=0)
    verified = CliRunner().invoke(app, ["recordings", "verify", str(changed)])
    assert verified.exit_code == 1
    assert "changed: medial 4" in verified.output
    result = CliRunner().invoke(app, ["replay", str(changed)])
    assert result.exit_code == 1
    assert "different: 4" in result.output
    assert "other flags or verdicts" in result.output


def test_a_log_that_was_changed_is_found(recording: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(recording, changed)
    log = changed / "log.jsonl"
    content = log.read_bytes()
    log.write_bytes(content.replace(b'"verdict":"indeterminate"', b'"verdict":"nothing_suspicious"'))
    result = CliRunner().invoke(app, ["recordings", "verify", str(changed)])
    assert result.exit_code == 1
    assert "the log was changed" in result.output
    log.write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    assert (
        "the log was changed: it ends with entry"
        in CliRunner().invoke(app, ["recordings", "verify", str(changed)]).output
    )


def test_results_of_another_model_are_named(recording: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(recording, changed)
    opened = Recording.open(changed)
    then = read_then(opened)
    judging = msgspec.structs.replace(then.judging, model=ModelSection(name="rule-1"))
    faces = list(replay(opened, msgspec_replace(then, judging=judging)))
    assert any(face.different for face in faces)


def msgspec_replace(then: Any, **changes: Any) -> Any:
    return type(then)(**{name: changes.get(name, getattr(then, name)) for name in then.__slots__})


async def test_what_cannot_be_repeated_is_refused(
    phantom: LayeredPhantom, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    engine = EngineSection(depth=320, running_mean_frames=4)
    path = await recorded(phantom, broker, tmp_path / "rec", engine=engine)
    result = CliRunner().invoke(app, ["replay", str(path)])
    assert "cannot be repeated" in str(result.exception)


def test_a_recording_without_a_log_is_named(recording: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(recording, bare)
    (bare / "log.jsonl").unlink()
    result = CliRunner().invoke(app, ["replay", str(bare)])
    assert "has no log of what was said of it live; judge it with `octmargin assess`" in str(result.exception)


async def test_over_the_wire_again_it_gives_the_same_flags_and_the_same_holes(
    recording: Path, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    source = ArchivedSource(recording)
    room = Room(source, broker, Console(source, Personality(serial="ROOM-2")))
    config = msgspec.structs.replace(
        room.config(),
        model=ModelSection(),
        calibration=CalibrationSection(file=str(recording / "calibration.npz")),
        recording=RecordingSection(folder=str(tmp_path / "rec")),
    )
    await Daemon(config).run()
    await asyncio.to_thread(room.close)
    (again,) = await asyncio.to_thread(lambda: list((tmp_path / "rec").iterdir()))
    before, after = (read_then(Recording.open(path)) for path in (recording, again))
    assert ("superior", 2) not in after.flags
    saturated = ("medial", 7)
    for key, said in before.flags.items():
        if key != saturated:  # what saturated was spoiled on its way, and is recorded as it came
            assert after.flags[key].bits == said.bits
    assert before.flags.keys() == after.flags.keys()


def test_a_recording_tells_everything_itself(recording: Path) -> None:
    with pytest.raises(InputError, match="tells this itself; leave out --frames"):
        simulate(source=str(recording), frames=3)
