"""What a study examines: specimens, worlds, artefacts, and which seeds it may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from octmargin.errors import ConfigError, InputError
from octmargin_simulator.grid import ScanGrid
from octmargin_simulator.study import StudyPlan, check_unseen
from octmargin_simulator.study.plan import ARTEFACT_PART, LOST_FRAMES, Task
from octmargin_simulator.study.worlds import World, load_world, world_names
from octmargin_simulator.tissue import Sort, TissueSpecimen
from octmargin_simulator.tissue.covers import ARTEFACTS
from octmargin_simulator.tissue.priors import default

GRID = ScanGrid(alines=64, frames=4, depth_px=300, width_mm=4.0, height_mm=4.0, axial_um=4.0)


class TestPlan:
    def test_every_world_and_the_artefacts_take_the_first_specimens_of_the_reference(self) -> None:
        plan = StudyPlan(specimens=7, paired_specimens=2, first_seed=40)
        seeds: dict[str, list[int]] = {}
        for task in plan.tasks():
            seeds.setdefault(task.part, []).append(task.seed)
        assert seeds.pop("reference") == list(range(40, 47))
        assert set(seeds) == {*world_names(), ARTEFACT_PART}
        assert all(of == [40, 41] for of in seeds.values())

    def test_artefacts_may_take_more_specimens_than_worlds(self) -> None:
        tasks = StudyPlan(specimens=7, paired_specimens=2, artefact_specimens=5, first_seed=40).tasks()
        of_artefacts = [task.seed for task in tasks if task.part == ARTEFACT_PART]
        assert of_artefacts == [40, 41, 42, 43, 44]
        others = {task.seed for task in tasks if task.part not in (ARTEFACT_PART, "reference")}
        assert others == {40, 41}
        with pytest.raises(InputError, match="artefact_specimens is 0"):
            StudyPlan(artefact_specimens=0)

    def test_a_specimen_is_of_one_sort_in_every_world(self) -> None:
        tasks = StudyPlan(specimens=10, paired_specimens=10).tasks()
        sorts = {(t.seed, t.sort) for t in tasks if t.part != ARTEFACT_PART}
        assert len(sorts) == 10
        assert {sort for _, sort in sorts} == set(Sort)

    def test_every_artefact_is_examined_alone_with_and_without_tumour(self) -> None:
        plan = StudyPlan()
        for seed, lesion in ((1, "dcis"), (2, "invasive")):
            conditions = list(plan.conditions(Task(ARTEFACT_PART, seed, Sort.LUMPECTOMY)))
            examined = {(c.name, c.scenario.lesion, c.scenario.artefacts) for c in conditions}
            for artefact in ARTEFACTS:
                assert {(artefact, "none", (artefact,)), (artefact, lesion, (artefact,))} <= examined
            assert [c.lost_share for c in conditions if c.name == LOST_FRAMES] == [0.1, 0.1]

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"parts": ("reference", "moon")}, "'moon'"),
            ({"parts": ("shifted",)}, "name reference too"),
            ({"specimens": 0}, "specimens is 0"),
            ({"alines": 0}, "alines is 0"),
            ({"faces_per_specimen": 0}, "faces_per_specimen is 0"),
            ({"first_seed": -1}, "first seed is -1"),
            ({"lost_share": 1.0}, "lost_share is 1.0"),
            ({"mix": ()}, "mix"),
        ],
    )
    def test_what_cannot_be_examined_is_refused_in_one_line(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(InputError, match=said) as caught:
            StudyPlan(**changes)
        assert "\n" not in str(caught.value)


class TestWorlds:
    def test_each_changes_something_that_exists(self) -> None:
        assert len(world_names()) >= 8
        for name in world_names():
            world = load_world(name)
            assert world.priors() != default() or world.aline_spacing != 1.0
        assert load_world("reference").priors() == default()

    def test_the_one_that_changes_everything_comes_last(self) -> None:
        assert world_names()[-1] == "all-together"

    def test_attenuation_rises_in_every_material_and_nothing_else_changes(self) -> None:
        plain, raised = default(), load_world("attenuation-up").priors()
        for name, material in plain.materials.items():
            assert raised.materials[name].mu == pytest.approx(tuple(1.25 * mu for mu in material.mu))
        assert msgspec.structs.replace(raised, materials=plain.materials) == plain

    @pytest.mark.parametrize("name", world_names())
    def test_a_seed_draws_the_same_face_in_every_world(self, name: str) -> None:
        plain, shifted = TissueSpecimen(9), TissueSpecimen(9, priors=load_world(name).priors())
        faces = [specimen.face("superior", GRID) for specimen in (plain, shifted)]
        assert faces[0].bodies == faces[1].bodies
        assert faces[0].covers.names == faces[1].covers.names
        np.testing.assert_array_equal(faces[0].surface_mm, faces[1].surface_mm)

    def test_the_console_changes_as_the_world_says(self) -> None:
        world = load_world("all-together")
        before, after = TissueSpecimen(9), TissueSpecimen(9, priors=world.priors())
        old, new = before.console(512), world.console(after.console(512))
        assert after.snr_db == pytest.approx(before.snr_db - 6)
        assert new.rolloff_6db_mm == pytest.approx(0.6 * old.rolloff_6db_mm)
        assert new.beam_radius_um == pytest.approx(1.35 * (old.beam_radius_um or 0))
        assert new.source_at_pixels.sum() == pytest.approx(0.75 * old.source_at_pixels.sum(), rel=0.02)
        assert StudyPlan(alines=512).alines_at(world.aline_spacing) == 336

    def test_a_path_that_leads_nowhere_is_refused(self) -> None:
        for path in ("materials.*.nu", "moon.mu", "scene", "materials.stroma"):
            with pytest.raises(ConfigError, match="is no prior"):
                World(title="t", scale={path: 2.0}).priors()

    def test_ranges_that_run_backwards_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="the first number is the lowest"):
            World(title="t", scale={"materials.stroma.mu": -1.0}).priors()

    def test_an_unknown_world_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(
            ConfigError, match="'moon' does not exist; give one of reference, attenuation-down"
        ):
            load_world("moon")


class TestLeakage:
    def test_a_specimen_of_the_training_is_refused(self) -> None:
        with pytest.raises(
            InputError, match="seed 100000: model m-1 was trained on the specimens 100000 to 100999"
        ):
            check_unseen("m-1", range(99_990, 100_010), [range(50, 60), range(100_000, 101_000)])

    def test_others_are_not(self) -> None:
        check_unseen("m-1", range(1, 200), [range(100_000, 101_000)])
        check_unseen("rule-1", range(200), [])


def test_worlds_travel_with_the_package() -> None:
    folder = Path(load_world.__code__.co_filename).with_name("worlds")
    assert {path.stem for path in folder.glob("*.toml")} == set(world_names())
