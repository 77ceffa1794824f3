"""What a study examines: which specimens, in which worlds, with which artefacts, on which grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from octmargin.errors import InputError
from octmargin.frames import ALINES_PER_BLOCK
from octmargin.margin import DEFAULT_MODEL
from octmargin_simulator.study.worlds import REFERENCE, world_names
from octmargin_simulator.tissue.covers import ARTEFACTS
from octmargin_simulator.tissue.scan import SORT_FACES
from octmargin_simulator.tissue.specimen import Scenario, Sort

SHIFTED, ARTEFACT_PART = "shifted", "artefacts"
PARTS = (REFERENCE, SHIFTED, ARTEFACT_PART)
NO_ARTEFACT, LOST_FRAMES = "no artefact", "lost frames"
_MIX = (Sort.LUMPECTOMY, Sort.LUMPECTOMY, Sort.LUMPECTOMY, Sort.SHAVE, Sort.NODE)


class StudyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Specimens `first_seed` and the following, in all `parts`; raises InputError for what cannot be examined.

    Shifted worlds take the first `paired_specimens` of the same seeds, artefacts the first `artefact_specimens`, as
    many where that is None: what they change is all that changes. `mix` is gone through again and again;
    `faces_per_specimen` None takes all.
    """

    model: str = DEFAULT_MODEL
    first_seed: int = 1
    specimens: int = 200
    paired_specimens: int = 50
    artefact_specimens: int | None = None
    parts: tuple[str, ...] = PARTS
    mix: tuple[Sort, ...] = _MIX
    samples: int = 2048
    alines: int = 512
    frames: int = 40
    width_mm: float = 8.0
    height_mm: float = 8.0
    faces_per_specimen: int | None = None
    lost_share: float = 0.1
    """Of the frames, in the scenario of lost frames."""

    def __post_init__(self) -> None:
        if unknown := set(self.parts) - set(PARTS):
            raise InputError(f"worlds {min(unknown)!r}: give any of {', '.join(PARTS)}")
        if REFERENCE not in self.parts:
            raise InputError(
                f"worlds {','.join(self.parts)!r}: name {REFERENCE} too, the others are held against it"
            )
        if not self.mix:
            raise InputError("study: the mix of specimens is empty; name at least one sort")
        for name in ("specimens", "paired_specimens", "alines", "frames", "width_mm", "height_mm"):
            if not getattr(self, name) > 0:
                raise InputError(f"study: {name} is {getattr(self, name)}; give a number above 0")
        for name in ("faces_per_specimen", "artefact_specimens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"study: {name} is {value}; give at least 1, or none")
        if self.first_seed < 0:
            raise InputError(f"study: first seed is {self.first_seed}; give one of 0 or more")
        if not 0 < self.lost_share < 1:
            raise InputError(f"study: lost_share is {self.lost_share}; give a share between 0 and 1")

    @property
    def seeds(self) -> range:
        """Seeds of the specimens."""
        return range(self.first_seed, self.first_seed + self.specimens)

    @property
    def paired_seeds(self) -> range:
        """Seeds of the specimens that are examined in every world."""
        return self.seeds[: self.paired_specimens]

    @property
    def artefact_seeds(self) -> range:
        """Seeds of the specimens that are examined with each artefact."""
        return self.seeds[: self.artefact_specimens or self.paired_specimens]

    def tasks(self) -> tuple[Task, ...]:
        """Every specimen to examine, in the order in which results are kept."""
        tasks = [Task(REFERENCE, seed, self._sort(seed)) for seed in self.seeds]
        if SHIFTED in self.parts:
            tasks += [
                Task(world, seed, self._sort(seed)) for world in world_names() for seed in self.paired_seeds
            ]
        if ARTEFACT_PART in self.parts:
            tasks += [Task(ARTEFACT_PART, seed, Sort.LUMPECTOMY) for seed in self.artefact_seeds]
        return tuple(tasks)

    def conditions(self, task: Task) -> Iterator[Condition]:
        """What is examined of a task's specimen."""
        if task.part != ARTEFACT_PART:
            for face in SORT_FACES[task.sort][: self.faces_per_specimen]:
                yield Condition(face, "", Scenario())
            return
        tumour = "dcis" if task.seed % 2 else "invasive"
        face = SORT_FACES[task.sort][0]
        for lesion in ("none", tumour):
            yield Condition(face, NO_ARTEFACT, Scenario(lesion, "none", ()))
            for artefact in ARTEFACTS:
                yield Condition(face, artefact, Scenario(lesion, "none", (artefact,)))
            yield Condition(face, LOST_FRAMES, Scenario(lesion, "none", ()), lost_share=self.lost_share)

    def alines_at(self, spacing: float) -> int:
        """A-lines of a frame that is as wide, with A-lines `spacing` times as far apart, in whole blocks."""
        if spacing == 1.0:
            return self.alines
        return max(1, round(self.alines / spacing / ALINES_PER_BLOCK)) * ALINES_PER_BLOCK

    def _sort(self, seed: int) -> Sort:
        return self.mix[(seed - self.first_seed) % len(self.mix)]


@dataclass(frozen=True)
class Task:
    """One specimen in one world, or under the artefact scenarios: what one process does at a time."""

    part: str
    """A world's name, or `ARTEFACT_PART`."""
    seed: int
    sort: Sort


@dataclass(frozen=True)
class Condition:
    """One face as it is examined; `name` is that of the artefact scenario, "" where the seed decides."""

    face: str
    name: str
    scenario: Scenario
    lost_share: float = 0.0
