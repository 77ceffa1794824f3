from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from octmargin.bus.outbox import Leftovers, Outbox, Parcel
from octmargin.bus.topics import Kind

from .examples import verdict


def flag_parcel(text: str = "") -> Parcel:
    return Parcel("flag", Kind.FLAG, text)


def verdict_parcel(face: str, text: str = "") -> Parcel:
    return Parcel(f"verdict/{face}", Kind.VERDICT, text)


def final_parcel(face: str, sweep: int) -> Parcel:
    return Parcel(f"verdict/{face}", Kind.VERDICT, verdict(face, sweep=sweep, provisional=False))


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


def test_final_verdicts_are_all_kept_and_go_first() -> None:
    outbox = Outbox(1)
    finals = [final_parcel("superior", sweep) for sweep in range(3)]
    outbox.put(flag_parcel())
    outbox.put(verdict_parcel("medial"))
    for parcel in finals:
        outbox.put(parcel)
    assert take_all(outbox)[:3] == finals
    assert (outbox.dropped, outbox.coalesced) == (0, 0)


def test_a_final_verdict_replaces_a_provisional_one_that_waits_but_not_one_that_came_later() -> None:
    outbox = Outbox(1)
    before, final, after = verdict_parcel("superior"), final_parcel("superior", 1), verdict_parcel("superior")
    for parcel in (before, final, after):
        outbox.put(parcel)
    assert take_all(outbox) == [final, after]
    assert outbox.coalesced == 1


def test_a_provisional_verdict_that_did_not_arrive_never_comes_after_the_final_one() -> None:
    outbox = Outbox(1)
    provisional, final = verdict_parcel("superior"), final_parcel("superior", 1)
    outbox.put(provisional)
    assert outbox.take() is provisional
    outbox.put(final)
    outbox.restore()
    assert take_all(outbox) == [final]


def test_a_late_verdict_is_not_the_present_one_of_its_face() -> None:
    late, present = (
        Parcel("verdict/superior", Kind.VERDICT, verdict(), late=True),
        final_parcel("superior", 1),
    )
    outbox = Outbox(1, Shelf(), 1)
    outbox.take_over(Leftovers({0: late}, 1))
    outbox.put_missing([present])
    assert take_all(outbox) == [late, present]


def test_what_was_said_after_a_final_verdict_that_waits_is_said_again_after_it() -> None:
    outbox = Outbox(1)
    final, newer = final_parcel("superior", 1), verdict_parcel("superior", "of the next sweep")
    outbox.put(final)
    outbox.put_missing([newer])
    assert take_all(outbox) == [final, newer]


def test_a_final_verdict_that_waits_is_not_said_twice() -> None:
    outbox = Outbox(1)
    final = final_parcel("superior", 1)
    outbox.put(final)
    outbox.put_missing([final])
    assert take_all(outbox) == [final]


def test_what_an_earlier_run_left_comes_before_anything_new() -> None:
    outbox = Outbox(1, Shelf(), 1)
    outbox.put(flag_parcel())
    with pytest.raises(ValueError, match="before anything new"):
        outbox.take_over(Leftovers({}, 0, 3))


def test_a_parcel_that_the_broker_never_takes_is_given_up_and_counted() -> None:
    shelf = Shelf()
    outbox = Outbox(4, shelf, 4)
    for parcel in (final_parcel("superior", 1), flag_parcel()):
        outbox.put(parcel)
    for parcel in take_all(outbox):
        outbox.refuse(parcel)
    assert (outbox.refused, outbox.empty, shelf.kept) == (2, True, {})


def test_an_outbox_must_hold_something() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Outbox(0)


