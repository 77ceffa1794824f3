"""Recordings of a folder: listed, verified, finished, let go."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.archive.test_recording import FRAMES, Source
from typer.testing import CliRunner

from octmargin.archive import Recording, RecordingWriter, finish_recording, write_recording
from octmargin.archive.keeping import Holding, holdings, to_prune, verify
from octmargin.archive.metadata import parse
from octmargin.archive.recording import LOG_FILE
from octmargin.cli import app
from octmargin.errors import InputError
from octmargin.words import size

DAY_S = 86_400.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole recording, and one whose writing was cut short in its second frame."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    write_recording(folder / "whole", Source(faces=("superior",)))
    whole = Recording.open(folder / "whole")
    metadata = parse(whole.path, {"octmargin": attributes(whole.path)})
    writer = RecordingWriter(folder / "cut", metadata, [whole.plan("superior")], live=True)
    writer.put("superior", 0, Source().frame("superior", 0))
    (folder / "cut/faces/superior/spectra/c/1/0").mkdir(parents=True)
    (folder / "cut/faces/superior/spectra/c/1/0/0.1234.partial").write_bytes(b"half of a frame")
    writer.log.close()
    return folder


def attributes(path: Path) -> object:
    return msgspec.json.decode((path / "zarr.json").read_bytes())["attributes"]["octmargin"]


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "octmargin", "recordings", *map(str, options)],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_folder_is_listed_with_what_is_in_each(folder: Path) -> None:
    (folder / "something else").mkdir()
    (folder / "foreign").mkdir()
    (folder / "foreign/zarr.json").write_text("{}")
    found = {holding.path.name: holding for holding in holdings(folder)}
    assert set(found) == {"whole", "cut", "foreign"}
    assert (found["whole"].complete, found["whole"].present, found["whole"].planned) == (True, FRAMES, FRAMES)
    assert (found["cut"].complete, found["cut"].present, found["cut"].planned) == (False, 1, FRAMES)
    assert found["foreign"].trouble
    size = sum(file.stat().st_size for file in (folder / "whole").rglob("*") if file.is_file())
    assert found["whole"].size_bytes == size


def test_what_is_left_of_a_recording_is_listed_as_one_that_cannot_be_opened(folder: Path) -> None:
    assert run("list", folder).returncode == 0
    (folder / "whole/zarr.json").unlink()
    (folder / "left/faces").mkdir(parents=True)
    done = run("list", folder)
    assert done.returncode == 1
    for name in ("whole", "left"):
        assert re.search(
            rf"^{name} .* cannot be opened: .*/{name}: its zarr.json is gone; restore",
            done.stdout,
            re.MULTILINE,
        )
    assert "\n3 recordings, " in done.stdout
    as_json = run("list", folder, "--json")
    assert as_json.returncode == 1
    assert {
        Path(found["path"]).name for found in msgspec.json.decode(as_json.stdout) if found["trouble"]
    } == {
        "whole",
        "left",
    }


def test_frames_that_are_gone_since_are_not_counted(folder: Path) -> None:
    (folder / "whole/faces/superior/spectra/c/1/0/0").unlink()
    assert f"{FRAMES - 1} of {FRAMES} frames of 1 face  SYN" in run("list", folder).stdout


def test_a_damaged_frame_is_found(folder: Path) -> None:
    recording = Recording.open(folder / "whole")
    assert verify(recording).damaged == ()
    chunk = folder / "whole/faces/superior/spectra/c/2/0/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(bytes(data))
    found = verify(recording)
    assert (found.sound, found.lost, found.damaged) == (FRAMES - 1, 0, ("superior 2",))


def test_what_was_cut_short_is_finished_with_what_it_has(folder: Path) -> None:
    assert finish_recording(folder / "cut") == 1
    recording = Recording.open(folder / "cut")
    assert recording.complete
    assert recording.present("superior").tolist() == [True, False, False]
    assert not list((folder / "cut").rglob("*.partial"))
    assert verify(recording).sound == 1


def test_a_full_disk_is_told_in_one_line_and_leaves_what_there_was(folder: Path) -> None:
    """Only the command's own thread writes: what the disk says to another may come as a traceback at the end."""
    limited = f"""
import os, resource, signal, sys, threading
from octmargin.cli import app
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
writers = set()
def opened(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        writers.add(threading.current_thread())
sys.addaudithook(opened)
try:
    app(["recordings", "repair", {str(folder / "cut")!r}])
finally:
    assert writers == {{threading.main_thread()}}, writers
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    one_line = r"octmargin: .*/cut: cannot be written \(File too large\); check the disk and the folder\n"
    assert re.fullmatch(one_line, done.stderr)
    assert not Recording.open(folder / "cut").complete
    assert run("repair", folder / "cut").returncode == 0
    assert verify(Recording.open(folder / "cut")).sound == 1


def holding(name: str, age_days: float, size_gb: float) -> Holding:
    return Holding(Path(name), round(size_gb * 1e9), -age_days * DAY_S, complete=True)


def test_a_policy_lets_go_of_the_old_and_then_of_the_oldest_of_what_is_too_much() -> None:
    kept = [holding("a", 40, 1), holding("b", 20, 5), holding("c", 10, 5), holding("d", 1, 5)]

    def gone(days: float | None, gb: float | None) -> list[str]:
        return [h.path.name for h in to_prune(kept, now_s=0.0, older_than_days=days, over_gb=gb)]

    assert gone(30, None) == ["a"]
    assert gone(None, 12) == ["a", "b"]
    assert gone(30, 100) == ["a"]
    assert gone(15, 4) == ["a", "b", "c", "d"]
    assert gone(None, 16) == []


def test_what_may_be_somebody_elses_or_is_still_being_written_is_never_let_go() -> None:
    foreign = replace(holding("foreign", 100, 5), complete=False, trouble="not an octmargin recording")
    live = replace(holding("live", 100, 5), complete=False)
    kept = [foreign, live]
    assert to_prune(kept, now_s=0.0, older_than_days=1, over_gb=0) == []
    assert to_prune(kept, now_s=0.0, older_than_days=1, over_gb=None, cut_short=True) == [live]


def test_a_frame_that_came_and_is_not_there_any_more_is_found(folder: Path) -> None:
    (folder / "whole/faces/superior/spectra/c/1/0/0").unlink()
    assert verify(Recording.open(folder / "whole")).damaged == ("superior 1 (missing)",)


def test_the_command_line_lists_verifies_repairs_and_prunes(folder: Path) -> None:
    listed = run("list", folder)
    assert "cut  " in listed.stdout
    assert "1 of 3 frames of 1 face, cut short  SYNTHETIC" in listed.stdout
    assert re.search(r"\nwhole  [1-9]\d*\.\d kB  3 of 3 frames", "\n" + listed.stdout)
    assert re.search(r"\n2 recordings, [1-9]\d*\.\d kB\n", listed.stdout)
    assert msgspec.json.decode(run("list", folder, "--json").stdout)[0]["synthetic"] is True
    assert (
        "1 frame sound, 2 not there, 0 damaged (its writing was cut short"
        in run("verify", folder / "cut").stdout
    )
    assert (
        "complete now, with what had been written: 1 frame\n"
        in run("repair", folder / "cut", folder / "whole").stdout
    )
    assert Recording.open(folder / "cut").complete
    old = 1e9
    for file in (folder / "cut").rglob("*"):
        os.utime(file, (old, old))
    would = run("prune", folder, "--older-than-days", "100").stdout
    assert would.startswith("would delete cut  ")
    assert re.search(r"\nwould delete 1 of 2 recordings, .* kB, and free .* kB; --delete does it\n", would)
    assert (folder / "cut").exists(), "without --delete nothing goes"
    did = run("prune", folder, "--older-than-days", "100", "--delete").stdout
    assert did.startswith("deleted cut  ")
    assert re.search(r"\ndeleted 1 of 2 recordings, .* kB; .* kB are free again\n", did)
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_what_prune_leaves_alone_is_said(folder: Path) -> None:
    (folder / "foreign").mkdir()
    (folder / "foreign/zarr.json").write_text("{}")
    left = "; 1 cannot be opened, never deleted"
    pruned = CliRunner().invoke(app, ["recordings", "prune", str(folder), "--older-than-days", "1"]).stdout
    assert pruned.startswith("nothing to delete by this policy; there are 3 recordings, ")
    assert pruned.endswith(f"{left}; 1 not complete, deleted only with --cut-short\n")
    arguments = ["recordings", "prune", str(folder), "--over-gb", "0", "--cut-short"]
    pruned = CliRunner().invoke(app, arguments).stdout
    assert "would delete 2 of 3 recordings" in pruned
    assert pruned.endswith(f"{left}\n")


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (12_340, "12.3 kB"), (4_560_000, "4.6 MB"),
     (1_000_000_000, "1.0 GB"), (1_234_500_000_000, "1234.5 GB")],
)  # fmt: skip
def test_a_size_is_told_in_a_unit_of_which_something_is_left_to_read(n_bytes: int, text: str) -> None:
    assert size(n_bytes) == text


def test_a_recording_that_cannot_be_opened_does_not_keep_the_others_from_being_verified(folder: Path) -> None:
    (folder / "foreign").mkdir()
    result = run("verify", folder / "none", folder / "foreign", folder / "whole")
    assert result.returncode == 1
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["octmargin", f"{folder}/none"],
        ["octmargin", f"{folder}/foreign"],
    ]
    assert result.stdout.startswith(f"{folder}/whole: 3 frames sound")


def test_a_recording_that_cannot_be_opened_does_not_keep_the_others_from_being_repaired(folder: Path) -> None:
    result = run("repair", folder / "none", folder / "cut")
    assert result.returncode == 1
    assert result.stderr.startswith(f"octmargin: {folder}/none: no such folder")
    assert Recording.open(folder / "cut").complete


@pytest.mark.parametrize("where", ["zarr.json", "faces/superior/spectra/zarr.json"])
@pytest.mark.parametrize("content", ["null", "[]", "[" * 200_000, '{"a":' * 200_000, '"\\ud800"', ""])
def test_whatever_stands_for_its_description_is_an_input_error(
    folder: Path, where: str, content: str
) -> None:
    (folder / "whole" / where).write_text(content)
    with pytest.raises(InputError, match="whole: "):
        Recording.open(folder / "whole")


@pytest.mark.parametrize(
    ("array", "key", "value"),
    [
        ("spectra", "fill_value", -1),
        ("spectra", "shape", [2**70, 16, 64]),
        ("present", "chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0]}}),
    ],
)
def test_numbers_that_cannot_be_do_not_keep_the_others_from_being_listed_and_verified(
    folder: Path, array: str, key: str, value: object
) -> None:
    shutil.copytree(folder / "whole", folder / "odd")
    described = folder / "odd/faces/superior" / array / "zarr.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {key: value}))
    troubles = {holding.path.name: holding.trouble for holding in holdings(folder)}
    assert [name for name, trouble in troubles.items() if trouble] == ["odd"]
    assert troubles["odd"].startswith(f"{folder}/odd: ")
    result = CliRunner().invoke(app, ["recordings", "verify", str(folder / "odd"), str(folder / "whole")])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [f"octmargin: {troubles['odd']}"]
    assert result.stdout.startswith(f"{folder}/whole: 3 frames sound")


def test_what_cannot_be_is_one_line(folder: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        holdings(folder / "none")
    refused = run("prune", folder)
    assert refused.returncode != 0
    assert refused.stderr.startswith("octmargin: recordings prune: give --older-than-days")
    shutil.rmtree(folder / "whole/faces")
    assert run("verify", folder / "whole").stderr.startswith(f"octmargin: {folder}/whole: ")


# -- the log -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A complete recording, whose log is changed and put back."""
    path = tmp_path_factory.mktemp("logged") / "rec"
    write_recording(path, Source(faces=("superior",)))
    return Recording.open(path)


