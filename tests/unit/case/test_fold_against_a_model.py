"""The fold of the log against a model that is written independently, over random courses of two specimens."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.case.examples import CASE, NOW, bodies, confirmed, new_store, opened, registered, sweep

from octmargin.case.record import events
from octmargin.case.record.model import Order
from octmargin.case.record.store import CaseStore
from octmargin.case.record.verification import verify
from octmargin.errors import CaseRefusedError

SPECIMENS = st.sampled_from(["one", "two"])
SIDES = st.sampled_from(["left", "right"])
UNSIGNED = ("registered", "scanned", "discontinued", "preliminary", "final")


class CaseAgainstModel(RuleBasedStateMachine):
    """The model: per specimen its phase, side and counts; the order's side; whether the case is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store: CaseStore = new_store(Path(self.folder.name))
        self.phase: dict[str, str] = {}
        self.side: dict[str, str] = {}
        self.against: dict[str, str] = {}
        """The order's side that a person overruled, by specimen."""
        self.counts: dict[str, dict[str, int]] = {}
        self.ordered_side = ""
        self.is_closed = False
        self.acknowledged = 1

    @initialize()
    def open(self) -> None:
        opened(self.store)
        self.do(True, bodies()["identify"])
        self.do(True, bodies()["indicate"])

    def do(self, is_allowed: bool, body: events.CaseBody) -> bool:
        try:
            self.store.append(CASE, body, actor="anna", at=NOW)
        except CaseRefusedError:
            assert not is_allowed
            return False
        assert is_allowed
        self.acknowledged += 1
        return True

    @property
    def is_contradicted(self) -> bool:
        return any(
            self.ordered_side not in ("", self.side[name], self.against.get(name, ""))
            for name, phase in self.phase.items()
            if phase != "withdrawn"
        )

    def is_in(self, name: str, *phases: str) -> bool:
        return not self.is_closed and self.phase.get(name, "") in phases

    @rule(name=SPECIMENS, side=SIDES)
    def register(self, name: str, side: str) -> None:
        if self.do(not self.is_closed and name not in self.phase, registered(name, laterality=side)):
            self.phase[name], self.side[name] = "registered", side
            self.counts[name] = {"sweeps": 0, "addenda": 0, "pathology": 0, "decisions": 0}

    @rule(name=SPECIMENS)
    def scan(self, name: str) -> None:
        number = self.acknowledged
        body = events.Swept(specimen_id=name, sweep=sweep(number=number))
        if self.do(self.is_in(name, *UNSIGNED), body):
            self.phase[name] = "scanned"
            self.counts[name]["sweeps"] += 1

    @rule(name=SPECIMENS)
    def decide(self, name: str) -> None:
        if self.do(self.is_in(name, *UNSIGNED), bodies(name)["decide"]):
            self.counts[name]["decisions"] += 1

    @rule(name=SPECIMENS, side=SIDES)
    def confirm(self, name: str, side: str) -> None:
        if self.do(self.is_in(name, *UNSIGNED), confirmed(side, specimen_id=name)):
            self.side[name] = side
            self.against[name] = "" if self.ordered_side == side else self.ordered_side
            self.phase[name] = "preliminary" if self.phase[name] == "final" else self.phase[name]

    @rule(side=SIDES)
    def order(self, side: str) -> None:
        is_signed = any(phase in ("signed", "amended") for phase in self.phase.values())
        body = events.Ordered(order=Order(laterality=side))  # type: ignore[arg-type]
        if self.do(not self.is_closed and not is_signed, body):
            self.ordered_side = side

    @rule(name=SPECIMENS, is_final=st.booleans())
    def interpret(self, name: str, is_final: bool) -> None:
        may = self.is_in(name, *UNSIGNED[1:]) and not (is_final and self.is_contradicted)
        if self.do(may, bodies(name)["finalise" if is_final else "interpret"]):
            self.phase[name] = "final" if is_final else "preliminary"

    @rule(name=SPECIMENS)
    def sign(self, name: str) -> None:
        if self.do(self.is_in(name, "final") and not self.is_contradicted, bodies(name)["sign"]):
            self.phase[name] = "signed"

    @rule(name=SPECIMENS, what=st.sampled_from(["discontinue", "withdraw"]))
    def give_up(self, name: str, what: str) -> None:
        possible = [phase for phase in UNSIGNED if (what, phase) != ("discontinue", "discontinued")]
        if self.do(self.is_in(name, *possible), bodies(name)[what]):
            self.phase[name] = {"discontinue": "discontinued", "withdraw": "withdrawn"}[what]

    @rule(name=SPECIMENS)
    def addend(self, name: str) -> None:
        if self.do(self.phase.get(name) in ("signed", "amended"), bodies(name)["addend"]):
            self.phase[name] = "amended"
            self.counts[name]["addenda"] += 1

    @rule(name=SPECIMENS)
    def correlate(self, name: str) -> None:
        if self.do(self.phase.get(name, "withdrawn") != "withdrawn", bodies(name)["correlate"]):
            self.counts[name]["pathology"] += 1

    @rule()
    def close(self) -> None:
        is_done = all(phase in ("signed", "amended", "withdrawn") for phase in self.phase.values())
        if self.do(is_done and not self.is_contradicted and not self.is_closed, events.Closed()):
            self.is_closed = True

    @invariant()
    def the_fold_is_the_model(self) -> None:
        if self.acknowledged == 1:
            return
        case = self.store.case(CASE)
        confirm = "confirm" if self.is_contradicted else "open"
        assert case.phase == ("closed" if self.is_closed else confirm)
        assert {one.specimen_id: str(one.phase) for one in case.specimens} == self.phase
        assert {one.specimen_id: one.laterality for one in case.specimens} == self.side
        assert {
            one.specimen_id: {
                "sweeps": len(one.sweeps),
                "addenda": len(one.addenda),
                "pathology": len(one.pathology),
                "decisions": len(one.decisions),
            }
            for one in case.specimens
        } == self.counts
        assert self.store.head().seq == self.acknowledged == case.log_seq

    def teardown(self) -> None:
        head = self.store.head()
        self.store.close()
        assert verify(self.store.path, [head] if head.seq else []).troubles == ()
        self.folder.cleanup()


TestCaseAgainstModel = CaseAgainstModel.TestCase
TestCaseAgainstModel.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
