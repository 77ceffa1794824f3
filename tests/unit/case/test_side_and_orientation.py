"""Order, specimen and diagnosis code must agree on the side and orientation: until they do nothing is signed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.case.examples import (
    CASE,
    LEFT_CODE,
    NOW,
    RIGHT_CODE,
    SPECIMEN,
    bodies,
    confirmed,
    new_store,
    opened,
    ready,
    registered,
    stated,
)

from octmargin.case.record import events
from octmargin.case.record.model import CaseSnapshot, DiagnosisCode, Order
from octmargin.case.record.store import CaseStore
from octmargin.errors import CaseRefusedError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    with new_store(tmp_path) as made:
        yield made


def tell(store: CaseStore, *said: events.CaseBody) -> CaseSnapshot:
    return store.append(CASE, *said, actor="anna", at=NOW)


def ordered(laterality: str, *diagnoses: DiagnosisCode, orientation: str = "") -> events.Ordered:
    order = Order(laterality=laterality, diagnoses=diagnoses, orientation=orientation)  # type: ignore[arg-type]
    return events.Ordered(order=order)


def diagnosed(*diagnoses: DiagnosisCode) -> events.Diagnosed:
    return events.Diagnosed(specimen_id=SPECIMEN, diagnoses=diagnoses)


UNSPECIFIED = DiagnosisCode(code="D05.90", side="unspecified")
NODES = DiagnosisCode(code="C77.3", side="none")
CONTRADICTIONS: dict[str, tuple[tuple[events.CaseBody, ...], str]] = {
    "order": ((ordered("right"),), "the order says right, specimen specimen-1 is registered as left"),
    "stage": ((stated("right"),), "the stage says right, specimen specimen-1 is registered as left"),
    "code of the order": ((ordered("unknown", RIGHT_CODE),), "C50.911 is of the right"),
    "order in itself": (
        (ordered("left", RIGHT_CODE), diagnosed(LEFT_CODE)),
        "the order says left, and C50.911 is of the right.*; correct the order",
    ),
    "code of an order of both sides": ((ordered("bilateral", RIGHT_CODE),), "C50.911 is of the right"),
    "order that says two sides": (
        (events.Ordered(order=Order(sides=("left", "right"))),),
        "the order says left and right at once",
    ),
    "orientation on the stage": (
        (confirmed(orientation="short superior, long lateral"), stated(orientation="short superior, long medial")),
        'the stage says "short superior, long medial"',
    ),
    "orientation of the order": (
        (confirmed(orientation="short superior"), ordered("left", orientation="short inferior")),
        'the order says "short inferior"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_stops_the_case_at_confirm_and_says_which(store: CaseStore, name: str) -> None:
    said, text = CONTRADICTIONS[name]
    ready(store, "final")
    case = tell(store, *said)
    assert case.phase == "confirm"
    for action in ("finalise", "sign", "close"):
        with pytest.raises(CaseRefusedError, match=f"`{action}` waits until this is confirmed: .*{text}"):
            tell(store, bodies()[action])


AGREEMENTS: dict[str, tuple[events.CaseBody, ...]] = {
    "nothing else was said": (),
    "an order of the same side": (ordered("left", LEFT_CODE),),
    "an order of both sides": (ordered("bilateral", LEFT_CODE, RIGHT_CODE),),
    "an order that says no side": (ordered("unknown"),),
    "codes without a side": (diagnosed(UNSPECIFIED, NODES),),
    "codes of the specimen before those of the order": (ordered("unknown", RIGHT_CODE), diagnosed(LEFT_CODE)),
    "the same orientation in other letters": (
        confirmed(orientation="Short: superior; long: lateral"), stated(orientation="short superior, long lateral"),
    ),
    "the same orientation with its sutures named": (
        confirmed(orientation="short superior, long lateral"),
        stated(orientation="short suture superior, long stitch lateral"),
    ),
    "an orientation that only one knows": (stated(orientation="short superior"),),
}  # fmt: skip


@pytest.mark.parametrize("name", AGREEMENTS)
def test_what_agrees_or_says_nothing_holds_nothing_up(store: CaseStore, name: str) -> None:
    ready(store)
    for body in AGREEMENTS[name]:
        tell(store, body)
    assert store.case(CASE).phase == "open"


def test_a_specimen_of_which_nobody_knows_the_side_is_held_up_until_somebody_says_it(
    store: CaseStore,
) -> None:
    opened(store)
    assert tell(store, registered(laterality="unknown")).phase == "confirm"
    case = tell(store, stated("right", "short superior"))
    assert (case.phase, case.specimens[0].laterality, case.specimens[0].orientation) == (
        "open", "right", "short superior",
    )  # fmt: skip


def test_a_person_may_confirm_the_specimen_against_order_and_stage(store: CaseStore) -> None:
    ready(store)
    tell(store, ordered("right"), stated("right"))
    case = tell(store, confirmed("left"))
    assert case.phase == "open"
    confirmation = case.specimens[0].statements[-1]
    assert (confirmation.by, confirmation.why) == ("Dr. Reyes", "looked at the patient and at the sutures")
    assert confirmation.despite == ("order, side: right", "stage, side: right")


def test_what_was_confirmed_is_compared_again_with_what_is_said_later(store: CaseStore) -> None:
    ready(store)
    tell(store, ordered("right"), confirmed("left"))
    assert tell(store, stated(orientation="a"), confirmed("left", "b")).phase == "open"
    assert tell(store, stated(orientation="c")).phase == "confirm"
    assert tell(store, confirmed("left", "b")).phase == "open"
    assert tell(store, ordered("right")).phase == "open"  # the same as before
    assert tell(store, confirmed("right", "b")).phase == "open"
    assert tell(store, ordered("left")).phase == "confirm"


@pytest.mark.parametrize("codes", [(RIGHT_CODE,), (LEFT_CODE, RIGHT_CODE)])
def test_a_code_of_the_other_side_is_refused_with_the_explanation(
    store: CaseStore, codes: tuple[DiagnosisCode, ...]
) -> None:
    ready(store)
    text = r"specimen specimen-1 is left, and C50.911 is of the right \(of right female breast\); give the code of its"
    with pytest.raises(CaseRefusedError, match=text):
        tell(store, diagnosed(*codes))
    assert store.case(CASE).specimens[0].diagnoses == ()


def test_no_confirmation_makes_a_code_of_the_other_side_right(store: CaseStore) -> None:
    ready(store)
    tell(store, diagnosed(LEFT_CODE))
    case = tell(store, confirmed("right"))
    assert case.phase == "confirm"
    assert "C50.912 is of the left" in case.conflicts[0].text
    assert tell(store, diagnosed(RIGHT_CODE)).phase == "open"


def test_an_order_that_says_two_sides_waits_for_a_person_who_confirms_each_specimen(store: CaseStore) -> None:
    ready(store)
    tell(store, events.Ordered(order=Order(sides=("left", "right"))), registered("other", laterality="right"))
    case = tell(store, confirmed("left"))
    assert [conflict.specimen_id for conflict in case.conflicts] == ["other"]
    assert tell(store, confirmed("right", specimen_id="other")).phase == "open"


def test_a_scan_from_before_the_excision_holds_the_case_up_until_somebody_looks_into_it(
    store: CaseStore,
) -> None:
    ready(store, "scanned")

    def excised(minutes: float) -> events.Described:
        return events.Described(specimen_id=SPECIMEN, excised_at=NOW + timedelta(minutes=minutes))

    now = NOW + timedelta(hours=1)
    case = store.append(CASE, excised(9), actor="anna", at=now)
    assert case.phase == "confirm"
    assert "medial was scanned at 2031-05-06T12:00:00+00:00, before specimen" in case.conflicts[0].text
    assert store.append(CASE, excised(1), actor="anna", at=now).phase == "open"  # clocks may differ
    assert store.append(CASE, excised(9), confirmed(), actor="anna", at=now).phase == "open"
    assert (
        store.append(CASE, excised(10), actor="anna", at=now).phase == "confirm"
    )  # another time than was confirmed
    assert store.append(CASE, excised(-5), actor="anna", at=now).phase == "open"


def test_who_confirms_says_a_side_and_why(store: CaseStore) -> None:
    ready(store)
    with pytest.raises(CaseRefusedError, match="give the side"):
        tell(store, confirmed("unknown"))
    without_why = events.Confirmed(specimen_id=SPECIMEN, by="x", laterality="left", orientation="", why=" ")
    with pytest.raises(CaseRefusedError, match="say who confirms it, and why"):
        tell(store, without_why)


def test_a_withdrawn_specimen_contradicts_nobody(store: CaseStore) -> None:
    ready(store)
    tell(store, ordered("right"))
    assert tell(store, bodies()["withdraw"]).phase == "open"


def test_a_confirmed_side_makes_a_final_interpretation_preliminary_again(store: CaseStore) -> None:
    ready(store, "final")
    specimen = tell(store, confirmed("right")).specimens[0]
    assert specimen.interpretation is not None
    assert (specimen.phase, specimen.interpretation.state) == ("preliminary", "preliminary")


def test_an_orientation_where_there_was_none_makes_it_preliminary_too(store: CaseStore) -> None:
    ready(store, "final")
    assert tell(store, stated("left")).specimens[0].phase == "final"
    assert tell(store, stated("left", "short superior")).specimens[0].phase == "preliminary"
