"""A specimen from its registration to its end: what may be asked for when, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octmargin.bus.decisions import MOST_ENTRIES, Decision, Mark
from octmargin.bus.messages import Specimen
from octmargin.bus.orders import Decide, MarkRegion, Register, Start
from octmargin.bus.rights import Role, Sender
from octmargin.errors import OrderRefusedError
from octmargin.stage import CaseSession, Conventions, Stage, Swept, Wish

FACES = ("superior", "inferior", "medial")
RITA = Sender(Role.READER, "rita")
NOON = datetime(2031, 5, 6, 12, tzinfo=UTC)
LEFT = Specimen(kind="lumpectomy", laterality="left")
FIRST = Stage("case-7", "s-1", LEFT, FACES)
DOCUMENT = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
DRAWN = {
    (before, after)
    for before, after in re.findall(r"^ +(\w+) --> (\w+)", DOCUMENT, re.MULTILINE)
    if before != after
}


def session(stage: Stage = FIRST, offered: tuple[str, ...] = ()) -> CaseSession:
    numbers = count(1)
    return CaseSession(stage, Conventions(FACES, offered), draw_id=lambda: f"drawn-{next(numbers)}")


def swept(number: int, face: str, **changes: int | bool) -> Swept:
    return replace(Swept(number, face, frames=10, blocks=4), **changes)


def scan(case: CaseSession, *numbers: int, whole: bool = True, key_views: int = 2) -> list[str]:
    """What the scan does with a run; gives the faces that it scanned."""
    faces = []
    for number in numbers:
        face = case.next_face()
        assert face is not None
        faces.append(face)
        case.face_begins(swept(number, face))
        case.face_ends(swept(number, face, key_views=key_views, is_whole=whole))
    assert case.next_face() is None
    case.run_ends()
    return faces


def refused(order: Callable[[], object]) -> str:
    with pytest.raises(OrderRefusedError) as caught:
        order()
    return str(caught.value)


def decision(**changes: object) -> Decide:
    fields: dict[str, object] = {"face": "superior", "sweep": 1, "subject": "face", "word": "disagree"}
    return Decide(**(fields | changes))


def region(**changes: object) -> MarkRegion:
    place = {"first_frame": 2, "last_frame": 9, "first_block": 0, "last_block": 3}
    return MarkRegion(**({"face": "superior", "sweep": 1} | place | changes))


SAID = {"by": "rita", "role": "reader", "at": NOON, "sweep": 1}
"""What decisions and marks of an earlier run have in common."""


def region_of_mark() -> dict[str, int]:
    return {"first_frame": 0, "last_frame": 1, "first_block": 0, "last_block": 0}


def test_the_whole_story_of_a_specimen() -> None:
    case = session(Stage("case-7"))
    assert (case.phase, case.stage.specimen_id, case.face) == ("closed", "", None)
    case.register(Register(kind="lumpectomy", laterality="left", specimen_id="s-1", label="main"))
    assert (case.phase, case.stage.specimen_id, case.stage.faces) == ("idle", "s-1", FACES)
    case.select("inferior")
    assert case.face == "inferior"
    assert case.start(Start()) == ("inferior",)
    assert (case.phase, case.wish) == ("scanning", Wish.SCAN)
    assert scan(case, 1) == ["inferior"]
    assert (case.phase, case.face, case.sweeps) == ("idle", "inferior", {"inferior": 1})
    assert case.start(Start(all=True)) == ("superior", "medial")
    assert scan(case, 2, 3) == ["superior", "medial"]
    case.decide(decision(face="inferior", sweep=1), RITA, NOON)
    case.rescan("inferior")
    assert scan(case, 4) == ["inferior"]
    assert case.sweeps == {"inferior": 4, "superior": 2, "medial": 3}
    assert [said.sweep for said in case.readings.decisions("inferior")] == [1], "it belongs to its sweep"
    case.close()
    assert case.phase == "closed"
    assert case.stage.specimen_id == "s-1"


def test_a_specimen_that_comes_next_begins_with_nothing() -> None:
    case = session()
    case.select("superior")
    case.start(Start())
    scan(case, 1)
    case.decide(decision(), RITA, NOON)
    assert case.register(Register(kind="shave", laterality="left", faces=["shave 1"])) == "drawn-1"
    assert (case.stage.case_id, case.stage.faces, case.face, dict(case.sweeps)) == (
        "case-7",
        ("shave 1",),
        None,
        {},
    )
    assert case.readings.decisions("superior") == ()
    assert "there is no sweep 1 over that face of this specimen" in refused(
        lambda: case.decide(decision(), RITA, NOON)
    )


def test_another_case_begins_with_the_specimen_that_names_it() -> None:
    case = session()
    case.register(Register(kind="node", laterality="right", case_id="case-8", specimen_id="s-1"))
    assert (case.stage.case_id, case.stage.specimen_id, case.stage.faces) == ("case-8", "s-1", ("node",))


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"specimen_id": "s-1"}, "specimen s-1 was registered before"),
        ({"specimen_id": "S 1"}, "specimen_id: small letters"),
        ({"specimen_id": "s-2\n"}, "specimen_id: small letters"),
        ({"case_id": "Doe, Jane"}, "case_id: small letters"),
        ({"specimen_id": "s" * 65}, "64 at most"),
        ({"specimen_id": "mrn-0099123"}, "part of it reads as a number of a patient"),
        ({"case_id": "doe-jane"}, "it has no digit, as a name has none"),
        ({"label": "1968-03-04"}, "part of it reads as a date"),
        ({"label": "a\x1b[31m"}, "label: has characters that cannot be shown"),
        ({"faces": ["superior", "superior"]}, "a face is named twice"),
        ({"faces": ["top/left"]}, "a face has a name of letters without accents"),
        ({"faces": ["superior", "meier 0412345"]}, "a face goes on the bus: part of it reads as a number"),
        (
            {"faces": ["posterior"]},
            "the console has no such face; it offers superior, inferior, medial",
        ),
        ({"kind": "shave"}, "the console has no such face"),
    ],
)
def test_a_specimen_that_cannot_be_is_refused_and_the_one_before_stays(
    order: dict[str, object], why: str
) -> None:
    case = session(offered=FACES)
    assert why in refused(
        lambda: case.register(Register(**({"kind": "lumpectomy", "laterality": "left"} | order)))
    )
    assert case.stage == FIRST


def test_a_pause_is_one_when_the_sweep_stands_still() -> None:
    case = session()
    case.start(Start(face="superior"))
    assert case.next_face() == "superior"
    case.pause()
    assert (case.phase, case.wish) == ("scanning", Wish.HOLD)
    assert refused(case.pause) == "the sweep over superior is being paused"
    case.held()
    assert (case.phase, case.wish) == ("paused", Wish.HOLD)
    assert refused(case.pause) == "the sweep over superior is paused"
    case.resume()
    assert (case.phase, case.wish) == ("scanning", Wish.SCAN)
    assert refused(case.resume) == "it is not paused"


def test_a_pause_that_is_taken_back_before_it_stands_still_is_none() -> None:
    case = session()
    case.start(Start(face="superior"))
    case.pause()
    case.resume()
    case.held()
    assert (case.phase, case.wish) == ("scanning", Wish.SCAN)


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_stop_ends_the_face_and_the_run(is_paused: bool) -> None:
    case = session()
    case.start(Start(all=True))
    assert case.next_face() == "superior"
    if is_paused:
        case.pause()
        case.held()
    case.stop()
    assert (case.phase, case.wish, case.next_face()) == ("scanning", Wish.END, None)
    assert refused(case.stop) == "the sweep over superior is being stopped"
    assert refused(case.resume) == "it is not paused"
    case.face_ends(swept(1, "superior", key_views=0))
    case.run_ends()
    assert (case.phase, case.wish) == ("idle", Wish.REST)
    assert case.left == FACES, "a face that was stopped was not scanned whole"
    assert case.start(Start(face="superior")) == ("superior",)


def test_while_a_face_is_scanned_nothing_else_is_put_on_the_stage() -> None:
    case = session()
    case.start(Start(face="superior"))
    case.next_face()
    for order in (
        lambda: case.register(Register(kind="node", laterality="left")),
        lambda: case.select("medial"),
        lambda: case.start(Start(face="medial")),
        lambda: case.rescan("superior"),
        case.close,
    ):
        assert "superior is being scanned; stop it, or wait" in refused(order)


def test_without_a_specimen_or_after_its_end_only_another_one_is_taken() -> None:
    closed = session()
    closed.close()
    for case, why in ((session(Stage("case-7")), "no specimen is registered"), (closed, "s-1 is closed")):
        for order in (
            lambda case=case: case.select("superior"),
            lambda case=case: case.start(Start(all=True)),
            lambda case=case: case.rescan("superior"),
            lambda case=case: case.decide(decision(), RITA, NOON),
            lambda case=case: case.mark(region(), RITA, NOON),
            case.close,
        ):
            assert why in refused(order)
        for order in (case.pause, case.resume, case.stop):
            assert "nothing is being scanned" in refused(order)
        case.register(Register(kind="node", laterality="left"))
        assert case.phase == "idle"


def test_a_face_is_started_when_it_is_selected_planned_and_not_scanned_whole() -> None:
    case = session()
    assert "no face is selected" in refused(lambda: case.start(Start()))
    assert "there is no such face; planned are superior" in refused(lambda: case.select("posterior"))
    assert "there is no such face" in refused(lambda: case.start(Start(face="posterior")))
    assert "superior was not scanned yet; start it" in refused(lambda: case.rescan("superior"))
    case.start(Start(face="superior"))
    scan(case, 1)
    assert "superior was scanned whole; rescan it" in refused(lambda: case.start(Start()))
    case.start(Start(all=True))
    scan(case, 2, 3)
    assert "all faces were scanned" in refused(lambda: case.start(Start(all=True)))


def test_what_an_earlier_run_heard_is_of_no_sweep_of_this_one() -> None:
    case = session()
    case.readings.remember(
        "superior", Decision(**(SAID | {"id": "d3", "subject": "face", "word": "disagree"}))
    )
    case.readings.remember("superior", Mark(**(SAID | {"id": "m7"} | region_of_mark())))
    assert case.readings.faces == ("superior",)
    case.start(Start(face="superior"))
    scan(case, 1)
    said = case.decide(decision(), RITA, NOON)
    assert said.id == "d8", "ids of the specimen go on"
    assert [each.sweep for each in case.readings.decisions("superior")] == [0, 1]
    assert [each.sweep for each in case.readings.marks("superior")] == [0]


def test_a_decision_is_on_a_sweep_that_is_over_and_a_key_view_that_there_is() -> None:
    case = session()
    case.start(Start(face="superior"))
    case.next_face()
    case.face_begins(swept(1, "superior"))
    assert "no final verdict yet" in refused(lambda: case.decide(decision(), RITA, NOON))
    case.mark(region(), RITA, NOON)
    case.face_ends(swept(1, "superior", key_views=2))
    case.run_ends()
    said = case.decide(decision(subject="cluster", cluster=2, note="cautery,\nsee photo"), RITA, NOON)
    assert (said.by, said.role, said.at, said.sweep, said.cluster) == ("rita", "reader", NOON, 1, 2)
    assert "has 2 key views, none is 3" in refused(
        lambda: case.decide(decision(subject="cluster", cluster=3), RITA, NOON)
    )
    assert "no sweep 2 over that face" in refused(lambda: case.decide(decision(sweep=2), RITA, NOON))
    assert "no sweep 1 over that face" in refused(lambda: case.decide(decision(face="medial"), RITA, NOON))
    assert "cannot be shown" in refused(lambda: case.decide(decision(note="\x00"), RITA, NOON))
    assert "reads as a number" in refused(lambda: case.decide(decision(note="MRN 0412345"), RITA, NOON))
    assert "region lies outside" in refused(lambda: case.mark(region(last_frame=10), RITA, NOON))
    assert "region lies outside" in refused(lambda: case.mark(region(last_block=4), RITA, NOON))
    assert [entry.id for entry in (*case.readings.decisions("superior"), *case.readings.marks("superior"))] == [
        "d2", "m1",
    ]  # fmt: skip


def test_who_changes_their_mind_adds_a_word_and_takes_none_away() -> None:
    case = session()
    case.start(Start(face="superior"))
    scan(case, 1)
    case.decide(decision(word="agree"), RITA, NOON)
    case.decide(decision(word="disagree"), RITA, NOON)
    assert [said.word for said in case.readings.decisions("superior")] == ["agree", "disagree"]


def test_entries_on_a_face_are_bounded_and_none_makes_room_for_another() -> None:
    case = session()
    case.start(Start(face="superior"))
    scan(case, 1)
    for _ in range(MOST_ENTRIES):
        case.decide(decision(), RITA, NOON)
    assert "200 entries on superior are the most" in refused(lambda: case.decide(decision(), RITA, NOON))
    assert len(case.readings.decisions("superior")) == MOST_ENTRIES


class Course(RuleBasedStateMachine):
    """Any orders in any order, and a scan that does what is wished, in its own time."""

    faces = st.sampled_from((*FACES, "posterior"))

    @initialize(is_registered=st.booleans())
    def begin(self, is_registered: bool) -> None:
        self.case = session(FIRST if is_registered else Stage("case-7"))
        self.phase = self.case.phase
        self.number = 0
        self.scanning = ""
        self.entries = 0

    def order(self, give: Callable[[], object]) -> None:
        """Give an order; one that is refused changes nothing."""
        case = self.case
        before = (case.phase, case.wish, case.face, case.stage, dict(case.sweeps), case.left, self.said())
        try:
            give()
        except OrderRefusedError:
            after = (case.phase, case.wish, case.face, case.stage, dict(case.sweeps), case.left, self.said())
            assert after == before

    def said(self) -> int:
        readings = self.case.readings
        return sum(len(readings.decisions(face)) + len(readings.marks(face)) for face in FACES)

    @rule(kind=st.sampled_from(["lumpectomy", "shave"]), name=st.none() | st.sampled_from(["s-1", "s-2"]))
    def register(self, kind: str, name: str | None) -> None:
        before = self.case.stage
        self.order(lambda: self.case.register(Register(kind=kind, laterality="left", specimen_id=name)))
        if self.case.stage != before:
            self.entries = 0

    @rule(face=faces)
    def select(self, face: str) -> None:
        self.order(lambda: self.case.select(face))

    @rule(face=st.none() | faces)
    def start(self, face: str | None) -> None:
        self.order(lambda: self.case.start(Start(face=face)))

    @rule()
    def start_all(self) -> None:
        self.order(lambda: self.case.start(Start(all=True)))

    @rule(face=faces)
    def rescan(self, face: str) -> None:
        self.order(lambda: self.case.rescan(face))

    @rule(name=st.sampled_from(["pause", "resume", "stop", "close"]))
    def command(self, name: str) -> None:
        self.order(getattr(self.case, name))

    @rule(face=faces, sweep=st.integers(0, 6), cluster=st.none() | st.integers(1, 3))
    def decide(self, face: str, sweep: int, cluster: int | None) -> None:
        subject = "face" if cluster is None else "cluster"
        order = decision(face=face, sweep=sweep, subject=subject, cluster=cluster)
        self.order(lambda: self.case.decide(order, RITA, NOON))

    @rule(face=faces, sweep=st.integers(0, 6))
    def mark(self, face: str, sweep: int) -> None:
        self.order(lambda: self.case.mark(region(face=face, sweep=sweep), RITA, NOON))

    @precondition(lambda self: self.case.wish is not Wish.REST)
    @rule(is_whole=st.booleans())
    def go_on(self, is_whole: bool) -> None:
        """The scan takes its next step."""
        case = self.case
        if case.wish is Wish.HOLD:
            case.held()
        elif self.scanning:
            is_whole = is_whole and case.wish is not Wish.END
            case.face_ends(swept(self.number, self.scanning, key_views=2, is_whole=is_whole))
            self.scanning = ""
        elif (face := case.next_face()) is not None:
            self.number, self.scanning = self.number + 1, face
            case.face_begins(swept(self.number, face))
        else:
            case.run_ends()

    @invariant()
    def it_goes_the_way_that_is_drawn(self) -> None:
        if self.case.phase != self.phase:
            assert (self.phase, self.case.phase) in DRAWN
        self.phase = self.case.phase

    @invariant()
    def what_is_scanned_is_planned_and_on_the_stage(self) -> None:
        case = self.case
        assert (case.wish is Wish.REST) == (case.phase in ("idle", "closed"))
        if self.scanning:
            assert case.face == self.scanning
            assert self.scanning in case.stage.faces
            assert case.phase in ("scanning", "paused")
        if case.phase == "paused":
            assert case.wish is Wish.HOLD

    @invariant()
    def nothing_that_was_said_is_taken_away(self) -> None:
        assert self.said() >= self.entries
        self.entries = self.said()


TestCourse = Course.TestCase


def test_every_way_that_is_drawn_is_gone() -> None:
    case = session(Stage("case-7"))
    phases = [case.phase]
    steps: list[Callable[[], object]] = [
        lambda: case.register(Register(kind="lumpectomy", laterality="left")),
        lambda: case.start(Start(all=True)),
        case.pause,
        case.held,
        case.resume,
        case.pause,
        case.held,
        case.stop,
        case.run_ends,
        case.close,
    ]
    for step in steps:
        step()
        phases.append(case.phase)
    gone = {pair for pair in pairwise(phases) if pair[0] != pair[1]}
    assert gone == DRAWN


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (
            Register(kind="node", laterality="left", specimen_id="doe"),
            "specimen_id may be a patient's: it has no",
        ),
        (
            Register(kind="node", laterality="left", case_id="c-19540512"),
            "case_id may be .* part of it reads as",
        ),
        (
            Register(kind="node", laterality="left", label="*12.5.1954"),
            "label goes on the bus: part of it reads as",
        ),
        (Register(kind="node", laterality="left", orientation="MRN 0412345"), "orientation goes on the bus"),
    ],
)
def test_what_may_name_a_patient_is_not_registered(order: Register, reason: str) -> None:
    case = session()
    before = case.stage
    with pytest.raises(OrderRefusedError, match=reason) as refusal:
        case.register(order)
    for typed in ("doe", "19540512", "12.5.1954", "0412345"):
        assert typed not in str(refusal.value)
    assert case.stage == before
