"""What a recording's log tells becomes part of a case: once, whole, and nothing that cannot be relied on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.case.examples import CASE, NOW, SPECIMEN, bodies, new_store, opened, ready, registered

from octmargin.archive import Recording
from octmargin.archive.metadata import FaceEntry, Metadata
from octmargin.archive.writing import RecordingWriter
from octmargin.case.record.store import CaseStore
from octmargin.case.recorded import read_recorded
from octmargin.case.taking import take
from octmargin.errors import CaseRefusedError, InputError
from octmargin.frames import ScanPlan

FRAMES, ALINES = 4, 32
SESSION = "5f0c8a1be2d94c37"
DESCRIPTION = {
    "instance_id": SESSION,
    "synthetic": True,
    "software_version": "0.1.0",
    "model": {"name": "margin-1", "version": "1", "hash": "aa"},
    "calibration": {"id": "console", "hash": "bb"},
    "configuration_hash": "cc",
    "console": {"maker": "M", "model": "C-1", "serial": "7", "firmware": "2", "source": "phantom", "driver": "usb"},
    "policy": {"min_coverage": 0.95},
}  # fmt: skip
PLACE = {"case_id": "case-0", "specimen_id": "specimen-0"}
GRID = ["NN", "SS", "PL", "N."]


def face(name: str) -> tuple[str, dict[str, Any]]:
    return "face", {"face": name, "frames": FRAMES}


def flags(name: str, frame: int, *state: int) -> tuple[str, dict[str, Any]]:
    return "flags", {
        **PLACE,
        "face": name,
        "sweep": 1,
        "frame_index": frame,
        "state": list(state),
        "bits": "x",
    }


def lost(name: str, count: int, cause: str = "never arrived") -> tuple[str, dict[str, Any]]:
    return "lost", {"face": name, "first_sequence": 0, "count": count, "cause": cause, "detail": ""}


def verdict(name: str, sweep: int, word: str = "suspicious", **changes: Any) -> tuple[str, dict[str, Any]]:
    said = {
        "face": name, "sweep": sweep, "verdict": word, "coverage": 0.625, "visualised_depth_mm": 1.02,
        "distance_mm": 0.1, "clusters": 1,
        "counts": {"not_scanned": 1, "lost": 1, "poor": 1, "nothing_suspicious": 3, "suspicious": 2},
        "reasons": ["2 suspicious blocks"],
    }  # fmt: skip
    return "verdict", PLACE | said | changes


def command(name: str, reason: str, outcome: str = "done", **arguments: Any) -> tuple[str, dict[str, Any]]:
    asked = {"command": name, "role": "reader", "user": "anna", "id": "c-1", "arguments": arguments}
    return "command", {**asked, "outcome": outcome, "reason": reason}


WHOLE = (
    command("register", "specimen specimen-0 is on the stage", kind="lumpectomy", laterality="left", orientation="x"),
    face("medial"),
    flags("medial", 0, 3, 3), lost("medial", 1), flags("medial", 3, 3, 0),
    ("map", {"face": "medial", "sweep": 1, "grid": GRID}),
    verdict("medial", 1),
    command("decide", "kept as d1", face="medial", sweep=1, subject="face", word="disagree", note="a vessel"),
    command("decide", "no such sweep", "refused", face="medial", sweep=9, subject="face", word="agree"),
    command("mark", "kept as m2", face="medial", sweep=1, first_frame=0, last_frame=1, first_block=0, last_block=1),
    command("start", "scanning lateral"),
    face("lateral"),
    lost("lateral", 2, "never arrived"), lost("lateral", 1, "damaged on the wire"), lost("lateral", 1),
    verdict("lateral", 2, "indeterminate", clusters=0),
)  # fmt: skip


def crafted(
    folder: Path,
    notes: tuple[tuple[str, Any], ...] = WHOLE,
    *,
    finish: bool = True,
    began: Any = DESCRIPTION,
    specimen: Any = None,
) -> Path:
    path = folder / "recording"
    plans = [
        ScanPlan(
            face=name, samples=64, alines=ALINES, frames=FRAMES, width_mm=10, height_mm=8, line_rate_hz=1e4
        )
        for name in ("medial", "lateral")
    ]
    metadata = Metadata(
        complete=True,
        software_version="0.1.0",
        source="a phantom",
        synthetic=True,
        pixel_format="MONO12",
        axial_um=3.0,
        faces=tuple(FaceEntry(name=plan.face, width_mm=10, height_mm=8) for plan in plans),
    )
    writer = RecordingWriter(
        path,
        metadata,
        plans,
        live=True,
        began={"description": began, "configuration": {}, "specimen": specimen} if began else None,
    )
    writer.put("medial", 0, np.zeros((ALINES, 64), "<u2"))
    for kind, content in notes:
        writer.log.note(kind, content)
    if finish:
        writer.finish()
    else:
        writer.abandon()
        writer.log.close()
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    with new_store(tmp_path) as made:
        yield made


def taken_into(store: CaseStore, path: Path) -> tuple[int, int]:
    taken = take(store, read_recorded(Recording.open(path)), case_id=CASE, specimen_id=SPECIMEN, actor="anna")
    return len(taken.entered), len(taken.left_out)


def test_sweeps_verdicts_and_what_readers_said_become_part_of_the_case(
    store: CaseStore, tmp_path: Path
) -> None:
    ready(store)
    path = crafted(tmp_path)
    assert taken_into(store, path) == (5, 0)
    specimen = store.case(CASE).specimens[0]
    medial, lateral = specimen.sweeps
    assert (medial.key, medial.verdict, medial.provisional, medial.coverage) == (
        (SESSION, 1, "medial"), "suspicious", False, 0.625,
    )  # fmt: skip
    assert list(medial.grid) == GRID
    assert (medial.lost_frames, medial.frames, medial.width_mm, medial.height_mm) == (1, FRAMES, 10, 8)
    assert medial.started_at <= medial.ended_at  # type: ignore[operator] # it has ended
    assert (medial.synthetic, medial.trouble, medial.recording) == (True, "", str(path))
    assert (medial.versions.model, medial.versions.console_serial, medial.versions.calibration_hash) == (
        "margin-1", "7", "bb",
    )  # fmt: skip
    assert medial.recording_log_sha256 == Recording.open(path).log_sha256
    assert lateral.lost_by_cause == {"never arrived": 3, "damaged on the wire": 1}
    (decision,) = specimen.decisions
    assert (decision.id, decision.by, decision.role, decision.word, decision.note, decision.face) == (
        "d1", "anna", "reader", "disagree", "a vessel", "medial",
    )  # fmt: skip
    (mark,) = specimen.marks
    assert (mark.id, mark.last_frame, mark.session) == ("m2", 1, SESSION)
    stage = specimen.statements[-1]
    assert (stage.source, stage.by, stage.laterality, stage.orientation) == (
        "stage", "reader/anna", "left", "x",
    )  # fmt: skip


def test_taken_again_it_changes_nothing(store: CaseStore, tmp_path: Path) -> None:
    ready(store)
    path = crafted(tmp_path)
    taken_into(store, path)
    before = store.case(CASE)
    assert taken_into(store, path) == (0, 0)
    assert store.case(CASE) == before


def test_a_scan_that_was_cut_short_is_told_and_nothing_is_concluded_of_it(
    store: CaseStore, tmp_path: Path
) -> None:
    ready(store)
    cut = (face("medial"), flags("medial", 0, 3, 3), flags("medial", 1, 4, 2))
    assert taken_into(store, crafted(tmp_path, cut, finish=False)) == (1, 0)
    (sweep,) = store.case(CASE).specimens[0].sweeps
    assert (sweep.verdict, sweep.provisional, sweep.ended_at) == ("indeterminate", True, None)
    assert (sweep.grid, sweep.coverage) == (("NN", "SP", "..", ".."), 3 / 8)
    assert (sweep.counts.not_scanned, sweep.counts.nothing_suspicious, sweep.counts.suspicious) == (4, 2, 1)
    assert sweep.reasons == ("the sweep was cut short; it has no final verdict",)
    assert "cut short" in sweep.trouble


def test_a_face_that_was_scanned_anew_keeps_both_sweeps(store: CaseStore, tmp_path: Path) -> None:
    ready(store)
    twice = (
        *(face("medial"), flags("medial", 0, 3, 3), verdict("medial", 1)),
        *(face("medial"), flags("medial", 0, 3, 3), face("medial"), flags("medial", 0, 3, 3)),
        verdict("medial", 3, "nothing_suspicious"),
    )
    taken_into(store, crafted(tmp_path, twice))
    specimen = store.case(CASE).specimens[0]
    assert [(one.sweep, one.provisional) for one in specimen.sweeps] == [(1, False), (0, True), (3, False)]
    newest = specimen.newest_sweep("medial")
    assert newest is not None
    assert newest.verdict == "nothing_suspicious"


def test_what_a_reader_said_of_a_sweep_that_nobody_knows_is_left_out_and_counted(
    store: CaseStore, tmp_path: Path
) -> None:
    ready(store)
    said = command("decide", "kept as d1", face="medial", sweep=7, subject="face", word="agree")
    assert taken_into(store, crafted(tmp_path, (face("medial"), verdict("medial", 1), said))) == (1, 1)


def test_what_was_asked_for_another_specimen_is_not_taken(store: CaseStore, tmp_path: Path) -> None:
    ready(store)
    kind, content = command("decide", "kept as d1", face="medial", sweep=1, subject="face", word="agree")
    of_another = (kind, content | {"case_id": "case-0", "specimen_id": "another"})
    elsewhere = command("register", "specimen another is on the stage", laterality="right")
    notes = (face("medial"), verdict("medial", 1), of_another, elsewhere)
    assert taken_into(store, crafted(tmp_path, notes)) == (1, 0)


def test_the_stage_s_side_is_compared_with_that_of_the_record(store: CaseStore, tmp_path: Path) -> None:
    ready(store)
    other = command("register", "specimen specimen-0 is on the stage", laterality="right")
    taken_into(store, crafted(tmp_path, (other, face("medial"), verdict("medial", 1))))
    case = store.case(CASE)
    assert case.phase == "confirm"
    assert "the stage says right" in case.conflicts[0].text


def test_the_specimen_that_was_on_the_stage_from_the_beginning_is_compared_too(
    store: CaseStore, tmp_path: Path
) -> None:
    ready(store)
    notes = (face("medial"), verdict("medial", 1))
    path = crafted(
        tmp_path, notes, specimen={"kind": "lumpectomy", "laterality": "right", "orientation": "x"}
    )
    assert taken_into(store, path) == (2, 0)
    assert taken_into(store, path) == (0, 0)
    assert store.case(CASE).phase == "confirm"


def test_what_the_stage_was_told_twice_is_one_statement_of_whoever_told_it(
    store: CaseStore, tmp_path: Path
) -> None:
    ready(store)
    path = crafted(tmp_path, specimen={"kind": "lumpectomy", "laterality": "left", "orientation": "x"})
    taken_into(store, path)
    said = [one.by for one in store.case(CASE).specimens[0].statements if one.source == "stage"]
    assert said == ["reader/anna"]


def test_a_scan_that_was_cut_short_has_the_daemons_number_where_the_log_has_it(
    store: CaseStore, tmp_path: Path
) -> None:
    ready(store)
    kind, content = face("medial")
    notes = ((kind, content | {"sweep": 5}), flags("medial", 0, 3, 3))
    taken_into(store, crafted(tmp_path, notes, finish=False))
    assert store.case(CASE).specimens[0].sweeps[0].key == (SESSION, 5, "medial")


def test_key_views_are_kept(store: CaseStore, tmp_path: Path) -> None:
    ready(store)
    view = {"number": 1, "first_frame": 1, "last_frame": 2, "first_block": 0, "last_block": 1, "frame": 1, "block": 0,
            "evidence": 0.9, "distance_mm": None, "blocks": 3}  # fmt: skip
    taken_into(store, crafted(tmp_path, (face("medial"), verdict("medial", 1, key_views=[view]))))
    (kept,) = store.case(CASE).specimens[0].sweeps[0].key_views
    assert (kept.frame, kept.block, kept.evidence, kept.distance_mm, kept.blocks) == (1, 0, 0.9, None, 3)


def test_nothing_is_taken_from_a_log_that_was_changed(store: CaseStore, tmp_path: Path) -> None:
    ready(store)
    path = crafted(tmp_path)
    log = path / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"verdict":"suspicious"', b'"verdict":"nothing_suspicious"'))
    with pytest.raises(InputError, match=r"the log was changed: .*; nothing is taken from it"):
        taken_into(store, path)
    assert store.case(CASE).specimens[0].sweeps == ()


@pytest.mark.parametrize(
    ("notes", "began", "text"),
    [
        (WHOLE, None, "only `octmargin run` writes one"),
        ((face("medial"),), DESCRIPTION, "tells of specimens none"),
        (
            (face("medial"), verdict("medial", 1), verdict("lateral", 2, specimen_id="another")),
            DESCRIPTION,
            "specimen-0 of case-0, another of case-0, where one is taken",
        ),
        ((face("medial"), ("verdict", {"face": "medial"})), DESCRIPTION, "its log cannot be used"),
        ((face("medial"), flags("medial", 0, 7)), DESCRIPTION, "its log cannot be used"),
    ],
)
def test_a_log_that_tells_of_no_specimen_is_refused_in_words(
    tmp_path: Path, notes: Any, began: Any, text: str
) -> None:
    with pytest.raises(InputError, match=text) as refused:
        read_recorded(Recording.open(crafted(tmp_path, notes, began=began)))
    assert "\n" not in str(refused.value)


def test_entries_that_found_no_place_in_the_log_are_told(store: CaseStore, tmp_path: Path) -> None:
    ready(store)
    path = crafted(tmp_path, (face("medial"), ("verdict", verdict("medial", 1)[1] | {"missed": 3})))
    taken_into(store, path)
    assert store.case(CASE).specimens[0].sweeps[0].trouble == "3 entries found no place in the log"


def taken_into_another(store: CaseStore, path: Path, although: str = "") -> int:
    recorded = read_recorded(Recording.open(path))
    taken = take(store, recorded, case_id="case-8", specimen_id=SPECIMEN, actor="anna", although=although)
    return len(taken.entered)


def test_a_recording_is_of_one_specimen_unless_somebody_says_why(store: CaseStore, tmp_path: Path) -> None:
    path = crafted(tmp_path, (face("medial"), verdict("medial", 1)))
    ready(store)
    ready(store, case_id="case-8")
    taken_into(store, path)
    with pytest.raises(CaseRefusedError, match=r"under case case-7, specimen specimen-1; .*--although"):
        taken_into_another(store, path)
    assert store.case("case-8").specimens[0].sweeps == ()
    assert taken_into_another(store, path, "one specimen, registered in both by the hospital") == 1
    (sweep,) = store.case("case-8").specimens[0].sweeps
    assert sweep.trouble == (
        "it is in the record under case case-7, specimen specimen-1 too; "
        "taken here because: one specimen, registered in both by the hospital"
    )
    assert taken_into_another(store, path) == 0


def test_what_a_withdrawn_specimen_had_may_be_taken_by_the_right_one(
    store: CaseStore, tmp_path: Path
) -> None:
    path = crafted(tmp_path, (face("medial"), verdict("medial", 1)))
    ready(store)
    ready(store, case_id="case-8")
    taken_into(store, path)
    store.append(CASE, bodies()["withdraw"], actor="anna", at=NOW)
    assert taken_into_another(store, path) == 1


def test_only_a_registered_specimen_that_is_not_signed_takes_it(store: CaseStore, tmp_path: Path) -> None:
    path = crafted(tmp_path)
    opened(store)
    with pytest.raises(CaseRefusedError, match="is not registered; register it, or name another"):
        taken_into(store, path)
    said = bodies()
    store.append(
        CASE, registered(), *(said[step] for step in ("identify", "indicate", "sweep", "finalise", "sign")), actor="a",
        at=NOW,
    )  # fmt: skip
    with pytest.raises(CaseRefusedError, match="is signed, where `state` is not possible"):
        taken_into(store, path)


def test_the_log_is_json_lines_as_the_examples_here_assume(tmp_path: Path) -> None:
    lines = (crafted(tmp_path) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in lines][:3] == ["began", "frame", "command"]
