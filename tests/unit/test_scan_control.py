"""What holds up a scan follows from what is wished, and from the daemon's end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octmargin.scan_control import ScanControl
from octmargin.stage import Wish


def state(control: ScanControl) -> tuple[bool, bool, bool]:
    return control.interrupted.is_set(), control.is_held, control.ended.is_set()


def test_each_wish_has_its_events() -> None:
    control = ScanControl()
    told = {}
    for wish in Wish:
        control.follow(wish)
        told[wish] = state(control)
    assert told == {
        Wish.REST: (False, False, False),
        Wish.SCAN: (False, False, False),
        Wish.HOLD: (True, True, False),
        Wish.END: (True, False, True),
    }


def test_a_hold_counts_once_however_often_it_is_told() -> None:
    control = ScanControl()
    for wish in (Wish.SCAN, Wish.HOLD, Wish.HOLD, Wish.SCAN, Wish.HOLD):
        control.follow(wish)
    assert control.holds == 2


@given(st.lists(st.sampled_from(Wish)), st.lists(st.sampled_from(Wish)))
def test_the_daemons_end_prevails_over_whatever_is_wished(before: list[Wish], after: list[Wish]) -> None:
    control = ScanControl()
    for wish in before:
        control.follow(wish)
    control.stop()
    for wish in after:
        control.follow(wish)
    assert state(control) == (True, False, True)