def with_log(recording: Recording, content: bytes) -> str:
    """What `verify` says of the log where it has this content."""
    log = recording.path / LOG_FILE
    original = log.read_bytes()
    try:
        log.write_bytes(content)
        return verify(recording).log
    finally:
        log.write_bytes(original)


def chained(*entries: object) -> bytes:
    """A log whose chain holds, whatever is in it."""
    lines: list[bytes] = []
    for n, entry in enumerate(entries):
        before = hashlib.sha256(lines[-1]).hexdigest() if lines else ""
        lines.append(msgspec.json.encode({"n": n, "before": before} | entry))  # type: ignore[operator]
    return b"".join(line + b"\n" for line in lines)


def pieces(original: bytes) -> st.SearchStrategy[bytes]:
    """Lines, parts and bytes of a log in another order, with others among them."""
    lines = original.splitlines(keepends=True)
    part = st.tuples(st.integers(0, len(original)), st.integers(0, len(original))).map(
        lambda cut: original[min(cut) : max(cut)]
    )
    anything = st.one_of(
        st.sampled_from(lines), st.just(original), part, st.binary(max_size=20), st.just(b"[" * 200_000)
    )
    return st.lists(anything, max_size=6).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_log_but_the_one_that_was_written_is_called_whole(logged: Recording, data: st.DataObject) -> None:
    original = (logged.path / LOG_FILE).read_bytes()
    at = st.integers(0, len(original))
    put_in = st.builds(lambda at, what: original[:at] + what + original[at:], at, st.binary(max_size=9))
    taken_out = st.builds(lambda at, n: original[:at] + original[at + n :], at, st.integers(0, 400))
    content = data.draw(st.one_of(put_in, taken_out, pieces(original)))
    assert bool(with_log(logged, content)) == (content != original)


