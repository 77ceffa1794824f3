"""The daemon's state follows from facts, whatever their order."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from octmargin.lifecycle import TRANSITIONS, Lifecycle, LifecycleMachine

DOCUMENT = (Path(__file__).parents[2] / "docs" / "lifecycle.md").read_text(encoding="utf-8")
STEPS = st.sampled_from(
    ["started", "scanning", "resting", "stopping"]
    + [f"{what} {fault}" for what in ("fault", "over") for fault in ("console", "broker", "sweep")]
)


def watched() -> tuple[LifecycleMachine, list[tuple[Lifecycle, tuple[str, ...]]]]:
    told: list[tuple[Lifecycle, tuple[str, ...]]] = []
    return LifecycleMachine(lambda state, reasons: told.append((state, reasons))), told


def take(machine: LifecycleMachine, step: str) -> None:
    word, _, fault = step.partition(" ")
    match word:
        case "started":
            machine.started()
        case "scanning" | "resting":
            machine.scanning(now=word == "scanning")
        case "fault":
            machine.fault(fault, f"{fault} is gone", disables=fault == "console")
        case "over":
            machine.over(fault)
        case "stopping":
            machine.stopping()


def test_a_day_without_faults() -> None:
    machine, told = watched()
    for step in ("started", "scanning", "resting", "scanning", "stopping"):
        take(machine, step)
    assert [state.value for state, _ in told] == ["ready", "acquiring", "ready", "acquiring", "stopping"]
    assert all(reasons == () for _, reasons in told)


def test_with_a_fault_it_is_degraded_and_without_a_console_faulted_for_their_reasons() -> None:
    machine, told = watched()
    for step in ("started", "scanning", "fault broker", "fault console", "over broker", "over console"):
        take(machine, step)
    assert told[2:] == [
        (Lifecycle.DEGRADED, ("broker is gone",)),
        (Lifecycle.FAULTED, ("console is gone", "broker is gone")),
        (Lifecycle.FAULTED, ("console is gone",)),
        (Lifecycle.ACQUIRING, ()),
    ]


def test_what_is_true_already_is_not_told_again() -> None:
    machine, told = watched()
    for step in (
        "started",
        "started",
        "fault broker",
        "fault broker",
        "over sweep",
        "over broker",
        "over broker",
    ):
        take(machine, step)
    assert len(told) == 3


@given(st.lists(STEPS, max_size=40))
def test_only_the_documented_transitions_happen_and_nothing_comes_after_stopping(steps: list[str]) -> None:
    machine, told = watched()
    before = machine.state
    for n, step in enumerate(steps):
        if step == "scanning" and "started" not in steps[:n]:
            continue  # nothing is scanned before everything is prepared
        take(machine, step)
        assert machine.state is before or machine.state in TRANSITIONS[before]
        before = machine.state
    states = [state for state, _ in told]
    if Lifecycle.STOPPING in states:
        assert set(states[states.index(Lifecycle.STOPPING) :]) == {Lifecycle.STOPPING}


def test_the_picture_in_the_documents_shows_these_transitions() -> None:
    drawn = set(re.findall(r"^ {4}(\w+) --> (\w+)$", DOCUMENT, flags=re.MULTILINE))
    assert drawn == {(state.value, after.value) for state, next_ in TRANSITIONS.items() for after in next_}
    assert set(Lifecycle) == set(re.findall(r"^\| (\w+) \|", DOCUMENT, flags=re.MULTILINE)) - {"state"}
