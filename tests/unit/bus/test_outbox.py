from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.bus.outbox import Outbox, Parcel
from octmargin.bus.topics import Kind


def flag_parcel(text: str = "") -> Parcel:
    return Parcel("flag", Kind.FLAG, text)


def verdict_parcel(face: str, text: str = "") -> Parcel:
    return Parcel(f"verdict/{face}", Kind.VERDICT, text)


def take_all(outbox: Outbox) -> list[Parcel]:
    taken = []
    while (parcel := outbox.take()) is not None:
        taken.append(parcel)
    return taken


def test_flags_leave_in_the_order_in_which_they_came() -> None:
    outbox = Outbox(10)
    flags = [flag_parcel(str(i)) for i in range(5)]
    for parcel in flags:
        outbox.put(parcel)
    assert take_all(outbox) == flags


def test_a_full_lane_drops_and_counts_the_oldest_flags() -> None:
    outbox = Outbox(3)
    flags = [flag_parcel(str(i)) for i in range(5)]
    for parcel in flags:
        outbox.put(parcel)
    assert outbox.dropped == 2
    assert take_all(outbox) == flags[2:]


def test_only_the_newest_verdict_of_a_face_waits() -> None:
    outbox = Outbox(1)
    old, other, new = verdict_parcel("superior"), verdict_parcel("inferior"), verdict_parcel("superior")
    for parcel in (old, other, new):
        outbox.put(parcel)
    assert (outbox.waiting, outbox.coalesced, outbox.dropped) == (2, 1, 0)
    assert take_all(outbox) == [new, other]


def test_neither_lane_starves_the_other() -> None:
    outbox = Outbox(100)
    for i in range(4):
        outbox.put(flag_parcel())
        outbox.put(verdict_parcel(str(i)))
    kinds = [parcel.kind for parcel in take_all(outbox)]
    assert kinds == [Kind.VERDICT, Kind.FLAG] * 4


def test_what_was_not_acknowledged_comes_again_first_and_in_order() -> None:
    outbox = Outbox(10)
    flags = [flag_parcel(str(i)) for i in range(6)]
    for parcel in flags[:4]:
        outbox.put(parcel)
    take_all(outbox)
    outbox.acknowledge(flags[1])
    for parcel in flags[4:]:
        outbox.put(parcel)
    outbox.restore()
    assert outbox.under_way == 0
    assert take_all(outbox) == [flags[0], *flags[2:]]


def test_a_restored_verdict_never_replaces_a_newer_one() -> None:
    outbox = Outbox(1)
    old, new = verdict_parcel("superior", "old"), verdict_parcel("superior", "new")
    outbox.put(old)
    assert outbox.take() is old
    outbox.put(new)
    outbox.restore()
    assert take_all(outbox) == [new]
    assert outbox.coalesced == 1


def test_what_is_said_again_gives_way_to_what_waits() -> None:
    outbox = Outbox(1)
    old, new, other = verdict_parcel("superior"), verdict_parcel("superior"), verdict_parcel("medial")
    outbox.put(new)
    outbox.put_missing([old, other])
    assert take_all(outbox) == [new, other]


def test_an_outbox_must_hold_something() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Outbox(0)


ACTIONS = st.one_of(
    st.just("flag"), st.sampled_from(["superior", "inferior"]), st.just("take"), st.just("acknowledge"),
    st.just("restore"),
)  # fmt: skip


@given(bound=st.integers(1, 4), actions=st.lists(ACTIONS, max_size=60))
def test_nothing_is_lost_without_being_counted(bound: int, actions: list[str]) -> None:
    """Whatever happens: accepted = acknowledged + dropped + coalesced, and the newest of a face arrives."""
    outbox = Outbox(bound)
    accepted = acknowledged = 0
    newest: dict[str, Parcel] = {}
    last_arrived: dict[str, Parcel] = {}
    under_way: list[Parcel] = []

    def arrive() -> None:
        nonlocal acknowledged
        parcel = under_way.pop(0)
        outbox.acknowledge(parcel)
        last_arrived[parcel.topic] = parcel
        acknowledged += 1

    for action in [*actions, "restore"]:
        match action:
            case "take":
                parcel = outbox.take()
                under_way += [parcel] if parcel else []
            case "acknowledge":
                if under_way:
                    arrive()
            case "restore":
                outbox.restore()
                under_way.clear()
            case _:
                parcel = flag_parcel() if action == "flag" else verdict_parcel(action)
                newest[parcel.topic] = parcel
                outbox.put(parcel)
                accepted += 1
        assert len([p for p in under_way if p.kind is Kind.FLAG]) <= outbox.under_way
        assert outbox.waiting <= bound + 2
        assert outbox.empty == (outbox.waiting + outbox.under_way == 0)
    under_way = take_all(outbox)
    while under_way:
        arrive()
    assert outbox.empty
    assert accepted == acknowledged + outbox.dropped + outbox.coalesced
    for topic, parcel in newest.items():
        assert last_arrived[topic] is parcel