words = st.sampled_from(["frame", "forgotten", "superior", "none", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words, lambda inner: st.lists(inner, max_size=2)
)
keys = st.sampled_from(["kind", "face", "index", "sha256", "sequence", "missed"])


@settings(max_examples=100, deadline=None)
@given(entries=st.lists(st.dictionaries(keys, values), max_size=4))
def test_no_forged_entry_ends_verify(logged: Recording, entries: list[object]) -> None:
    assert "\n" not in with_log(logged, chained(*entries))


def test_a_log_with_more_or_less_than_was_written_is_named(logged: Recording) -> None:
    original = (logged.path / LOG_FILE).read_bytes()
    lines = original.splitlines(keepends=True)
    for behind in (b"{", b"\0" * 4096):
        assert with_log(logged, original + behind) == (
            "the log was changed: something stands behind entry 3, which was its last"
        )
    assert with_log(logged, b"") == "the log was changed: it has no entry any more"
    assert with_log(logged, lines[0]) == "the log was changed: it ends with entry 0, which was not its last"
    assert with_log(logged, b"".join(lines[1:])) == "the log was changed: its first line does not begin a log"


def test_a_forged_entry_is_named(logged: Recording) -> None:
    logged.complete = False  # as long as it is not complete, nobody knows the last line of its log
    try:
        trouble = with_log(logged, chained({"kind": "began"}, {"kind": "frame", "face": ["superior"]}))
    finally:
        logged.complete = True
    assert trouble.startswith("the log was changed: entry 1 is none that octmargin writes (Expected `str`")


def change_description(path: Path, **changes: object) -> None:
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["octmargin"].update(changes)
    (path / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize("name", ["whole", "cut"])
def test_synthetic_spectra_are_never_called_measured(folder: Path, name: str) -> None:
    """Nor where the description was changed to say so: the log has it as it was."""
    change_description(folder / name, synthetic=False)
    recording = Recording.open(folder / name)
    assert recording.synthetic
    assert all(holding.synthetic for holding in holdings(folder))
    result = CliRunner().invoke(app, ["recordings", "verify", str(folder / name)])
    assert result.exit_code == 1
    assert result.stdout.endswith("  the description was changed: synthetic not as in the log\n")


def test_a_description_that_is_not_the_one_that_was_written_is_found(folder: Path) -> None:
    assert verify(Recording.open(folder / "whole")).is_sound
    faces = msgspec.to_builtins(parse(folder, {"octmargin": attributes(folder / "whole")}).faces)
    faces[0]["truth"] = "clear"
    change_description(folder / "whole", axial_um=2.0, faces=faces)
    found = verify(Recording.open(folder / "whole"))
    assert (found.log, found.sound) == (
        "the description was changed: axial_um, faces not as in the log",
        FRAMES,
    )


def test_what_a_later_version_adds_to_a_description_is_no_change(folder: Path) -> None:
    change_description(folder / "whole", colour="blue")
    assert verify(Recording.open(folder / "whole")).is_sound


def test_a_repaired_recording_is_described_as_it_was_begun(folder: Path) -> None:
    finish_recording(folder / "cut")
    assert verify(Recording.open(folder / "cut")).is_sound


def test_a_log_that_describes_no_recording_is_named(folder: Path) -> None:
    (folder / "cut" / LOG_FILE).write_bytes(chained({"kind": "began", "recording": {"synthetic": 1}}))
    assert verify(Recording.open(folder / "cut")).log == "the log was changed: entry 0 describes no recording"


def test_a_log_that_cannot_be_read_is_a_finding(folder: Path) -> None:
    (folder / "whole" / LOG_FILE).unlink()
    (folder / "whole" / LOG_FILE).mkdir()
    found = verify(Recording.open(folder / "whole"))
    assert "log.jsonl: cannot be read (Is a directory)" in found.log
    assert found.sound == FRAMES


def test_a_frame_that_only_the_log_knows_is_missing(folder: Path) -> None:
    (folder / "whole/faces/superior/spectra/c/1/0/0").unlink()
    present = zarr.open_group(folder / "whole", mode="r+")["faces/superior/present"]
    assert isinstance(present, zarr.Array)
    present[1] = False
    assert verify(Recording.open(folder / "whole")).damaged == ("superior 1 (missing)",)