class Shelf:
    """A journal in memory."""

    def __init__(self, kept: dict[tuple[Kind, int], Parcel] | None = None) -> None:
        self.kept = kept or {}
        self.lost: set[tuple[Kind, int]] = set()
        """Kept, and not to be found again."""

    def keep(self, number: int, parcel: Parcel) -> None:
        assert (parcel.kind, number) not in self.kept
        self.kept[parcel.kind, number] = parcel

    def forget(self, kind: Kind, number: int) -> None:
        del self.kept[kind, number]

    def found(self, asked: range) -> dict[int, Parcel]:
        return {n: self.kept[Kind.FLAG, n] for n in asked if (Kind.FLAG, n) in self.kept.keys() - self.lost}


def test_what_memory_has_no_room_for_waits_in_the_journal() -> None:
    shelf = Shelf()
    outbox = Outbox(2, shelf, 10)
    flags = [flag_parcel(str(i)) for i in range(5)]
    for parcel in flags:
        outbox.put(parcel)
    assert (outbox.waiting, outbox.behind, outbox.dropped) == (5, 3, 0)
    assert outbox.wanted(10) == range(0), "memory is full"
    assert take_all(outbox) == flags[:2]
    asked = outbox.wanted(10)
    assert asked == range(2, 4)
    outbox.refill(asked, shelf.found(asked))
    outbox.put(flag_parcel("later"))
    assert take_all(outbox) == flags[2:4], "the one that came later waits its turn"
    assert outbox.wanted(10) == range(4, 6)


def test_a_full_journal_drops_the_oldest_flags_also_those_in_memory() -> None:
    shelf = Shelf()
    outbox = Outbox(2, shelf, 3)
    flags = [flag_parcel(str(i)) for i in range(7)]
    for parcel in flags:
        outbox.put(parcel)
    assert (outbox.dropped, outbox.waiting) == (4, 3)
    outbox.refill(outbox.wanted(10), shelf.found(outbox.wanted(10)))
    assert take_all(outbox) == flags[4:6]


def test_what_the_journal_cannot_give_back_is_counted_as_dropped() -> None:
    shelf = Shelf()
    outbox = Outbox(1, shelf, 10)
    flags = [flag_parcel(str(i)) for i in range(3)]
    for parcel in flags:
        outbox.put(parcel)
    take_all(outbox)
    outbox.refill(range(1, 2), {})
    assert (outbox.dropped, outbox.behind) == (1, 1)


def test_what_an_earlier_run_left_goes_out_before_anything_new() -> None:
    late_final, late_flags = final_parcel("medial", 1), [flag_parcel(f"late {n}") for n in range(3)]
    shelf = Shelf({(Kind.VERDICT, 0): late_final} | {(Kind.FLAG, n): p for n, p in enumerate(late_flags)})
    outbox = Outbox(10, shelf, 10)
    outbox.take_over(Leftovers({0: late_final}, 1, 3))
    new_final, new_flag = final_parcel("medial", 2), flag_parcel("new")
    outbox.put(new_flag)
    outbox.put(new_final)
    outbox.refill(outbox.wanted(10), shelf.found(outbox.wanted(10)))
    taken = take_all(outbox)
    assert taken == [late_final, new_final, *late_flags, new_flag]
    for parcel in taken:
        outbox.acknowledge(parcel)
    assert not shelf.kept


