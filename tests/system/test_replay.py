"""A recording judged again gives the same flags, bit for bit; where it does not, it is said."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zarr
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.system.room import FACES, FRAMES, LENIENT, Room
from typer.testing import CliRunner

from octmargin.archive import Recording
from octmargin.archive.keeping import verify
from octmargin.bus import EmbeddedBroker
from octmargin.cli import app
from octmargin.config import CalibrationSection, EngineSection, ModelSection, RecordingSection
from octmargin.daemon import Daemon
from octmargin.errors import InputError
from octmargin.frames import LossCause
from octmargin.link.stream import Leader
from octmargin.replaying import Fate, is_confirmed, replay
from octmargin.said import read_then
from octmargin_simulator.archived import ArchivedSource
from octmargin_simulator.cli import simulate
from octmargin_simulator.console import Console, FrameParts
from octmargin_simulator.faults import FaultScript, FaultyConsole
from octmargin_simulator.faults.script import Saturate, Vanish
from octmargin_simulator.phantom import LayeredPhantom


@pytest.fixture(scope="module")
def phantom() -> LayeredPhantom:
    return LayeredPhantom(samples=1024, alines=64, frames=FRAMES, faces=FACES, tumour_faces=("medial",))


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


async def recorded(
    phantom: LayeredPhantom,
    broker: EmbeddedBroker,
    folder: Path,
    *,
    console: type[FaultyConsole] = FaultyConsole,
    **changes: Any,
) -> Path:
    """What a daemon records whose console loses one frame and saturates in another."""
    script = FaultScript(fault=(Vanish(sweeps=(1,), frames=(2,)), Saturate(sweeps=(2,), frames=(7,))))
    faulty = console(phantom, script, LENIENT)
    room = Room(phantom, broker, faulty)
    faulty.plug_into(room.served)
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
        "map": 2,
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
    assert [(face.face, face.compared, face.exact) for face in faces] == [
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


@pytest.fixture
def copy(recording: Path, tmp_path: Path) -> Path:
    """The recording, to be changed."""
    return Path(shutil.copytree(recording, tmp_path / "copy"))


Entries = list[dict[str, Any]]


def rewrite_log(path: Path, change: Callable[[Entries], Entries]) -> None:
    """Give the recording another log whose chain holds: what a recorder would have left that saw other things."""
    log = path / "log.jsonl"
    last = b""
    lines = []
    for n, entry in enumerate(change([json.loads(line) for line in log.read_bytes().splitlines()])):
        before = hashlib.sha256(last).hexdigest() if n else ""
        last = msgspec.json.encode(entry | {"n": n, "before": before})
        lines.append(last + b"\n")
    log.write_bytes(b"".join(lines))
    describe(path, log_sha256=hashlib.sha256(last).hexdigest())


def describe(path: Path, **changes: Any) -> None:
    described = json.loads((path / "zarr.json").read_bytes())
    described["attributes"]["octmargin"] |= changes
    (path / "zarr.json").write_text(json.dumps(described))


def of(entry: dict[str, Any], kind: str, face: str, index: int | None = None) -> bool:
    place = entry.get("index", entry.get("frame_index"))
    return entry["kind"] == kind and entry.get("face") == face and index in (None, place)


def without(kind: str, face: str, index: int | None = None) -> Callable[[Entries], Entries]:
    return lambda entries: [entry for entry in entries if not of(entry, kind, face, index)]


def chunk(path: Path, face: str, index: int) -> Path:
    return path / f"faces/{face}/spectra/c/{index}/0/0"


def replayed(path: Path) -> Result:
    return CliRunner().invoke(app, ["replay", str(path)])


def test_a_frame_that_was_changed_is_found_by_verify_and_by_replay(copy: Path) -> None:
    array = zarr.open_group(copy, mode="r+")["faces/medial/spectra"]
    assert isinstance(array, zarr.Array)
    array[4] = np.roll(np.asarray(array[4]), 16, axis=0)
    verified = CliRunner().invoke(app, ["recordings", "verify", str(copy)])
    assert verified.exit_code == 1
    assert "changed: medial 4" in verified.output
    result = replayed(copy)
    assert result.exit_code == 1
    assert "different: 4" in result.output
    assert "other flags or verdicts" in result.output


# -- frames that cannot be compared --------------------------------------------------------------------


def test_a_damaged_frame_is_a_difference_and_not_called_unrecorded(copy: Path) -> None:
    damaged = chunk(copy, "medial", 4)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    result = replayed(copy)
    assert result.exit_code == 1
    assert "medial     9 of 9 frames the same, 9 to the last bit, damaged since: 4," in result.output
    assert "verdict not compared (it may rest on 1 frame that could not be compared)" in result.output
    assert "not recorded" not in result.output


def test_a_frame_that_was_taken_away_is_a_difference_and_not_called_unrecorded(copy: Path) -> None:
    chunk(copy, "medial", 4).unlink()
    result = replayed(copy)
    assert result.exit_code == 1
    assert "recorded and not there any more: 4" in result.output
    assert "not recorded" not in result.output


def test_a_frame_that_cannot_be_judged_any_more_is_a_difference(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Recording.open(copy)
    spectra = opened.frame

    def narrower(face: str, index: int) -> Any:
        counts = spectra(face, index)
        return counts[:, :-1] if counts is not None and (face, index) == ("medial", 4) else counts

    monkeypatch.setattr(opened, "frame", narrower)
    then = read_then(opened)
    faces = list(replay(opened, then))
    assert faces[1].fates[Fate.FAILED] == (4,)
    assert not is_confirmed(then, faces)


def take_frame_out(path: Path, face: str, index: int) -> None:
    """As if the recorder had missed it."""
    chunk(path, face, index).unlink()
    present = zarr.open_group(path, mode="r+")[f"faces/{face}/present"]
    assert isinstance(present, zarr.Array)
    present[index] = False
    rewrite_log(path, without("frame", face, index))


def test_a_frame_that_was_not_recorded_is_told_and_its_verdict_not_compared(copy: Path) -> None:
    take_frame_out(copy, "medial", 4)
    result = replayed(copy)
    assert result.exit_code == 0, result.output
    assert (
        "medial     9 of 9 frames the same, 9 to the last bit, 1 judged live and not recorded, "
        in result.output
    )
    assert "the same flags, 1 of 2 verdicts not compared; 18 of 18 frames to the last bit" in result.output


def test_where_no_frame_can_be_compared_nothing_is_the_same(copy: Path) -> None:
    for face in FACES:
        for index in range(FRAMES):
            if (face, index) != ("superior", 2):
                take_frame_out(copy, face, index)
    result = replayed(copy)
    assert result.exit_code == 1
    assert "nothing could be compared; 0 of 0 frames" in result.output


def test_a_recording_of_before_there_was_a_limit_for_its_frames_is_judged_without_one(copy: Path) -> None:
    def of_before(entries: Entries) -> Entries:
        del entries[0]["configuration"]["policy"]["max_frame_um"]
        return entries

    rewrite_log(copy, of_before)
    assert read_then(Recording.open(copy)).judging.policy.max_frame_um is None
    assert replayed(copy).exit_code == 0


# -- frames of which the log says nothing, or something else -------------------------------------------


def test_a_recorded_frame_of_which_the_log_says_nothing_is_a_difference(copy: Path) -> None:
    rewrite_log(copy, without("flags", "medial", 4))
    result = replayed(copy)
    assert result.exit_code == 1
    assert "recorded, and the log does not say what became of it: 4" in result.output


def test_a_recorded_frame_that_was_lost_live_is_told_with_the_reason(copy: Path) -> None:
    def lost_instead(entries: Entries) -> Entries:
        sequence = next(e["frame_sequence"] for e in entries if of(e, "flags", "medial", 4))
        loss = {"kind": "lost", "face": "medial", "first_sequence": sequence, "count": 1}
        loss |= {"cause": "arrived, but judging was too slow", "detail": "", "at": entries[0]["at"]}
        return [loss if of(entry, "flags", "medial", 4) else entry for entry in entries]

    rewrite_log(copy, lost_instead)
    result = replayed(copy)
    assert "1 recorded and not judged live (arrived, but judging was too slow)" in result.output
    # The verdict then was made with that frame, and so is another one now.
    assert result.exit_code == 1
    assert "counts" in result.output


def test_another_frame_in_the_place_of_one_that_was_judged_is_a_difference(copy: Path) -> None:
    def renumbered(entries: Entries) -> Entries:
        return [e | ({"sequence": e["sequence"] + 5} if of(e, "frame", "medial", 4) else {}) for e in entries]

    rewrite_log(copy, renumbered)
    result = replayed(copy)
    assert result.exit_code == 1
    assert "judged live, but another frame is recorded in its place: 4" in result.output


class Misplacing(FaultyConsole):
    """Says of the sixth frame of its first sweep that it is at the place of the third, which vanished."""

    def _offer(self, sweep: int, index: int, parts: FrameParts) -> bool:
        if (sweep, index) == (1, 5):
            leader = dataclasses.replace(Leader.from_bytes(parts[0]), index=2)
            parts = (leader.to_bytes(), *parts[1:])
        return super()._offer(sweep, index, parts)


async def test_a_frame_that_was_refused_live_is_told_and_is_no_difference(
    phantom: LayeredPhantom, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    engine = EngineSection(depth=320)
    path = await recorded(phantom, broker, tmp_path / "rec", console=Misplacing, engine=engine)
    opened = Recording.open(path)
    assert opened.present("superior")[2]
    then = read_then(opened)
    superior, medial = faces = list(replay(opened, then))
    assert superior.fates == {Fate.SAME: (0, 1, 3, 4, 6, 7, 8, 9), Fate.LOST_LIVE: (2,)}
    assert superior.lost_causes == (LossCause.NOT_JUDGED.value,)
    assert not superior.verdict_uncompared
    assert medial.compared == FRAMES
    assert is_confirmed(then, faces)


def test_a_face_of_which_the_log_says_nothing_is_told(copy: Path) -> None:
    rewrite_log(
        copy, lambda entries: [e for e in entries if e.get("face") != "medial" or e["kind"] == "frame"]
    )
    result = replayed(copy)
    assert result.exit_code == 1
    assert (
        "medial     0 of 0 frames the same, 0 to the last bit, the log does not tell of this face"
        in result.output
    )


def test_a_face_that_only_the_log_knows_is_told(copy: Path) -> None:
    rewrite_log(
        copy, lambda entries: [*entries, {"kind": "face", "face": "inferior", "at": entries[0]["at"]}]
    )
    result = replayed(copy)
    assert result.exit_code == 1
    assert "the log tells of inferior, which the recording does not have" in result.output


def test_entries_that_the_log_missed_are_told_and_what_depends_on_them_is_not_compared(copy: Path) -> None:
    def missed(entries: Entries) -> Entries:
        (last,) = (entry for entry in entries if of(entry, "verdict", "medial"))
        last["missed"] = 1
        return without("flags", "medial", 4)(entries)

    rewrite_log(copy, missed)
    result = replayed(copy)
    assert result.exit_code == 0, result.output
    assert "the log had no place for 1 entry;" in result.output
    assert "1 recorded, and what was said of it is missing from the log" in result.output
    assert "the same flags, 2 of 2 verdicts not compared; 18 of 18 frames" in result.output


def test_a_frame_that_may_have_been_judged_is_not_taken_for_lost(copy: Path) -> None:
    rewrite_log(copy, lambda entries: [*entries[:-1], entries[-1] | {"missed": 2}])
    result = replayed(copy)
    # Frame 2 of superior never came, by its loss; but a log with gaps cannot say that nothing else was said of it.
    assert "what became of 1 frame may be missing from the log" in result.output
    assert "the same flags, 1 of 2 verdicts not compared" in result.output


def test_the_counts_of_a_verdict_are_compared(copy: Path) -> None:
    def other_counts(entries: Entries) -> Entries:
        for entry in entries:
            if of(entry, "verdict", "medial"):
                entry["counts"] |= {"poor": entry["counts"]["poor"] + 1}
        return entries

    rewrite_log(copy, other_counts)
    result = replayed(copy)
    assert result.exit_code == 1
    assert "(not the same: counts)" in result.output


def test_of_a_recording_that_was_cut_short_the_end_is_not_relied_on(copy: Path) -> None:
    log = copy / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    last_flags = max(n for n, line in enumerate(lines) if b'"kind":"flags"' in line)
    log.write_bytes(b"".join(lines[:last_flags]) + lines[last_flags][:50])
    describe(copy, complete=False, log_sha256=None)
    result = replayed(copy)
    assert result.exit_code == 0, result.output
    assert (
        "the recording is not complete: whether its log ends as it was written, nobody knows" in result.output
    )
    assert "1 recorded, and what was said of it is missing from the log" in result.output
    assert "verdict not compared (the log has none)" in result.output


# -- a log that was changed ----------------------------------------------------------------------------


def test_a_log_that_was_changed_is_found(copy: Path) -> None:
    log = copy / "log.jsonl"
    content = log.read_bytes()
    log.write_bytes(content.replace(b'"verdict":"indeterminate"', b'"verdict":"nothing_suspicious"'))
    result = CliRunner().invoke(app, ["recordings", "verify", str(copy)])
    assert result.exit_code == 1
    assert "the log was changed" in result.output
    log.write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    assert (
        "the log was changed: it ends with entry"
        in CliRunner().invoke(app, ["recordings", "verify", str(copy)]).output
    )


def test_nothing_is_confirmed_by_a_log_that_was_changed(copy: Path) -> None:
    log = copy / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    # The verdict is the last entry: all flags and verdicts are as they were, only its time is not.
    log.write_bytes(b"".join(lines[:-1]) + re.sub(rb'"at":"20', b'"at":"19', lines[-1]))
    result = replayed(copy)
    assert result.exit_code == 1
    assert "the log was changed: it ends with entry" in result.output
    assert "not confirmed, the log cannot be relied on; 19 of 19 frames to the last bit" in result.output
    document = json.loads(CliRunner().invoke(app, ["replay", "--json", str(copy)]).stdout)
    assert not document["same"]
    assert document["log_trouble"].startswith("the log was changed")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_line_goes_unseen(recording: Path, data: st.DataObject) -> None:
    log = recording / "log.jsonl"
    original = log.read_bytes()
    lines = original.splitlines(keepends=True)
    n = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[n]) - 1))
    other = data.draw(st.binary(max_size=3).filter(lambda new: new != lines[n][at : at + 1]))
    lines[n] = lines[n][:at] + other + lines[n][at + 1 :]
    try:
        log.write_bytes(b"".join(lines))
        try:
            trouble = read_then(Recording.open(recording)).trouble
        except InputError as error:
            trouble = str(error)
    finally:
        log.write_bytes(original)
    assert "the log was changed" in trouble


@pytest.mark.parametrize(
    "key", ["configuration", "description", "face", "frame_index", "counts", "first_sequence"]
)
def test_a_log_that_no_octmargin_wrote_is_one_line(copy: Path, key: str) -> None:
    rewrite_log(
        copy, lambda entries: [entry | ({key: ["forged"]} if key in entry else {}) for entry in entries]
    )
    error = replayed(copy).exception
    assert isinstance(error, InputError)
    assert "its log cannot be used" in str(error)
    assert "\n" not in str(error)


def test_results_of_another_model_are_named(recording: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(recording, changed)
    opened = Recording.open(changed)
    then = read_then(opened)
    judging = msgspec.structs.replace(then.judging, model=ModelSection(name="rule-1"))
    faces = list(replay(opened, msgspec_replace(then, judging=judging)))
    assert any(Fate.DIFFERENT in face.fates for face in faces)


def msgspec_replace(then: Any, **changes: Any) -> Any:
    return type(then)(**{name: changes.get(name, getattr(then, name)) for name in then.__slots__})


async def test_what_cannot_be_repeated_is_refused(
    phantom: LayeredPhantom, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    engine = EngineSection(depth=320, running_mean_frames=4)
    path = await recorded(phantom, broker, tmp_path / "rec", engine=engine)
    result = CliRunner().invoke(app, ["replay", str(path)])
    assert "cannot be repeated" in str(result.exception)


def test_a_recording_without_a_log_is_named(copy: Path) -> None:
    (copy / "log.jsonl").unlink()
    assert "the log was changed: it has no entry any more" in str(replayed(copy).exception)
    describe(copy, log_sha256=None)
    assert "has no log of what was said of it live; judge it with `octmargin assess`" in str(
        replayed(copy).exception
    )


async def test_over_the_wire_again_it_gives_the_same_flags_and_the_same_holes(
    recording: Path, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    source = ArchivedSource(recording)
    room = Room(source, broker, Console(source, msgspec.structs.replace(LENIENT, serial="ROOM-2")))
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
    assert 2 not in after.faces["superior"].flags
    for face in FACES:
        flags_before, flags_after = before.faces[face].flags, after.faces[face].flags
        assert flags_before.keys() == flags_after.keys()
        for index, said in flags_before.items():
            if (face, index) != (
                "medial",
                7,
            ):  # what saturated was spoiled on its way, and is recorded as it came
                assert flags_after[index].bits == said.bits


def test_a_recording_tells_everything_itself(recording: Path) -> None:
    with pytest.raises(InputError, match="tells this itself; leave out --frames"):
        simulate(source=str(recording), frames=3)
