"""Small studies from specimens to report: the same however they are run, and made again from their files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from octmargin.errors import ConfigError, InputError
from octmargin.frames import BlockState
from octmargin_simulator.study import StudyPlan, StudyResults, run_study, summarise
from octmargin_simulator.study.plan import LOST_FRAMES
from octmargin_simulator.study.records import BLOCKS_FILE, FACES_FILE
from octmargin_simulator.study.report import MARKDOWN_FILE, REPORT_FILE, SUMMARY_FILE

PLAN = StudyPlan(
    specimens=4,
    paired_specimens=1,
    samples=512,
    alines=96,
    frames=4,
    width_mm=3.0,
    height_mm=3.0,
    faces_per_specimen=2,
)


@pytest.fixture(scope="module")
def results() -> StudyResults:
    return run_study(PLAN, processes=1)


def run(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "octmargin", "study", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


class TestRun:
    def test_two_processes_find_what_one_finds_bit_for_bit(
        self, results: StudyResults, tmp_path: Path
    ) -> None:
        told: list[tuple[int, int]] = []
        other = run_study(PLAN, processes=2, progress=lambda done, total: told.append((done, total)))
        tasks = len(PLAN.tasks())
        assert told == [(done, tasks) for done in range(1, tasks + 1)]
        for folder, of in (("one", results), ("two", other)):
            of.save(tmp_path / folder)
        for name in (FACES_FILE, BLOCKS_FILE):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_every_face_of_the_plan_is_there_with_every_block(self, results: StudyResults) -> None:
        assert [face.sort for face in results.faces if face.part == "reference"] == 6 * ["lumpectomy"] + [
            "shave"
        ]
        assert {face.blocks for face in results.faces if face.part == "reference"} == {4 * 6}
        assert len(results.blocks.state) == len(results.face_of_block) == sum(f.blocks for f in results.faces)
        assert results.blocks.probabilities.shape == (len(results.blocks.state), len(results.classes))

    def test_a_face_is_positive_where_a_block_is_malignant(self, results: StudyResults) -> None:
        for index, face in enumerate(results.faces):
            if (results.blocks.malignant[results.face_of_block == index] == 1).any():
                assert face.is_positive

    def test_the_artefact_scenarios_carry_what_they_say(self, results: StudyResults) -> None:
        for face in results.faces:
            if face.part == "artefacts":
                assert face.artefacts == (() if " " in face.condition else (face.condition,))
        drawn = [f.drawn_lesion for f in results.faces if f.part == "artefacts"]
        assert drawn == 10 * ["none"] + 10 * ["dcis"]

    def test_a_lost_frame_is_lost_and_its_blocks_have_a_truth(self) -> None:
        plan = StudyPlan(
            specimens=1,
            paired_specimens=1,
            samples=256,
            alines=32,
            frames=4,
            lost_share=0.5,
            parts=("reference", "artefacts"),
        )
        results = run_study(plan, processes=1)
        (number, _) = [i for i, face in enumerate(results.faces) if face.condition == LOST_FRAMES]
        lost = results.blocks.where(results.face_of_block == number)
        state = lost.state.reshape(4, 2)
        assert ((state == BlockState.LOST).all(axis=1)).sum() == 2
        assert np.isnan(lost.suspicion[lost.state == BlockState.LOST]).all()
        assert (lost.kind < 6).all()

    def test_no_process_and_an_unknown_model_are_refused(self) -> None:
        with pytest.raises(InputError, match="0 processes"):
            run_study(PLAN, processes=0)
        with pytest.raises(ConfigError, match="model 'oracle' does not exist"):
            run_study(StudyPlan(model="oracle"))


class TestFiles:
    def test_results_come_back_as_they_were(self, results: StudyResults, tmp_path: Path) -> None:
        results.save(tmp_path)
        assert summarise(StudyResults.load(tmp_path)) == summarise(results)

    def test_what_is_missing_or_damaged_is_refused_in_one_line(
        self, results: StudyResults, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match=r"No such file or directory: faces\.json"):
            StudyResults.load(tmp_path / "nowhere")
        results.save(tmp_path)
        whole = (tmp_path / BLOCKS_FILE).read_bytes()
        for damaged in (b"", whole[:100], whole[: len(whole) // 2]):
            (tmp_path / BLOCKS_FILE).write_bytes(damaged)
            with pytest.raises(InputError, match="cannot be read"):
                StudyResults.load(tmp_path)
        (tmp_path / BLOCKS_FILE).write_bytes(whole)
        faces = json.loads((tmp_path / FACES_FILE).read_text())
        for changed, said in (
            (faces | {"format": 99}, "format 99"),
            (faces | {"faces": faces["faces"][1:]}, "not of one study"),
            ({}, "cannot be read"),
        ):
            (tmp_path / FACES_FILE).write_text(json.dumps(changed))
            with pytest.raises(InputError, match=said):
                StudyResults.load(tmp_path)


class TestCommand:
    def test_it_examines_reports_and_reports_again(self, tmp_path: Path) -> None:
        sizes = ["--specimens", "2", "--paired-specimens", "1", "--alines", "48", "--frames", "3"]
        out, again = tmp_path / "out", tmp_path / "again"
        said, _ = run(
            *sizes,
            "--faces-per-specimen",
            "1",
            "--worlds",
            "reference,artefacts",
            "--processes",
            "1",
            "--output",
            out,
        )
        assert "SYNTHETIC" in said
        assert "sensitivity, strict" in said
        assert {p.name for p in out.iterdir()} == {
            FACES_FILE,
            BLOCKS_FILE,
            REPORT_FILE,
            SUMMARY_FILE,
            MARKDOWN_FILE,
        }
        summary = json.loads((out / SUMMARY_FILE).read_text())
        assert summary["synthetic"] is True
        assert summary["plan"]["alines"] == 48
        run("--from", out, "--output", again)
        for name in (REPORT_FILE, SUMMARY_FILE, MARKDOWN_FILE):
            assert (again / name).read_bytes() == (out / name).read_bytes()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--worlds", "moon"], "--worlds 'moon': give any of reference, shifted, artefacts"),
            (["--worlds", "artefacts"], "name reference too"),
            (["--model", "oracle"], "model 'oracle' does not exist"),
            (["--from", "nowhere"], "no results of a study"),
            (["--output", "file/below"], "--output file/below: cannot be written: Not a directory"),
        ],
    )
    def test_what_it_cannot_do_it_says_in_one_line(
        self, arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        _, error = run(*arguments, code=2)
        assert said in error
        assert error.count("\n") == 1

    def test_without_matplotlib_it_says_what_to_install_before_it_computes(self) -> None:
        # An entry of None is how Python itself marks a module that cannot be imported.
        program = "import sys; sys.modules['matplotlib'] = None; from octmargin.__main__ import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, "study"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2
        assert (
            done.stderr
            == "octmargin: study: the report's plots need matplotlib; pip install octmargin[study]\n"
        )