class AnyCourse(RuleBasedStateMachine):
    """Whatever happens: accepted = acknowledged + dropped + coalesced; finals and flags come in order, finals all."""

    @initialize(
        bound=st.integers(1, 4),
        journal_bound=st.integers(0, 8) | st.none(),
        late=st.tuples(st.integers(0, 2), st.integers(0, 10)),
    )
    def begin(self, bound: int, journal_bound: int | None, late: tuple[int, int]) -> None:
        self.finals: list[Parcel] = []
        self.flags: list[Parcel] = []
        self.arrived: list[Parcel] = []
        self.under_way: list[Parcel] = []
        self.asked, self.found = range(0), dict[int, Parcel]()
        self.room = max(bound, journal_bound or 0)
        if journal_bound is None:
            self.shelf, self.outbox = None, Outbox(bound)
        else:
            self.finals = [final_parcel("superior", n) for n in range(late[0])]
            self.flags = [flag_parcel(f"late {n}") for n in range(late[1])]
            finals = {(Kind.VERDICT, n): parcel for n, parcel in enumerate(self.finals)}
            flags = {(Kind.FLAG, n): parcel for n, parcel in enumerate(self.flags)}
            self.shelf = Shelf(finals | flags)
            self.outbox = Outbox(bound, self.shelf, journal_bound)
            self.outbox.take_over(Leftovers(dict(enumerate(self.finals)), len(self.finals), len(flags)))
        self.accepted = len(self.finals) + len(self.flags)
        self.given_up = 0

    @rule()
    def put_a_flag(self) -> None:
        self.flags.append(flag_parcel())
        self.outbox.put(self.flags[-1])
        self.accepted += 1

    @rule(face=st.sampled_from(["superior", "inferior"]))
    def put_a_final_verdict(self, face: str) -> None:
        self.finals.append(final_parcel(face, len(self.finals)))
        self.outbox.put(self.finals[-1])
        self.accepted += 1

    @rule(face=st.sampled_from(["superior", "inferior"]))
    def put_a_provisional_verdict(self, face: str) -> None:
        self.outbox.put(verdict_parcel(face))
        self.accepted += 1

    @rule()
    def take(self) -> None:
        parcel = self.outbox.take()
        self.under_way += [parcel] if parcel else []

    @rule()
    def acknowledge(self) -> None:
        if self.under_way:
            self.arrived.append(self.under_way.pop(0))
            self.outbox.acknowledge(self.arrived[-1])

    @rule()
    def be_refused(self) -> None:
        if self.under_way:
            parcel = self.under_way.pop(0)
            self.outbox.refuse(parcel)
            if parcel.is_final:
                self.finals.remove(parcel)
            elif parcel.kind is Kind.FLAG:
                self.flags.remove(parcel)
            self.given_up += 1

    @rule()
    def lose_the_connection(self) -> None:
        self.outbox.restore()
        self.under_way.clear()

    @rule(data=st.data())
    def fail_to_keep_a_flag(self, data: st.DataObject) -> None:
        """The disk was full: what is behind and not there is dropped when it is asked for."""
        flags = [key for key in self.shelf.kept if key[0] is Kind.FLAG] if self.shelf else []
        if self.shelf and flags:
            self.shelf.lost.add(data.draw(st.sampled_from(flags)))

    @rule(faces=st.lists(st.sampled_from(["superior", "inferior"]), unique=True))
    def connect_again(self, faces: list[str]) -> None:
        before = self.outbox.waiting
        self.outbox.put_missing([verdict_parcel(face, "retained") for face in faces])
        self.accepted += self.outbox.waiting - before

    @rule()
    def ask_the_journal(self) -> None:
        self.asked = self.outbox.wanted(3)
        self.found = self.shelf.found(self.asked) if self.shelf else {}

    @rule()
    def get_the_answer(self) -> None:
        self.outbox.refill(self.asked, self.found)
        self.asked, self.found = range(0), {}

    @invariant()
    def it_is_bounded(self) -> None:
        assert self.outbox.waiting - len(self.finals) <= self.room + 2
        assert self.outbox.empty == (self.outbox.waiting + self.outbox.under_way == 0)

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        self.lose_the_connection()
        while not self.outbox.empty:
            self.under_way += take_all(self.outbox)
            while self.under_way:
                self.acknowledge()
            self.ask_the_journal()
            self.get_the_answer()
        sent = len(self.arrived) + self.given_up
        assert self.accepted == sent + self.outbox.dropped + self.outbox.coalesced
        assert self.outbox.refused == self.given_up
        assert [parcel for parcel in self.arrived if parcel.is_final] == self.finals
        came = [parcel for parcel in self.arrived if parcel.kind is Kind.FLAG]
        assert came == [parcel for parcel in self.flags if parcel in came]
        assert len(self.flags) == len(came) + self.outbox.dropped
        assert self.shelf is None or not self.shelf.kept


TestAnyCourse = AnyCourse.TestCase
